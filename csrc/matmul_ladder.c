/* matmul_ladder.c: C = A B in steps, from the three loops to the idea behind matmul.c.
 *
 * Each rung changes one thing and says why that helps. All are plain C, one number at a time: the
 * build turns the compiler's vectorizer off for this file, to show the effect of the order of the
 * work alone. The next rungs, vectors and then threads, are matmul.c: the kernel that the models
 * use. All matrices are contiguous: A is M x K, B is K x N, C is M x N, initially 0. Each rung is
 * faster than the last one if B is larger than L2 (N = 1,500, say): in a small matrix there is no
 * memory to wait for.
 *
 * The yardstick: a core starts two FMAs in each cycle, and each is two operations. At 3.7 GHz that
 * makes 15 GFLOP/s for single numbers (and LANES times that for vectors). A result takes 4 cycles.
 * L1 serves two loads a cycle, with a latency of 4 cycles; L2 takes 14, L3 50, main memory 300. */
#include <string.h>
#include "simd.h"

/* Rung 1: the definition. Each sum is one chain of additions, and an addition can't start before
 * the last one is done: 2 operations in 4 cycles, just under 2 GFLOP/s. And k walks down a column
 * of B: of each 64-byte cache line fetched, 4 bytes are used before the line is evicted. */
static void three_loops(isize M, isize N, isize K, const float *A, const float *B, float *C) {
    for (isize i = 0; i < M; i++)
        for (isize j = 0; j < N; j++) {
            float sum = 0;
            for (isize k = 0; k < K; k++)
                sum += A[i * K + k] * B[k * N + j];
            C[i * N + j] = sum;
        }
}

/* Columns j to j_end of one row of C += (columns k to k_end of a row of A) (rows k to k_end of
 * B) */
static inline void add_to_row(isize j, isize j_end, isize k, isize k_end,
                              isize N, const float *a, const float *B, float *restrict c) {
    for (; k < k_end; k++)
        for (isize l = j; l < j_end; l++)
            c[l] += a[k] * B[k * N + l];
}

/* Rung 2: the same loops in another order. Now the innermost loop goes along the rows of B and C:
 * it uses whole cache lines, in an order that the prefetcher predicts, and its FMAs are
 * independent. What remains: two loads and a store for each FMA, so about one FMA a cycle instead
 * of two, 7 to 9 GFLOP/s. And all of B passes through the cache again for every row of A. */
static void reordered(isize M, isize N, isize K, const float *A, const float *B, float *C) {
    for (isize i = 0; i < M; i++)
        add_to_row(0, N, 0, K, N, A + i * K, B, C + i * N);
}

/* Rung 3: blocks. A block of B of 64 x 1,024 floats (256 KB) stays in L2 while all rows of A pass
 * by, so B comes from memory once instead of M times. That matters once B is larger than L2. What
 * remains: the loads and the store of each FMA. */
static void cache_blocked(isize M, isize N, isize K, const float *A, const float *B, float *C) {
    enum { BLOCK_K = 64, BLOCK_N = 1024 };
    for (isize j = 0; j < N; j += BLOCK_N)
        for (isize k = 0; k < K; k += BLOCK_K)
            for (isize i = 0; i < M; i++)
                add_to_row(j, min(j + BLOCK_N, N), k, min(k + BLOCK_K, K), N,
                           A + i * K, B, C + i * N);
}

enum { ROWS = 4, COLUMNS = 3 };

/* The tile of rungs 4 and 5: ROWS x COLUMNS sums in local variables, which the compiler keeps in
 * registers. `a` and `b` point to the tile's first row of A and first column of B. Strides: `row_a`
 * from one row of A to the next, `step_a` and `step_b` from one k of A and of B to the next. */
static inline void add_tile(isize K, const float *a, isize row_a, isize step_a,
                            const float *b, isize step_b, float *C, isize N) {
    float sum[ROWS][COLUMNS] = {{0}};
    for (isize k = 0; k < K; k++)
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < COLUMNS; j++)
                sum[i][j] += a[i * row_a + k * step_a] * b[k * step_b + j];
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++)
            C[i * N + j] += sum[i][j];
}

/* The rows and columns that no tile covers, one row at a time. */
static void add_remainder(isize M, isize N, isize K, const float *A, const float *B, float *C) {
    for (isize i = 0; i < M; i++)
        add_to_row(i < M / ROWS * ROWS ? N / COLUMNS * COLUMNS : 0, N, 0, K, N, A + i * K, B,
                   C + i * N);
}

/* Rung 4: register tiles. 4 x 3 sums stay in registers for all k, so the inner loop doesn't touch
 * C and uses each loaded number several times: 4 + 3 loads for 12 multiply-adds instead of 24
 * loads and 12 stores. The 12 sums are independent; 8 are enough to keep both FMA units busy for
 * the 4 cycles that a result takes. What remains: k still jumps from row to row of B, and uses 12
 * bytes of each cache line at a time. When a row is longer than a page (1,024 floats), each step
 * of k needs another entry of the TLB, which has 64 to 96 in its first level. And when a row is a
 * power of two long, the rows of B compete for a few sets of the cache: an address chooses its set
 * by its lowest bits, and L1 starts again after 4,096 bytes. With N = 1,024, a column of B lies in
 * one set of L1 and, with 2 MB of L2, in 32 of its 2,048 sets. Then this rung is slower than the
 * last one. */
static void register_tiled(isize M, isize N, isize K, const float *A, const float *B, float *C) {
    for (isize j = 0; j + COLUMNS <= N; j += COLUMNS)
        for (isize i = 0; i + ROWS <= M; i += ROWS)
            add_tile(K, A + i * K, K, 1, B + j, N, C + i * N + j, N);
    add_remainder(M, N, K, A, B, C);
}

/* Rung 5: packing. Copy the numbers that a tile reads into the order in which it reads them: for
 * each k the 4 numbers of A side by side, and the 3 of B. Cut K into blocks of 256, so a panel of B
 * (3 KB) stays in L1, and M into blocks of 64, so the block of A (64 KB) stays in L2. Copying costs
 * one pass over A, and one over B for every 64 rows of A. Each copied number is then read N / 3
 * times (A's) or 16 times (B's), as part of one stream: whole lines, few pages, no two rows that
 * compete for the same cache set. (matmul.c seldom packs A.) */
static void packed(isize M, isize N, isize K, const float *A, const float *B, float *C) {
    enum { BLOCK_M = 64, BLOCK_K = 256 };
    float block_a[BLOCK_M * BLOCK_K], panel_b[BLOCK_K * COLUMNS];
    for (isize kb = 0; kb < K; kb += BLOCK_K)
        for (isize ib = 0; ib + ROWS <= M; ib += BLOCK_M) {
            isize depth = min(BLOCK_K, K - kb), rows = min(BLOCK_M, M - ib) / ROWS * ROWS;
            for (isize i = 0; i < rows; i++)
                for (isize k = 0; k < depth; k++)
                    block_a[(i / ROWS * depth + k) * ROWS + i % ROWS] = A[(ib + i) * K + kb + k];
            for (isize j = 0; j + COLUMNS <= N; j += COLUMNS) {
                for (isize k = 0; k < depth; k++)
                    memcpy(panel_b + k * COLUMNS, B + (kb + k) * N + j, COLUMNS * sizeof(float));
                for (isize i = 0; i < rows; i += ROWS)
                    add_tile(depth, block_a + i * depth, 1, ROWS, panel_b, COLUMNS,
                             C + (ib + i) * N + j, N);
            }
        }
    add_remainder(M, N, K, A, B, C);
}

void minillm_matmul_rung(int rung, isize M, isize N, isize K,
                         const float *A, const float *B, float *C) {
    void (*const rungs[])(isize, isize, isize, const float *, const float *, float *) = {
        three_loops, reordered, cache_blocked, register_tiled, packed};
    memset(C, 0, M * N * sizeof(float)); /* all but the first only add to it */
    rungs[rung - 1](M, N, K, A, B, C);
}
