/* The sums over a group that BatchNorm and its gradient need, (C,) each. */

struct sums {
    float *sum, *product;               /* over an image */
    double *sums, *products;            /* over all images */
    float *scale, *slope, *constant;    /* of the gradient towards the input */
};

static int get_sums(struct sums *room, int64_t c)
{
    float *values = malloc((size_t)c * 5 * sizeof(float));
    double *wide = calloc((size_t)c * 2, sizeof(double));
    if (!values || !wide) {
        free(values);
        free(wide);
        return -1;
    }
    *room = (struct sums){values, values + c, wide, wide + c, values + 2 * c, values + 3 * c, values + 4 * c};
    return 0;
}

static void free_sums(struct sums *room)
{
    free(room->sum);
    free(room->sums);
}


static void add_sums(struct sums *room, int64_t c)
{
    for (int64_t k = 0; k < c; k++) {
        room->sums[k] += room->sum[k];
        room->products[k] += room->product[k];
    }
}

/* grad_x = grad * scale - (x - mean) * slope - constant (Ioffe and Szegedy, arXiv:1502.03167, section 3), from the sums
   of grad and of grad times (x - mean). factor: of dropout, by which every gradient is to be multiplied first. */
static void set_coefficients(struct sums *room, const float *weight, const float *inverse, double count, float factor,
                             int64_t c, float *grad_weight, float *grad_bias)
{
    for (int64_t k = 0; k < c; k++) {
        double of_bias = room->sums[k] * factor, of_weight = room->products[k] * factor * inverse[k];
        double scale = (double)weight[k] * inverse[k];
        grad_bias[k] = (float)of_bias;
        grad_weight[k] = (float)of_weight;
        room->scale[k] = (float)(scale * factor);
        room->slope[k] = (float)(of_weight / count * inverse[k] * scale);
        room->constant[k] = (float)(of_bias / count * scale);
    }
}
