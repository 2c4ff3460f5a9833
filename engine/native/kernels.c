/* Kernels for a CPU, called through ctypes (see library.py), which holds no interpreter lock meanwhile.

   Each is compiled for several levels of instructions, and the caller says which: a run that goes on must use the level
   that it began with, since contracted products round otherwise. No kernel starts a thread. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

#define RANDOM_BLOCK 128

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* The body for every LANES of c channels from k on, and once more for the m that are left. */
#define OVER_CHANNELS(c, ...)                                                                                          \
    {                                                                                                                  \
        int64_t k = 0;                                                                                                 \
        for (; k + LANES <= (c); k += LANES) {                                                                         \
            enum { m = LANES };                                                                                        \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
        if (k < (c)) {                                                                                                 \
            int64_t m = (c) - k;                                                                                       \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }

#include "planes.h"
#include "sums.h"
#include "parts.h"

#define LEVEL plain
#define LANES 4
#include "level.h"
#undef LEVEL
#undef LANES

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LEVELS 3
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define LEVEL avx2
#define LANES 8
#include "level.h"
#undef LEVEL
#undef LANES
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,prefer-vector-width=512")
#define LEVEL avx512
#define LANES 16
#include "level.h"
#undef LEVEL
#undef LANES
#pragma GCC pop_options
#if __GNUC__ >= 11
#undef LEVELS
#define LEVELS 4
#define PAIR_PRODUCTS
#pragma GCC push_options
#pragma GCC target("avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,prefer-vector-width=512")
#define LEVEL avx512_bf16
#define LANES 16
#include "level.h"
#undef LEVEL
#undef LANES
#pragma GCC pop_options
#endif
#else
#define LEVELS 1
#endif

/* The number of levels that this processor and this build have: 1 plain, 2 AVX2 too, 3 AVX-512 too, 4 its products of
   bfloat16 pairs too. */
EXPORT int moco_levels(void)
{
#if LEVELS > 1
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")))
        return 1;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")))
        return 2;
#if LEVELS > 3
    if (__builtin_cpu_supports("avx512bf16"))
        return 4;
#endif
    return 3;
#else
    return 1;
#endif
}

#if LEVELS > 3
#define CASE_4(name, ...)                                                                                              \
    case 4:                                                                                                            \
        return wide ? name##_float32_avx512_bf16(__VA_ARGS__) : name##_bfloat16_avx512_bf16(__VA_ARGS__);
#else
#define CASE_4(name, ...)
#endif
#if LEVELS > 1
#define CALL(name, ...)                                                                                                \
    switch (level) {                                                                                                   \
        CASE_4(name, __VA_ARGS__)                                                                                      \
    case 3:                                                                                                            \
        return wide ? name##_float32_avx512(__VA_ARGS__) : name##_bfloat16_avx512(__VA_ARGS__);                        \
    case 2:                                                                                                            \
        return wide ? name##_float32_avx2(__VA_ARGS__) : name##_bfloat16_avx2(__VA_ARGS__);                            \
    default:                                                                                                           \
        return wide ? name##_float32_plain(__VA_ARGS__) : name##_bfloat16_plain(__VA_ARGS__);                          \
    }
#else
#define CALL(name, ...)                                                                                                \
    return wide ? name##_float32_plain(__VA_ARGS__) : name##_bfloat16_plain(__VA_ARGS__);
#endif

/* level: 1 to moco_levels(). wide: values are float32, else bfloat16. The rest is described in block.h. */

EXPORT int moco_statistics(int level, int wide, const void *x, int64_t n, int64_t p, int64_t c, float eps, float *mean,
                           float *inverse, float *variance)
{
    CALL(statistics, x, n, p, c, eps, mean, inverse, variance)
}

EXPORT int moco_apply(int level, int wide, const void *x, const void *residual, const float *mean, const float *scale,
                      const float *bias, void *out, int64_t pixels, int64_t c, int relu)
{
    CALL(apply, x, residual, mean, scale, bias, out, pixels, c, relu)
}

EXPORT int moco_apply_pooled(int level, int wide, const void *x, const float *mean, const float *scale,
                             const float *bias, void *out, uint8_t *winner, int64_t n, int64_t h, int64_t w, int64_t c,
                             int keep, uint64_t seed, int64_t first)
{
    CALL(apply_pooled, x, mean, scale, bias, out, winner, n, h, w, c, keep, seed, first)
}

EXPORT int moco_pooled(int level, int wide, const void *x, const float *weight, const float *bias, float eps, void *out,
                       uint8_t *winner, float *mean, float *inverse, float *variance, int64_t n, int64_t h, int64_t w,
                       int64_t c, int keep, uint64_t seed)
{
    CALL(pooled, x, weight, bias, eps, out, winner, mean, inverse, variance, n, h, w, c, keep, seed)
}

EXPORT int moco_backward(int level, int wide, const void *grad, const void *x, const void *out, const float *weight,
                         const float *mean, const float *inverse, void *grad_x, void *grad_residual,
                         float *grad_weight, float *grad_bias, int64_t n, int64_t p, int64_t c)
{
    CALL(backward, grad, x, out, weight, mean, inverse, grad_x, grad_residual, grad_weight, grad_bias, n, p, c)
}

EXPORT int moco_backward_pooled(int level, int wide, const void *grad, const void *x, const uint8_t *winner,
                                const float *weight, const float *mean, const float *inverse, float factor,
                                void *grad_x, float *grad_weight, float *grad_bias, int64_t n, int64_t h, int64_t w,
                                int64_t c)
{
    CALL(backward_pooled, grad, x, winner, weight, mean, inverse, factor, grad_x, grad_weight, grad_bias, n, h, w, c)
}

/* The same in two stages, for a batch in parts: see parts.h. */

EXPORT int moco_backward_sums(int level, int wide, const void *grad, const void *x, const void *out, const float *mean,
                              double *sums, int64_t n, int64_t p, int64_t c)
{
    CALL(backward_sums, grad, x, out, mean, sums, n, p, c)
}

EXPORT int moco_backward_apply(int level, int wide, const void *grad, const void *x, const void *out,
                               const float *mean, const float *coefficients, void *grad_x, void *grad_residual,
                               int64_t pixels, int64_t c)
{
    CALL(backward_apply, grad, x, out, mean, coefficients, grad_x, grad_residual, pixels, c)
}

EXPORT int moco_backward_pooled_sums(int level, int wide, const void *grad, const void *x, const uint8_t *winner,
                                     const float *mean, double *sums, int64_t n, int64_t h, int64_t w, int64_t c)
{
    CALL(backward_pooled_sums, grad, x, winner, mean, sums, n, h, w, c)
}

EXPORT int moco_backward_pooled_apply(int level, int wide, const void *grad, const void *x, const uint8_t *winner,
                                      const float *mean, const float *coefficients, void *grad_x, int64_t n, int64_t h,
                                      int64_t w, int64_t c)
{
    CALL(backward_pooled_apply, grad, x, winner, mean, coefficients, grad_x, n, h, w, c)
}

EXPORT int moco_combine_statistics(const float *means, const float *variances, const int64_t *counts, int64_t parts,
                                   int64_t c, float eps, float *mean, float *inverse, float *variance)
{
    combine_statistics(means, variances, counts, parts, c, eps, mean, inverse, variance);
    return 0;
}

EXPORT int moco_combine_sums(const double *sums, int64_t parts, int64_t own, const float *weight, const float *inverse,
                             int64_t count, float factor, int64_t c, float *coefficients, float *grad_weight,
                             float *grad_bias)
{
    return combine_sums(sums, parts, own, weight, inverse, (double)count, factor, c, coefficients, grad_weight,
                        grad_bias);
}

/* indices: of the images (., 3, h, w) to take, n of them; params: (n, PARAMS); how: see planes.h; mean, std: of each
   channel. out: (n, size, size, 3), normalised. */
EXPORT int moco_augment(int level, int wide, const void *how, const uint8_t *images, const int64_t *indices,
                        const float *params, const float *mean, const float *std, void *out, int64_t n, int64_t h,
                        int64_t w)
{
#if LEVELS > 3
    if (level == 4)
        return augment_avx512_bf16(how, wide, images, indices, params, mean, std, out, n, h, w);
#endif
#if LEVELS > 1
    if (level == 3)
        return augment_avx512(how, wide, images, indices, params, mean, std, out, n, h, w);
    if (level == 2)
        return augment_avx2(how, wide, images, indices, params, mean, std, out, n, h, w);
#endif
    (void)level;
    return augment_plain(how, wide, images, indices, params, mean, std, out, n, h, w);
}

/* Keys of a queue as moco_logsumexp takes them; see dictionary.h. level: one that multiplies bfloat16 pairs. */
EXPORT int moco_pack_keys(int level, const float *queue, uint16_t *logits_form, uint16_t *mean_form, int64_t first,
                          int64_t count, int64_t keys, int64_t dim)
{
#ifdef PAIR_PRODUCTS
    if (level == 4) {
        pack_keys_avx512_bf16(queue, logits_form, mean_form, first, count, keys, dim);
        return 0;
    }
#endif
    (void)level, (void)queue, (void)logits_form, (void)mean_form, (void)first, (void)count, (void)keys, (void)dim;
    return -1;
}

/* logsumexp of q . key / temperature over the packed keys, and its gradient towards q (or NULL). */
EXPORT int moco_logsumexp(int level, const float *q, const uint16_t *logits_form, const uint16_t *mean_form,
                          float temperature, float *out, float *gradient, int64_t n, int64_t keys, int64_t dim)
{
#ifdef PAIR_PRODUCTS
    if (level == 4)
        return logsumexp_avx512_bf16(q, logits_form, mean_form, temperature, out, gradient, n, keys, dim);
#endif
    (void)level, (void)q, (void)logits_form, (void)mean_form, (void)temperature, (void)out, (void)gradient, (void)n;
    (void)keys, (void)dim;
    return -1;
}

/* InfoNCE of embeddings and their keys over the packed keys, (n,), and its gradient; see dictionary.h. */
EXPORT int moco_info_nce(int level, const float *embeddings, const float *positives, const uint16_t *logits_form,
                         const uint16_t *mean_form, float temperature, float factor, float *loss, float *gradient,
                         int64_t n, int64_t keys, int64_t dim)
{
#ifdef PAIR_PRODUCTS
    if (level == 4)
        return info_nce_avx512_bf16(embeddings, positives, logits_form, mean_form, temperature, factor, loss, gradient,
                                    n, keys, dim);
#endif
    (void)level, (void)embeddings, (void)positives, (void)logits_form, (void)mean_form, (void)temperature;
    (void)factor, (void)loss, (void)gradient, (void)n, (void)keys, (void)dim;
    return -1;
}

/* Convolutions 3x3; see convolution.h. level: one that multiplies bfloat16 pairs. */
EXPORT int moco_convolve(int level, const uint16_t *x, const uint16_t *weights, uint16_t *out, int64_t n, int64_t h,
                         int64_t w, int64_t c, int64_t outputs)
{
#ifdef PAIR_PRODUCTS
    if (level == 4)
        return convolve_avx512_bf16(x, weights, out, n, h, w, c, outputs);
#endif
    (void)level, (void)x, (void)weights, (void)out, (void)n, (void)h, (void)w, (void)c, (void)outputs;
    return -1;
}

EXPORT int moco_convolve_backward(int level, const uint16_t *grad, const uint16_t *weights, uint16_t *out, int64_t n,
                                  int64_t h, int64_t w, int64_t c, int64_t outputs)
{
#ifdef PAIR_PRODUCTS
    if (level == 4)
        return convolve_backward_avx512_bf16(grad, weights, out, n, h, w, c, outputs);
#endif
    (void)level, (void)grad, (void)weights, (void)out, (void)n, (void)h, (void)w, (void)c, (void)outputs;
    return -1;
}

EXPORT int moco_add_gradient(int level, const uint16_t *x, const uint16_t *grad, float *sums, int64_t n, int64_t h,
                             int64_t w, int64_t c, int64_t outputs)
{
#ifdef PAIR_PRODUCTS
    if (level == 4)
        return add_gradient_avx512_bf16(x, grad, sums, n, h, w, c, outputs);
#endif
    (void)level, (void)x, (void)grad, (void)sums, (void)n, (void)h, (void)w, (void)c, (void)outputs;
    return -1;
}

EXPORT int moco_take_gradient(int level, const float *sums, float *out, int64_t c, int64_t outputs)
{
#ifdef PAIR_PRODUCTS
    if (level == 4) {
        take_gradient_avx512_bf16(sums, out, c, outputs);
        return 0;
    }
#endif
    (void)level, (void)sums, (void)out, (void)c, (void)outputs;
    return -1;
}

/* images (n, 3, pixels) of bytes to out (n, pixels, 3): (byte / 255 - mean) / std. Of every byte and channel once, which
   has the same bits at every level. Returns 0. */
EXPORT int moco_normalise(const uint8_t *images, const float *mean, const float *std, float *out, int64_t n,
                          int64_t pixels)
{
    float values[3][256];
    for (int plane = 0; plane < 3; plane++)
        for (int byte = 0; byte < 256; byte++)
            values[plane][byte] = ((float)byte / 255.0f - mean[plane]) / std[plane];
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *red = images + i * 3 * pixels, *green = red + pixels, *blue = green + pixels;
        float *to = out + i * 3 * pixels;
        for (int64_t k = 0; k < pixels; k++) {
            to[3 * k] = values[0][red[k]];
            to[3 * k + 1] = values[1][green[k]];
            to[3 * k + 2] = values[2][blue[k]];
        }
    }
    return 0;
}

/* The module itself is empty: it is how the library is built, found and kept with the package. */
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModule_Create(&module);
}
