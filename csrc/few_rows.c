/* few_rows.c: a few rows times a matrix of weights: generation, one token at a time.
 *
 * Each weight is used only as often as there are rows, so the speed limit is how fast the memory
 * delivers the weights. Packing them, as matmul.c does, would double the traffic. What matters is
 * to read them once, in the order in which they lie, as the prefetcher expects it; and that they
 * be small. So they may be stored in half of the bytes (bfloat16) or in a quarter (int8), and
 * become float32 in a register on the way to the multiplication:
 *
 *   bfloat16  the upper half of a float32: the same exponent, 8 bits of precision instead of 24
 *   int8      W[j][k] = scale[j] q[j][k] with q from -127 to 127, and a scale for each output j */
#include <string.h>
#include "few_rows.h"
#include "simd.h"

typedef int32_t unaligned_ivec __attribute__((vector_size(VEC_BYTES), aligned(1), may_alias));

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte of a lane is its lowest");

/* BLOCK inputs at a time. A 32-bit lane of a vector holds one float32, two bfloat16 or four int8:
 * inputs 4 n, 4 n + 1, 4 n + 2 and 4 n + 3 of the block in lane n. To take each out of its lane is
 * a shift or two; to spread neighbours over lanes would cost more. So it isn't the weights that are
 * put into the order of x, but x, once, into the order of the weights: see `arrange`. */
enum { BLOCK = 4 * LANES };

/* How many rows of x at once: the registers hold two sums for each, and some weights. */
enum { AT_ONCE = VEC_REGISTERS == 32 ? FEW : FEW / 2 };

static inline int weights_in_a_lane(enum minillm_type type)
{
    return type == MINILLM_INT8 ? 4 : type == MINILLM_BFLOAT16 ? 2 : 1;
}

/* Vector j, of 4, of a block of weights. `type` and j are constants wherever this is called from.
 * int8: up to the top of the lane, which cuts off what is above it, then down with its sign. */
static inline __attribute__((always_inline)) vec
weights(enum minillm_type type, const char *block, const int j)
{
    if (type == MINILLM_FLOAT32)
        return load((const float *)block + j * LANES);
    if (type == MINILLM_BFLOAT16) {
        ivec pairs = *(const unaligned_ivec *)(block + j / 2 * VEC_BYTES);
        return (vec)(j % 2 == 0 ? pairs << 16 : pairs & ~0xffff);
    }
    return __builtin_convertvector((*(const unaligned_ivec *)block << (24 - 8 * j)) >> 24, vec);
}

static inline float weight(enum minillm_type type, const char *row, ptrdiff_t k)
{
    union { uint32_t bits; float value; } x = {0};
    if (type == MINILLM_BFLOAT16)
        x.bits = (uint32_t)((const uint16_t *)row)[k] << 16;
    else
        x.value = type == MINILLM_INT8 ? ((const int8_t *)row)[k] : ((const float *)row)[k];
    return x.value;
}

/* A copy of n rows of x that begin with cache lines, so that no vector of them lies in two; their
 * blocks in the order of the weights: first all inputs that are first in their lanes, and so on. */
static void arrange(ptrdiff_t n, ptrdiff_t K, const float *x, ptrdiff_t ldx, int in_a_lane,
                    float *arranged, ptrdiff_t row)
{
    for (ptrdiff_t i = 0; i < n; i++, x += ldx, arranged += row) {
        memcpy(arranged, x, K * sizeof(float));
        ptrdiff_t group = in_a_lane * LANES;
        for (ptrdiff_t k = 0; in_a_lane > 1 && k < K / BLOCK * BLOCK; k += group)
            for (int which = 0; which < in_a_lane; which++)
                for (int lane = 0; lane < LANES; lane++)
                    arranged[k + which * LANES + lane] = x[k + lane * in_a_lane + which];
    }
}

/* sums[i] += x[i] . w, for one part of a block: R vectors of x, one of weights. */
static inline __attribute__((always_inline)) void
add_products(const int R, enum minillm_type type, const int part, const float *x, ptrdiff_t ldx,
             const char *w, vec sums[FEW])
{
    vec w_part = weights(type, w, part);
    for (int i = 0; i < R; i++)
        sums[i] += load(x + i * ldx + part * LANES) * w_part;
}

/* y[i] += scale x[i] . w for R rows x: each weight is read and unpacked once for all R. The even
 * and the odd parts have sums of their own, for the result of an FMA takes 4 cycles. (Two rows of
 * weights at a time, which would share the loads of x, were slower: the prefetcher wants one.) */
static inline __attribute__((always_inline)) void
dots(const int R, enum minillm_type type, ptrdiff_t K, const float *x, ptrdiff_t ldx,
     const char *w, float scale, float *y, ptrdiff_t ldy)
{
    vec even[FEW], odd[FEW];
    for (int i = 0; i < R; i++)
        even[i] = odd[i] = broadcast(0);
    ptrdiff_t k = 0;
    for (; k + BLOCK <= K; k += BLOCK, w += BLOCK * 4 / weights_in_a_lane(type)) {
        add_products(R, type, 0, x + k, ldx, w, even);
        add_products(R, type, 1, x + k, ldx, w, odd);
        add_products(R, type, 2, x + k, ldx, w, even);
        add_products(R, type, 3, x + k, ldx, w, odd);
    }
    for (int i = 0; i < R; i++) {
        float sum = horizontal_sum(even[i] + odd[i]);
        for (ptrdiff_t l = k; l < K; l++)
            sum += x[i * ldx + l] * weight(type, w, l - k);
        y[i * ldy] += scale * sum;
    }
}

/* One call's work, as all of its threads see it: y (M x N) += x (M x K) times the weights. */
typedef struct {
    ptrdiff_t M, N, K, ldx, ldw, ldy, pieces;
    enum minillm_type type;
    const float *x, *scale;
    const void *w;
    float *y, *workspace;
} job;

/* R rows of x and of y, outputs `begin` to `end`. */
static inline __attribute__((always_inline)) void
outputs(const int R, enum minillm_type type, const job *the, ptrdiff_t i, ptrdiff_t begin,
        ptrdiff_t end)
{
    for (ptrdiff_t j = begin; j < end; j++)
        dots(R, type, the->K, the->x + i * the->ldx, the->ldx,
             (const char *)the->w + j * the->ldw * 4 / weights_in_a_lane(type),
             the->scale ? the->scale[j] : 1, the->y + i * the->ldy + j, the->ldy);
}

/* The number of rows becomes a constant: so the sums can stay in registers. (5 to 8 at once: with
 * 32 registers only.) */
static inline __attribute__((always_inline)) void
all_rows(enum minillm_type type, const job *the, ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t i = 0; i < the->M; i += AT_ONCE)
        switch (min(AT_ONCE, the->M - i)) {
        case 1: outputs(1, type, the, i, begin, end); break;
        case 2: outputs(2, type, the, i, begin, end); break;
        case 3: outputs(3, type, the, i, begin, end); break;
        case 4: outputs(4, type, the, i, begin, end); break;
        case 5: outputs(5, type, the, i, begin, end); break;
        case 6: outputs(6, type, the, i, begin, end); break;
        case 7: outputs(7, type, the, i, begin, end); break;
        default: outputs(8, type, the, i, begin, end);
        }
}

/* Weights stored row by row of W transposed: a row of memory for each output. A piece of the work
 * is some outputs. */
static void outputs_piece(const void *arguments, ptrdiff_t piece, int thread)
{
    (void)thread;
    const job *the = arguments;
    ptrdiff_t begin = the->N * piece / the->pieces, end = the->N * (piece + 1) / the->pieces;
    switch (the->type) {
    case MINILLM_BFLOAT16: all_rows(MINILLM_BFLOAT16, the, begin, end); break;
    case MINILLM_INT8: all_rows(MINILLM_INT8, the, begin, end); break;
    default: all_rows(MINILLM_FLOAT32, the, begin, end);
    }
}

/* y += x[0] W[0] + x[1] W[1] + ... for each of the M rows x and y: R rows of W together, so that y
 * is loaded and stored only once for all of them. */
enum { ROWS = 8 };

static inline __attribute__((always_inline)) void
add_rows(const int R, const job *the, ptrdiff_t k, float *y)
{
    const float *x = the->x + k, *W = (const float *)the->w + k * the->ldw;
    ptrdiff_t j = 0;
    for (; j + LANES <= the->N; j += LANES) {
        vec w[ROWS];
        for (int l = 0; l < R; l++)
            w[l] = load(W + l * the->ldw + j);
        for (ptrdiff_t i = 0; i < the->M; i++) {
            vec sum = load(y + i * the->N + j);
            for (int l = 0; l < R; l++)
                sum += x[i * the->ldx + l] * w[l];
            store(y + i * the->N + j, sum);
        }
    }
    for (; j < the->N; j++)
        for (ptrdiff_t i = 0; i < the->M; i++)
            for (int l = 0; l < R; l++)
                y[i * the->N + j] += x[i * the->ldx + l] * W[l * the->ldw + j];
}

/* Weights stored row by row of W: a row of memory for each input. A piece of the work is a quarter
 * of the rows (so 4 threads at most, enough for the memory), read from front to back, and gives
 * part of every sum. There are always four, and their parts are added in order: so the result
 * doesn't depend on the threads here either. */
enum { CHUNKS = 4 };

static void inputs_piece(const void *arguments, ptrdiff_t piece, int thread)
{
    (void)thread;
    const job *the = arguments;
    float *part = the->workspace + piece * the->M * the->N;
    ptrdiff_t k = the->K * piece / CHUNKS, end = the->K * (piece + 1) / CHUNKS;
    memset(part, 0, the->M * the->N * sizeof(float));
    for (; k + ROWS <= end; k += ROWS)
        add_rows(ROWS, the, k, part);
    for (; k < end; k++)
        add_rows(1, the, k, part);
}

int few_rows(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float *x, ptrdiff_t ldx,
             enum minillm_type type, const void *w, ptrdiff_t ldw, int transposed,
             const float *scale, int accumulate, const float *bias, float *y, ptrdiff_t ldy)
{
    job the = {
        .M = M, .N = N, .K = K, .ldw = ldw, .ldy = ldy, .type = type, .x = x,
        .scale = scale, .w = w, .y = y,
    };
    /* A number from memory takes as long as some 16 multiply-adds. */
    int threads = threads_for(16.0 * N * K);
    the.ldx = transposed ? round_up(K, 16) + 16 : ldx; /* a line apart: not all in one cache set */
    the.workspace = allocate(transposed ? M * the.ldx : CHUNKS * M * N);
    if (the.workspace == NULL)
        return MINILLM_OUT_OF_MEMORY;
    for (ptrdiff_t i = 0; i < M && !accumulate; i++)
        for (ptrdiff_t j = 0; j < N; j++)
            y[i * ldy + j] = bias ? bias[j] : 0;
    if (transposed) {
        arrange(M, K, x, ldx, weights_in_a_lane(type), the.workspace, the.ldx);
        the.x = the.workspace;
        the.pieces = threads == 1 ? 1 : 4 * threads;
        share_out(the.pieces, threads, outputs_piece, &the);
    } else {
        share_out(CHUNKS, threads, inputs_piece, &the);
        for (int chunk = 0; chunk < CHUNKS; chunk++)
            for (ptrdiff_t i = 0; i < M; i++)
                for (ptrdiff_t j = 0; j < N; j++)
                    y[i * ldy + j] += the.workspace[(chunk * M + i) * N + j];
    }
    free(the.workspace);
    return MINILLM_OK;
}

int minillm_matmul_stored(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float *x, int type,
                          const void *w, const float *scale, const float *bias, float *y)
{
    return few_rows(M, N, K, x, K, type, w, K, 1, scale, 0, bias, y, N);
}
