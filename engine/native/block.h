/* What stands between two convolutions, for one dtype and one level of instructions.

   Included several times with VALUE (the C type of a value), GET and PUT (up to LANES values as floats) and NAME (a
   function's name with dtype and level). Values lie as (N, H, W, C), channels last. The innermost loops go over
   channels, so the sums of a channel are taken in the same order whatever the width of the registers. */

/* Mean, 1 / standard deviation and unbiased variance of each channel of n images of p pixels, (C,) each.

   Sums are taken relative to the first pixel, since a mean far from zero would cancel the variance; in float over an
   image and in double over images. Returns -1 where memory is lacking. */
static int NAME(statistics)(const VALUE *restrict x, int64_t n, int64_t p, int64_t c, float eps, float *restrict mean,
                            float *restrict inverse, float *restrict variance)
{
    struct sums room;
    if (get_sums(&room, c))
        return -1;
    for (int64_t i = 0; i < n; i++) {
        OVER_CHANNELS(c, {
            floats first = GET(x + k, m), sum[4] = {{0}}, product[4] = {{0}}; /* several, which wait less for each other */
            const VALUE *at = x + i * p * c + k;
            int64_t j = 0;
            for (; j + 4 <= p; j += 4)
                for (int l = 0; l < 4; l++, at += c) {
                    floats v = GET(at, m) - first;
                    sum[l] += v;
                    product[l] += v * v;
                }
            for (; j < p; j++, at += c) {
                floats v = GET(at, m) - first;
                sum[0] += v;
                product[0] += v * v;
            }
            put_float32(room.sum + k, (sum[0] + sum[1]) + (sum[2] + sum[3]), m);
            put_float32(room.product + k, (product[0] + product[1]) + (product[2] + product[3]), m);
        })
        add_sums(&room, c);
    }
    double count = (double)n * (double)p;
    OVER_CHANNELS(c, {
        floats shift = GET(x + k, m);
        for (int64_t l = 0; l < m; l++) {
            double d = room.sums[k + l] / count, v = room.products[k + l] / count - d * d;
            v = v < 0.0 ? 0.0 : v; /* below zero by rounding alone; a NaN stays */
            mean[k + l] = (float)(d + shift[l]);
            inverse[k + l] = (float)(1.0 / sqrt(v + eps));
            variance[k + l] = (float)(v * count / (count - 1.0));
        }
    })
    free_sums(&room);
    return 0;
}

/* y = relu((x - mean) * scale + bias + residual), residual and relu where wanted. Returns 0. */
static int NAME(apply)(const VALUE *restrict x, const VALUE *restrict residual, const float *restrict mean,
                       const float *restrict scale, const float *restrict bias, VALUE *restrict out, int64_t pixels,
                       int64_t c, int relu)
{
    for (int64_t j = 0; j < pixels; j++) {
        const VALUE *at = x + j * c, *more = residual ? residual + j * c : NULL;
        VALUE *to = out + j * c;
        OVER_CHANNELS(c, {
            floats y = (GET(at + k, m) - get_float32(mean + k, m)) * get_float32(scale + k, m) +
                       get_float32(bias + k, m);
            if (more)
                y += GET(more + k, m);
            PUT(to + k, relu ? relu_of(y) : y, m);
        })
    }
    return 0;
}

/* The same with dropout before, and 2x2 max pooling and ReLU after it: y = relu(max over 2x2 of kept(x) * ((x - mean)
   * scale + bias)). An odd last row or column is left out.

   winner: which of the four inputs the value comes from, 0 to 3, or 4 where ReLU or dropout closed it; may be NULL.
   keep: of 256 values of a random byte, those for which a unit is kept; 256: no dropout.
   first: number of the first image in its batch, which the random bytes go by.
   The caller has put 256 / keep into scale and bias. Returns -1 where memory is lacking. */
static int NAME(apply_pooled)(const VALUE *restrict x, const float *restrict mean, const float *restrict scale,
                              const float *restrict bias, VALUE *restrict out, uint8_t *restrict winner, int64_t n,
                              int64_t h, int64_t w, int64_t c, int keep, uint64_t seed, int64_t first)
{
    int64_t rows = h / 2, columns = w / 2, width = 2 * columns * c;
    int64_t size = (2 * width + RANDOM_BLOCK - 1) / RANDOM_BLOCK * RANDOM_BLOCK;
    uint8_t *drawn = malloc((size_t)size); /* the bytes of two rows */
    if (!drawn)
        return -1;
    for (int64_t i = 0; i < n; i++)
        for (int64_t r = 0; r < rows; r++) {
            if (keep < 256)
                LEVELLED(random_bytes)(drawn, size, seed, (uint64_t)((first + i) * rows + r));
            for (int64_t s = 0; s < columns; s++) {
                const VALUE *upper = x + ((i * h + 2 * r) * w + 2 * s) * c, *lower = upper + w * c;
                const uint8_t *above = drawn + 2 * s * c, *below = above + width;
                int64_t at = ((i * rows + r) * columns + s) * c;
                OVER_CHANNELS(c, {
                    floats centre = get_float32(mean + k, m), times = get_float32(scale + k, m);
                    floats plus = get_float32(bias + k, m);
                    floats y0 = (GET(upper + k, m) - centre) * times + plus;
                    floats y1 = (GET(upper + c + k, m) - centre) * times + plus;
                    floats y2 = (GET(lower + k, m) - centre) * times + plus;
                    floats y3 = (GET(lower + c + k, m) - centre) * times + plus;
                    if (keep < 256) {
                        floats zero = {0};
                        y0 = where_below(get_bytes(above + k, m), keep, y0, zero);
                        y1 = where_below(get_bytes(above + c + k, m), keep, y1, zero);
                        y2 = where_below(get_bytes(below + k, m), keep, y2, zero);
                        y3 = where_below(get_bytes(below + c + k, m), keep, y3, zero);
                    }
                    words number = {0};
                    take_larger(&y0, &number, y1, 1);
                    take_larger(&y0, &number, y2, 2);
                    take_larger(&y0, &number, y3, 3);
                    PUT(out + at + k, relu_of(y0), m);
                    if (winner)
                        put_bytes(winner + at + k, words_where_at_most(y0, (floats){0}, (words){0} + 4, number), m);
                })
            }
        }
    free(drawn);
    return 0;
}

/* statistics and apply_pooled of a whole group, of BatchNorm's weight and bias. Returns -1 where memory is lacking. */
static int NAME(pooled)(const VALUE *restrict x, const float *restrict weight, const float *restrict bias, float eps,
                        VALUE *restrict out, uint8_t *restrict winner, float *restrict mean, float *restrict inverse,
                        float *restrict variance, int64_t n, int64_t h, int64_t w, int64_t c, int keep, uint64_t seed)
{
    float *scale = malloc((size_t)c * 2 * sizeof(float)), *offset = scale + c, factor = 256.0f / (float)keep;
    int failed = !scale || NAME(statistics)(x, n, h * w, c, eps, mean, inverse, variance);
    if (!failed) {
        for (int64_t k = 0; k < c; k++) {
            scale[k] = weight[k] * inverse[k] * factor;
            offset[k] = bias[k] * factor;
        }
        failed = NAME(apply_pooled)(x, mean, scale, offset, out, winner, n, h, w, c, keep, seed, 0);
    }
    free(scale);
    return failed ? -1 : 0;
}

/* The sums over grad and over grad times (x - mean) where ReLU was open, for the gradient of a group through statistics,
   apply and ReLU. out: what apply gave where it ended in ReLU, else NULL. room: its sums are added to. */
static void NAME(sum_gradients)(const VALUE *restrict grad, const VALUE *restrict x, const VALUE *restrict out,
                                const float *restrict mean, int64_t n, int64_t p, int64_t c, struct sums *room)
{
    for (int64_t i = 0; i < n; i++) {
        OVER_CHANNELS(c, {
            floats centre = get_float32(mean + k, m), sum = {0}, product = {0};
            for (int64_t at = i * p * c + k; at < (i + 1) * p * c; at += c) {
                floats open = GET(grad + at, m);
                if (out)
                    open = where_at_most(GET(out + at, m), (floats){0}, (floats){0}, open);
                sum += open;
                product += open * (GET(x + at, m) - centre);
            }
            put_float32(room->sum + k, sum, m);
            put_float32(room->product + k, product, m);
        })
        add_sums(room, c);
    }
}

/* The gradient towards the input, from the coefficients (3, C) that set_coefficients makes of the sums. grad_residual:
   where the gradient towards the residual goes, or NULL. Returns 0. */
static int NAME(backward_apply)(const VALUE *restrict grad, const VALUE *restrict x, const VALUE *restrict out,
                                const float *restrict mean, const float *restrict coefficients,
                                VALUE *restrict grad_x, VALUE *restrict grad_residual, int64_t pixels, int64_t c)
{
    const float *restrict scale = coefficients, *restrict slope = scale + c, *restrict constant = slope + c;
    for (int64_t at = 0; at < pixels * c; at += c) {
        OVER_CHANNELS(c, {
            floats open = GET(grad + at + k, m);
            if (out)
                open = where_at_most(GET(out + at + k, m), (floats){0}, (floats){0}, open);
            if (grad_residual)
                PUT(grad_residual + at + k, open, m);
            floats away = GET(x + at + k, m) - get_float32(mean + k, m);
            PUT(grad_x + at + k,
                open * get_float32(scale + k, m) - away * get_float32(slope + k, m) - get_float32(constant + k, m),
                m);
        })
    }
    return 0;
}

/* The sums of sum_gradients of a part of a group, (2, C). Returns -1 where memory is lacking. */
static int NAME(backward_sums)(const VALUE *restrict grad, const VALUE *restrict x, const VALUE *restrict out,
                               const float *restrict mean, double *restrict sums, int64_t n, int64_t p, int64_t c)
{
    struct sums room;
    if (get_sums(&room, c))
        return -1;
    NAME(sum_gradients)(grad, x, out, mean, n, p, c, &room);
    memcpy(sums, room.sums, (size_t)c * 2 * sizeof(double)); /* products lie behind it */
    free_sums(&room);
    return 0;
}

/* Both for a whole group. grad_weight and grad_bias are overwritten. Returns -1 where memory is lacking. */
static int NAME(backward)(const VALUE *restrict grad, const VALUE *restrict x, const VALUE *restrict out,
                          const float *restrict weight, const float *restrict mean, const float *restrict inverse,
                          VALUE *restrict grad_x, VALUE *restrict grad_residual, float *restrict grad_weight,
                          float *restrict grad_bias, int64_t n, int64_t p, int64_t c)
{
    struct sums room;
    if (get_sums(&room, c))
        return -1;
    NAME(sum_gradients)(grad, x, out, mean, n, p, c, &room);
    set_coefficients(&room, weight, inverse, (double)n * (double)p, 1.0f, c, grad_weight, grad_bias);
    NAME(backward_apply)(grad, x, out, mean, room.scale, grad_x, grad_residual, n * p, c);
    free_sums(&room);
    return 0;
}

/* As sum_gradients, through apply_pooled: only the inputs that won count. */
static void NAME(sum_pooled_gradients)(const VALUE *restrict grad, const VALUE *restrict x,
                                       const uint8_t *restrict winner, const float *restrict mean, int64_t n,
                                       int64_t h, int64_t w, int64_t c, struct sums *room)
{
    int64_t rows = h / 2, columns = w / 2;
    for (int64_t i = 0; i < n; i++) {
        OVER_CHANNELS(c, {
            floats centre = get_float32(mean + k, m), sum = {0}, product = {0};
            for (int64_t r = 0; r < rows; r++)
                for (int64_t s = 0; s < columns; s++) {
                    int64_t at = ((i * rows + r) * columns + s) * c + k;
                    const VALUE *upper = x + ((i * h + 2 * r) * w + 2 * s) * c + k, *lower = upper + w * c;
                    words won = get_bytes(winner + at, m);
                    floats open = where_below(won, 4, GET(grad + at, m), (floats){0});
                    floats first = where_equal(won, 0, GET(upper, m), GET(upper + c, m));
                    floats second = where_equal(won, 2, GET(lower, m), GET(lower + c, m));
                    sum += open;
                    product += open * (where_below(won, 2, first, second) - centre);
                }
            put_float32(room->sum + k, sum, m);
            put_float32(room->product + k, product, m);
        })
        add_sums(room, c);
    }
}

/* The gradient of an input at the offset at, which gets open where it is the winner of its four. */
#define CLOSED_BUT(number, at, open)                                                                                   \
    PUT(grad_x + (at), where_equal(won, number, open, zero) - (GET(x + (at), m) - centre) * slope - constant, m);

/* As backward_apply, through apply_pooled. Returns 0. */
static int NAME(backward_pooled_apply)(const VALUE *restrict grad, const VALUE *restrict x,
                                       const uint8_t *restrict winner, const float *restrict mean,
                                       const float *restrict coefficients, VALUE *restrict grad_x, int64_t n,
                                       int64_t h, int64_t w, int64_t c)
{
    int64_t rows = h / 2, columns = w / 2;
    const float *restrict scale_of = coefficients, *restrict slope_of = scale_of + c, *restrict constant_of = slope_of + c;
    for (int64_t i = 0; i < n; i++)
        for (int64_t r = 0; r < (h + 1) / 2; r++)
            for (int64_t s = 0; s < (w + 1) / 2; s++) {
                int64_t upper = ((i * h + 2 * r) * w + 2 * s) * c, lower = upper + w * c;
                int right = 2 * s + 1 < w, down = 2 * r + 1 < h; /* an odd last row or column has no such inputs */
                int64_t at = ((i * rows + r) * columns + s) * c;
                OVER_CHANNELS(c, {
                    floats centre = get_float32(mean + k, m), slope = get_float32(slope_of + k, m);
                    floats constant = get_float32(constant_of + k, m), zero = {0};
                    if (right && down) {
                        words won = get_bytes(winner + at + k, m);
                        floats open = GET(grad + at + k, m) * get_float32(scale_of + k, m);
                        CLOSED_BUT(0, upper + k, open)
                        CLOSED_BUT(1, upper + c + k, open)
                        CLOSED_BUT(2, lower + k, open)
                        CLOSED_BUT(3, lower + c + k, open)
                    } else {
                        words won = {0};
                        CLOSED_BUT(4, upper + k, zero)
                        if (right)
                            CLOSED_BUT(4, upper + c + k, zero)
                        if (down)
                            CLOSED_BUT(4, lower + k, zero)
                    }
                })
            }
    return 0;
}

/* As backward_sums, through apply_pooled. */
static int NAME(backward_pooled_sums)(const VALUE *restrict grad, const VALUE *restrict x,
                                      const uint8_t *restrict winner, const float *restrict mean,
                                      double *restrict sums, int64_t n, int64_t h, int64_t w, int64_t c)
{
    struct sums room;
    if (get_sums(&room, c))
        return -1;
    NAME(sum_pooled_gradients)(grad, x, winner, mean, n, h, w, c, &room);
    memcpy(sums, room.sums, (size_t)c * 2 * sizeof(double));
    free_sums(&room);
    return 0;
}

/* As backward, through apply_pooled. factor: 256 / keep. */
static int NAME(backward_pooled)(const VALUE *restrict grad, const VALUE *restrict x, const uint8_t *restrict winner,
                                 const float *restrict weight, const float *restrict mean,
                                 const float *restrict inverse, float factor, VALUE *restrict grad_x,
                                 float *restrict grad_weight, float *restrict grad_bias, int64_t n, int64_t h,
                                 int64_t w, int64_t c)
{
    struct sums room;
    if (get_sums(&room, c))
        return -1;
    NAME(sum_pooled_gradients)(grad, x, winner, mean, n, h, w, c, &room);
    set_coefficients(&room, weight, inverse, (double)n * (double)h * (double)w, factor, c, grad_weight, grad_bias);
    NAME(backward_pooled_apply)(grad, x, winner, mean, room.scale, grad_x, n, h, w, c);
    free_sums(&room);
    return 0;
}
#undef CLOSED_BUT
