/* gemv.c: a few rows times a matrix of weights, for generation, one token at a time.
 *
 * A row of x uses each weight only once, so the memory bandwidth limits the speed. Packing the
 * weights, as matmul.c does, would double the traffic. What matters is to read them once, in memory
 * order, which suits the prefetcher, and to keep them small. So they may be stored in half of the
 * bytes (bfloat16), a quarter (int8) or a seventh (int4). They are converted to float32 in registers:
 *
 *   bfloat16  the upper half of a float32: the same exponent, 8 bits of precision instead of 24
 *   int8      W[j][k] = scale[j] q[j][k] with q from -127 to 127, and a scale for each output j
 *   int4      W[j][k] = scale[j][k / 32] (q[j][k] - 8) with q from 0 to 15, and a scale in bfloat16
 *             for each group of 32 weights of an output. Byte i of a group's 16 bytes holds weight
 *             i in its lower half and weight i + 16 in its upper half */
#include <math.h>
#include "tile.h"

/* One pass over some weights, for M <= MINILLM_GEMV_ROWS rows. With 8 rows the arithmetic still
 * keeps pace with the memory: a cache line holds 16 float32 weights, which take part in 128
 * multiply-adds, 8 FMAs with AVX-512. They take no longer than loading the line. */
typedef struct {
    isize M, K, ldx, ldw, ldy;
    int in_blocks; /* of int4; so is x */
    const float *x, *bias;
    const void *w, *scale;
    float *y;
} pass;

static inline float from_bfloat16(uint16_t upper_half) {
    union { uint32_t bits; float value; } x = {(uint32_t)upper_half << 16};
    return x.value;
}

static inline float unpack(enum minillm_type type, const void *w, isize i) {
    if (type == MINILLM_BFLOAT16)
        return from_bfloat16(((const uint16_t *)w)[i]);
    return type == MINILLM_INT8 ? ((const int8_t *)w)[i] : ((const float *)w)[i];
}

typedef int32_t integers __attribute__((vector_size(4 * LANES)));

/* LANES weights from number i on. */
static inline __attribute__((always_inline)) vec
unpack_lanes(enum minillm_type type, const void *w, isize i) {
    integers wide = {0};
    if (type == MINILLM_FLOAT32)
        return load((const float *)w + i);
    #pragma GCC unroll 16
    for (int l = 0; l < LANES; l++)
        wide[l] = type == MINILLM_INT8 ? ((const int8_t *)w)[i + l] : ((const uint16_t *)w)[i + l];
    return type == MINILLM_INT8 ? __builtin_convertvector(wide, vec) : (vec)(wide << 16);
}

/* Output j for row i of x, with the scale inside the sum. |q| reaches 127, so the sum of x q can
 * overflow where the sum of x scale q doesn't. */
static float scaled_output(const pass *p, isize i, isize j) {
    const float *x = p->x + i * p->ldx, scale = ((const float *)p->scale)[j];
    const int8_t *q = (const int8_t *)p->w + j * p->ldw;
    float sum = 0;
    for (isize k = 0; k < p->K; k++)
        sum += x[k] * (scale * q[k]);
    return sum;
}

/* Finish output j for row i of x: add the lanes, the last weights from number `k` on, the scale and
 * the bias. */
static inline __attribute__((always_inline)) void
finish_output(enum minillm_type type, const pass *p, isize i, isize j, vec lanes, isize k) {
    float sum = horizontal_sum(lanes);
    const char *row = (const char *)p->w + j * p->ldw * (4 >> type);
    for (; k < p->K; k++)
        sum += p->x[i * p->ldx + k] * unpack(type, row, k);
    if (type == MINILLM_INT8)
        sum = isfinite(sum) ? ((const float *)p->scale)[j] * sum : scaled_output(p, i, j);
    p->y[i * p->ldy + j] = (p->bias ? p->bias[j] : 0) + sum;
}

/* Outputs `begin` to `end` of y = x Wᵀ + bias for R rows of x, where each output has a row of W.
 *
 * A weight is read and unpacked once for all R rows. A number of x is loaded once for two outputs,
 * if there are registers for the sums of both. (For a single row of float32 and 16 lanes the
 * memory is the limit, and reading one row of W at a time is faster. With 8 lanes it is the time
 * from one FMA to the next of the same sum: two sums take 0.8 to 1 of the time.) Weights are
 * prefetched. With one stream, 2 KB ahead: more than a page ahead the hardware prefetcher doesn't
 * join in, which is a fifth slower. With two streams, a whole number of row pairs ahead. A prefetch
 * beyond the end of W is harmless. Every caller passes constants for `type` and R, so the sums stay
 * in registers. */
static inline __attribute__((always_inline)) void
compute_outputs(const int R, enum minillm_type type, const pass *p, isize begin, isize end) {
    enum { BLOCK = 4 * LANES };
    const int bytes = 4 >> type; /* of a weight: 4, 2 or 1 */
    const int memory_bound = R == 1 && type == MINILLM_FLOAT32 && LANES == 16;
    const int together = memory_bound || 2 * R + 3 > VEC_REGISTERS ? 1 : 2; /* outputs at a time */
    isize ahead = together == 1 ? 2048 : round_up(4096, max(1, 2 * p->ldw * bytes));
    isize whole = p->K / BLOCK * BLOCK;
    for (isize j = begin; j < end; j += together) {
        isize output[2] = {j, min(j + 1, end - 1)}; /* the last output may be computed twice */
        const char *row[2];
        vec sums[2][MINILLM_GEMV_ROWS];
        for (int o = 0; o < together; o++) {
            row[o] = (const char *)p->w + output[o] * p->ldw * bytes;
            for (int i = 0; i < R; i++)
                sums[o][i] = broadcast(0);
        }
        for (isize k = 0; k < whole; k += BLOCK) {
            for (int o = 0; o < together; o++)
                for (int line = 0; line < BLOCK * bytes; line += 64)
                    __builtin_prefetch(row[o] + k * bytes + ahead + line, 0, 2);
            for (int l = 0; l < BLOCK; l += LANES)
                for (int o = 0; o < together; o++) {
                    vec w = unpack_lanes(type, row[o], k + l);
                    for (int i = 0; i < R; i++)
                        sums[o][i] += load(p->x + i * p->ldx + k + l) * w;
                }
        }
        for (int o = 0; o < together; o++)
            for (int i = 0; i < R; i++)
                finish_output(type, p, i, output[o], sums[o][i], whole);
    }
}

/* int4 has only 16 levels, so with vectors of 16 lanes they are a table in one register. A shuffle,
 * one instruction, looks up 16 weights; it reads only the lower 4 bits of each index. */
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#define LEVELS_IN_A_VECTOR
typedef uint32_t indices __attribute__((vector_size(64)));
static const vec levels = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};
#endif

/* The 32 weights of a group of int4. */
static inline __attribute__((always_inline)) void
unpack_group(const uint8_t *q, float scale, vec *w) {
#ifdef LEVELS_IN_A_VECTOR
    indices both = {0};
    for (int l = 0; l < LANES; l++)
        both[l] = q[l];
    w[0] = __builtin_shuffle(levels * broadcast(scale), both);
    w[1] = __builtin_shuffle(levels * broadcast(scale), both >> 4);
#else
    enum { HALF = MINILLM_GROUP / 2 / LANES };
    #pragma GCC unroll 4
    for (int v = 0; v < HALF; v++) {
        integers both = {0};
        #pragma GCC unroll 16
        for (int l = 0; l < LANES; l++)
            both[l] = q[v * LANES + l];
        w[v] = broadcast(scale) * __builtin_convertvector((both & 15) - 8, vec);
        w[v + HALF] = broadcast(scale) * __builtin_convertvector((both >> 4) - 8, vec);
    }
#endif
}

enum { INT4_OUTPUTS = 4 }; /* that compute_int4_outputs computes together, at most */

/* compute_outputs for int4, a group at a time. The rows of x are padded with zeros to whole groups.
 * The scales of the outputs at hand are neighbours in memory: convert them together, in vectors. For
 * few rows each output has two sums, so that more independent additions overlap. */
static inline __attribute__((always_inline)) void
compute_int4_outputs(const int R, const pass *p, isize begin, isize end, float *scales) {
    enum { GROUP = MINILLM_GROUP, BYTES = GROUP / 2, VECTORS = GROUP / LANES };
    const int chains = R <= 2 ? 2 : 1, sums_each = R * chains;
    const int together = 4 * sums_each + 12 <= VEC_REGISTERS ? 4 : /* outputs at a time */
                         2 * sums_each + 4 <= VEC_REGISTERS ? 2 : 1;
    const isize groups = p->ldw / GROUP;
    const isize ahead = round_up(4096, max(1, together * groups * BYTES));
    for (isize j = begin; j < end; j += together) {
        const uint16_t *stored = (const uint16_t *)p->scale + j * groups;
        const isize n = min(together, end - j);
        const uint8_t *q[INT4_OUTPUTS];
        const float *scale[INT4_OUTPUTS];
        vec sums[INT4_OUTPUTS][MINILLM_GEMV_ROWS][2];
        for (isize i = 0; i < n * groups; i++)
            scales[i] = from_bfloat16(stored[i]);
        for (int o = 0; o < together; o++) {
            isize output = min(o, n - 1); /* the last output may be computed several times */
            q[o] = (const uint8_t *)p->w + (j + output) * groups * BYTES;
            scale[o] = scales + output * groups;
            for (int i = 0; i < R; i++)
                sums[o][i][0] = sums[o][i][1] = broadcast(0);
        }
        for (isize g = 0; g < groups; g++) {
            const float *x = p->x + g * GROUP;
            if (g % 4 == 0) /* another cache line */
                for (int o = 0; o < together; o++)
                    __builtin_prefetch(q[o] + g * BYTES + ahead, 0, 2);
            #pragma GCC unroll 4
            for (int o = 0; o < together; o++) {
                vec w[VECTORS];
                unpack_group(q[o] + g * BYTES, scale[o][g], w);
                for (int i = 0; i < R; i++)
                    for (int v = 0; v < VECTORS; v++)
                        sums[o][i][v % chains] += load(x + i * p->ldx + v * LANES) * w[v];
            }
        }
        for (isize o = 0; o < n; o++)
            for (int i = 0; i < R; i++)
                p->y[i * p->ldy + j + o] = (p->bias ? p->bias[j + o] : 0) +
                                           horizontal_sum(sums[o][i][0] + sums[o][i][1]);
    }
}

/* For up to three rows of x, unpacking int4 is most of the work. Unpack four groups, a block,
 * together: their 64 bytes are 16 words, and bits 4 n to 4 n + 3 of the words index 16 weights.
 * Word l belongs to group l / 4, of which these bits are weight number 4 (l % 4) + n / 2, plus 16 if
 * n is odd. The copy of x has the same order. */
enum { BLOCK_ROWS = 3, INT4_BLOCK = 4 * MINILLM_GROUP };

static int in_blocks(int type, isize M, isize ldw) {
#ifdef LEVELS_IN_A_VECTOR
    return type == MINILLM_INT4 && M <= BLOCK_ROWS && ldw % INT4_BLOCK == 0;
#else
    return (void)type, (void)M, (void)ldw, 0;
#endif
}

static void order_block(float *x) {
    float ordered[INT4_BLOCK];
    for (int group = 0; group < 4; group++)
        for (int odd = 0; odd < 2; odd++)
            transpose_4x4(x + 32 * group + 16 * odd, 4, ordered + 16 * odd + 4 * group, 32);
    memcpy(x, ordered, sizeof ordered);
}

#ifdef LEVELS_IN_A_VECTOR
/* Four scales, each in the lanes of its group's words. A bfloat16 is the upper half of a float. */
static inline vec block_scales(const uint16_t *scale) {
    typedef uint64_t quads __attribute__((vector_size(64)));
    typedef uint8_t bytes __attribute__((vector_size(64)));
    #define LANE(g) 18 * g, 18 * g + 1, 18 * g, 18 * g + 1 /* byte 16 g + i is byte i again */
    #define GROUP(g) LANE(g), LANE(g), LANE(g), LANE(g)
    const bytes twice = {GROUP(0), GROUP(1), GROUP(2), GROUP(3)};
    uint64_t four;
    memcpy(&four, scale, sizeof four);
    return (vec)((indices)__builtin_shuffle((bytes)(four - (quads){0}), twice) & 0xffff0000);
}

/* compute_int4_outputs for whole blocks. A scale is the factor of a sum of eight products in each
 * lane. Such a sum must not overflow where the result doesn't, so divide the levels by SMALL. */
static inline __attribute__((always_inline)) void
compute_int4_blocks(const int R, const pass *p, isize begin, isize end) {
    enum { SMALL = 128 };
    typedef uint32_t unaligned_indices __attribute__((vector_size(64), aligned(1), may_alias));
    const isize blocks = p->ldw / INT4_BLOCK;
    const isize ahead = round_up(4096, max(1, INT4_OUTPUTS * blocks * 64));
    for (isize j = begin; j < end; j += INT4_OUTPUTS) {
        isize output[INT4_OUTPUTS];
        vec sums[INT4_OUTPUTS][BLOCK_ROWS];
        for (int o = 0; o < INT4_OUTPUTS; o++) {
            output[o] = min(j + o, end - 1); /* the last output may be computed several times */
            for (int i = 0; i < R; i++)
                sums[o][i] = broadcast(0);
        }
        for (isize block = 0; block < blocks; block++) {
            const float *x = p->x + block * INT4_BLOCK;
            #pragma GCC unroll 4
            for (int o = 0; o < INT4_OUTPUTS; o++) {
                isize place = output[o] * blocks + block;
                const unaligned_indices *q = (const unaligned_indices *)p->w + place;
                vec products[BLOCK_ROWS];
                indices words = *(const volatile unaligned_indices *)q; /* load it only once */
                __builtin_prefetch((const char *)q + ahead, 0, 2);
                #pragma GCC unroll 8
                for (int n = 0; n < 8; n++) {
                    vec w = __builtin_shuffle(levels / SMALL, words >> 4 * n);
                    for (int i = 0; i < R; i++) {
                        vec product = load(x + i * p->ldx + n * LANES) * w;
                        products[i] = n == 0 ? product : products[i] + product;
                    }
                }
                vec scales = block_scales((const uint16_t *)p->scale + 4 * place);
                for (int i = 0; i < R; i++)
                    sums[o][i] += scales * products[i];
            }
        }
        for (int o = 0; o < INT4_OUTPUTS; o++)
            for (int i = 0; i < R; i++)
                p->y[i * p->ldy + output[o]] = (p->bias ? p->bias[output[o]] : 0) +
                                               SMALL * horizontal_sum(sums[o][i]);
    }
}
#else
#define compute_int4_blocks(R, p, begin, end) (void)0 /* in_blocks is never true */
#endif

/* Call the copy of compute_outputs that is compiled for this type and number of rows. */
static void dispatch_outputs(int type, const pass *p, isize begin, isize end, float *scales) {
    #define CASE(t, R) case 8 * t + R: \
        if (R <= BLOCK_ROWS && p->in_blocks) compute_int4_blocks(R, p, begin, end); \
        else if (t == MINILLM_INT4) compute_int4_outputs(R, p, begin, end, scales); \
        else compute_outputs(R, t, p, begin, end); \
        break;
    #define CASES(t) CASE(t, 1) CASE(t, 2) CASE(t, 3) CASE(t, 4) \
                     CASE(t, 5) CASE(t, 6) CASE(t, 7) CASE(t, 8)
    switch (8 * type + p->M) {
        CASES(MINILLM_FLOAT32) CASES(MINILLM_BFLOAT16) CASES(MINILLM_INT8) CASES(MINILLM_INT4)
    }
}

/* Inputs `first` to `last` of sums = x W, where each input has a row of W, for outputs `begin` to
 * `end`. Take 8 inputs at a time, which load and store the sums only once. Prefetch the next 8. */
static void add_inputs(const pass *p, isize first, isize last, isize begin, isize end,
                       matrix sums) {
    enum { INPUTS = 8 };
    matrix x = {(float *)p->x, p->ldx, 1}, W = {(float *)p->w, p->ldw, 1}, start = zero_matrix;
    for (isize k = first; k < last; k += INPUTS, start = sums)
        for (isize j = begin; j < end; j += PAIR) {
            for (isize i = k + INPUTS; i < k + 2 * INPUTS; i++)
                for (isize line = j; line < j + PAIR; line += 16)
                    __builtin_prefetch(part(W, i, line).data, 0, 2);
            product(p->M, PAIR, min(INPUTS, last - k), part(x, 0, k), part(W, k, j),
                    part(start, 0, j), part(sums, 0, j));
        }
}

/* y = x W + bias, where each input has a row of W. Memory is read fastest from front to back, so a
 * thread takes neighbouring rows. W is cut into parts, always the same ones, and their sums are
 * added in order at the end. (Two threads that read half of each row take 1.1 times as long.) More
 * threads also share the columns of a part. */
static int row_major_outputs(isize N, int threads, const pass *p) {
    enum { PARTS = 4, COLUMNS = 256 };
    isize rows = max(8, round_up((p->K + PARTS - 1) / PARTS, 8)), parts = (p->K + rows - 1) / rows;
    isize across = max(1, (2 * threads - 1) / PARTS), sums_row = round_up(N, 16) + 16;
    isize columns = round_up((N + across - 1) / across, 32);
    float *workspace = allocate(PARTS * p->M * sums_row);
    matrix sums = {workspace, sums_row, 1};
    if (workspace == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel num_threads(threads)
    {
        #pragma omp for schedule(guided)
        for (isize piece = 0; piece < parts * across; piece++) {
            isize first = piece / across * rows, begin = piece % across * columns;
            add_inputs(p, first, min(first + rows, p->K), begin, min(begin + columns, N),
                       part(sums, piece / across * p->M, 0));
        }
        #pragma omp for
        for (isize begin = 0; begin < N; begin += COLUMNS)
            for (isize i = 0; i < p->M; i++) {
                isize n = min(COLUMNS, N - begin);
                float *y = p->y + i * p->ldy + begin;
                for (isize j = 0; j < n; j++)
                    y[j] = p->bias ? p->bias[begin + j] : 0;
                for (isize piece = 0; piece < parts; piece++)
                    for (isize j = 0; j < n; j++)
                        y[j] += part(sums, piece * p->M + i, begin).data[j];
            }
    }
    free(workspace);
    return MINILLM_OK;
}

/* Outputs `begin` to `end` for all M rows of x, MINILLM_GEMV_ROWS at a time. More groups of rows than
 * one take turns at a few outputs: the first reads their weights from memory, the others from L1 or
 * L2. With 16 rows of GPT-2 124M that is 1.3 times as fast as reading all weights twice. */
static void all_rows(int type, isize M, pass p, isize begin, isize end, float *scales) {
    enum { FEW = 16 };
    isize outputs = M > MINILLM_GEMV_ROWS ? FEW : end - begin;
    const float *x = p.x;
    float *y = p.y;
    for (isize j = begin; j < end; j += outputs)
        for (isize i = 0; i < M; i += MINILLM_GEMV_ROWS) {
            p.M = min(MINILLM_GEMV_ROWS, M - i);
            p.x = x + i * p.ldx;
            p.y = y + i * p.ldy;
            dispatch_outputs(type, &p, j, min(j + outputs, end), scales);
        }
}

/* Row j of W in float32; with int4, whole groups. */
static void unpack_row(int type, const pass *p, isize j, float *w) {
    enum { GROUP = MINILLM_GROUP, BYTES = GROUP / 2, VECTORS = GROUP / LANES };
    isize groups = p->ldw / GROUP, k = 0;
    if (type == MINILLM_INT4) {
        const uint8_t *q = (const uint8_t *)p->w + j * groups * BYTES;
        const uint16_t *scale = (const uint16_t *)p->scale + j * groups;
        for (isize g = 0; g < groups; g++) {
            vec parts[VECTORS];
            unpack_group(q + g * BYTES, from_bfloat16(scale[g]), parts);
            for (int v = 0; v < VECTORS; v++)
                store(w + g * GROUP + v * LANES, parts[v]);
        }
    } else if (type == MINILLM_INT8) {
        const int8_t *q = (const int8_t *)p->w + j * p->ldw;
        float scale = ((const float *)p->scale)[j];
        for (; k + LANES <= p->K; k += LANES)
            store(w + k, unpack_lanes(MINILLM_INT8, q, k) * broadcast(scale));
        for (; k < p->K; k++)
            w[k] = scale * q[k];
    } else {
        const uint16_t *upper = (const uint16_t *)p->w + j * p->ldw;
        for (; k + LANES <= p->K; k += LANES)
            store(w + k, unpack_lanes(MINILLM_BFLOAT16, upper, k));
        for (; k < p->K; k++)
            w[k] = from_bfloat16(upper[k]);
    }
}

/* Many rows of x: the arithmetic is the limit, so leave it to matmul.c, which uses each weight as often
 * as there are rows. Unpack some outputs at a time; they are read again from L2 or L3. */
static int many_rows(isize M, isize N, int type, const pass *p) {
    enum { OUTPUTS = 512 };
    if (type == MINILLM_FLOAT32)
        return minillm_matmul(1, M, N, p->K, p->x, p->ldx, 0, 0, p->w, p->ldw, 0, 1, p->y, p->ldy,
                              0, 0, p->bias);
    isize row = round_up(p->K, MINILLM_GROUP);
    float *unpacked = allocate(min(N, OUTPUTS) * row);
    int error = MINILLM_OK;
    if (unpacked == NULL)
        return MINILLM_OUT_OF_MEMORY;
    for (isize first = 0; first < N && !error; first += OUTPUTS) {
        isize n = min(OUTPUTS, N - first);
        #pragma omp parallel for num_threads(threads_for(16.0 * n * p->K))
        for (isize j = 0; j < n; j++)
            unpack_row(type, p, first + j, unpacked + j * row);
        error = minillm_matmul(1, M, n, p->K, p->x, p->ldx, 0, 0, unpacked, row, 0, 1,
                               p->y + first, p->ldy, 0, 0, p->bias ? p->bias + first : NULL);
    }
    free(unpacked);
    return error;
}

int minillm_gemv(isize M, isize N, isize K, const float *x, isize ldx, int type,
                 const void *w, isize ldw, int transposed, const void *scale,
                 const float *bias, float *y, isize ldy) {
    pass p = {.M = M, .K = K, .x = x, .ldx = ldx, .w = w, .ldw = ldw, .scale = scale,
              .bias = bias, .y = y, .ldy = ldy, .in_blocks = in_blocks(type, M, ldw)};
    if (M * N == 0)
        return MINILLM_OK;
    if (M > MINILLM_STEP_ROWS && transposed)
        return many_rows(M, N, type, &p);
    int threads = threads_for((15.0 + M) * N * K); /* a weight counts 16 (simd.h), for one row */
    if (!transposed)
        return row_major_outputs(N, threads, &p);
    /* With schedule(guided) a thread takes many pieces at first, which are neighbours: the start of
     * each stream of weights waits for the memory. The last ones it takes one by one. */
    isize pieces = threads > 1 ? 32 * threads : 1;
    isize size = round_up(max(1, (N + pieces - 1) / pieces), 16); /* whole cache lines of y */
    /* Copy x. The rows of the copy are aligned to cache lines, so no vector straddles two lines;
     * and padded, so they don't all fall into the same cache set, as with K a multiple of
     * 1,024. After the last number come zeros up to a whole group of int4. */
    isize row = round_up(K, MINILLM_GROUP) + 16;
    /* Converted by a thread at a time, on cache lines that no other thread writes to. */
    isize scales = round_up(INT4_OUTPUTS * row / MINILLM_GROUP, 32);
    float *copy = allocate(M * row + threads * scales);
    if (copy == NULL)
        return MINILLM_OUT_OF_MEMORY;
    p.x = copy;
    p.ldx = row;
    for (isize i = 0; i < M; i++) {
        memcpy(copy + i * row, x + i * ldx, K * sizeof(float));
        memset(copy + i * row + K, 0, (row - K) * sizeof(float));
        for (isize k = 0; k < K && p.in_blocks; k += INT4_BLOCK)
            order_block(copy + i * row + k);
    }
    #pragma omp parallel for schedule(guided) num_threads(threads)
    for (isize begin = 0; begin < N; begin += size)
        all_rows(type, M, p, begin, min(begin + size, N),
                 copy + M * row + omp_get_thread_num() * scales);
    free(copy);
    return MINILLM_OK;
}
