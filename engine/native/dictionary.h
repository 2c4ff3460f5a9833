/* Queries against the queue: the logsumexp of a query's logits and its gradient, without keeping a logit.

   One pass over the queue, some keys at a time, as in "online softmax" (Milakov and Gimelshein, arXiv:1805.02867,
   section 3): both products are made while the keys are in the cache. Products of bfloat16 pairs are summed in float32.
   Included for the level that has AVX512-BF16. */

#define ROWS 8       /* queries of a block of logits */
#define KEYS 48      /* keys of a block of logits: three registers */
#define TILE 192     /* keys that a query meets at a time */
#define MEAN_ROWS 4  /* queries of a block of means */
#define MEAN_WIDTH 64 /* components of a block of means: four registers */

#define UP_TO(n, step) (((n) + (step) - 1) / (step) * (step))

/* Keys first to first + count - 1 of a queue (keys, dim), as the products take them.

   logits_form: [key / KEYS][dim / 2][key % KEYS][2]; mean_form: [dim / MEAN_WIDTH][key / 2][dim % MEAN_WIDTH][2]; keys
   are padded with zeros to a multiple of TILE, components to one of MEAN_WIDTH. first and count are multiples of TILE,
   but for the last part. */
static void LEVELLED(pack_keys)(const float *restrict queue, uint16_t *restrict logits_form,
                                uint16_t *restrict mean_form, int64_t first, int64_t count, int64_t keys, int64_t dim)
{
    int64_t width = UP_TO(dim, MEAN_WIDTH), padded = UP_TO(keys, TILE);
    for (int64_t key = first; key < first + UP_TO(count, TILE); key++) {
        uint16_t *to = logits_form + key / KEYS * KEYS * width + key % KEYS * 2;
        for (int64_t at = 0; at < width; at += LANES) {
            uint16_t narrow[LANES] = {0};
            if (key < keys && at < dim)
                put_bfloat16(narrow, get_float32(queue + key * dim + at, MIN(LANES, dim - at)), LANES);
            for (int64_t l = 0; l < LANES; l += 2)
                memcpy(to + (at + l) / 2 * KEYS * 2, narrow + l, 4);
            uint16_t *mean_to =
                mean_form + (at / MEAN_WIDTH * padded / 2 + key / 2) * MEAN_WIDTH * 2 + at % MEAN_WIDTH * 2 + key % 2;
            for (int64_t l = 0; l < LANES; l++)
                mean_to[2 * l] = narrow[l];
        }
    }
}

/* out[r][k] = sum over the components of queries[r] * keys[k], for ROWS queries of width components and KEYS keys. */
static void LEVELLED(logits_block)(const uint16_t *restrict queries, const uint16_t *restrict keys,
                                   float *restrict out, int64_t width)
{
    __m512 sums[ROWS][3];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
        for (int v = 0; v < 3; v++)
            sums[r][v] = _mm512_setzero_ps();
    for (int64_t pair = 0; pair < width / 2; pair++) {
        const uint16_t *at = keys + pair * KEYS * 2;
        __m512bh b[3];
#pragma GCC unroll 3
        for (int v = 0; v < 3; v++)
            b[v] = (__m512bh)_mm512_loadu_si512(at + 32 * v);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            int32_t both;
            memcpy(&both, queries + r * width + 2 * pair, 4);
            __m512bh a = (__m512bh)_mm512_set1_epi32(both);
#pragma GCC unroll 3
            for (int v = 0; v < 3; v++)
                sums[r][v] = _mm512_dpbf16_ps(sums[r][v], a, b[v]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
        for (int v = 0; v < 3; v++)
            _mm512_storeu_ps(out + r * TILE + 16 * v, sums[r][v]);
}

/* means[r] += sum over the keys of a tile of weights[r][k] * keys[k], for MEAN_ROWS queries and MEAN_WIDTH components. */
static void LEVELLED(mean_block)(const uint16_t *restrict weights, const uint16_t *restrict keys,
                                 float *restrict means, int64_t width)
{
    __m512 sums[MEAN_ROWS][4];
#pragma GCC unroll 4
    for (int r = 0; r < MEAN_ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++)
            sums[r][v] = _mm512_loadu_ps(means + r * width + 16 * v);
    for (int64_t pair = 0; pair < TILE / 2; pair++) {
        const uint16_t *at = keys + pair * MEAN_WIDTH * 2;
        __m512bh b[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++)
            b[v] = (__m512bh)_mm512_loadu_si512(at + 32 * v);
#pragma GCC unroll 4
        for (int r = 0; r < MEAN_ROWS; r++) {
            int32_t both;
            memcpy(&both, weights + r * TILE + 2 * pair, 4);
            __m512bh a = (__m512bh)_mm512_set1_epi32(both);
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++)
                sums[r][v] = _mm512_dpbf16_ps(sums[r][v], a, b[v]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < MEAN_ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++)
            _mm512_storeu_ps(means + r * width + 16 * v, sums[r][v]);
}

/* e to the power of values at most 0, to about 2 units in the last place; from -87 down it is 0. A NaN stays.

   2^n times a polynomial of the rest, as in Cephes (expf). */
ALWAYS_INLINE floats exponential(floats x)
{
    floats least = (floats){0} - 87.0f, given = x;
    x = where_at_most(x, least, least, x);
    floats n = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f; /* to the nearest whole number */
    floats rest = x - n * 0.693359375f;
    rest = rest - n * -2.12194440e-4f;
    floats sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    words power = (__builtin_convertvector(n, words) + 127) << 23;
    return where_at_most(given, least, (floats){0}, sum * (floats)power);
}

/* The weights of one query: exp of its logits less the largest so far, which rescales what was summed before.

   top, total: the largest logit so far, and the sum of the weights. mean: (width,), rescaled as well. */
static void LEVELLED(weigh)(const float *restrict logits, uint16_t *restrict weights, float *restrict top,
                            double *restrict total, float *restrict mean, int64_t width)
{
    floats largest = get_float32(logits, LANES);
    for (int64_t k = LANES; k < TILE; k += LANES) {
        floats v = get_float32(logits + k, LANES);
        largest = where_at_most(v, largest, largest, v); /* a NaN is taken */
    }
    float most = *top;
    for (int l = 0; l < LANES; l++)
        most = largest[l] <= most ? most : largest[l];
    if (most != *top) {
        float decay = expf(*top - most); /* 0 at first */
        *total *= decay;
        for (int64_t k = 0; k < width; k += LANES)
            put_float32(mean + k, get_float32(mean + k, LANES) * decay, LANES);
        *top = most;
    }
    floats sum = {0};
    for (int64_t k = 0; k < TILE; k += LANES) {
        floats weight = exponential(get_float32(logits + k, LANES) - most);
        sum += weight;
        put_bfloat16(weights + k, weight, LANES);
    }
    double all = 0.0;
    for (int l = 0; l < LANES; l++)
        all += sum[l];
    *total += all;
}

/* For queries (n, dim) and the packed keys of a queue: out (n,) is the logsumexp of q . key / temperature over the
   keys, gradient (n, dim) that of out towards q, where it is wanted. Returns -1 where memory is lacking. */
static int LEVELLED(logsumexp)(const float *restrict q, const uint16_t *restrict logits_form,
                               const uint16_t *restrict mean_form, float temperature, float *restrict out,
                               float *restrict gradient, int64_t n, int64_t keys, int64_t dim)
{
    int64_t width = UP_TO(dim, MEAN_WIDTH), padded = UP_TO(keys, TILE), rows = UP_TO(n, ROWS);
    size_t of_means = (size_t)(rows * width) * sizeof(float), of_logits = (size_t)(rows * TILE) * sizeof(float);
    size_t of_queries = (size_t)(rows * width) * sizeof(uint16_t), of_weights = (size_t)(rows * TILE) * sizeof(uint16_t);
    size_t of_totals = (size_t)rows * sizeof(double), of_tops = (size_t)rows * sizeof(float);
    char *room = calloc(1, of_totals + of_means + of_logits + of_queries + of_weights + of_tops);
    if (!room)
        return -1;
    double *totals = (double *)(void *)room;
    float *means = (float *)(void *)(room + of_totals), *logits = means + rows * width, *tops = logits + rows * TILE;
    uint16_t *queries = (uint16_t *)(void *)(tops + rows), *weights = queries + rows * width;
    for (int64_t r = 0; r < n; r++) {
        tops[r] = -INFINITY;
        for (int64_t k = 0; k < dim; k += LANES) {
            int64_t m = MIN(LANES, dim - k);
            put_bfloat16(queries + r * width + k, get_float32(q + r * dim + k, m) / temperature, m);
        }
    }
    for (int64_t start = 0; start < padded; start += TILE) {
        for (int64_t key = 0; key < TILE; key += KEYS)
            for (int64_t r = 0; r < rows; r += ROWS)
                LEVELLED(logits_block)(queries + r * width, logits_form + (start + key) * width,
                                       logits + r * TILE + key, width);
        for (int64_t r = 0; r < n; r++) {
            for (int64_t key = MAX(keys - start, 0); key < TILE; key++)
                logits[r * TILE + key] = -INFINITY;
            LEVELLED(weigh)(logits + r * TILE, weights + r * TILE, tops + r, totals + r, means + r * width, width);
        }
        if (gradient)
            for (int64_t at = 0; at < width; at += MEAN_WIDTH)
                for (int64_t r = 0; r < rows; r += MEAN_ROWS)
                    LEVELLED(mean_block)(weights + r * TILE,
                                         mean_form + at * padded + start * MEAN_WIDTH,
                                         means + r * width + at, width);
    }
    for (int64_t r = 0; r < n; r++) {
        out[r] = (float)(log(totals[r]) + tops[r]);
        if (gradient)
            for (int64_t k = 0; k < dim; k++)
                gradient[r * dim + k] = (float)(means[r * width + k] / (totals[r] * temperature));
    }
    free(room);
    return 0;
}

/* InfoNCE of a group and its gradient, from embeddings (n, dim) that are not of unit length yet, and their keys (n, dim).

   The positives are products of float32. loss (n,): -log of the share that the positive has of all weights; gradient
   (n, dim): that of the losses' sum towards the embeddings, times factor. Returns -1 where memory is lacking. */
static int LEVELLED(info_nce)(const float *restrict embeddings, const float *restrict positives,
                              const uint16_t *restrict logits_form, const uint16_t *restrict mean_form,
                              float temperature, float factor, float *restrict loss, float *restrict gradient,
                              int64_t n, int64_t keys, int64_t dim)
{
    float *q = calloc((size_t)(n * dim + n), sizeof(float)), *lengths = q + n * dim;
    if (!q)
        return -1;
    for (int64_t r = 0; r < n; r++) {
        double sum = 0.0;
        for (int64_t k = 0; k < dim; k += LANES) {
            floats v = get_float32(embeddings + r * dim + k, MIN(LANES, dim - k));
            sum += (double)_mm512_reduce_add_ps((__m512)(v * v));
        }
        double length = sqrt(sum);
        lengths[r] = length < 1e-12 ? 1e-12f : (float)length; /* as torch's normalize; a NaN stays */
        for (int64_t k = 0; k < dim; k++)
            q[r * dim + k] = embeddings[r * dim + k] / lengths[r];
    }
    if (LEVELLED(logsumexp)(q, logits_form, mean_form, temperature, loss, gradient, n, keys, dim)) {
        free(q);
        return -1;
    }
    for (int64_t r = 0; r < n; r++) {
        float *unit = q + r * dim, *to = gradient + r * dim;
        const float *key = positives + r * dim;
        double positive = 0.0, along = 0.0;
        for (int64_t k = 0; k < dim; k += LANES) {
            int64_t m = MIN(LANES, dim - k);
            positive += (double)_mm512_reduce_add_ps((__m512)(get_float32(unit + k, m) * get_float32(key + k, m)));
        }
        double away = loss[r] - positive / temperature; /* log(1 + exp(away)), without an overflow */
        double small = exp(-fabs(away));
        loss[r] = (float)(log1p(small) + (away < 0.0 ? 0.0 : away));
        float share = (float)((away < 0.0 ? small : 1.0) / (1.0 + small)) * factor;
        for (int64_t k = 0; k < dim; k += LANES) {
            int64_t m = MIN(LANES, dim - k);
            floats towards = (get_float32(to + k, m) - get_float32(key + k, m) / temperature) * share;
            along += (double)_mm512_reduce_add_ps((__m512)(towards * get_float32(unit + k, m)));
            put_float32(to + k, towards, m);
        }
        /* Only what turns an embedding counts: its length is divided out. */
        float radial = lengths[r] > 1e-12f ? (float)along : 0.0f;
        for (int64_t k = 0; k < dim; k += LANES) {
            int64_t m = MIN(LANES, dim - k);
            put_float32(to + k, (get_float32(to + k, m) - get_float32(unit + k, m) * radial) / lengths[r], m);
        }
    }
    free(q);
    return 0;
}
