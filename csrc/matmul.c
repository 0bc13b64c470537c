/* matmul.c: C = op(A) op(B) + bias, the matmul that the models use.
 *
 * M N K multiply-adds on M K + K N + M N numbers: every number is used hundreds of times, so the
 * speed limit is the chip's FMA units, if only each number is fetched from far away rarely and from
 * nearby otherwise. The plan is that of Goto and van de Geijn 2008 and of BLIS (Van Zee and van de
 * Geijn 2015): a register tile at the centre, and around it loops that keep one packed piece of A
 * or B in each level of cache.
 *
 * A transposed matrix is one whose two strides are swapped: element (i, k) of op(A) is
 * A.data[i * A.row + k * A.column], and one of the two strides is 1. After packing, all four
 * combinations look alike, so there is one loop nest for them all. */
#include <string.h>
#include "tile.h"

/* Element (i, j) of matrix b of the batch is data[i * row + j * column + b * step]. */
typedef struct { const float *data; ptrdiff_t row, column, step; } matrix;

static inline const float *at(matrix X, ptrdiff_t i, ptrdiff_t j)
{
    return X.data + i * X.row + j * X.column;
}

/* What of matrix b of the batch begins with element (i, j). */
static inline matrix part(matrix X, ptrdiff_t b, ptrdiff_t i, ptrdiff_t j)
{
    X.data = at(X, i, j) + b * X.step;
    return X;
}

enum { MR = MOST_ROWS, NR = COLUMNS }; /* of the register tile: tile.h */

/* The cache blocks. A panel of B (KC x NR: 24 KB, with AVX-512 48 KB) is read again for every tile
 * of its columns, from L1 or, where it is too large, from L2. The block of A (MC x KC floats, up to
 * 300 KB) stays in L2 while all panels of the block of B (KC x NC, 3 MB, in L3) pass by. Adding the
 * tile to C costs as much as a step of k or two for each KC steps. */
enum { KC = 384, MC = 24 * MR, NC = 2048 };

/* Copy `width` <= W rows (or columns) of a matrix into a panel in the order in which the tile reads
 * them: for each k the W numbers side by side. `across` is the stride from one of the W to the
 * next, `along` that of k. The panel is then read as one stream: no cache line or page of the
 * memory (TLB) is touched for a few bytes only, whatever the leading dimension. What is missing
 * to W is filled with 0. */
static inline __attribute__((always_inline)) void
pack_panel(float *panel, const int W, ptrdiff_t width, ptrdiff_t K,
           const float *from, ptrdiff_t across, ptrdiff_t along)
{
    ptrdiff_t k = 0;
    if (width == W && across == 1)
        for (; k < K; k++)
            memcpy(panel + k * W, from + k * along, W * sizeof(float));
    else if (width == W)
        /* 4 x 4 transposed at a time, and a whole cache line (16 floats) of each row while it is
         * there. If W isn't a multiple of 4, the last four rows are in part done twice. */
        for (; k + 16 <= K; k += 16)
            for (int four = 0; four < W; four += 4) {
                ptrdiff_t i = min(four, W - 4);
                for (ptrdiff_t l = k; l < k + 16; l += 4)
                    transpose_4x4(1, from + i * across + l, across, panel + l * W + i, W);
            }
    for (; k < K; k++)
        for (int i = 0; i < W; i++)
            panel[k * W + i] = i < width ? from[i * across + k * along] : 0;
}

/* One full tile: C (MR x NR) = start + a panel of A times a panel of B. */
static void panel_tile(ptrdiff_t K, const float *a, const float *b, const float *start,
                       ptrdiff_t start_row, float *C, ptrdiff_t ldc)
{
    /* C is far away in memory, but needed only after the sums: have it fetched meanwhile. */
    for (int i = 0; i < MR; i++) {
        __builtin_prefetch(C + i * ldc, 1);
        __builtin_prefetch(C + i * ldc + NR - 1, 1);
    }
    tile(MR, K, a, 1, MR, b, NR, start, start_row, C, ldc);
}

/* A tile at the edge of C, of which only some rows and columns exist: computed in full beside C. */
static void edge_tile(ptrdiff_t K, const float *a, const float *b, const float *start,
                      ptrdiff_t start_row, float *C, ptrdiff_t ldc, ptrdiff_t rows,
                      ptrdiff_t columns)
{
    float full[MR * NR];
    panel_tile(K, a, b, zeros, 0, full, NR);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++)
            C[i * ldc + j] = start[i * start_row + j] + full[i * NR + j];
}

/* One thread's work: C (M x N) = start + A B, the five loops around the tile. */
static void multiply(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, matrix A, matrix B, matrix start,
                     float *C, ptrdiff_t ldc, float *workspace)
{
    float *block_A = workspace, *block_B = workspace + MC * KC;
    for (ptrdiff_t jc = 0; jc < N; jc += NC) {
        ptrdiff_t nc = min(N - jc, NC);
        for (ptrdiff_t kc = 0; kc == 0 || kc < K; kc += KC) { /* once for K = 0: a sum of nothing */
            ptrdiff_t depth = min(K - kc, KC);
            matrix to_add = kc > 0 ? (matrix){C, ldc, 1, 0} : start;
            for (ptrdiff_t j = 0; j < nc; j += NR)
                pack_panel(block_B + j * depth, NR, min(nc - j, NR), depth,
                           at(B, kc, jc + j), B.column, B.row);
            for (ptrdiff_t ic = 0; ic < M; ic += MC) {
                ptrdiff_t mc = min(M - ic, MC);
                for (ptrdiff_t i = 0; i < mc; i += MR)
                    pack_panel(block_A + i * depth, MR, min(mc - i, MR), depth,
                               at(A, ic + i, kc), A.row, A.column);
                for (ptrdiff_t j = 0; j < nc; j += NR)
                    for (ptrdiff_t i = 0; i < mc; i += MR) {
                        const float *a = block_A + i * depth, *b = block_B + j * depth;
                        const float *s = at(to_add, ic + i, jc + j);
                        float *c = C + (ic + i) * ldc + jc + j;
                        if (i + MR <= mc && j + NR <= nc)
                            panel_tile(depth, a, b, s, to_add.row, c, ldc);
                        else
                            edge_tile(depth, a, b, s, to_add.row, c, ldc, min(mc - i, MR),
                                      min(nc - j, NR));
                    }
            }
        }
    }
}

/* The pieces that the threads work on: each matrix C of the batch cut into a grid of rectangles,
 * `down` x `across`, along the borders of tiles. A thread computes a rectangle all alone with the
 * loops above. Every number of C is the same sum in the same order wherever the cuts are, so the
 * result doesn't depend on how many threads there are. The price is that two pieces in a row of the
 * grid both pack the same rows of A (and in a column, of B): so the cuts are those that make a
 * piece's width + height least, and a piece has some 200 x 200 numbers at least where that leaves
 * one for each thread. More pieces than threads are good when a core is busy elsewhere. */
static ptrdiff_t cuts_down(ptrdiff_t pieces, ptrdiff_t M, ptrdiff_t N)
{
    ptrdiff_t best = 1;
    for (ptrdiff_t down = 2; down <= pieces; down++)
        if (pieces % down == 0 && (double)M / down + (double)N * down / pieces <
                                  (double)M / best + (double)N * best / pieces)
            best = down;
    return best;
}

/* Up to so many multiply-adds, packing costs more than it saves: about 80 x 80 x 80. */
enum { SMALL = 500000 };

int minillm_matmul(ptrdiff_t batch, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K,
                   const float *A, ptrdiff_t lda, ptrdiff_t step_A, int transpose_A,
                   const float *B, ptrdiff_t ldb, ptrdiff_t step_B, int transpose_B,
                   float *C, ptrdiff_t ldc, ptrdiff_t step_C, int accumulate, const float *bias)
{
    matrix a = {A, transpose_A ? 1 : lda, transpose_A ? lda : 1, step_A};
    matrix b = {B, transpose_B ? 1 : ldb, transpose_B ? ldb : 1, step_B};
    /* What the product is added to is a matrix as well: C itself when it is to be accumulated into
     * (and for all blocks of K but the first); or the bias, the same row for all rows; or nothing,
     * the same NR zeros everywhere. So adding a bias costs no pass over C of its own. */
    matrix start = accumulate ? (matrix){C, ldc, 1, step_C} :
                   bias ? (matrix){bias, 0, 1, 0} : (matrix){zeros, 0, 0, 0};
    if (batch * M * N == 0)
        return MINILLM_OK;
    if (batch == 1 && M <= MINILLM_FEW_ROWS && !transpose_A && !accumulate)
        return minillm_few_rows(M, N, K, A, lda, MINILLM_FLOAT32, B, ldb, transpose_B, NULL, bias, C,
                                ldc);
    if (batch == 1 && !transpose_B && N % NR == 0 && M * N * K <= SMALL) {
        product(M, N, K, A, a.row, a.column, B, ldb, accumulate ? C : bias, accumulate ? ldc : 0,
                C, ldc);
        return MINILLM_OK;
    }
    int threads = threads_for((double)batch * M * N * K);
    ptrdiff_t of_each_thread = max(1, min(4, batch * M * N / threads / 40000));
    ptrdiff_t pieces = threads == 1 ? 1 : (threads * of_each_thread + batch - 1) / batch;
    ptrdiff_t down = cuts_down(pieces, M, N), across = pieces / down;
    ptrdiff_t rows = round_up((M + down - 1) / down, MR); /* of a piece: some whole tiles */
    ptrdiff_t columns = round_up((N + across - 1) / across, NR);
    across = (N + columns - 1) / columns; /* they may be fewer now */
    pieces = (M + rows - 1) / rows * across;
    ptrdiff_t size = MC * KC + round_up(min(columns, NC) * min(K, KC), 16);
    float *workspaces = allocate(threads * size);
    if (workspaces == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (ptrdiff_t piece = 0; piece < batch * pieces; piece++) {
        ptrdiff_t index = piece / pieces; /* of the matrix in the batch */
        ptrdiff_t i = piece % pieces / across * rows, j = piece % across * columns;
        multiply(min(rows, M - i), min(columns, N - j), K, part(a, index, i, 0),
                 part(b, index, 0, j), part(start, index, i, j), C + index * step_C + i * ldc + j,
                 ldc, workspaces + omp_get_thread_num() * size);
    }
    free(workspaces);
    return MINILLM_OK;
}
