/* Statistics and gradients of a batch whose parts are worked on apart. All in double, part after part: every thread that
   puts them together gets the same bits. */

/* Mean, 1 / standard deviation and unbiased variance of all parts, (c,) each, from those of each part, (parts, c); counts:
   of the values of a channel in each part (Chan, Golub and LeVeque, 1979). */
static void combine_statistics(const float *means, const float *variances, const int64_t *counts, int64_t parts,
                               int64_t c, float eps, float *mean, float *inverse, float *variance)
{
    for (int64_t k = 0; k < c; k++) {
        double count = 0.0, sum = 0.0, squares = 0.0;
        for (int64_t i = 0; i < parts; i++) {
            count += (double)counts[i];
            sum += (double)counts[i] * means[i * c + k];
        }
        double centre = sum / count;
        for (int64_t i = 0; i < parts; i++) {
            double away = means[i * c + k] - centre;
            squares += (double)counts[i] * away * away;
            if (counts[i] > 1) /* the variance of one value is not defined */
                squares += (double)(counts[i] - 1) * variances[i * c + k];
        }
        mean[k] = (float)centre;
        inverse[k] = (float)(1.0 / sqrt(squares / count + eps));
        variance[k] = (float)(squares / (count - 1.0));
    }
}

/* What backward_apply needs, coefficients (3, c), from the sums of all parts, (parts, 2, c); and the share that the part
   own has in the gradients of weight and bias. count: of the values of a channel in all parts. */
static int combine_sums(const double *sums, int64_t parts, int64_t own, const float *weight, const float *inverse,
                        double count, float factor, int64_t c, float *coefficients, float *grad_weight,
                        float *grad_bias)
{
    struct sums room;
    if (get_sums(&room, c))
        return -1;
    for (int64_t i = 0; i < parts; i++)
        for (int64_t k = 0; k < c; k++) {
            room.sums[k] += sums[2 * i * c + k];
            room.products[k] += sums[(2 * i + 1) * c + k];
        }
    set_coefficients(&room, weight, inverse, count, factor, c, grad_weight, grad_bias);
    memcpy(coefficients, room.scale, (size_t)c * 3 * sizeof(float)); /* slope and constant lie behind it */
    for (int64_t k = 0; k < c; k++) {
        grad_bias[k] = (float)(sums[2 * own * c + k] * factor);
        grad_weight[k] = (float)(sums[(2 * own + 1) * c + k] * factor * inverse[k]);
    }
    free_sums(&room);
    return 0;
}
