/* matmul.c: C = op(A) op(B) + bias, the matmul that the models use.
 *
 * M N K multiply-adds on M K + K N + M N numbers: every number is used hundreds of times, so the
 * speed limit is the chip's FMA units, if only each number is fetched from far away rarely and from
 * nearby otherwise. The plan is that of Goto and van de Geijn 2008 and of BLIS (Van Zee and van de
 * Geijn 2015): a register tile at the centre, around it loops that keep a block of one matrix in
 * L2, and panels that are packed in the order in which the tile reads them. (They keep a block of A
 * in L2; here it is one of B, so that A, row by row, needs no packing as a rule.) */
#include "tile.h"

/* Element (i, j) of matrix b of the batch is data[i * row + j * column + b * step]. A transposed
 * matrix is one whose two strides are swapped: so there is one loop nest for all combinations. */
typedef struct { const float *data; ptrdiff_t row, column, step; } matrix;

/* Matrix b of the batch from element (i, j) on. */
static inline matrix part(matrix X, ptrdiff_t b, ptrdiff_t i, ptrdiff_t j) {
    X.data += i * X.row + j * X.column + b * X.step;
    return X;
}

/* The cache blocks. A block of B (KC x NC floats: 147, 295 or 590 KB with 4, 8 or 16 lanes) is
 * packed in panels of NR columns and stays in L2 while all rows of A pass by, MR of them at a time.
 * These (12 KB at most) and a panel of B (18, 37 or 74 KB) are what one tile reads, from L1 or, where
 * they are too large for it, from L2. Adding the tile to C costs as much as a step of k or two for
 * each KC steps.
 *
 * MR rows of A whose numbers lie side by side are MR streams: they need no packing. If A is
 * transposed, or fewer than MR rows are left, they are packed when they are first needed and kept
 * for the next blocks of B: MC x KC floats (3 MB, in L3). */
enum { KC = 384, NC = 8 * NR, MC = 2048 };
_Static_assert(MC % MR == 0, "a block of A is some whole panels");

/* C = start + some rows of A times a panel of B. At the right edge of C the tile has fewer vectors;
 * and where a vector or MR rows are no longer whole, it is computed beside C. */
static void panel_tile(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t K, matrix A, const float *b,
                       matrix start, float *C, ptrdiff_t ldc) {
    float beside[MR * NR];
    int whole = rows == MR && columns % LANES == 0;
    const float *from = whole ? start.data : zeros;
    float *to = whole ? C : beside;
    ptrdiff_t from_row = whole ? start.row : 0, to_row = whole ? ldc : NR;
    for (ptrdiff_t i = 0; i < rows; i++) /* C is far away, but needed only at the end: fetch it */
        for (ptrdiff_t j = 0; j < columns + 15; j += 16)
            __builtin_prefetch(C + i * ldc + min(j, columns - 1), 1);
    #define TILE(V) tile(MR, V, K, A.data, A.row, A.column, b, NR, from, from_row, to, to_row)
    if (columns > 2 * LANES)
        TILE(3);
    else if (columns > LANES)
        TILE(2);
    else
        TILE(1);
    for (ptrdiff_t i = 0; i < rows && !whole; i++)
        for (ptrdiff_t j = 0; j < columns; j++)
            C[i * ldc + j] = start.data[i * start.row + j] + beside[i * NR + j];
}

/* One thread's work: C (M x N) = start + A B, the five loops around the tile. */
static void multiply(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, matrix A, matrix B, matrix start,
                     float *C, ptrdiff_t ldc, float *workspace) {
    float *block_B = workspace, *block_A = workspace + NC * KC;
    for (ptrdiff_t ic = 0; ic < M; ic += MC)
        for (ptrdiff_t kc = 0; kc == 0 || kc < K; kc += KC) { /* once for K = 0: a sum of nothing */
            ptrdiff_t mc = min(M - ic, MC), depth = min(K - kc, KC);
            matrix to_add = kc > 0 ? (matrix){C, ldc, 1, 0} : start;
            for (ptrdiff_t jc = 0; jc < N; jc += NC) {
                ptrdiff_t nc = min(N - jc, NC);
                for (ptrdiff_t j = 0; j < nc; j += NR)
                    pack_panel(block_B + j * depth, NR, min(nc - j, NR), depth,
                               part(B, 0, kc, jc + j).data, B.column, B.row);
                for (ptrdiff_t i = 0; i < mc; i += MR) {
                    ptrdiff_t rows = min(mc - i, MR);
                    matrix a = part(A, 0, ic + i, kc);
                    if (a.column != 1 || rows < MR) {
                        float *panel = block_A + i * depth;
                        if (jc == 0)
                            pack_panel(panel, MR, rows, depth, a.data, a.row, a.column);
                        a = (matrix){panel, 1, MR, 0};
                    }
                    for (ptrdiff_t j = 0; j < nc; j += NR)
                        panel_tile(rows, min(nc - j, NR), depth, a, block_B + j * depth,
                                   part(to_add, 0, ic + i, jc + j), C + (ic + i) * ldc + jc + j, ldc);
                }
            }
        }
}

/* The pieces that the threads work on: each matrix C of the batch cut into a grid of rectangles,
 * `down` x `across`, of whole tiles' rows and whole cache lines. A thread computes a rectangle all
 * alone with the loops above. Every number of C is the same sum in the same order wherever the cuts
 * are, so the result doesn't depend on how many threads there are. The price is that two pieces in a
 * row of the grid both read the same rows of A, and in a column both pack the same columns of B: so
 * the cuts are those that make a piece's width + height least, and there are as many pieces as
 * threads. Or, where a piece still has 400 x 400 numbers then, up to four times as many: good when a
 * core is busy elsewhere. */
int minillm_matmul(ptrdiff_t batch, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K,
                   const float *A, ptrdiff_t lda, ptrdiff_t step_A, int transpose_A,
                   const float *B, ptrdiff_t ldb, ptrdiff_t step_B, int transpose_B,
                   float *C, ptrdiff_t ldc, ptrdiff_t step_C, int accumulate, const float *bias) {
    matrix a = {A, transpose_A ? 1 : lda, transpose_A ? lda : 1, step_A};
    matrix b = {B, transpose_B ? 1 : ldb, transpose_B ? ldb : 1, step_B};
    /* What the product is added to is a matrix as well: C itself when it is to be accumulated into
     * (and for all blocks of K but the first); or the bias, the same row for all rows; or nothing,
     * the same NR zeros everywhere. So adding a bias costs no pass over C of its own. */
    matrix start = accumulate ? (matrix){C, ldc, 1, step_C} :
                   bias ? (matrix){bias, 0, 1, 0} : (matrix){zeros, 0, 0, 0};
    enum { SMALL = 500000 }; /* multiply-adds: up to here packing costs more than it saves */
    int no_rest = !transpose_B && N % PAIR == 0; /* what `product` can do */
    if (batch * M * N == 0)
        return MINILLM_OK;
    if (batch == 1 && M <= MINILLM_FEW_ROWS && !transpose_A && !accumulate && (transpose_B || no_rest))
        return minillm_few_rows(M, N, K, A, lda, MINILLM_FLOAT32, B, ldb, transpose_B, NULL, bias,
                                C, ldc);
    if (batch == 1 && no_rest && (double)M * N * K <= SMALL) {
        product(M, N, K, A, a.row, a.column, B, ldb, accumulate ? C : bias, start.row, C, ldc);
        return MINILLM_OK;
    }
    int threads = threads_for((double)batch * M * N * K);
    ptrdiff_t of_each_thread = max(1, min(4, batch * M * N / threads / 160000));
    ptrdiff_t pieces = threads == 1 ? 1 : (threads * of_each_thread + batch - 1) / batch;
    ptrdiff_t down = 1;
    for (ptrdiff_t d = 2; d <= pieces; d++)
        if (pieces % d == 0 && (double)M / d + (double)N * d / pieces <
                               (double)M / down + (double)N * down / pieces)
            down = d;
    ptrdiff_t rows = round_up((M + down - 1) / down, MR); /* of a piece: some whole tiles */
    ptrdiff_t columns = round_up((N * down + pieces - 1) / pieces, 16); /* whole cache lines */
    ptrdiff_t across = (N + columns - 1) / columns;
    pieces = (M + rows - 1) / rows * across; /* they may be fewer now */
    ptrdiff_t size = round_up(NC * KC + min(rows, MC) * min(K, KC), 16);
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
