/* matmul.c: C = op(A) op(B) + bias, the matmul that the models use.
 *
 * M N K multiply-adds use M K + K N + M N numbers, so each number is used hundreds of times. The
 * chip's FMA units limit the speed, provided that most loads come from a nearby cache. The plan is
 * that of Goto and van de Geijn 2008 and of BLIS (Van Zee and van de Geijn 2015): a register tile
 * at the centre; around it, loops that keep a block of one matrix in L2 (theirs of A, here of B);
 * and panels packed in the order in which a tile reads them. */
#include <math.h>
#include "tile.h"

/* The cache blocks. A block of B (KC x NC floats: 147, 295 or 590 KB with 4, 8 or 16 lanes) is
 * packed in panels of NR columns and stays in L2 while all rows of A pass by, MR at a time. One
 * tile reads MR rows of A (12 KB at most) and a panel of B (18, 37 or 74 KB), from L1 or L2. KC is
 * large, so adding the tile to C costs little by comparison.
 *
 * MR contiguous rows of A are MR streams and need no packing. If A is transposed, or fewer than MR
 * rows are left, pack them when they are first needed and keep them for the next blocks of B:
 * MC x KC floats (3 MB, in L3). */
enum { KC = 384, NC = 8 * NR, MC = 2048 };
_Static_assert(MC % MR == 0, "a block of A is a whole number of panels");

/* C = start + up to MR rows of A times a panel of B. At the right edge of C the tile has fewer
 * vectors. Where a vector or the MR rows are incomplete, compute the tile in a buffer, then add. */
static void panel_tile(isize rows, isize columns, isize K, matrix A, matrix B, matrix start,
                       matrix C) {
    float buffer[MR * NR];
    int complete = rows == MR && columns % LANES == 0;
    matrix addend = complete ? start : zero_matrix;
    matrix target = complete ? C : (matrix){buffer, NR, 1};
    for (isize i = 0; i < rows; i++) /* C is far away, but needed only at the end: prefetch it */
        for (isize j = 0; j < columns + 15; j += 16)
            __builtin_prefetch(C.data + i * C.row + min(j, columns - 1), 1);
    if (columns > 2 * LANES)
        tile(MR, 3, K, A, B, addend, target);
    else if (columns > LANES)
        tile(MR, 2, K, A, B, addend, target);
    else
        tile(MR, 1, K, A, B, addend, target);
    for (isize i = 0; i < rows && !complete; i++)
        for (isize j = 0; j < columns; j++)
            C.data[i * C.row + j] = start.data[i * start.row + j] + buffer[i * NR + j];
}

/* One thread's work: C (M x N) = start + A B, the five loops around the tile. */
static void multiply(isize M, isize N, isize K, matrix A, matrix B, matrix start, matrix C,
                     float *workspace) {
    float *block_B = workspace, *block_A = workspace + NC * KC;
    for (isize ic = 0; ic < M; ic += MC)
        for (isize kc = 0; kc == 0 || kc < K; kc += KC) { /* once even if K = 0: an empty sum */
            isize mc = min(M - ic, MC), depth = min(K - kc, KC);
            matrix addend = kc > 0 ? C : start;
            for (isize jc = 0; jc < N; jc += NC) {
                isize nc = min(N - jc, NC);
                for (isize j = 0; j < nc; j += NR)
                    pack_panel(block_B + j * depth, NR, min(nc - j, NR), depth,
                               transposed(part(B, kc, jc + j)));
                for (isize i = 0; i < mc; i += MR) {
                    isize rows = min(mc - i, MR);
                    matrix a = part(A, ic + i, kc);
                    if (a.column != 1 || rows < MR) {
                        float *panel = block_A + i * depth;
                        if (jc == 0)
                            pack_panel(panel, MR, rows, depth, a);
                        a = (matrix){panel, 1, MR};
                    }
                    for (isize j = 0; j < nc; j += NR)
                        panel_tile(rows, min(nc - j, NR), depth, a,
                                   (matrix){block_B + j * depth, NR, 1},
                                   part(addend, ic + i, jc + j), part(C, ic + i, jc + j));
                }
            }
        }
}

#ifdef __AMX_BF16__
#include "amx.h"

/* The same on AMX. A block of B, cut into pieces (1.2 MB), and a panel of A (74 KB) stay in L2; for
 * each is room in the workspace, which ends with that of `multiply`. */
enum { AMX_NC = 512, PANEL_TILES = KC / DEPTH * CHUNK,
       AMX_WORKSPACE = (AMX_NC / PANEL + 1) * PANEL_TILES * sizeof(pair_tile) / sizeof(float) };

/* Cutting a number into pieces takes the time of about 50 multiply-adds: a number of A serves for N
 * of them, one of B for M. From 17 rows on, the rows of A don't matter: then a row of C is the same
 * bit for bit whatever rows are beside it. (Up to N = K = 64, FMAs are as fast or faster for any M.) */
static int amx_pays(isize M, isize N, isize K) { return M > 16 && N >= 64 && N * K > 64 * 64; }

static void amx_multiply(isize M, isize N, isize K, matrix A, matrix B, matrix start, matrix C,
                         float *workspace) {
    pair_tile *panel_A = (pair_tile *)workspace, *block_B = panel_A + PANEL_TILES;
    int small_B[AMX_NC / PANEL];
    configure_tiles();
    for (isize kc = 0; kc < K; kc += KC)
        for (isize jc = 0; jc < N; jc += AMX_NC) {
            isize depth = min(K - kc, KC), nc = min(N - jc, AMX_NC);
            for (isize j = 0; j < nc; j += PANEL)
                small_B[j / PANEL] = split_panel(transposed(part(B, kc, jc + j)), nc - j, depth, 1,
                                                 block_B + j / PANEL * PANEL_TILES);
            for (isize i = 0; i < M; i += PANEL) {
                isize rows = min(M - i, PANEL);
                int small_A = split_panel(part(A, i, kc), rows, depth, 0, panel_A);
                for (isize j = 0; j < nc; j += PANEL) {
                    isize columns = min(nc - j, PANEL);
                    const pair_tile *panel_B = block_B + j / PANEL * PANEL_TILES;
                    matrix from = part(kc > 0 ? C : start, i, jc + j), to = part(C, i, jc + j);
                    if (!small_A || !small_B[j / PANEL])
                        multiply(rows, columns, depth, part(A, i, kc), part(B, kc, jc + j), from,
                                 to, workspace + AMX_WORKSPACE);
                    else if (rows == PANEL && columns == PANEL)
                        multiply_panels(depth, panel_A, panel_B, from, to);
                    else
                        multiply_panels_at_edge(rows, columns, depth, panel_A, panel_B, from, to);
                }
            }
        }
    _tile_release();
}
#else
enum { PANEL = 0, AMX_NC = 1, AMX_WORKSPACE = 0 };
static int amx_pays(isize M, isize N, isize K) { return (void)M, (void)N, (void)K, 0; }
#define amx_multiply multiply
#endif

/* A matrix C is cut into a grid of pieces, `down` x `across`. */
typedef struct { isize down, across; } grid;

/* How many numbers of A and B all pieces pack, or cut for AMX, for each k. A piece on AMX cuts its rows
 * of A once for each AMX_NC columns. */
static double numbers_packed(isize M, isize N, grid cut, int on_amx) {
    double passes = on_amx ? ceil((double)N / cut.across / AMX_NC) : 1;
    return (double)M * cut.across * passes + (double)N * cut.down;
}

/* The best grid of at most `most` pieces for each thread: enough of them balance the load when
 * another program slows a core. But cutting numbers for AMX takes longer than packing them: there,
 * fewer pieces are better if they cut less. */
static grid choose_grid(isize batch, isize M, isize N, isize threads, isize most, int on_amx) {
    grid best = {0, 0};
    for (isize each = most; each >= (on_amx ? 1 : most); each--) {
        isize pieces = threads == 1 ? 1 : (threads * each + batch - 1) / batch;
        for (isize down = 1; down <= pieces; down++) {
            grid cut = {down, pieces / down};
            if (pieces % down == 0 &&
                (best.down == 0 ||
                 numbers_packed(M, N, cut, on_amx) < numbers_packed(M, N, best, on_amx)))
                best = cut;
        }
    }
    return best;
}

/* Each matrix C of the batch is cut into a grid of pieces, `down` x `across`, along tiles' rows
 * and cache lines; threads take pieces. Every number of C is the same sum in the same order
 * wherever the cuts are. Pieces in one row of the grid read the same rows of A, and pieces in one
 * column pack the same columns of B. There are as many pieces as threads; or up to four times as
 * many, as long as a piece keeps 400 x 400 numbers. */
int minillm_matmul(isize batch, isize M, isize N, isize K,
                   const float *A, isize lda, isize step_A, int transpose_A,
                   const float *B, isize ldb, isize step_B, int transpose_B,
                   float *C, isize ldc, isize step_C, int accumulate, const float *bias) {
    matrix a = {(float *)A, transpose_A ? 1 : lda, transpose_A ? lda : 1};
    matrix b = {(float *)B, transpose_B ? 1 : ldb, transpose_B ? ldb : 1};
    matrix c = {C, ldc, 1};
    /* The product is added to a matrix: C itself; or the bias, with a row stride of 0; or zeros. So
     * adding a bias costs no extra pass over C. */
    matrix start = accumulate ? c : bias ? (matrix){(float *)bias, 0, 1} : zero_matrix;
    enum { SMALL = 1000000 }; /* multiply-adds: up to this size packing costs more than it saves */
    int product_can = !transpose_B && N % PAIR == 0; /* its requirements, see tile.h */
    if (batch * M * N == 0)
        return MINILLM_OK;
    if (batch == 1 && M <= MINILLM_STEP_ROWS && !transpose_A && !accumulate &&
        (transpose_B || product_can))
        return minillm_gemv(M, N, K, A, lda, MINILLM_FLOAT32, B, ldb, transpose_B, NULL, bias,
                            C, ldc);
    int on_amx = amx_pays(M, N, K);
    /* K <= KC: a longer sum would be added up in other steps than that of a larger product. */
    if (batch == 1 && !transpose_B && !on_amx && N % LANES == 0 && K <= KC &&
        (double)M * N * K <= SMALL) {
        isize j = N / PAIR * PAIR; /* the last vector of each row, if their number is odd */
        product(M, j, K, a, b, start, c);
        columns(1, M, N - j, K, a, part(b, 0, j), part(start, 0, j), part(c, 0, j));
        return MINILLM_OK;
    }
    double work = (double)batch * M * N * K;
    int threads = threads_for(on_amx ? 0.4 * work : work); /* in the time of FMAs */
    isize pieces_per_thread = max(1, min(4, batch * M * N / threads / 160000));
    grid cut = choose_grid(batch, M, N, threads, pieces_per_thread, on_amx);
    /* A piece has whole tiles and whole cache lines. */
    isize rows = round_up((M + cut.down - 1) / cut.down, on_amx ? PANEL : MR);
    isize columns = round_up((N + cut.across - 1) / cut.across, on_amx ? PANEL : 16);
    isize across = (N + columns - 1) / columns;
    isize pieces = (M + rows - 1) / rows * across; /* rounding up may leave fewer */
    isize size = round_up(NC * KC + min(rows, MC) * min(K, KC), 16) + (on_amx ? AMX_WORKSPACE : 0);
    float *workspaces = allocate(threads * size);
    if (workspaces == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (isize piece = 0; piece < batch * pieces; piece++) {
        isize index = piece / pieces; /* of the matrix in the batch */
        isize i = piece % pieces / across * rows, j = piece % across * columns;
        matrix a_piece = part(a, i, 0), b_piece = part(b, 0, j), c_piece = part(c, i, j);
        a_piece.data += index * step_A;
        b_piece.data += index * step_B;
        c_piece.data += index * step_C;
        (on_amx ? amx_multiply : multiply)(
            min(rows, M - i), min(columns, N - j), K, a_piece, b_piece,
            accumulate ? c_piece : part(start, i, j), c_piece,
            workspaces + omp_get_thread_num() * size);
    }
    free(workspaces);
    return MINILLM_OK;
}

int minillm_plain_matmul(isize M, isize N, isize K, const float *A, const float *B, float *C) {
    return minillm_matmul(1, M, N, K, A, K, 0, 0, B, N, 0, 0, C, N, 0, 0, NULL);
}

/* The backward of y = x W + b (minillm/ops/linear.py has the derivation):
 * dW = x^T dy, or dW += x^T dy if `accumulate`; db = the sum of dy's rows; dx = dy W^T. All arrays
 * are contiguous: x (rows x d_in), dy (rows x d_out), W and dW (d_in x d_out); with transpose_W,
 * y = x W^T + b, so W and dW are (d_out x d_in). Without db (NULL), there is no bias. dx comes last:
 * dy is still in the cache for db and dW, and dx is when the layer before reads it. */
int minillm_linear_backward(isize rows, isize d_in, isize d_out, const float *dy, const float *x,
                            const float *W, int transpose_W, int accumulate, float *dx, float *dW,
                            float *db) {
    int error = db == NULL ? MINILLM_OK : minillm_sum_rows(rows, d_out, dy, db);
    if (error == MINILLM_OK && transpose_W)
        error = minillm_matmul(1, d_out, d_in, rows, dy, d_out, 0, 1, x, d_in, 0, 0, dW, d_in, 0,
                               accumulate, NULL);
    else if (error == MINILLM_OK)
        error = minillm_matmul(1, d_in, d_out, rows, x, d_in, 0, 1, dy, d_out, 0, 0, dW, d_out, 0,
                               accumulate, NULL);
    if (error == MINILLM_OK)
        error = minillm_matmul(1, rows, d_in, d_out, dy, d_out, 0, 0, W,
                               transpose_W ? d_in : d_out, 0, !transpose_W, dx, d_in, 0, 0, NULL);
    return error;
}
