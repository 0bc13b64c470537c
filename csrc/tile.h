/* tile.h: the register tile, the core of every matrix product; its simplest use; packing. */
#pragma once
#include <string.h>
#include "simd.h"

/* A tile is R rows and V vectors of C, whose sums stay in registers while k runs.
 *
 * An FMA takes 4 cycles and two can start in each cycle, so at least 8 independent sums must be in
 * flight. For each k the tile loads V vectors of B and R numbers of A for R V FMAs: the larger the
 * tile, the fewer loads for each FMA. With 32 registers, 8 rows of 3 vectors are 24 sums (+ 3 of B
 * + 1 of A) and need 11 loads; with 16 registers, 4 rows are 12 sums (+ 3 + 1). Fewer instructions
 * help even where the loads keep pace: if a hyperthread shares the core, each gets half of the
 * decoders. `product` works on two vectors (PAIR): the width of a tile of attention, and a divisor
 * of its D. MR is a power of two so that it divides attention's QUERIES and KEYS. */
enum { MR = VEC_REGISTERS == 32 ? 8 : 4, NR = 3 * LANES, PAIR = 2 * LANES };

/* Element (i, j) of a matrix is data[i * row + j * column]. Swapping the strides transposes it, so
 * one loop nest serves all combinations. */
typedef struct { float *data; isize row, column; } matrix;

static inline matrix transposed(matrix X) { return (matrix){X.data, X.column, X.row}; }

/* The part of X that starts at element (i, j). */
static inline matrix part(matrix X, isize i, isize j) {
    return (matrix){X.data + i * X.row + j * X.column, X.row, X.column};
}

/* A matrix of zeros of any size: with strides of 0, every tile of it is the same memory. */
static const float zeros[NR];
static const matrix zero_matrix = {(float *)zeros, 0, 0};

/* C = start + A B for R rows and V vectors of columns. All but A have contiguous rows. The loop
 * over k is unrolled four times, so counting and jumping cost next to nothing. */
static inline __attribute__((always_inline)) void
tile(const int R, const int V, isize K, matrix A, matrix B, matrix start, matrix C) {
    const float *a = A.data, *b = B.data;
    vec sums[MR][3], b_k[3];
    for (int i = 0; i < R; i++)
        for (int v = 0; v < V; v++)
            sums[i][v] = broadcast(0);
    #pragma GCC unroll 4
    for (isize k = 0; k < K; k++, a += A.column, b += B.row) {
        for (int v = 0; v < V; v++)
            b_k[v] = load(b + v * LANES);
        for (int i = 0; i < R; i++)
            for (int v = 0; v < V; v++)
                sums[i][v] += broadcast(a[i * A.row]) * b_k[v];
    }
    for (int i = 0; i < R; i++)
        for (int v = 0; v < V; v++)
            store(C.data + i * C.row + v * LANES,
                  load(start.data + i * start.row + v * LANES) + sums[i][v]);
}

/* The same for M rows and N columns, a multiple of V vectors. Nothing is packed, which suits small
 * matrices and few rows. */
static inline __attribute__((always_inline)) void
columns(const int V, isize M, isize N, isize K, matrix A, matrix B, matrix start, matrix C) {
    #define ROWS(R) tile(R, V, K, part(A, i, 0), part(B, 0, j), part(start, i, j), part(C, i, j))
    for (isize j = 0; j < N; j += V * LANES) {
        isize i = 0;
        for (; i + MR <= M; i += MR)
            ROWS(MR);
        for (; i + 4 <= M; i += 4)
            ROWS(4);
        for (; i < M; i++)
            ROWS(1);
    }
}

/* The same, with N a multiple of PAIR. */
static inline __attribute__((always_inline)) void
product(isize M, isize N, isize K, matrix A, matrix B, matrix start, matrix C) {
    columns(2, M, N, K, A, B, start, C);
}

typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));

/* Interleave the low or the high halves of x and y. */
static inline vec4 interleave_low(vec4 x, vec4 y) { return (vec4){x[0], y[0], x[1], y[1]}; }
static inline vec4 interleave_high(vec4 x, vec4 y) { return (vec4){x[2], y[2], x[3], y[3]}; }

/* target[j][i] = source[i][j] for 4 x 4 floats: two rounds of interleaving, two perfect
 * shuffles. */
static inline void transpose_4x4(const float *source, isize source_row, float *target,
                                 isize target_row) {
    vec4 row[4], pair[4];
    for (int i = 0; i < 4; i++)
        row[i] = *(const vec4 *)(source + i * source_row);
    for (int i = 0; i < 2; i++) {
        pair[i] = interleave_low(row[i], row[i + 2]);
        pair[i + 2] = interleave_high(row[i], row[i + 2]);
    }
    for (int i = 0; i < 4; i += 2) {
        *(vec4 *)(target + i * target_row) = interleave_low(pair[i], pair[i + 1]);
        *(vec4 *)(target + (i + 1) * target_row) = interleave_high(pair[i], pair[i + 1]);
    }
}

/* Copy `width` <= W rows of a matrix, one of whose strides is 1, into a panel, in the order in
 * which the tile reads them: for each column k, W numbers side by side, 0 for missing rows. The
 * tile then reads one stream: no cache line and no page (TLB entry) is touched for only a few
 * bytes. */
static inline __attribute__((always_inline)) void
pack_panel(float *panel, const int W, isize width, isize K, matrix X) {
    isize k = 0;
    if (width < W)
        memset(panel, 0, K * W * sizeof(float));
    if (width == W && X.row == 1)
        for (; k < K; k++)
            memcpy(panel + k * W, X.data + k * X.column, W * sizeof(float));
    else if (width >= 4 && X.column == 1)
        /* Transpose 4 x 4 blocks, a whole cache line (16 floats) of each row at a time. If `width`
         * is not a multiple of 4, the last block overlaps the one before it. */
        for (; k + 16 <= K; k += 16)
            for (isize four = 0; four < width; four += 4) {
                isize i = min(four, width - 4);
                for (isize l = k; l < k + 16; l += 4)
                    transpose_4x4(X.data + i * X.row + l, X.row, panel + l * W + i, W);
            }
    for (; k < K; k++)
        for (isize i = 0; i < width; i++)
            panel[k * W + i] = X.data[i * X.row + k * X.column];
}
