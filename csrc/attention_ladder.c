/* attention_ladder.c: causal attention in steps, from the whole matrix of weights to no matrix.
 *
 *     out_i = sum over j <= i of P_ij V_j
 *     P_ij = exp(S_ij) / sum over j <= i of exp(S_ij),   S_ij = Q_i . K_j / √D
 *
 * Plain C, one number at a time, as in matmul_ladder.c, for one head: Q, K, V and out (initially 0)
 * are contiguous, T x D. All rungs do the same T^2 D multiply-adds. They differ in how many scores
 * exist at a time, and so in the memory that holds them: L1, L2, L3 or main memory. The next rung,
 * with tiles of queries and keys in vectors, is attention.c. */
#include <math.h>
#include <string.h>
#include "simd.h"

/* S_ij from the rows q = Q_i and k = K_j */
static float score(isize D, const float *q, const float *k) {
    float sum = 0;
    for (isize d = 0; d < D; d++)
        sum += q[d] * k[d];
    return sum / sqrtf(D);
}

/* y = keep y + factor x */
static void blend(isize D, float keep, float *restrict y, float factor, const float *restrict x) {
    for (isize d = 0; d < D; d++)
        y[d] = keep * y[d] + factor * x[d];
}

/* The softmax of n numbers in place. */
static void softmax(isize n, float *S) {
    float largest = -INFINITY, sum = 0;
    for (isize j = 0; j < n; j++)
        largest = S[j] > largest ? S[j] : largest;
    for (isize j = 0; j < n; j++)
        sum += S[j] = expf(S[j] - largest);
    for (isize j = 0; j < n; j++)
        S[j] /= sum;
}

/* Rung 1: the formula, in three passes over the whole matrix S: the scores, their softmax, the
 * weighted sums of V. S takes 4 MB at T = 1,024 and 64 MB at 4,096: each pass fetches it from L3 or
 * main memory and does little work on it. */
static void three_passes(isize T, isize D, const float *Q, const float *K, const float *V,
                         float *out, float *S) {
    for (isize i = 0; i < T; i++)
        for (isize j = 0; j <= i; j++)
            S[i * T + j] = score(D, Q + i * D, K + j * D);
    for (isize i = 0; i < T; i++)
        softmax(i + 1, S + i * T);
    for (isize i = 0; i < T; i++)
        for (isize j = 0; j <= i; j++)
            blend(D, 1, out + i * D, S[i * T + j], V + j * D);
}

/* Rung 2: one row at a time. A query needs no other query's scores, so each row goes through the
 * three passes before the next row starts: 4 T bytes instead of 4 T^2, and a row stays in L1. What
 * remains: every query reads all of K and V, 8 T D bytes. */
static void row_at_a_time(isize T, isize D, const float *Q, const float *K, const float *V,
                          float *out, float *S) {
    for (isize i = 0; i < T; i++) {
        for (isize j = 0; j <= i; j++)
            S[j] = score(D, Q + i * D, K + j * D);
        softmax(i + 1, S);
        for (isize j = 0; j <= i; j++)
            blend(D, 1, out + i * D, S[j], V + j * D);
    }
}

/* Rung 3: the online softmax (Milakov and Gimelshein 2018, algorithm 3). The first exponential
 * needs the largest score, so softmax seems to need the whole row. But let m be the largest score
 * so far, l = sum exp(S - m) and out = sum exp(S - m) V. When a larger m' comes, multiply both by
 * exp(m - m'), and they are right again. Two numbers replace a row, and each key is read once.
 * That alone isn't faster, because every key may bring a correction. But now the keys can come in
 * pieces of any size, and a piece in L1 or L2 can serve many queries: the tiles of attention.c. */
static void online(isize T, isize D, const float *Q, const float *K, const float *V, float *out) {
    for (isize i = 0; i < T; i++) {
        float m = -INFINITY, l = 0;
        for (isize j = 0; j <= i; j++) {
            float s = score(D, Q + i * D, K + j * D), larger = s > m ? s : m;
            float keep = expf(m - larger), p = expf(s - larger);
            l = keep * l + p;
            blend(D, keep, out + i * D, p, V + j * D);
            m = larger;
        }
        for (isize d = 0; d < D; d++)
            out[i * D + d] /= l;
    }
}

void minillm_attention_rung(int rung, isize heads, isize T, isize D, const float *Q,
                            const float *K, const float *V, float *out, float *S) {
    memset(out, 0, heads * T * D * sizeof(float));
    for (; heads > 0; heads--, Q += T * D, K += T * D, V += T * D, out += T * D)
        if (rung == 1)
            three_passes(T, D, Q, K, V, out, S);
        else if (rung == 2)
            row_at_a_time(T, D, Q, K, V, out, S);
        else
            online(T, D, Q, K, V, out);
}
