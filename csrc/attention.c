/* attention.c: softmax(scale Q Kᵀ + mask) V and its gradients, without ever holding the T x T
 * matrix of weights (Milakov and Gimelshein 2018; Dao et al. 2022, "FlashAttention", algorithms 1
 * and 4).
 *
 * The work goes tile by tile: QUERIES queries and KEYS keys. A tile of scores is S[key][query]: the
 * queries lie side by side across the lanes of the vectors. Then
 *   - the softmax of a query runs down its lane: maximum, exponential and sum are plain vector
 *     arithmetic, nothing is ever added up across lanes;
 *   - all seven products of the forward and the backward have the one shape of `product` in tile.h.
 *     Q and the gradient of out are transposed, once for all keys; K and V never.
 * Arithmetic: an element of the tile costs 2 D multiply-adds in the forward, and about 15
 * operations for the softmax: for D = 64 nine tenths of the time is FMA. With a causal mask, what
 * no query of a block may see is not computed. */
#include <math.h>
#include <string.h>
#include "tile.h"

/* A tile of scores is 32 KB: it stays in L1 and L2 between the steps. */
enum { PANEL = COLUMNS, QUERIES = 64, KEYS = 128 };

typedef struct { float *data; ptrdiff_t row; } rows_of; /* (T, D), with `row` floats per row */

static rows_of rows(const minillm_heads *x, ptrdiff_t b, ptrdiff_t h)
{
    return (rows_of){x->data + b * x->batch + h * x->head, x->row};
}

/* One head of one sequence. Query i, counted from the first of all queries, sees the keys up to
 * i + Tk - Tq when causal, and of those the ones whose key_mask isn't 0. */
typedef struct {
    ptrdiff_t Tq, Tk, D, width; /* width: D rounded up to whole panels */
    rows_of Q, K, V;
    const unsigned char *key_mask; /* or NULL */
    int causal;
    float scale;
} head;

/* How many of the `keys` keys from number j on somebody among the queries before `end` may see. */
static ptrdiff_t visible_keys(const head *x, ptrdiff_t end, ptrdiff_t j, ptrdiff_t keys)
{
    return x->causal ? max(0, min(keys, end + x->Tk - x->Tq - j)) : keys;
}

static void copy_rows(ptrdiff_t n, ptrdiff_t D, const float *from, ptrdiff_t from_row,
                      float *to, ptrdiff_t to_row)
{
    for (ptrdiff_t i = 0; i < n; i++)
        memcpy(to + i * to_row, from + i * from_row, D * sizeof(float));
}

/* n rows from number i on: as they are if whole panels can be read, else copied, with 0 to fill. */
static rows_of padded_rows(const head *x, rows_of from, ptrdiff_t i, ptrdiff_t n, float *copy)
{
    from.data += i * from.row;
    if (x->D == x->width)
        return from;
    memset(copy, 0, n * x->width * sizeof(float));
    copy_rows(n, x->D, from.data, from.row, copy, x->width);
    return (rows_of){copy, x->width};
}

/* to[d][query] = factor * from[query][d], for n queries from number i on; the others are 0. */
static void transpose(const head *x, rows_of from, ptrdiff_t i, ptrdiff_t n, float factor,
                      float *to)
{
    const float *data = from.data + i * from.row;
    ptrdiff_t whole_n = n / 4 * 4, whole_D = x->D / 4 * 4;
    if (n < QUERIES)
        memset(to, 0, x->D * QUERIES * sizeof(float));
    for (ptrdiff_t d = 0; d < whole_D; d += 4)
        for (ptrdiff_t q = 0; q < whole_n; q += 4)
            transpose_4x4(data + q * from.row + d, from.row, to + d * QUERIES + q, QUERIES);
    for (ptrdiff_t q = 0; q < n; q++)
        for (ptrdiff_t d = q < whole_n ? whole_D : 0; d < x->D; d++)
            to[d * QUERIES + q] = data[q * from.row + d];
    for (ptrdiff_t k = 0; k < x->D * QUERIES; k += LANES)
        store(to + k, load(to + k) * factor);
}

/* S[key][query] = the product of `keys` rows of K (or V), from number j on, and a transposed tile
 * of n queries from number i on. Block by block only as far as somebody may see. */
static void key_products(const head *x, ptrdiff_t i, ptrdiff_t n, ptrdiff_t j, ptrdiff_t keys,
                         rows_of K, const float *transposed, float *S)
{
    for (ptrdiff_t q = 0; q < n; q += PANEL) {
        ptrdiff_t seen = visible_keys(x, i + q + PANEL, j, keys);
        product(min(keys, round_up(seen, ROWS)), PANEL, x->D, K.data + j * K.row, K.row, 1,
                transposed + q, QUERIES, NULL, 0, S + q, QUERIES);
    }
}

/* The scores, with -inf where a query may not look. */
static void scores(const head *x, ptrdiff_t i, ptrdiff_t n, ptrdiff_t j, ptrdiff_t keys,
                   const float *Q_transposed, float *S)
{
    const vec nothing = broadcast(-INFINITY);
    key_products(x, i, n, j, keys, x->K, Q_transposed, S);
    ptrdiff_t sees = i + x->Tk - x->Tq; /* the last key that query i may look at */
    for (ptrdiff_t k = x->causal ? max(0, sees + 1 - j) : keys; k < keys; k++)
        for (ptrdiff_t q = 0; q < n; q += LANES) {
            ivec hidden = lane_numbers() + (int32_t)(sees + q) < (int32_t)(j + k);
            float *s = S + k * QUERIES + q;
            store(s, choose(hidden, nothing, load(s)));
        }
    for (ptrdiff_t k = 0; x->key_mask && k < keys; k++)
        if (!x->key_mask[j + k])
            for (ptrdiff_t q = 0; q < n; q += LANES)
                store(S + k * QUERIES + q, nothing);
}

/* to[query] += sum over the keys of weight[key][query] * K[key]: for out (from V) and dQ. */
static void add_to_queries(const head *x, ptrdiff_t i, ptrdiff_t n, ptrdiff_t j, ptrdiff_t keys,
                           const float *weight, rows_of K, float *to)
{
    for (ptrdiff_t q = 0; q < n; q += ROWS) {
        ptrdiff_t seen = visible_keys(x, i + q + ROWS, j, keys);
        float *C = to + q * x->width;
        product(ROWS, x->width, seen, weight + q, 1, QUERIES, K.data, K.row, C, x->width, C,
                x->width);
    }
}

/* to[key] += sum over the queries of weight[key][query] * Q[query]: for dK, and for dV (from the
 * gradient of out). */
static void add_to_keys(const head *x, ptrdiff_t i, ptrdiff_t n, ptrdiff_t j, ptrdiff_t keys,
                        const float *weight, rows_of Q, float *to)
{
    for (ptrdiff_t k = 0; k < keys; k += ROWS) {
        /* The first query that may see the first key of the block. */
        ptrdiff_t q = x->causal ? max(0, min(n, j + k - (x->Tk - x->Tq) - i)) : 0;
        float *C = to + k * x->width;
        product(min(ROWS, keys - k), x->width, n - q, weight + k * QUERIES + q, QUERIES, 1,
                Q.data + q * Q.row, Q.row, C, x->width, C, x->width);
    }
}

/* y[query] *= factor[query], for n rows of `width`. */
static void multiply_rows(ptrdiff_t n, ptrdiff_t width, const float *factor, float *y)
{
    for (ptrdiff_t q = 0; q < n; q++, y += width)
        for (ptrdiff_t d = 0; d < width; d += LANES)
            store(y + d, load(y + d) * factor[q]);
}

/* The online softmax, for one vector of queries and one more tile of keys.
 *
 * With m the largest score so far, l = sum exp(S - m) and o = sum exp(S - m) V are what the softmax
 * needs of the past: out = o / l. When a tile brings a larger score m', both are multiplied by
 * exp(m - m'), as if m' had been the maximum all along. S becomes P = exp(S - m').
 * -> the factor for o. Where all scores so far are -inf, m' counts as 0: exp(-inf - 0) = 0.
 *
 * exp(x) = 2^(x log2 e), so with log2 e already in the scores (in the scale that Q is multiplied
 * by), every exp here is a power of 2; and it is never more than 2^0. */
static vec online_softmax(ptrdiff_t keys, float *S, float *m, float *l)
{
    vec old = load(m), largest = old, sum = broadcast(0);
    for (ptrdiff_t k = 0; k < keys; k++)
        largest = vmax(load(S + k * QUERIES), largest);
    vec shift = choose(largest == broadcast(-INFINITY), broadcast(0), largest);
    for (ptrdiff_t k = 0; k < keys; k++) {
        vec p = vexp2_below_128(load(S + k * QUERIES) - shift);
        store(S + k * QUERIES, p);
        sum += p;
    }
    vec factor = vexp2_below_128(old - shift);
    store(m, largest);
    store(l, load(l) * factor + sum);
    return factor;
}

/* The forward for up to QUERIES queries from number i on. */
static void attend(const head *x, ptrdiff_t i, rows_of out, float *lse, float *workspace)
{
    ptrdiff_t n = min(QUERIES, x->Tq - i), last = visible_keys(x, i + n, 0, x->Tk);
    float *Q_transposed = workspace, *S = Q_transposed + x->D * QUERIES;
    float *o = S + KEYS * QUERIES, *V_copy = o + QUERIES * x->width;
    float m[QUERIES], l[QUERIES], factor[QUERIES];

    for (ptrdiff_t q = 0; q < QUERIES; q++) {
        m[q] = -INFINITY;
        l[q] = 0;
    }
    memset(o, 0, QUERIES * x->width * sizeof(float));
    transpose(x, x->Q, i, n, x->scale * LOG2_E, Q_transposed);
    for (ptrdiff_t j = 0; j < last; j += KEYS) {
        ptrdiff_t keys = min(KEYS, last - j);
        scores(x, i, n, j, keys, Q_transposed, S);
        for (ptrdiff_t q = 0; q < n; q += LANES) {
            /* As far as any block of add_to_queries that these lanes belong to. */
            ptrdiff_t seen = visible_keys(x, i + round_up(q + LANES, ROWS), j, keys);
            store(factor + q, online_softmax(seen, S + q, m + q, l + q));
        }
        if (j > 0)
            multiply_rows(n, x->width, factor, o);
        add_to_queries(x, i, n, j, keys, S, padded_rows(x, x->V, j, keys, V_copy), o);
    }
    for (ptrdiff_t q = 0; q < n; q++) { /* out = o / l, or 0 where no key was seen: l = 0 */
        factor[q] = l[q] > 0 ? 1 / l[q] : 0;
        lse[i + q] = m[q] * LN_2 + logf(l[q]);
    }
    multiply_rows(n, x->width, factor, o);
    copy_rows(n, x->D, o, x->width, out.data + i * out.row, out.row);
}

static ptrdiff_t forward_workspace(const head *x)
{
    return QUERIES * x->D + KEYS * QUERIES + QUERIES * x->width + KEYS * x->width;
}

static float dot(ptrdiff_t n, const float *x, const float *y)
{
    vec sums = broadcast(0);
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        sums += load(x + i) * load(y + i);
    float sum = horizontal_sum(sums);
    for (; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

static void add_multiple(ptrdiff_t n, float factor, const float *x, float *y)
{
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(y + i, load(y + i) + factor * load(x + i));
    for (; i < n; i++)
        y[i] += factor * x[i];
}

static void multiply(ptrdiff_t n, float factor, float *y)
{
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] *= factor;
}

/* The forward for query i alone, when there are too few to fill the lanes: generation, one token at
 * a time. Each key is read for one query only, so the speed limit is the memory, and what matters
 * is to read K and V once, row after row (four rows at a time took half as long again). */
static void attend_alone(const head *x, ptrdiff_t i, rows_of out, float *lse)
{
    const float *q = x->Q.data + i * x->Q.row;
    float *o = out.data + i * out.row, m = -INFINITY, l = 0, S[KEYS], factor = x->scale * LOG2_E;
    ptrdiff_t D = x->D, last = visible_keys(x, i + 1, 0, x->Tk);

    memset(o, 0, D * sizeof(float));
    for (ptrdiff_t j = 0; j < last; j += KEYS) {
        ptrdiff_t keys = min(KEYS, last - j);
        for (ptrdiff_t k = 0; k < KEYS; k++) {
            int visible = k < keys && (!x->key_mask || x->key_mask[j + k]);
            S[k] = visible ? factor * dot(D, q, x->K.data + (j + k) * x->K.row) : -INFINITY;
        }

        vec largest = broadcast(m), sum = broadcast(0); /* the online softmax, for one query */
        for (int k = 0; k < KEYS; k += LANES)
            largest = vmax(load(S + k), largest);
        float old = m;
        m = horizontal_max(largest);
        float shift = m == -INFINITY ? 0 : m, shrink = exp2f(old - shift);
        for (int k = 0; k < KEYS; k += LANES) {
            vec p = vexp2_below_128(load(S + k) - shift);
            store(S + k, p);
            sum += p;
        }
        l = l * shrink + horizontal_sum(sum);
        multiply(D, shrink, o);
        for (ptrdiff_t k = 0; k < keys; k++)
            add_multiple(D, S[k], x->V.data + (j + k) * x->V.row, o);
    }
    multiply(D, l > 0 ? 1 / l : 0, o);
    lse[i] = m * LN_2 + logf(l);
}

/* Backward (the derivation stands in minillm/kernels/numpy_attention.py). For each tile P is
 * computed again from the scores and the lse of the forward, and then, with everything as
 * [key][query],
 *
 *     dP = V doutᵀ      dS = P (dP - delta)      delta[query] = dout . out
 *     dQ += dSᵀ K       dK += dS Q               dV += P dout
 *
 * and at the end dQ and dK times scale. dQ of the queries in hand is complete after the last tile
 * of keys; dK and dV of all keys grow in the workspace until the last queries have passed. So one
 * thread does a whole head. */
static ptrdiff_t backward_workspace(const head *x)
{
    return 2 * QUERIES * x->D + 2 * KEYS * QUERIES +
           (3 * QUERIES + KEYS + 2 * x->Tk) * x->width;
}

static void head_backward(const head *x, rows_of dout, rows_of out, const float *lse,
                          rows_of dQ, rows_of dK, rows_of dV, float *workspace)
{
    ptrdiff_t D = x->D, width = x->width;
    float *Q_transposed = workspace, *dout_transposed = Q_transposed + QUERIES * D;
    float *P = dout_transposed + QUERIES * D, *dS = P + KEYS * QUERIES;
    float *dQ_sum = dS + KEYS * QUERIES, *Q_copy = dQ_sum + QUERIES * width;
    float *dout_copy = Q_copy + QUERIES * width, *K_copy = dout_copy + QUERIES * width;
    float *dK_sum = K_copy + KEYS * width, *dV_sum = dK_sum + x->Tk * width;
    float minus_lse[QUERIES] = {0}, delta[QUERIES] = {0};

    memset(dK_sum, 0, 2 * x->Tk * width * sizeof(float));
    for (ptrdiff_t i = 0; i < x->Tq; i += QUERIES) {
        ptrdiff_t n = min(QUERIES, x->Tq - i), last = visible_keys(x, i + n, 0, x->Tk);
        transpose(x, x->Q, i, n, x->scale * LOG2_E, Q_transposed);
        transpose(x, dout, i, n, 1, dout_transposed);
        rows_of Q_rows = padded_rows(x, x->Q, i, n, Q_copy);
        rows_of dout_rows = padded_rows(x, dout, i, n, dout_copy);
        memset(dQ_sum, 0, QUERIES * width * sizeof(float));
        for (ptrdiff_t q = 0; q < n; q++) {
            /* A query that saw no key has S = -inf everywhere: P = 2^(-inf - 0) = 0. */
            minus_lse[q] = lse[i + q] == -INFINITY ? 0 : -lse[i + q] * LOG2_E;
            delta[q] = dot(D, dout.data + (i + q) * dout.row, out.data + (i + q) * out.row);
        }
        for (ptrdiff_t j = 0; j < last; j += KEYS) {
            ptrdiff_t keys = min(KEYS, last - j);
            scores(x, i, n, j, keys, Q_transposed, P);
            key_products(x, i, n, j, keys, x->V, dout_transposed, dS); /* dP */
            for (ptrdiff_t q = 0; q < n; q += LANES) {
                ptrdiff_t seen = visible_keys(x, i + round_up(q + 1, PANEL), j, keys);
                for (ptrdiff_t k = 0; k < min(keys, round_up(seen, ROWS)); k++) {
                    float *p = P + k * QUERIES + q, *ds = dS + k * QUERIES + q;
                    vec weight = vexp2_below_128(load(p) + load(minus_lse + q));
                    store(p, weight);
                    store(ds, weight * (load(ds) - load(delta + q)));
                }
            }
            add_to_queries(x, i, n, j, keys, dS, padded_rows(x, x->K, j, keys, K_copy), dQ_sum);
            add_to_keys(x, i, n, j, keys, dS, Q_rows, dK_sum + j * width);
            add_to_keys(x, i, n, j, keys, P, dout_rows, dV_sum + j * width);
        }
        multiply(n * width, x->scale, dQ_sum);
        copy_rows(n, D, dQ_sum, width, dQ.data + i * dQ.row, dQ.row);
    }
    multiply(x->Tk * width, x->scale, dK_sum);
    copy_rows(x->Tk, D, dK_sum, width, dK.data, dK.row);
    copy_rows(x->Tk, D, dV_sum, width, dV.data, dV.row);
}

/* One call's work, as all of its threads see it. */
typedef struct {
    ptrdiff_t H, group, groups; /* the queries of a head: `groups` times `group` of them */
    head shape;                 /* what all heads have in common */
    const minillm_heads *Q, *K, *V, *out, *dout, *dQ, *dK, *dV;
    float *lse;
    const unsigned char *key_mask;
    float *workspace; /* `workspace_size` floats for each thread */
    ptrdiff_t workspace_size;
} job;

static head shape(ptrdiff_t Tq, ptrdiff_t Tk, ptrdiff_t D, int causal, float scale)
{
    return (head){
        .Tq = Tq, .Tk = Tk, .D = D, .width = round_up(D, PANEL), .causal = causal, .scale = scale,
    };
}

static head head_of(const job *the, ptrdiff_t b, ptrdiff_t h)
{
    head x = the->shape;
    x.Q = rows(the->Q, b, h);
    x.K = rows(the->K, b, h);
    x.V = rows(the->V, b, h);
    x.key_mask = the->key_mask ? the->key_mask + b * x.Tk : NULL;
    return x;
}

/* A piece is some queries of one head. With a causal mask the last queries have the most keys, and
 * the last pieces are taken first: so it isn't a long one that is waited for at the end. */
static void attend_piece(const void *arguments, ptrdiff_t piece, int thread)
{
    const job *the = arguments;
    ptrdiff_t index = piece / the->groups, b = index / the->H, h = index % the->H;
    ptrdiff_t i = piece % the->groups * the->group;
    head x = head_of(the, b, h);
    if (the->group == 1)
        attend_alone(&x, i, rows(the->out, b, h), the->lse + index * x.Tq);
    else
        attend(&x, i, rows(the->out, b, h), the->lse + index * x.Tq,
               the->workspace + thread * the->workspace_size);
}

static void backward_piece(const void *arguments, ptrdiff_t piece, int thread)
{
    const job *the = arguments;
    ptrdiff_t b = piece / the->H, h = piece % the->H;
    head x = head_of(the, b, h);
    head_backward(&x, rows(the->dout, b, h), rows(the->out, b, h), the->lse + piece * x.Tq,
                  rows(the->dQ, b, h), rows(the->dK, b, h), rows(the->dV, b, h),
                  the->workspace + thread * the->workspace_size);
}

int minillm_attention(ptrdiff_t B, ptrdiff_t H, ptrdiff_t Tq, ptrdiff_t Tk, ptrdiff_t D,
                      const minillm_heads *Q, const minillm_heads *K, const minillm_heads *V,
                      const unsigned char *key_mask, int causal, float scale,
                      const minillm_heads *out, float *lse)
{
    int alone = Tq < 8;
    job the = {
        .H = H, .group = alone ? 1 : QUERIES, .shape = shape(Tq, Tk, D, causal, scale),
        .Q = Q, .K = K, .V = V, .out = out, .key_mask = key_mask, .lse = lse,
    };
    the.groups = (Tq + the.group - 1) / the.group;
    /* Whole cache lines, so that no two threads write to the same one. */
    the.workspace_size = alone ? 0 : round_up(forward_workspace(&the.shape), 16);
    int threads = threads_for((double)B * H * Tq * Tk * 2 * D * (alone ? 4 : 1));
    the.workspace = allocate(threads * the.workspace_size);
    if (the.workspace == NULL)
        return MINILLM_OUT_OF_MEMORY;
    share_out(B * H * the.groups, threads, attend_piece, &the);
    free(the.workspace);
    return MINILLM_OK;
}

int minillm_attention_backward(ptrdiff_t B, ptrdiff_t H, ptrdiff_t Tq, ptrdiff_t Tk, ptrdiff_t D,
                               const minillm_heads *dout, const minillm_heads *Q,
                               const minillm_heads *K, const minillm_heads *V,
                               const minillm_heads *out, const float *lse,
                               const unsigned char *key_mask, int causal, float scale,
                               const minillm_heads *dQ, const minillm_heads *dK,
                               const minillm_heads *dV)
{
    job the = {
        .H = H, .shape = shape(Tq, Tk, D, causal, scale), .Q = Q, .K = K, .V = V, .out = out,
        .dout = dout, .dQ = dQ, .dK = dK, .dV = dV, .key_mask = key_mask, .lse = (float *)lse,
    };
    the.workspace_size = round_up(backward_workspace(&the.shape), 16);
    int threads = threads_for((double)B * H * Tq * Tk * 5 * D);
    threads = (int)max(1, min(threads, B * H));
    the.workspace = allocate(threads * the.workspace_size);
    if (the.workspace == NULL)
        return MINILLM_OUT_OF_MEMORY;
    share_out(B * H, threads, backward_piece, &the);
    free(the.workspace);
    return MINILLM_OK;
}
