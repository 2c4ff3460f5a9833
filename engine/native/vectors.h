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

ALWAYS_INLINE floats get_bfloat16(const uint16_t *from, int64_t m)
{
    halves narrow = {0};
    memcpy(&narrow, from, (size_t)m * sizeof(uint16_t));
    return (floats)(__builtin_convertvector(narrow, unsigned_words) << 16);
}

/* a where the mask is all ones, b where it is all zeros. */
ALWAYS_INLINE words choose(words mask, words a, words b)
{
    return (a & mask) | (b & ~mask);
}

ALWAYS_INLINE floats choose_floats(words mask, floats a, floats b)
{
    return (floats)choose(mask, (words)a, (words)b);
}

/* To the nearest, ties to even; a NaN stays one. */
ALWAYS_INLINE void put_bfloat16(uint16_t *to, floats values, int64_t m)
{
    unsigned_words bits = (unsigned_words)values, high = bits >> 16;
    unsigned_words rounded = (bits + 0x7FFFu + (high & 1u)) >> 16;
    words is_nan = values != values;
    halves narrow = __builtin_convertvector((unsigned_words)choose(is_nan, (words)(high | 0x40u), (words)rounded), halves);
    memcpy(to, &narrow, (size_t)m * sizeof(uint16_t));
}

ALWAYS_INLINE words get_bytes(const uint8_t *from, int64_t m)
{
    bytes narrow = {0};
    memcpy(&narrow, from, (size_t)m);
    return __builtin_convertvector(narrow, words);
}

ALWAYS_INLINE void put_bytes(uint8_t *to, words values, int64_t m)
{
    bytes narrow = __builtin_convertvector(values, bytes);
    memcpy(to, &narrow, (size_t)m);
}

/* relu; a NaN stays, so that it is not hidden. */
ALWAYS_INLINE floats relu_of(floats values)
{
    return choose_floats(values <= 0.0f, (floats){0}, values);
}

/* The larger of best and value, the first of equals, and its number; a NaN is taken. */
ALWAYS_INLINE void take_larger(floats *best, words *number, floats value, int32_t of_value)
{
    words stays = value <= *best;
    *best = choose_floats(stays, *best, value);
    *number = choose(stays, *number, (words){0} + of_value);
}
