/* LANES floats at a time, one register of a level, in the vector types of gcc and clang. Included once a level.

   Left to itself, gcc takes as many lanes as there are bytes in a register where a loop also reads bytes, and falls back
   to single values when there are fewer channels. Of vectors wider than a register it makes single values, too. */

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t words __attribute__((vector_size(4 * LANES)));
typedef uint32_t unsigned_words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(LANES)));

ALWAYS_INLINE floats get_float32(const float *from, int64_t m)
{
    floats out = {0};
    memcpy(&out, from, (size_t)m * sizeof(float));
    return out;
}

ALWAYS_INLINE void put_float32(float *to, floats values, int64_t m)
{
    memcpy(to, &values, (size_t)m * sizeof(float));
}

/* gcc 12 widens a vector half by half, and one of bytes value by value. */
#if LANES == 16
#define WIDEN_HALVES(narrow) ((unsigned_words)_mm512_cvtepu16_epi32((__m256i)(narrow)))
#define WIDEN_BYTES(narrow) ((words)_mm512_cvtepu8_epi32((__m128i)(narrow)))
#elif LANES == 8
#define WIDEN_HALVES(narrow) ((unsigned_words)_mm256_cvtepu16_epi32((__m128i)(narrow)))
#define WIDEN_BYTES(narrow) ((words)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)&(narrow))))
#else
#define WIDEN_HALVES(narrow) __builtin_convertvector(narrow, unsigned_words)
#define WIDEN_BYTES(narrow) __builtin_convertvector(narrow, words)
#endif

ALWAYS_INLINE floats get_bfloat16(const uint16_t *from, int64_t m)
{
    halves narrow = {0};
    memcpy(&narrow, from, (size_t)m * sizeof(uint16_t));
    return (floats)(WIDEN_HALVES(narrow) << 16);
}

/* a where left is at most (below, equal to) right, b elsewhere. Of a comparison of AVX-512, whose result is a mask, gcc
   makes a vector and then a mask again: half of a kernel's time. */
#if LANES == 16
ALWAYS_INLINE floats where_at_most(floats left, floats right, floats a, floats b)
{
    __mmask16 mask = _mm512_cmp_ps_mask((__m512)left, (__m512)right, _CMP_LE_OQ);
    return (floats)_mm512_mask_blend_ps(mask, (__m512)b, (__m512)a);
}

ALWAYS_INLINE words words_where_at_most(floats left, floats right, words a, words b)
{
    __mmask16 mask = _mm512_cmp_ps_mask((__m512)left, (__m512)right, _CMP_LE_OQ);
    return (words)_mm512_mask_blend_epi32(mask, (__m512i)b, (__m512i)a);
}

ALWAYS_INLINE floats where_below(words left, int32_t right, floats a, floats b)
{
    __mmask16 mask = _mm512_cmplt_epi32_mask((__m512i)left, _mm512_set1_epi32(right));
    return (floats)_mm512_mask_blend_ps(mask, (__m512)b, (__m512)a);
}

ALWAYS_INLINE floats where_equal(words left, int32_t right, floats a, floats b)
{
    __mmask16 mask = _mm512_cmpeq_epi32_mask((__m512i)left, _mm512_set1_epi32(right));
    return (floats)_mm512_mask_blend_ps(mask, (__m512)b, (__m512)a);
}
#else
/* a where the mask is all ones, b where it is all zeros. */
ALWAYS_INLINE words choose(words mask, words a, words b)
{
    return (a & mask) | (b & ~mask);
}

ALWAYS_INLINE floats where_at_most(floats left, floats right, floats a, floats b)
{
    return (floats)choose(left <= right, (words)a, (words)b);
}

ALWAYS_INLINE words words_where_at_most(floats left, floats right, words a, words b)
{
    return choose(left <= right, a, b);
}

ALWAYS_INLINE floats where_below(words left, int32_t right, floats a, floats b)
{
    return (floats)choose(left < right, (words)a, (words)b);
}

ALWAYS_INLINE floats where_equal(words left, int32_t right, floats a, floats b)
{
    return (floats)choose(left == right, (words)a, (words)b);
}
#endif

/* To the nearest, ties to even; a NaN stays one. AVX512-BF16 takes what is below 2^-126 for zero. */
ALWAYS_INLINE void put_bfloat16(uint16_t *to, floats values, int64_t m)
{
#ifdef PAIR_PRODUCTS
    __m256bh narrow = _mm512_cvtneps_pbh((__m512)values);
#else
    unsigned_words bits = (unsigned_words)values, high = bits >> 16;
    unsigned_words rounded = (bits + 0x7FFFu + (high & 1u)) >> 16;
    floats out = where_at_most(values, values, (floats)rounded, (floats)(high | 0x40u)); /* a NaN is not */
    halves narrow = __builtin_convertvector((unsigned_words)out, halves);
#endif
    memcpy(to, &narrow, (size_t)m * sizeof(uint16_t));
}

ALWAYS_INLINE words get_bytes(const uint8_t *from, int64_t m)
{
    bytes narrow = {0};
    memcpy(&narrow, from, (size_t)m);
    return WIDEN_BYTES(narrow);
}

ALWAYS_INLINE void put_bytes(uint8_t *to, words values, int64_t m)
{
    bytes narrow = __builtin_convertvector(values, bytes);
    memcpy(to, &narrow, (size_t)m);
}

/* relu; a NaN stays, so that it is not hidden. */
ALWAYS_INLINE floats relu_of(floats values)
{
    return where_at_most(values, (floats){0}, (floats){0}, values);
}

/* The larger of best and value, the first of equals, and its number; a NaN is taken. */
ALWAYS_INLINE void take_larger(floats *best, words *number, floats value, int32_t of_value)
{
    *number = words_where_at_most(value, *best, *number, (words){0} + of_value);
    *best = where_at_most(value, *best, *best, value);
}
#undef WIDEN_HALVES
#undef WIDEN_BYTES
