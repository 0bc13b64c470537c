/* simd.h: one small vector type, as wide as the instruction set that is being compiled for.
 *
 * `vec` is a GCC/Clang *vector extension*: an ordinary C type of LANES floats for which + - * / and
 * the comparisons work lane by lane. The same source becomes AVX-512 (16 lanes), AVX2 (8), SSE2
 * or NEON (4) code. a * b + c becomes one fused multiply-add (FMA) where the instruction set has
 * it, because the build says -ffp-contract=fast. */
#pragma once
#include <stdlib.h>
#include "minillm.h"
#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_thread_num(void) { return 0; }
#endif

/* How many floats a vector register holds, and how many of these registers there are. */
#if defined(__AVX512F__)
enum { LANES = 16, VEC_REGISTERS = 32 };
#elif defined(__AVX__)
enum { LANES = 8, VEC_REGISTERS = 16 };
#elif defined(__aarch64__)
enum { LANES = 4, VEC_REGISTERS = 32 };
#else
enum { LANES = 4, VEC_REGISTERS = 16 }; /* SSE2, and whatever else there is */
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float unaligned_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline vec load(const float *p) { return *(const unaligned_vec *)p; }
static inline void store(float *p, vec x) { *(unaligned_vec *)p = x; }

/* The same number in every lane. (x - 0 is x for every x, so this is a broadcast and no more.) */
static inline vec broadcast(float x) { return x - (vec){0}; }

static inline float horizontal_sum(vec x) {
    float sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += x[l];
    return sum;
}

/* exp(x) for x <= 88, in loops that the compiler makes vectors of (expf() would be called for each
 * number alone): 2^t = 2^n 2^r with t = x log2(e), n = round(t) and r = t - n, so that |r| <= 1/2.
 *
 * 2^r is the polynomial 1 + r (...) whose largest relative error on [-1/2, 1/2] is least: 1e-7.
 * For 2^n, adding 1.5 * 2^23 to t pushes its fraction out of the mantissa: that rounds it, and
 * leaves n in the lowest bits. Adding 127 more leaves n + 127 there, which is how a float stores
 * the exponent n; shifted to the exponent's place, it is 2^n.
 * t is rounded, as if x had been off by 1.25 * 2^-24 |x|; 2^t is off by less than 2.5 units in the
 * last place. 0 for t < -126.5; NaN stays NaN. */
static inline float exp_(float x) {
    const float LOG2_E = 1.44269504f, ROUND = 12582912.0f + 127.0f;
    float t = x * LOG2_E;
    union { float value; uint32_t bits; } shifted = {t + ROUND}, power;
    float r = t - (shifted.value - ROUND), p = r * 1.326472707e-3f + 9.671512649e-3f;
    p = p * r + 5.550733744e-2f;
    p = p * r + 2.402224209e-1f;
    p = p * r + 6.931469776e-1f;
    power.bits = shifted.bits << 23;
    return t < -126.5f ? 0 : (p * r + 1.0f) * power.value;
}

static inline isize min(isize a, isize b) { return a < b ? a : b; }
static inline isize max(isize a, isize b) { return a > b ? a : b; }
static inline isize round_up(isize n, isize to) { return (n + to - 1) / to * to; }

/* Memory for n floats (never 0 bytes) that begins with a cache line; NULL if there is none. */
static inline float *allocate(isize n) { return aligned_alloc(64, round_up(4 * n + 1, 64)); }

/* How many threads a kernel of `work` multiply-adds gets (threads.c): all of them above a million, as
 * a second thread needs about 10 microseconds, or half a million multiply-adds, to start. A number
 * that comes from memory takes as long as 16 multiply-adds. */
int threads_for(double work);
