/* attention.c: softmax(scale Q Kᵀ + mask) V and its gradients, without ever holding the T x T matrix
 * of weights (Milakov and Gimelshein 2018; Dao et al. 2022, "FlashAttention").
 *
 * The layout is what makes it short: QUERIES queries lie side by side across the lanes of two
 * vectors, so the tile of scores is S[key][query]. Then
 *   - the softmax of a query runs down its lane: maximum, exponential and sum are plain vector
 *     arithmetic, nothing is ever added up across lanes;
 *   - S = K Qᵀ, out = Vᵀ P and their gradients all have the one shape of `product` below, with the
 *     rows of K and V where they are: only Q, the gradient of out, and the results are transposed,
 *     once for all keys.
 * Arithmetic: a tile of KEYS x QUERIES is 2 D multiply-adds an element in the forward, and about
 * 20 operations for the exponential: for D = 64 more than five sixths of the time is FMA. */
#include <math.h>
#include <string.h>
#include "simd.h"

DECLARE_KERNEL(minillm_attention);
DECLARE_KERNEL(minillm_attention_backward);

/* ROWS x QUERIES sums in registers: 16 or 8 vectors, enough independent FMAs to hide the latency of
 * 4 cycles on 2 units. KEYS x QUERIES scores (8 KB with AVX-512) stay in L1 between the steps. */
enum { ROWS = VEC_REGISTERS == 32 ? 8 : 4, QUERIES = 2 * LANES, KEYS = 64 };

/* R rows of C, two vectors wide: C[i] (+)= sum over k of a(i, k) B[k], where a(i, k) lies at
 * a[i * a_row + k * a_next]. */
static inline __attribute__((always_inline)) void
product_rows(const int R, ptrdiff_t K, const float *a, ptrdiff_t a_row, ptrdiff_t a_next,
             const float *B, ptrdiff_t ldb, float *C, ptrdiff_t ldc, int accumulate)
{
    vec sums[ROWS][2];
    for (int i = 0; i < R; i++) {
        sums[i][0] = accumulate ? load(C + i * ldc) : broadcast(0);
        sums[i][1] = accumulate ? load(C + i * ldc + LANES) : broadcast(0);
    }
    for (ptrdiff_t k = 0; k < K; k++, a += a_next, B += ldb) {
        vec b0 = load(B), b1 = load(B + LANES);
        for (int i = 0; i < R; i++) {
            vec a_i = broadcast(a[i * a_row]);
            sums[i][0] += a_i * b0;
            sums[i][1] += a_i * b1;
        }
    }
    for (int i = 0; i < R; i++) {
        store(C + i * ldc, sums[i][0]);
        store(C + i * ldc + LANES, sums[i][1]);
    }
}

/* The same for M rows. */
static void product(ptrdiff_t M, ptrdiff_t K, const float *a, ptrdiff_t a_row, ptrdiff_t a_next,
                    const float *B, ptrdiff_t ldb, float *C, ptrdiff_t ldc, int accumulate)
{
    ptrdiff_t i = 0;
    for (; i + ROWS <= M; i += ROWS)
        product_rows(ROWS, K, a + i * a_row, a_row, a_next, B, ldb, C + i * ldc, ldc, accumulate);
    for (; i < M; i++)
        product_rows(1, K, a + i * a_row, a_row, a_next, B, ldb, C + i * ldc, ldc, accumulate);
}

/* to[j][i] = from[i][j] for `rows` x `columns` of `from`. */
static void transpose(ptrdiff_t rows, ptrdiff_t columns, const float *from, ptrdiff_t from_row,
                      float *to, ptrdiff_t to_row)
{
    ptrdiff_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
    for (ptrdiff_t i = 0; i < whole_rows; i += 4)
        for (ptrdiff_t j = 0; j < whole_columns; j += 4)
            transpose_4x4(from + i * from_row + j, from_row, to + j * to_row + i, to_row);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = i < whole_rows ? whole_columns : 0; j < columns; j++)
            to[j * to_row + i] = from[i * from_row + j];
}

/* One head of one sequence. Query i, counted from the first of all queries, sees the keys up to
 * i + Tk - Tq when causal, and of those the ones whose key_mask isn't 0. */
typedef struct {
    ptrdiff_t Tq, Tk, D;
    const float *Q, *K, *V;
    ptrdiff_t ldq, ldk, ldv;
    const unsigned char *key_mask; /* or NULL */
    int causal;
    float scale;
} head;

static head head_of(ptrdiff_t b, ptrdiff_t h, ptrdiff_t Tq, ptrdiff_t Tk, ptrdiff_t D,
                    const minillm_heads *Q, const minillm_heads *K, const minillm_heads *V,
                    const unsigned char *key_mask, int causal, float scale)
{
    return (head){
        Tq, Tk, D,
        Q->data + b * Q->batch + h * Q->head, K->data + b * K->batch + h * K->head,
        V->data + b * V->batch + h * V->head, Q->row, K->row, V->row,
        key_mask ? key_mask + b * Tk : NULL, causal, scale,
    };
}

/* The number of keys that the last query before `end` may look at. */
static ptrdiff_t visible_keys(const head *x, ptrdiff_t end)
{
    return x->causal ? max(0, min(x->Tk, end + x->Tk - x->Tq)) : x->Tk;
}

/* Panel[d][query] = factor * from[query][d] for up to QUERIES queries; the others are 0. */
static void load_panel(float *panel, ptrdiff_t queries, ptrdiff_t D,
                       const float *from, ptrdiff_t row, float factor)
{
    if (queries < QUERIES)
        memset(panel, 0, D * QUERIES * sizeof(float));
    transpose(queries, D, from, row, panel, QUERIES);
    for (ptrdiff_t i = 0; i < D * QUERIES; i += LANES)
        store(panel + i, load(panel + i) * factor);
}

/* S[key][query] = K Qᵀ for `keys` keys from `j` on, with -inf where a query may not look.
 * The first of the queries is number i. */
static void scores(const head *x, ptrdiff_t i, ptrdiff_t j, ptrdiff_t keys,
                   const float *Q_panel, float *S)
{
    product(keys, x->D, x->K + j * x->ldk, x->ldk, 1, Q_panel, QUERIES, S, QUERIES, 0);
    const vec nothing = broadcast(-INFINITY);
    ptrdiff_t sees = i + x->Tk - x->Tq; /* the last key that the first of the queries may look at */
    for (ptrdiff_t k = x->causal ? max(0, sees + 1 - j) : keys; k < keys; k++)
        for (int half = 0; half < QUERIES; half += LANES) {
            ivec hidden = lane_numbers() + (int32_t)(sees + half) < (int32_t)(j + k);
            float *s = S + k * QUERIES + half;
            store(s, choose(hidden, nothing, load(s)));
        }
    for (ptrdiff_t k = 0; x->key_mask && k < keys; k++)
        if (!x->key_mask[j + k]) {
            store(S + k * QUERIES, nothing);
            store(S + k * QUERIES + LANES, nothing);
        }
}

/* The online softmax, for one vector of queries and one more tile of keys.
 *
 * With m the largest score so far, l = sum exp(S - m) and o = sum exp(S - m) V are what the softmax
 * needs of the past: out = o / l. When a tile brings a larger score m', both are multiplied by
 * exp(m - m'), as if m' had been the maximum all along. S becomes P = exp(S - m').
 * -> the factor for o. Where all scores so far are -inf, m' counts as 0: exp(-inf - 0) = 0. */
static vec online_softmax(ptrdiff_t keys, float *S, vec *m, vec *l)
{
    vec largest = *m, sum = broadcast(0);
    for (ptrdiff_t k = 0; k < keys; k++)
        largest = vmax(largest, load(S + k * QUERIES));
    vec shift = choose(largest == broadcast(-INFINITY), broadcast(0), largest);
    for (ptrdiff_t k = 0; k < keys; k++) {
        vec p = vexp(load(S + k * QUERIES) - shift);
        store(S + k * QUERIES, p);
        sum += p;
    }
    vec factor = vexp(*m - shift);
    *l = *l * factor + sum;
    *m = largest;
    return factor;
}

/* The forward for up to QUERIES queries from number i on. */
static void attend(const head *x, ptrdiff_t i, float *out, ptrdiff_t ldo, float *lse,
                   float *workspace)
{
    ptrdiff_t D = x->D, queries = min(QUERIES, x->Tq - i), last = visible_keys(x, i + queries);
    float *Q_panel = workspace, *o = Q_panel + D * QUERIES, *S = o + D * QUERIES;
    vec m[2] = {broadcast(-INFINITY), broadcast(-INFINITY)}, l[2] = {{0}};

    load_panel(Q_panel, queries, D, x->Q + i * x->ldq, x->ldq, x->scale);
    memset(o, 0, D * QUERIES * sizeof(float));
    for (ptrdiff_t j = 0; j < last; j += KEYS) {
        ptrdiff_t keys = min(KEYS, last - j);
        scores(x, i, j, keys, Q_panel, S);
        for (int half = 0; half < 2; half++) {
            vec factor = online_softmax(keys, S + half * LANES, &m[half], &l[half]);
            for (float *p = o + half * LANES; p < o + D * QUERIES; p += QUERIES)
                store(p, load(p) * factor);
        }
        product(D, keys, x->V + j * x->ldv, 1, x->ldv, S, QUERIES, o, QUERIES, 1);
    }
    for (int half = 0; half < 2; half++) { /* out = o / l, or 0 where no key was seen: l = 0 */
        vec inverse = choose(l[half] > 0.0f, 1.0f / l[half], broadcast(0));
        for (float *p = o + half * LANES; p < o + D * QUERIES; p += QUERIES)
            store(p, load(p) * inverse);
    }
    transpose(D, queries, o, QUERIES, out + i * ldo, ldo);
    for (ptrdiff_t q = 0; q < queries; q++)
        lse[i + q] = m[q / LANES][q % LANES] + logf(l[q / LANES][q % LANES]);
}

static float dot(ptrdiff_t n, const float *x, const float *y)
{
    vec sum = broadcast(0);
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        sum += load(x + i) * load(y + i);
    return horizontal_sum(sum + load_first(x + i, n - i, 0) * load_first(y + i, n - i, 0));
}

static void multiply(ptrdiff_t n, float factor, float *y)
{
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] *= factor;
}

static void add_multiple(ptrdiff_t n, float factor, const float *x, float *y)
{
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(y + i, load(y + i) + factor * load(x + i));
    for (; i < n; i++)
        y[i] += factor * x[i];
}

/* The forward for query i alone, when there are too few to fill the lanes: generation, one token at
 * a time. Each key is read once, so the speed limit is the memory, and the layout doesn't matter. */
static void attend_alone(const head *x, ptrdiff_t i, float *out, ptrdiff_t ldo, float *lse)
{
    const float *q = x->Q + i * x->ldq;
    float *o = out + i * ldo, m = -INFINITY, l = 0, S[KEYS];
    ptrdiff_t last = visible_keys(x, i + 1);

    memset(o, 0, x->D * sizeof(float));
    for (ptrdiff_t j = 0; j < last; j += KEYS) {
        ptrdiff_t keys = min(KEYS, last - j);
        float largest = m;
        for (ptrdiff_t k = 0; k < keys; k++) {
            int visible = !x->key_mask || x->key_mask[j + k];
            S[k] = visible ? x->scale * dot(x->D, q, x->K + (j + k) * x->ldk) : -INFINITY;
            largest = S[k] > largest ? S[k] : largest;
        }
        if (largest == -INFINITY)
            continue;
        float factor = expf(m - largest);
        l *= factor;
        multiply(x->D, factor, o);
        for (ptrdiff_t k = 0; k < keys; k++) {
            float p = expf(S[k] - largest);
            l += p;
            add_multiple(x->D, p, x->V + (j + k) * x->ldv, o);
        }
        m = largest;
    }
    multiply(x->D, l > 0 ? 1 / l : 0, o);
    lse[i] = m + logf(l);
}

/* Backward (the derivation stands in minillm/kernels/numpy_attention.py). For each tile P is computed
 * again from the scores and the lse of the forward, and then, with everything as [key][query],
 *
 *     dP = V doutᵀ      dS = P (dP - delta)      delta[query] = dout . out
 *     dQ += dSᵀ K       dK += dS Q               dV += P dout            (Q already times scale)
 *
 * dQ of the queries in hand is complete after the last tile of keys; dK and dV of all keys grow in
 * the workspace until the last queries have passed. That needs a head for itself: one thread. */

/* rows[query][d] = factor * from[query][d], as load_panel but not transposed, and padded with 0 to
 * `width` columns, a multiple of QUERIES: so that no product has to stop short. */
static void load_rows(float *rows, ptrdiff_t width, ptrdiff_t queries, ptrdiff_t D,
                      const float *from, ptrdiff_t row, float factor)
{
    memset(rows, 0, QUERIES * width * sizeof(float));
    for (ptrdiff_t q = 0; q < queries; q++)
        add_multiple(D, factor, from + q * row, rows + q * width);
}

/* grad[key] += sum over the queries of weight[key][query] rows[query] */
static void add_to_keys(ptrdiff_t keys, const float *weight, const float *rows, ptrdiff_t width,
                        float *grad)
{
    for (ptrdiff_t d = 0; d < width; d += QUERIES)
        product(keys, QUERIES, weight, QUERIES, 1, rows + d, width, grad + d, width, 1);
}

static void copy_rows(ptrdiff_t rows, ptrdiff_t D, const float *from, ptrdiff_t from_row,
                      float *to, ptrdiff_t to_row)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        memcpy(to + i * to_row, from + i * from_row, D * sizeof(float));
}

static ptrdiff_t padded(ptrdiff_t D) { return (D + QUERIES - 1) / QUERIES * QUERIES; }

static ptrdiff_t backward_workspace(ptrdiff_t Tk, ptrdiff_t D)
{
    return 3 * QUERIES * D + 2 * QUERIES * padded(D) + 2 * KEYS * QUERIES + 2 * Tk * padded(D);
}

typedef struct { float *data; ptrdiff_t row; } rows_of;

static void head_backward(const head *x, rows_of dout, rows_of out, const float *lse,
                          rows_of dQ, rows_of dK, rows_of dV, float *workspace)
{
    ptrdiff_t D = x->D, width = padded(D);
    float *Q_panel = workspace, *dout_panel = Q_panel + QUERIES * D;
    float *dQ_panel = dout_panel + QUERIES * D;
    float *Q_rows = dQ_panel + QUERIES * D, *dout_rows = Q_rows + QUERIES * width;
    float *P = dout_rows + QUERIES * width, *dS = P + KEYS * QUERIES;
    float *dK_sum = dS + KEYS * QUERIES, *dV_sum = dK_sum + x->Tk * width;
    float minus_lse[QUERIES], delta[QUERIES];

    memset(dK_sum, 0, 2 * x->Tk * width * sizeof(float));
    for (ptrdiff_t i = 0; i < x->Tq; i += QUERIES) {
        ptrdiff_t queries = min(QUERIES, x->Tq - i), last = visible_keys(x, i + queries);
        load_panel(Q_panel, queries, D, x->Q + i * x->ldq, x->ldq, x->scale);
        load_panel(dout_panel, queries, D, dout.data + i * dout.row, dout.row, 1);
        load_rows(Q_rows, width, queries, D, x->Q + i * x->ldq, x->ldq, x->scale);
        load_rows(dout_rows, width, queries, D, dout.data + i * dout.row, dout.row, 1);
        memset(dQ_panel, 0, QUERIES * D * sizeof(float));
        for (ptrdiff_t q = 0; q < QUERIES; q++) {
            /* P = exp(S - lse) must be 0 in the unused lanes and for a query that saw no key. */
            int used = q < queries && lse[i + q] != -INFINITY;
            minus_lse[q] = used ? -lse[i + q] : -INFINITY;
            delta[q] = !used ? 0 : dot(D, dout_rows + q * width, out.data + (i + q) * out.row);
        }
        for (ptrdiff_t j = 0; j < last; j += KEYS) {
            ptrdiff_t keys = min(KEYS, last - j);
            const float *K = x->K + j * x->ldk, *V = x->V + j * x->ldv;
            scores(x, i, j, keys, Q_panel, P);
            product(keys, D, V, x->ldv, 1, dout_panel, QUERIES, dS, QUERIES, 0); /* dP */
            for (ptrdiff_t k = 0; k < keys * QUERIES; k += LANES) {
                vec p = vexp(load(P + k) + load(minus_lse + k % QUERIES));
                store(P + k, p);
                store(dS + k, p * (load(dS + k) - load(delta + k % QUERIES)));
            }
            product(D, keys, K, 1, x->ldk, dS, QUERIES, dQ_panel, QUERIES, 1);
            add_to_keys(keys, dS, Q_rows, width, dK_sum + j * width);
            add_to_keys(keys, P, dout_rows, width, dV_sum + j * width);
        }
        for (ptrdiff_t k = 0; k < D * QUERIES; k += LANES)
            store(dQ_panel + k, load(dQ_panel + k) * x->scale);
        transpose(D, queries, dQ_panel, QUERIES, dQ.data + i * dQ.row, dQ.row);
    }
    copy_rows(x->Tk, D, dK_sum, width, dK.data, dK.row);
    copy_rows(x->Tk, D, dV_sum, width, dV.data, dV.row);
}

static float *allocate(ptrdiff_t floats)
{
    void *memory = NULL;
    return posix_memalign(&memory, 64, floats * sizeof(float)) == 0 ? memory : NULL;
}

/* A workspace of whole cache lines, so that no two threads write to the same one. */
static ptrdiff_t whole_lines(ptrdiff_t floats) { return (floats + 15) / 16 * 16; }

int KERNEL(minillm_attention)(ptrdiff_t B, ptrdiff_t H, ptrdiff_t Tq, ptrdiff_t Tk, ptrdiff_t D,
                              const minillm_heads *Q, const minillm_heads *K,
                              const minillm_heads *V, const unsigned char *key_mask, int causal,
                              float scale, const minillm_heads *out, float *lse)
{
    int alone = Tq < 4;
    ptrdiff_t group = alone ? 1 : QUERIES, groups = (Tq + group - 1) / group;
    ptrdiff_t size = alone ? 0 : whole_lines((2 * D + KEYS) * QUERIES);
    int threads = threads_for((double)B * H * Tq * Tk * 2 * D * (alone ? 4 : 1));
    float *workspace = alone ? NULL : allocate(threads * size);
    if (!alone && workspace == NULL)
        return MINILLM_OUT_OF_MEMORY;

    /* With a causal mask the last queries have the most keys: they go first, and whoever is free
     * takes the next. Each output is one thread's alone, so the order doesn't show in the result. */
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
    for (ptrdiff_t item = B * H * groups - 1; item >= 0; item--) {
        ptrdiff_t b = item / groups / H, h = item / groups % H, i = item % groups * group;
        head x = head_of(b, h, Tq, Tk, D, Q, K, V, key_mask, causal, scale);
        float *out_x = out->data + b * out->batch + h * out->head;
        float *lse_x = lse + (b * H + h) * Tq;
        if (alone)
            attend_alone(&x, i, out_x, out->row, lse_x);
        else
            attend(&x, i, out_x, out->row, lse_x, workspace + thread_number() * size);
    }
    free(workspace);
    return MINILLM_OK;
}

static rows_of rows(const minillm_heads *x, ptrdiff_t b, ptrdiff_t h)
{
    return (rows_of){x->data + b * x->batch + h * x->head, x->row};
}

int KERNEL(minillm_attention_backward)(
    ptrdiff_t B, ptrdiff_t H, ptrdiff_t Tq, ptrdiff_t Tk, ptrdiff_t D,
    const minillm_heads *dout, const minillm_heads *Q, const minillm_heads *K,
    const minillm_heads *V, const minillm_heads *out, const float *lse,
    const unsigned char *key_mask, int causal, float scale,
    const minillm_heads *dQ, const minillm_heads *dK, const minillm_heads *dV)
{
    ptrdiff_t size = whole_lines(backward_workspace(Tk, D));
    int threads = threads_for((double)B * H * Tq * Tk * 5 * D);
    if (threads > B * H)
        threads = B * H > 0 ? (int)(B * H) : 1;
    float *workspace = allocate(threads * size);
    if (workspace == NULL)
        return MINILLM_OUT_OF_MEMORY;

#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
    for (ptrdiff_t item = 0; item < B * H; item++) {
        ptrdiff_t b = item / H, h = item % H;
        head x = head_of(b, h, Tq, Tk, D, Q, K, V, key_mask, causal, scale);
        head_backward(&x, rows(dout, b, h), rows(out, b, h), lse + item * Tq, rows(dQ, b, h),
                      rows(dK, b, h), rows(dV, b, h), workspace + thread_number() * size);
    }
    free(workspace);
    return MINILLM_OK;
}
