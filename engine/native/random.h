/* Random bytes. Included once a level, with LEVELLED (a function's name with the level). */

typedef uint64_t LEVELLED(longs) __attribute__((vector_size(4 * LANES)));
#define longs LEVELLED(longs)

/* The products of the lower halves. gcc makes three multiplications of the general form. */
#if LANES == 16
#define MULTIPLY(a, b) ((longs)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#elif LANES == 8
#define MULTIPLY(a, b) ((longs)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif defined(__SSE2__)
#define MULTIPLY(a, b) ((longs)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#else
#define MULTIPLY(a, b) (((a) & 0xFFFFFFFFu) * ((b) & 0xFFFFFFFFu))
#endif

/* size random bytes, a multiple of RANDOM_BLOCK: Philox4x32-7 (Salmon et al., SC 2011).

   Eight counters make a block: the first two words of each, then the other two. A lane of 64 bits holds a word of a
   counter in its lower half; what is in the upper one does no harm before the end. */
static void LEVELLED(random_bytes)(uint8_t *restrict to, int64_t size, uint64_t seed, uint64_t stream)
{
    enum { COUNTERS = LANES / 2 };
    longs none = {0}, m0 = none + 0xD2511F53u, m1 = none + 0xCD9E8D57u, number;
    for (int l = 0; l < COUNTERS; l++)
        number[l] = (uint64_t)l;
    for (int64_t start = 0; start < size; start += RANDOM_BLOCK)
        for (int first = 0; first < 8; first += COUNTERS) {
            longs a = number + (uint64_t)(start / 16 + first), b = none;
            longs c = none + (stream & 0xFFFFFFFFu), d = none + (stream >> 32);
            uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
            for (int round = 0; round < 7; round++) {
                longs p = MULTIPLY(m0, a), q = MULTIPLY(m1, c);
                a = (q >> 32) ^ b ^ key0;
                c = (p >> 32) ^ d ^ key1;
                b = q;
                d = p;
                key0 += 0x9E3779B9u;
                key1 += 0xBB67AE85u;
            }
            longs front = (a & 0xFFFFFFFFu) | (b << 32), back = (c & 0xFFFFFFFFu) | (d << 32);
            memcpy(to + start + 8 * first, &front, sizeof front);
            memcpy(to + start + 64 + 8 * first, &back, sizeof back);
        }
}
#undef MULTIPLY
#undef longs
