/* Convolutions 3x3 with stride 1 and without padding, in bfloat16, by products of pairs summed in float32.

   Images lie as (N, H, W, C), channels last, weights as (O, 3, 3, C). Included for the level that has AVX512-BF16. */

#define OUTPUTS 32         /* output channels of a block: two registers */
#define MOST_PIXELS 13     /* of a row, in a block of the forward pass */
#define GRADIENT_PIXELS 192 /* of a pair of images, about as many as a block of a gradient sums at a time */

/* Input channels of a block of the weight gradient. */
static int64_t LEVELLED(inputs_of_block)(int64_t c)
{
    return c % 4 && c % 3 == 0 ? 3 : 4;
}

ALWAYS_INLINE __m512bh LEVELLED(both)(const uint16_t *at)
{
    int32_t pair;
    memcpy(&pair, at, 4);
    return (__m512bh)_mm512_set1_epi32(pair);
}

/* The m outputs from weights of pixels side by side: one row of x by one of the weights' rows after the other. Where
   3 c is odd, the last pair of a row holds the value before once more, with a weight of zero. */
ALWAYS_INLINE void LEVELLED(forward_pixels)(int pixels, int64_t c, const uint16_t *restrict x,
                                            const uint16_t *restrict weights, uint16_t *restrict out, int64_t w,
                                            int64_t outputs, int64_t m)
{
    __m512 sums[MOST_PIXELS][2];
#pragma GCC unroll 13
    for (int r = 0; r < pixels; r++)
        sums[r][0] = sums[r][1] = _mm512_setzero_ps();
    int64_t pairs = (3 * c + 1) / 2, last = 3 * c - 2;
    for (int row = 0; row < 3; row++) {
        const uint16_t *from = x + row * w * c;
        for (int64_t pair = 0; pair < pairs; pair++) {
            const uint16_t *at = from + MIN(2 * pair, last);
            __m512bh b0 = (__m512bh)_mm512_loadu_si512(weights), b1 = (__m512bh)_mm512_loadu_si512(weights + 32);
            weights += 2 * OUTPUTS;
#pragma GCC unroll 13
            for (int r = 0; r < pixels; r++) {
                __m512bh a = LEVELLED(both)(at + r * c);
                sums[r][0] = _mm512_dpbf16_ps(sums[r][0], a, b0);
                sums[r][1] = _mm512_dpbf16_ps(sums[r][1], a, b1);
            }
        }
    }
#pragma GCC unroll 13
    for (int r = 0; r < pixels; r++) {
        __m512i narrow = (__m512i)_mm512_cvtne2ps_pbh(sums[r][1], sums[r][0]);
        _mm512_mask_storeu_epi16(out + r * outputs, (__mmask32)(0xFFFFFFFFu >> (OUTPUTS - m)), narrow);
    }
}

#define PIXELS(count)                                                                                                  \
    case count:                                                                                                        \
        if (c == 3)                                                                                                    \
            LEVELLED(forward_pixels)(count, 3, x, weights, out, w, outputs, m);                                        \
        else                                                                                                           \
            LEVELLED(forward_pixels)(count, c, x, weights, out, w, outputs, m);                                        \
        break;

static void LEVELLED(forward_block)(int64_t pixels, int64_t c, const uint16_t *restrict x,
                                    const uint16_t *restrict weights, uint16_t *restrict out, int64_t w,
                                    int64_t outputs, int64_t m)
{
    switch (pixels) {
        PIXELS(1) PIXELS(2) PIXELS(3) PIXELS(4) PIXELS(5) PIXELS(6) PIXELS(7)
        PIXELS(8) PIXELS(9) PIXELS(10) PIXELS(11) PIXELS(12) PIXELS(13)
    }
}
#undef PIXELS

/* out (n, h - 2, w - 2, outputs) = x (n, h, w, c) by weights. Returns -1 where memory is lacking. */
static int LEVELLED(convolve)(const uint16_t *restrict x, const uint16_t *restrict weights, uint16_t *restrict out,
                              int64_t n, int64_t h, int64_t w, int64_t c, int64_t outputs)
{
    int64_t blocks = (outputs + OUTPUTS - 1) / OUTPUTS, pairs = (3 * c + 1) / 2, size = 3 * pairs * OUTPUTS * 2;
    uint16_t *packed = calloc((size_t)(blocks * size), sizeof(uint16_t)); /* [block][row][pair][OUTPUTS][2] */
    if (!packed)
        return -1;
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t row = 0; row < 3; row++) {
            uint16_t *to = packed + o / OUTPUTS * size + row * pairs * OUTPUTS * 2 + o % OUTPUTS * 2;
            const uint16_t *from = weights + (o * 3 + row) * 3 * c;
            for (int64_t k = 0; k < 3 * c; k++) {
                int64_t second = k % 2 || (k == 3 * c - 1 && 3 * c % 2);
                to[k / 2 * OUTPUTS * 2 + second] = from[k];
            }
        }
    int64_t rows = h - 2, columns = w - 2, parts = (columns + MOST_PIXELS - 1) / MOST_PIXELS;
    for (int64_t i = 0; i < n; i++)
        for (int64_t block = 0; block < blocks; block++)
            for (int64_t row = 0; row < rows; row++)
                for (int64_t part = 0; part < parts; part++) {
                    int64_t begin = columns * part / parts, end = columns * (part + 1) / parts;
                    LEVELLED(forward_block)(end - begin, c, x + ((i * h + row) * w + begin) * c, packed + block * size,
                                            out + ((i * rows + row) * columns + begin) * outputs + block * OUTPUTS, w,
                                            outputs, MIN(OUTPUTS, outputs - block * OUTPUTS));
                }
    free(packed);
    return 0;
}

/* sums[place][output] += over the pixels of some rows of some pairs of images: x at the place times gradient of the
   output. A place is one of the three in a row that weights have, and one of inputs channels. */
ALWAYS_INLINE void LEVELLED(gradient_places)(int inputs, const uint16_t *restrict x, const uint16_t *restrict grad,
                                             float *restrict sums, int64_t pairs, int64_t rows, int64_t columns)
{
    __m512 all[12][2];
#pragma GCC unroll 12
    for (int t = 0; t < 3 * inputs; t++) {
        all[t][0] = _mm512_loadu_ps(sums + t * OUTPUTS);
        all[t][1] = _mm512_loadu_ps(sums + t * OUTPUTS + 16);
    }
    for (int64_t pair = 0; pair < pairs; pair++, x += 2 * (columns + 2) * inputs * 2)
        for (int64_t row = 0; row < rows; row++, x += 2 * inputs * 2)
            for (int64_t j = 0; j < columns; j++, x += inputs * 2, grad += OUTPUTS * 2) {
                __m512bh b0 = (__m512bh)_mm512_loadu_si512(grad), b1 = (__m512bh)_mm512_loadu_si512(grad + 32);
#pragma GCC unroll 12
                for (int t = 0; t < 3 * inputs; t++) {
                    __m512bh a = LEVELLED(both)(x + 2 * t);
                    all[t][0] = _mm512_dpbf16_ps(all[t][0], a, b0);
                    all[t][1] = _mm512_dpbf16_ps(all[t][1], a, b1);
                }
            }
#pragma GCC unroll 12
    for (int t = 0; t < 3 * inputs; t++) {
        _mm512_storeu_ps(sums + t * OUTPUTS, all[t][0]);
        _mm512_storeu_ps(sums + t * OUTPUTS + 16, all[t][1]);
    }
}

static void LEVELLED(gradient_3)(const uint16_t *restrict x, const uint16_t *restrict grad, float *restrict sums,
                                 int64_t pairs, int64_t rows, int64_t columns)
{
    LEVELLED(gradient_places)(3, x, grad, sums, pairs, rows, columns);
}

static void LEVELLED(gradient_4)(const uint16_t *restrict x, const uint16_t *restrict grad, float *restrict sums,
                                 int64_t pairs, int64_t rows, int64_t columns)
{
    LEVELLED(gradient_places)(4, x, grad, sums, pairs, rows, columns);
}

/* count values of two rows in turn, 32 at a time. */
ALWAYS_INLINE void LEVELLED(interleave)(const uint16_t *first, const uint16_t *second, uint16_t *restrict to, int64_t m,
                                        __m512i front, __m512i back)
{
    __mmask32 mask = (__mmask32)(0xFFFFFFFFu >> (32 - m));
    __m512i a = _mm512_maskz_loadu_epi16(mask, first), b = _mm512_maskz_loadu_epi16(mask, second);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, front, b));
    _mm512_storeu_si512(to + 32, _mm512_permutex2var_epi16(a, back, b));
}

/* Where the values of two registers go that interleave puts into its first store; into its second, 16 more. */
ALWAYS_INLINE __m512i LEVELLED(in_turn)(int from)
{
    uint16_t order[32];
    for (int l = 0; l < 32; l++)
        order[l] = (uint16_t)(from + l / 2 + l % 2 * 32);
    return _mm512_loadu_si512(order);
}

/* count pixels of two images, of c channels each m, as [pixel][inputs][2]. Where all channels are taken, it writes up to
   31 pairs more. */
static void LEVELLED(pack_inputs)(const uint16_t *first, const uint16_t *second, uint16_t *restrict to, int64_t count,
                                  int64_t c, int64_t inputs, int64_t m)
{
    if (c == inputs) {
        __m512i front = LEVELLED(in_turn)(0), back = LEVELLED(in_turn)(16);
        for (int64_t k = 0; k < count * c; k += 32)
            LEVELLED(interleave)(first + k, second + k, to + 2 * k, MIN(32, count * c - k), front, back);
        return;
    }
    if (m == 4) {
        for (int64_t j = 0; j < count; j++) {
            __m128i a = _mm_loadl_epi64((const __m128i *)(const void *)(first + j * c));
            __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)(second + j * c));
            _mm_storeu_si128((__m128i *)(void *)(to + 8 * j), _mm_unpacklo_epi16(a, b));
        }
        return;
    }
    for (int64_t j = 0; j < count; j++)
        for (int64_t l = 0; l < inputs; l++) {
            to[(j * inputs + l) * 2] = l < m ? first[j * c + l] : 0;
            to[(j * inputs + l) * 2 + 1] = l < m ? second[j * c + l] : 0;
        }
}

/* count pixels of the gradients of two images, m of outputs channels, as [pixel][OUTPUTS][2]. */
static void LEVELLED(pack_outputs)(const uint16_t *first, const uint16_t *second, uint16_t *restrict to, int64_t count,
                                   int64_t outputs, int64_t m)
{
    __m512i front = LEVELLED(in_turn)(0), back = LEVELLED(in_turn)(16);
    for (int64_t j = 0; j < count; j++)
        LEVELLED(interleave)(first + j * outputs, second + j * outputs, to + j * OUTPUTS * 2, m, front, back);
}

/* Adds the gradient towards the weights to sums, [outputs / OUTPUTS][3][c / inputs][3][inputs][OUTPUTS] with both
   padded; take_gradient brings them into the order of the weights. x: (n, h, w, c); grad: (n, h - 2, w - 2, outputs).

   Pairs are of the same pixel in two images, so that every place of the weights finds the pairs that it needs; an odd
   last image has zeros beside it. Returns -1 where memory is lacking. */
static int LEVELLED(add_gradient)(const uint16_t *restrict x, const uint16_t *restrict grad, float *restrict sums,
                                  int64_t n, int64_t h, int64_t w, int64_t c, int64_t outputs)
{
    int64_t rows = h - 2, columns = w - 2, inputs = LEVELLED(inputs_of_block)(c), of_pair = rows * columns;
    int64_t in_blocks = (c + inputs - 1) / inputs, out_blocks = (outputs + OUTPUTS - 1) / OUTPUTS;
    int64_t most_pairs = MIN(MAX(GRADIENT_PIXELS / of_pair, 1), (n + 1) / 2);
    int64_t most_rows = of_pair <= GRADIENT_PIXELS ? rows : MAX(GRADIENT_PIXELS / columns, 1);
    int64_t x_size = most_pairs * (most_rows + 2) * w * inputs * 2;
    int64_t grad_size = most_pairs * most_rows * columns * OUTPUTS * 2;
    int64_t wider = MAX(c, outputs) * w; /* a row of zeros */
    int64_t of_all = in_blocks * x_size + 2 * 31; /* see pack_inputs */
    uint16_t *room = malloc((size_t)(of_all + out_blocks * grad_size + wider) * sizeof(uint16_t));
    if (!room)
        return -1;
    uint16_t *of_x = room, *of_grad = room + of_all, *none = of_grad + out_blocks * grad_size;
    memset(none, 0, (size_t)wider * sizeof(uint16_t));
    for (int64_t first = 0; first < n; first += 2 * most_pairs)
        for (int64_t top = 0; top < rows; top += most_rows) {
            int64_t pairs = MIN(most_pairs, (n - first + 1) / 2), high = MIN(most_rows, rows - top);
            for (int64_t pair = 0; pair < pairs; pair++) {
                int64_t i = first + 2 * pair;
                for (int64_t row = 0; row < high + 2; row++) {
                    const uint16_t *a = x + (i * h + top + row) * w * c, *b = i + 1 < n ? a + h * w * c : none;
                    for (int64_t block = 0; block < in_blocks; block++)
                        LEVELLED(pack_inputs)(a + block * inputs, b + block * inputs,
                                              of_x + block * x_size + (pair * (high + 2) + row) * w * inputs * 2, w, c,
                                              inputs, MIN(inputs, c - block * inputs));
                }
                for (int64_t row = 0; row < high; row++) {
                    const uint16_t *a = grad + (i * rows + top + row) * columns * outputs;
                    const uint16_t *b = i + 1 < n ? a + of_pair * outputs : none;
                    for (int64_t block = 0; block < out_blocks; block++)
                        LEVELLED(pack_outputs)(a + block * OUTPUTS, b + block * OUTPUTS,
                                               of_grad + block * grad_size + (pair * high + row) * columns * OUTPUTS * 2,
                                               columns, outputs, MIN(OUTPUTS, outputs - block * OUTPUTS));
                }
            }
            float *to = sums;
            for (int64_t block = 0; block < out_blocks; block++)
                for (int64_t row = 0; row < 3; row++)
                    for (int64_t k = 0; k < in_blocks; k++, to += 3 * inputs * OUTPUTS) {
                        const uint16_t *from = of_x + k * x_size + row * w * inputs * 2;
                        if (inputs == 3)
                            LEVELLED(gradient_3)(from, of_grad + block * grad_size, to, pairs, high, columns);
                        else
                            LEVELLED(gradient_4)(from, of_grad + block * grad_size, to, pairs, high, columns);
                    }
        }
    free(room);
    return 0;
}

/* The sums of add_gradient as (outputs, 3, 3, c). */
static void LEVELLED(take_gradient)(const float *restrict sums, float *restrict out, int64_t c, int64_t outputs)
{
    int64_t inputs = LEVELLED(inputs_of_block)(c), in_blocks = (c + inputs - 1) / inputs;
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t row = 0; row < 3; row++)
            for (int64_t column = 0; column < 3; column++)
                for (int64_t k = 0; k < c; k++) {
                    int64_t block = (o / OUTPUTS * 3 + row) * in_blocks + k / inputs;
                    out[((o * 3 + row) * 3 + column) * c + k] =
                        sums[((block * 3 + column) * inputs + k % inputs) * OUTPUTS + o % OUTPUTS];
                }
}

/* A row of the gradient towards the input, of width columns + 2 and vectors registers of input channels: of those rows
   of grad that reach it, each value to the three places that it came from. */
ALWAYS_INLINE void LEVELLED(backward_row)(int columns, int vectors, const uint16_t *restrict grad,
                                          const uint16_t *restrict weights, uint16_t *restrict out, int64_t first,
                                          int64_t last, int64_t c, int64_t outputs, int64_t m)
{
    __m512 sums[MOST_PIXELS + 2][2];
#pragma GCC unroll 15
    for (int r = 0; r < columns + 2; r++)
        for (int v = 0; v < vectors; v++)
            sums[r][v] = _mm512_setzero_ps();
    int64_t pairs = (outputs + 1) / 2;
    for (int64_t row = first; row <= last; row++) {
        const uint16_t *from = grad - row * columns * outputs;
        const uint16_t *at = weights + row * pairs * 3 * vectors * 32;
        for (int64_t pair = 0; pair < pairs; pair++, at += 3 * vectors * 32) {
            const uint16_t *values = from + MIN(2 * pair, outputs - 2);
            __m512bh b[3][2];
#pragma GCC unroll 3
            for (int k = 0; k < 3; k++)
#pragma GCC unroll 2
                for (int v = 0; v < vectors; v++)
                    b[k][v] = (__m512bh)_mm512_loadu_si512(at + (k * vectors + v) * 32);
#pragma GCC unroll 13
            for (int r = 0; r < columns; r++) {
                __m512bh a = LEVELLED(both)(values + r * outputs);
#pragma GCC unroll 3
                for (int k = 0; k < 3; k++)
#pragma GCC unroll 2
                    for (int v = 0; v < vectors; v++)
                        sums[r + k][v] = _mm512_dpbf16_ps(sums[r + k][v], a, b[k][v]);
            }
        }
    }
#pragma GCC unroll 15
    for (int r = 0; r < columns + 2; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            if (m > 16 * v)
                put_bfloat16(out + r * c + 16 * v, (floats)sums[r][v], MIN(m - 16 * v, 16));
}

#define COLUMNS(count, vectors)                                                                                        \
    case count:                                                                                                        \
        LEVELLED(backward_row)(count, vectors, grad, weights, out, first, last, c, outputs, m);                        \
        break;

static void LEVELLED(backward_any_row)(int64_t columns, const uint16_t *restrict grad, const uint16_t *restrict weights,
                                       uint16_t *restrict out, int64_t first, int64_t last, int64_t c, int64_t outputs,
                                       int64_t m)
{
    switch (columns) {
        COLUMNS(1, 2) COLUMNS(2, 2) COLUMNS(3, 2) COLUMNS(4, 2) COLUMNS(5, 2) COLUMNS(6, 2) COLUMNS(7, 1)
        COLUMNS(8, 1) COLUMNS(9, 1) COLUMNS(10, 1) COLUMNS(11, 1) COLUMNS(12, 1) COLUMNS(13, 1)
    }
}
#undef COLUMNS

/* out (n, h, w, c), the gradient towards the input, from grad (n, h - 2, w - 2, outputs). w is at most MOST_PIXELS + 2,
   outputs at least 2. Returns -1 where memory is lacking. */
static int LEVELLED(convolve_backward)(const uint16_t *restrict grad, const uint16_t *restrict weights,
                                       uint16_t *restrict out, int64_t n, int64_t h, int64_t w, int64_t c,
                                       int64_t outputs)
{
    int64_t rows = h - 2, columns = w - 2, vectors = columns <= 6 ? 2 : 1, width = 16 * vectors;
    int64_t blocks = (c + width - 1) / width, pairs = (outputs + 1) / 2, size = 3 * pairs * 3 * width * 2;
    uint16_t *packed = calloc((size_t)(blocks * size), sizeof(uint16_t)); /* [block][row][pair][column][width][2] */
    if (!packed)
        return -1;
    for (int64_t o = 0; o < outputs; o++) {
        int64_t second = o % 2 || (o == outputs - 1 && outputs % 2); /* as in forward_pixels */
        for (int64_t place = 0; place < 9; place++)
            for (int64_t block = 0; block < blocks; block++) {
                uint16_t *to = packed + block * size + ((place / 3 * pairs + o / 2) * 3 + place % 3) * width * 2 + second;
                const uint16_t *from = weights + (o * 9 + place) * c + block * width;
                int64_t m = MIN(width, c - block * width);
                for (int64_t k = 0; k < m; k++)
                    to[2 * k] = from[k];
            }
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t block = 0; block < blocks; block++)
            for (int64_t row = 0; row < h; row++)
                LEVELLED(backward_any_row)(columns, grad + (i * rows + row) * columns * outputs, packed + block * size,
                                           out + (i * h + row) * w * c + block * width, MAX(row - rows + 1, 0),
                                           MIN(row, 2), c, outputs, MIN(width, c - block * width));
    free(packed);
    return 0;
}
