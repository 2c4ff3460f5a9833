/* Random bytes. Included once a level, with LEVELLED (a function's name with the level). */

/* size random bytes, a multiple of RANDOM_BLOCK: Philox4x32-7 (Salmon et al., SC 2011), 16 counters at a time. */
static void LEVELLED(random_bytes)(uint8_t *restrict to, int64_t size, uint64_t seed, uint64_t stream)
{
    for (int64_t start = 0; start < size; start += RANDOM_BLOCK) {
        uint32_t a[16], b[16], c[16], d[16];
        uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
        for (int l = 0; l < 16; l++) {
            a[l] = (uint32_t)(start / 16 + l);
            b[l] = 0;
            c[l] = (uint32_t)stream;
            d[l] = (uint32_t)(stream >> 32);
        }
        for (int round = 0; round < 7; round++) {
            for (int l = 0; l < 16; l++) {
                uint64_t p = (uint64_t)0xD2511F53u * a[l], q = (uint64_t)0xCD9E8D57u * c[l];
                uint32_t next_a = (uint32_t)(q >> 32) ^ b[l] ^ key0, next_c = (uint32_t)(p >> 32) ^ d[l] ^ key1;
                b[l] = (uint32_t)q;
                d[l] = (uint32_t)p;
                a[l] = next_a;
                c[l] = next_c;
            }
            key0 += 0x9E3779B9u;
            key1 += 0xBB67AE85u;
        }
        memcpy(to + start, a, 64);
        memcpy(to + start + 64, b, 64);
        memcpy(to + start + 128, c, 64);
        memcpy(to + start + 192, d, 64);
    }
}
