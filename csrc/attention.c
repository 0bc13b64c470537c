/* attention.c: softmax(scale Q Kᵀ + mask) V and its gradients, without ever holding the T x T
 * matrix of weights (Milakov and Gimelshein 2018; Dao et al. 2022, "FlashAttention", algorithms 1
 * and 4).
 *
 * The work goes tile by tile: QUERIES queries and KEYS keys. A tile of scores is S[key][query]: the
 * queries lie side by side across the lanes of two vectors. Then
 *   - the softmax of a query runs down its lane: maximum, exponential and sum are plain vector
 *     arithmetic, nothing is ever added up across lanes;
 *   - all seven products of the forward and the backward have the one shape of `product` in tile.h.
 *     Q and the gradient of out are transposed, once for all keys; K and V never.
 * Arithmetic: an element of the tile costs 2 D multiply-adds in the forward, and about 15
 * operations for the softmax: for D = 64 nine tenths of the time is FMA. With a causal mask, what
 * no query of a tile may see is not computed. */
#include <math.h>
#include "tile.h"

enum { QUERIES = PAIR, KEYS = 128 }; /* a tile of scores: 16 KB at most; the backward has two */
enum { TILES = 8 }; /* so many tiles of queries are a group, one piece of work in the forward */
_Static_assert(MINILLM_HEAD_UNIT % PAIR == 0, "a head is some whole register tiles wide");

/* One head of a call: its arrays begin where those of this head do (`head_of`). */
typedef minillm_attention_call one_head;

/* Query i sees the first i + 1 + ahead keys, as far as there are so many. */
static ptrdiff_t ahead(const one_head *x) { return x->causal ? x->Tk - x->Tq : x->Tk; }

/* A causal mask cuts a tile along a diagonal. Keys near it are computed for the whole tile and then
 * set to -inf for those who may not look, so that P is 0 there and may be added; keys that come
 * after the last one of all its queries are neither computed nor read.
 *
 * How many of the `keys` keys from number j on the query before `end` may see; those before it see
 * no more. */
static ptrdiff_t visible_keys(const one_head *x, ptrdiff_t end, ptrdiff_t j, ptrdiff_t keys) {
    return max(0, min(keys, end + ahead(x) - j));
}

/* The first of the n queries from number i on that may see the key, counted from i; or else n. */
static ptrdiff_t first_viewer(const one_head *x, ptrdiff_t i, ptrdiff_t n, ptrdiff_t key) {
    return max(0, min(n, key - ahead(x) - i));
}

/* factor Qᵀ: [d][query], for n rows of Q from number i on; 0 for those that are missing. */
static void transpose(ptrdiff_t i, ptrdiff_t n, ptrdiff_t D, float factor, minillm_heads Q,
                      float *to) {
    pack_panel(to, QUERIES, n, D, Q.data + i * Q.row, Q.row, 1);
    for (ptrdiff_t e = 0; e < D * QUERIES; e++)
        to[e] *= factor;
}

/* S[key][query] for `keys` keys from number j on, with -inf where a query may not look. */
static void scores(const one_head *x, ptrdiff_t i, ptrdiff_t j, ptrdiff_t keys,
                   const float *Q_transposed, float *S) {
    product(keys, QUERIES, x->D, x->K.data + j * x->K.row, x->K.row, 1, Q_transposed, QUERIES, NULL,
            0, S, QUERIES);
    for (ptrdiff_t k = x->key_mask ? 0 : visible_keys(x, i + 1, j, keys); k < keys; k++) {
        int masked = x->key_mask && !x->key_mask[j + k];
        ptrdiff_t hidden = masked ? QUERIES : first_viewer(x, i, QUERIES, j + k);
        #pragma omp simd
        for (int q = 0; q < QUERIES; q++)
            S[k * QUERIES + q] = q < hidden ? -INFINITY : S[k * QUERIES + q];
    }
}

/* to[query] += sum over the keys of weight[key][query] * K[key]: for out (from V) and dQ. The first
 * keys find nothing there yet. */
static void add_to_queries(const one_head *x, ptrdiff_t i, ptrdiff_t n, ptrdiff_t j, ptrdiff_t keys,
                           const float *weight, minillm_heads K, minillm_heads to) {
    for (ptrdiff_t q = 0; q < n; q += MR) {
        float *C = to.data + (i + q) * to.row;
        product(min(MR, n - q), x->D, visible_keys(x, i + q + MR, j, keys), weight + q, 1,
                QUERIES, K.data + j * K.row, K.row, j > 0 ? C : NULL, to.row, C, to.row);
    }
}

/* to[key] += sum over the queries of weight[key][query] * Q[query]: for dK, and for dV (from the
 * gradient of out). */
static void add_to_keys(const one_head *x, ptrdiff_t i, ptrdiff_t n, ptrdiff_t j, ptrdiff_t keys,
                        const float *weight, minillm_heads Q, minillm_heads to) {
    for (ptrdiff_t k = 0; k < keys; k += MR) {
        ptrdiff_t q = first_viewer(x, i, n, j + k);
        float *C = to.data + (j + k) * to.row;
        product(min(MR, keys - k), x->D, n - q, weight + k * QUERIES + q, QUERIES, 1,
                Q.data + (i + q) * Q.row, Q.row, C, to.row, C, to.row);
    }
}

/* x[query] *= factor[query], for n rows from number i on. */
static void multiply_rows(minillm_heads x, ptrdiff_t i, ptrdiff_t n, ptrdiff_t D,
                          const float *factor) {
    for (ptrdiff_t q = 0; q < n; q++)
        for (ptrdiff_t d = 0; d < D; d++)
            x.data[(i + q) * x.row + d] *= factor[q];
}

/* The online softmax (rung 3 of attention_ladder.c) for one more tile of keys, whose largest score
 * makes m to m': S becomes P = exp(S - m'), l is corrected by exp(m - m') and increased; the caller
 * gets this factor for out. Where all scores so far are -inf, m' counts as 0: exp(-inf - 0) = 0. */
static void online_softmax(ptrdiff_t keys, float *S, float *m, float *l, float *factor) {
    float largest[QUERIES], shift[QUERIES], sum[QUERIES] = {0};
    memcpy(largest, m, sizeof largest);
    for (ptrdiff_t k = 0; k < keys; k++)
        #pragma omp simd
        for (int q = 0; q < QUERIES; q++)
            largest[q] = S[k * QUERIES + q] > largest[q] ? S[k * QUERIES + q] : largest[q];
    for (int q = 0; q < QUERIES; q++) {
        shift[q] = largest[q] == -INFINITY ? 0 : largest[q];
        factor[q] = exp_(m[q] - shift[q]);
        m[q] = largest[q];
    }
    for (ptrdiff_t k = 0; k < keys; k++)
        #pragma omp simd
        for (int q = 0; q < QUERIES; q++) {
            float p = exp_(S[k * QUERIES + q] - shift[q]);
            S[k * QUERIES + q] = p;
            sum[q] += p;
        }
    for (int q = 0; q < QUERIES; q++)
        l[q] = l[q] * factor[q] + sum[q];
}

/* to[i] = from[i] for the first n rows. */
static void copy_rows(ptrdiff_t n, ptrdiff_t D, minillm_heads from, minillm_heads to) {
    for (ptrdiff_t i = 0; i < n; i++)
        memcpy(to.data + i * to.row, from.data + i * from.row, D * sizeof(float));
}

/* The rows of a head lie far apart where heads lie side by side: in a fused Q K V buffer of 12 heads
 * 9 KB, a page for each key, and in a quarter of the cache's sets. If more than a few tiles of
 * queries read K and V, it pays to copy them together first: at T = 1,024 the forward is 1.4 to 1.5
 * times as fast, at 256 a tenth, and at 128 no more. */
static void copy_together(one_head *x, ptrdiff_t tiles, ptrdiff_t keys, float *to) {
    minillm_heads K = {.data = to, .row = x->D}, V = {.data = to + x->Tk * x->D, .row = x->D};
    if (tiles <= 4)
        return;
    copy_rows(keys, x->D, x->K, K);
    copy_rows(keys, x->D, x->V, V);
    x->K = K;
    x->V = V;
}

/* The forward for the queries of one tile: QUERIES of them from number i on, or what is left. */
static void attend_tile(const one_head *x, ptrdiff_t i, float *workspace) {
    ptrdiff_t n = min(QUERIES, x->Tq - i);
    ptrdiff_t last = visible_keys(x, i + n, 0, x->Tk);
    float *S = workspace, *Q_transposed = S + KEYS * QUERIES;
    float m[QUERIES], l[QUERIES] = {0}, factor[QUERIES];
    for (ptrdiff_t q = 0; q < QUERIES; q++)
        m[q] = -INFINITY;
    transpose(i, n, x->D, x->scale, x->Q, Q_transposed);
    for (ptrdiff_t j = 0; j == 0 || j < last; j += KEYS) { /* once for no key at all */
        ptrdiff_t keys = min(KEYS, last - j);
        scores(x, i, j, keys, Q_transposed, S);
        online_softmax(keys, S, m, l, factor);
        if (j > 0)
            multiply_rows(x->out, i, n, x->D, factor);
        add_to_queries(x, i, n, j, keys, S, x->V, x->out);
    }
    for (ptrdiff_t q = 0; q < n; q++) { /* out = o / l, or 0 where no key was seen: l = 0 */
        factor[q] = l[q] > 0 ? 1 / l[q] : 0;
        x->lse[i + q] = m[q] + logf(l[q]);
    }
    multiply_rows(x->out, i, n, x->D, factor);
}

/* The forward for the queries of TILES tiles, or what is left of them. */
static void attend(const one_head *whole, ptrdiff_t group, float *workspace) {
    one_head x = *whole;
    ptrdiff_t first = group * TILES * QUERIES, end = min(first + TILES * QUERIES, x.Tq);
    copy_together(&x, (end - first) / QUERIES, visible_keys(&x, end, 0, x.Tk),
                  workspace + QUERIES * (KEYS + x.D));
    for (ptrdiff_t i = first; i < end; i += QUERIES)
        attend_tile(&x, i, workspace);
}

static float dot(ptrdiff_t n, const float *x, const float *y) {
    float sum = 0;
    #pragma omp simd reduction(+ : sum)
    for (ptrdiff_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* The forward for query i alone, when there are too few to fill the lanes: generation. Each key is
 * read for one query only, so the speed limit is the memory, and what matters is to read K and V
 * once, row after row (four rows at a time took half as long again). */
static void attend_alone(const one_head *x, ptrdiff_t i, float *P) {
    float *restrict o = x->out.data + i * x->out.row;
    float largest = -INFINITY, total = 0;
    ptrdiff_t keys = visible_keys(x, i + 1, 0, x->Tk);
    for (ptrdiff_t k = 0; k < keys; k++) {
        float score = dot(x->D, x->Q.data + i * x->Q.row, x->K.data + k * x->K.row) * x->scale;
        P[k] = x->key_mask && !x->key_mask[k] ? -INFINITY : score;
        largest = P[k] > largest ? P[k] : largest;
    }
    float shift = largest == -INFINITY ? 0 : largest;
    #pragma omp simd reduction(+ : total)
    for (ptrdiff_t k = 0; k < keys; k++)
        total += P[k] = exp_(P[k] - shift);
    float factor = total > 0 ? 1 / total : 0; /* 0 where no key was seen */
    memset(o, 0, x->D * sizeof(float));
    for (ptrdiff_t k = 0; k < keys; k++) {
        const float *restrict v = x->V.data + k * x->V.row;
        for (ptrdiff_t d = 0; d < x->D; d++)
            o[d] += P[k] * factor * v[d];
    }
    x->lse[i] = largest + logf(total);
}

/* Backward (derived in minillm/kernels/numpy_attention.py). For each tile P is computed again from
 * the scores and the lse of the forward, and then, with everything as [key][query],
 *
 *     dP = V doutᵀ      dS = scale P (dP - delta)      delta[query] = dout . out
 *     dQ += dSᵀ K       dK += dS Q                     dV += P dout
 *
 * Every tile adds to rows of dK and dV that others add to as well: so one thread does a whole head
 * (from query `first` = 0 on), and they grow in the workspace, where they lie side by side. */
static void head_backward(const one_head *whole, ptrdiff_t first, float *workspace) {
    one_head copy = *whole, *x = &copy;
    float *P = workspace, *dS = P + KEYS * QUERIES, *Q_transposed = dS + KEYS * QUERIES;
    float *dout_transposed = Q_transposed + QUERIES * x->D, lse[QUERIES] = {0}, delta[QUERIES] = {0};
    minillm_heads dK = {.data = dout_transposed + QUERIES * x->D, .row = x->D}, dV = dK;
    dV.data += x->Tk * x->D;
    copy_together(x, x->Tq / QUERIES, x->Tk, dV.data + x->Tk * x->D);
    memset(dK.data, 0, 2 * x->Tk * x->D * sizeof(float));
    for (ptrdiff_t i = first; i < x->Tq; i += QUERIES) {
        ptrdiff_t n = min(QUERIES, x->Tq - i), last = visible_keys(x, i + n, 0, x->Tk);
        transpose(i, n, x->D, x->scale, x->Q, Q_transposed);
        transpose(i, n, x->D, 1, x->dout, dout_transposed);
        for (ptrdiff_t q = 0; q < n; q++) {
            /* A query that saw no key has S = -inf everywhere: P = exp(-inf - 0) = 0. */
            lse[q] = x->lse[i + q] == -INFINITY ? 0 : x->lse[i + q];
            delta[q] = dot(x->D, x->dout.data + (i + q) * x->dout.row,
                           x->out.data + (i + q) * x->out.row);
        }
        for (ptrdiff_t j = 0; j == 0 || j < last; j += KEYS) {
            ptrdiff_t keys = min(KEYS, last - j);
            scores(x, i, j, keys, Q_transposed, P); /* S, at first */
            product(keys, QUERIES, x->D, x->V.data + j * x->V.row, x->V.row, 1, dout_transposed,
                    QUERIES, NULL, 0, dS, QUERIES); /* dP, at first */
            for (ptrdiff_t k = 0; k < keys * QUERIES; k += QUERIES)
                #pragma omp simd
                for (int q = 0; q < QUERIES; q++) {
                    P[k + q] = exp_(P[k + q] - lse[q]);
                    dS[k + q] = P[k + q] * (dS[k + q] - delta[q]) * x->scale;
                }
            add_to_queries(x, i, n, j, keys, dS, x->K, x->dQ);
            add_to_keys(x, i, n, j, keys, dS, x->Q, dK);
            add_to_keys(x, i, n, j, keys, P, x->dout, dV);
        }
    }
    copy_rows(x->Tk, x->D, dK, x->dK);
    copy_rows(x->Tk, x->D, dV, x->dV);
}

static one_head head_of(const minillm_attention_call *call, ptrdiff_t index) {
    ptrdiff_t b = index / call->H, h = index % call->H;
    one_head x = *call;
    minillm_heads *arrays[] = {&x.Q, &x.K, &x.V, &x.out, &x.dout, &x.dQ, &x.dK, &x.dV};
    for (int a = 0; a < 8; a++)
        if (arrays[a]->data) /* the forward has only four */
            arrays[a]->data += b * arrays[a]->batch + h * arrays[a]->head;
    x.lse += index * x.Tq;
    x.key_mask = x.key_mask ? x.key_mask + b * x.Tk : NULL;
    return x;
}

/* Have `piece` called for each head and each of its `groups`, with `size` floats of workspace;
 * `work`: multiply-adds, or what takes as long, for each query, key and element of D. The last
 * queries, which have the most keys, come first: so no long piece is waited for at the end. */
static int run(void (*piece)(const one_head *, ptrdiff_t, float *), ptrdiff_t groups,
               ptrdiff_t size, double work, const minillm_attention_call *call) {
    ptrdiff_t heads = call->B * call->H;
    int threads = threads_for(work * heads * call->Tq * call->Tk * call->D);
    size = round_up(size, 16);
    float *workspaces = allocate(threads * size);
    if (workspaces == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (ptrdiff_t p = heads * groups - 1; p >= 0; p--) {
        const one_head x = head_of(call, p / groups);
        piece(&x, p % groups, workspaces + omp_get_thread_num() * size);
    }
    free(workspaces);
    return MINILLM_OK;
}

int minillm_attention(const minillm_attention_call *call) {
    if (call->Tq < MINILLM_FEW_QUERIES) /* K and V come from memory */
        return run(attend_alone, call->Tq, call->Tk, 32, call);
    return run(attend, (call->Tq + TILES * QUERIES - 1) / (TILES * QUERIES),
               QUERIES * (KEYS + call->D) + 2 * call->Tk * call->D, 2, call);
}

int minillm_attention_backward(const minillm_attention_call *call) {
    return run(head_backward, 1, 2 * QUERIES * (KEYS + call->D) + 4 * call->Tk * call->D, 5, call);
}
