/* simd.h: one small vector type, as wide as the target instruction set.
 *
 * `vec` is a GCC/Clang *vector extension*: an ordinary C type of LANES floats on which + - * / and
 * the comparisons work lane by lane. The same source becomes AVX-512 (16 lanes), AVX2 (8), SSE2 or
 * NEON (4) code. The build passes -ffp-contract=fast, so a * b + c becomes one fused multiply-add
 * (FMA) where the instruction set has one. */
#pragma once
#include <stdlib.h>
#include "minillm.h"
#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_thread_num(void) { return 0; }
#endif

/* The number of floats in a vector register, and the number of such registers. */
#if defined(__AVX512F__)
enum { LANES = 16, VEC_REGISTERS = 32 };
#elif defined(__AVX__)
enum { LANES = 8, VEC_REGISTERS = 16 };
#elif defined(__aarch64__)
enum { LANES = 4, VEC_REGISTERS = 32 };
#else
enum { LANES = 4, VEC_REGISTERS = 16 }; /* SSE2, and the fallback for any other chip */
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float unaligned_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline vec load(const float *p) { return *(const unaligned_vec *)p; }
static inline void store(float *p, vec x) { *(unaligned_vec *)p = x; }

/* The same number in every lane. (x - 0 is x for every x, so the compiler emits only a
 * broadcast.) */
static inline vec broadcast(float x) { return x - (vec){0}; }

/* The sum of all lanes, by halves: add to each lane the one that is n lanes away. */
static inline float horizontal_sum(vec x) {
    #pragma GCC unroll 4
    for (int n = LANES / 2; n > 0; n /= 2) {
        vec other = {0};
        #pragma GCC unroll 16
        for (int l = 0; l < LANES; l++)
            other[l] = x[l ^ n];
        x += other;
    }
    return x[0];
}

/* exp(x) for x <= 88. Unlike a call of expf(), it can be vectorized in a loop.
 * exp(x) = 2^t = 2^n 2^r with t = x log2(e), n = round(t) and r = t - n, so |r| <= 1/2.
 *
 *   2^r   The minimax polynomial 1 + r (...) on [-1/2, 1/2]: a relative error of at most 1e-7.
 *   2^n   Adding 1.5 * 2^23 to t shifts its fraction out of the mantissa. That rounds t, and leaves
 *         n in the lowest bits. Adding 127 more leaves n + 127 there, which is how a float stores
 *         the exponent n. Shifted into the exponent's bits, it is 2^n.
 *
 * Rounding t acts like an error of 1.25 * 2^-24 |x| in x; beyond that the error is below 2.5 units
 * in the last place. t < `smallest`, at least -126.5, gives 0; NaN gives NaN. */
static inline float exp_or_zero(float x, const float smallest) {
    const float LOG2_E = 1.44269504f, ROUND = 12582912.0f + 127.0f;
    float t = x * LOG2_E;
    union { float value; uint32_t bits; } shifted = {t + ROUND}, power;
    float r = t - (shifted.value - ROUND), p = r * 1.326472707e-3f + 9.671512649e-3f;
    p = p * r + 5.550733744e-2f;
    p = p * r + 2.402224209e-1f;
    p = p * r + 6.931469776e-1f;
    power.bits = shifted.bits << 23;
    return t < smallest ? 0 : (p * r + 1.0f) * power.value;
}

static inline float fast_exp(float x) { return exp_or_zero(x, -126.5f); }

static inline isize min(isize a, isize b) { return a < b ? a : b; }
static inline isize max(isize a, isize b) { return a > b ? a : b; }
static inline isize round_up(isize n, isize to) { return (n + to - 1) / to * to; }

/* Memory for n floats, aligned to a cache line (never 0 bytes). NULL if there is none. */
static inline float *allocate(isize n) { return aligned_alloc(64, round_up(4 * n + 1, 64)); }

/* The number of threads for a kernel of `work` multiply-adds (threads.c): all of them from a
 * million up, because waking a second thread takes about 10 microseconds, the time of half a
 * million multiply-adds. A number loaded from main memory takes the time of 16 multiply-adds. */
int threads_for(double work);
