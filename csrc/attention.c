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
 * operations for the softmax: for D = 64 nine tenths of the time is FMA. */
#include <math.h>
#include "tile.h"

enum { QUERIES = PAIR, KEYS = 128 }; /* a tile of scores: 16 KB at most; the backward has two */
enum { TILES = 8 }; /* so many tiles of queries are a group, one piece of work in the forward */
_Static_assert(MINILLM_HEAD_UNIT % PAIR == 0, "a head is some whole register tiles wide");

typedef minillm_attention_call one_head; /* a copy of the call whose arrays begin with this head */

/* The rows of a head from number i on. */
static matrix rows(minillm_heads X, isize i) { return (matrix){X.data + i * X.row, X.row, 1}; }

/* How many of the `keys` keys from number j on the query before `end` may see; those before it see
 * no more. (Query i sees the first i + 1 + ahead keys: that cuts a tile along a diagonal. Keys near
 * it are computed for the whole tile and then set to -inf for those who may not look, so that P is
 * 0 there and finite numbers may be added; keys that none of its queries sees aren't even read.) */
static isize visible_keys(const one_head *x, isize end, isize j, isize keys) {
    return max(0, min(keys, end + x->ahead - j));
}

/* The first of the n queries from number i on that may see the key, counted from i; or else n. */
static isize first_viewer(const one_head *x, isize i, isize n, isize key) {
    return max(0, min(n, key - x->ahead - i));
}

/* to[d][query] = X[query][d] for n queries from number i on, and 0 for those that are missing. */
static void transpose(isize i, isize n, isize D, minillm_heads X, matrix to) {
    pack_panel(to.data, QUERIES, n, D, rows(X, i));
}

/* scale Qᵀ */
static void transposed_queries(const one_head *x, isize i, isize n, matrix to) {
    transpose(i, n, x->D, x->Q, to);
    for (isize e = 0; e < x->D * QUERIES; e++)
        to.data[e] *= x->scale;
}

/* S[key][query] for QUERIES queries from number i and `keys` keys from number j on: -inf where a
 * query may not look. */
static void scores(const one_head *x, isize i, isize j, isize keys, matrix Q_transposed, matrix S) {
    product(keys, QUERIES, x->D, rows(x->K, j), Q_transposed, zero_matrix, S);
    for (isize k = x->key_mask ? 0 : visible_keys(x, i + 1, j, keys); k < keys; k++) {
        int masked = x->key_mask && !x->key_mask[j + k];
        isize hidden = masked ? QUERIES : first_viewer(x, i, QUERIES, j + k);
        float *s = S.data + k * QUERIES;
        #pragma omp simd
        for (int q = 0; q < QUERIES; q++)
            s[q] = q < hidden ? -INFINITY : s[q];
    }
}

/* to[query] += sum over the keys of weight[key][query] * K[key]: for out (from V) and dQ. The first
 * keys find nothing there yet. */
static void add_to_queries(const one_head *x, isize i, isize n, isize j, isize keys, matrix weight,
                           minillm_heads K, minillm_heads to) {
    for (isize q = 0; q < n; q += MR)
        product(min(MR, n - q), x->D, visible_keys(x, i + q + MR, j, keys),
                part(transposed(weight), q, 0), rows(K, j), j > 0 ? rows(to, i + q) : zero_matrix,
                rows(to, i + q));
}

/* to[key] += sum over the queries of weight[key][query] * Q[query]: for dK, and for dV (from the
 * gradient of out). */
static void add_to_keys(const one_head *x, isize i, isize n, isize j, isize keys, matrix weight,
                        minillm_heads Q, minillm_heads to) {
    for (isize k = 0; k < keys; k += MR) {
        isize q = first_viewer(x, i, n, j + k);
        product(min(MR, keys - k), x->D, n - q, part(weight, k, q), rows(Q, i + q),
                rows(to, j + k), rows(to, j + k));
    }
}

static void multiply_rows(isize n, isize D, const float *factor, matrix x) {
    for (isize q = 0; q < n; q++)
        for (isize d = 0; d < D; d++)
            x.data[q * x.row + d] *= factor[q];
}

/* The online softmax (rung 3 of attention_ladder.c) for one more tile of keys, whose largest score
 * turns m into m': S becomes P = exp(S - m'), l is multiplied by factor = exp(m - m') and grows;
 * out is left to the caller. If all scores so far are -inf, m' counts as 0: exp(-inf - 0) = 0. */
static void online_softmax(isize keys, float *restrict S, float *restrict m, float *restrict l,
                           float *restrict factor) {
    float before[QUERIES], shift[QUERIES];
    memcpy(before, m, sizeof before);
    for (isize k = 0; k < keys * QUERIES; k += QUERIES)
        #pragma omp simd
        for (int q = 0; q < QUERIES; q++)
            m[q] = S[k + q] > m[q] ? S[k + q] : m[q];
    for (int q = 0; q < QUERIES; q++) {
        shift[q] = m[q] == -INFINITY ? 0 : m[q];
        factor[q] = exp_(before[q] - shift[q]);
        l[q] *= factor[q];
    }
    for (isize k = 0; k < keys * QUERIES; k += QUERIES)
        #pragma omp simd
        for (int q = 0; q < QUERIES; q++)
            l[q] += S[k + q] = exp_(S[k + q] - shift[q]);
}

static void copy_rows(isize n, isize D, minillm_heads from, minillm_heads to) {
    for (isize i = 0; i < n; i++)
        memcpy(rows(to, i).data, rows(from, i).data, D * sizeof(float));
}

/* The rows of a head lie far apart where heads lie side by side: in a fused Q K V buffer of 12
 * heads 9 KB, a page for each key, and in a quarter of the cache's sets. If more than a few tiles
 * of queries read K and V, it pays to copy them together first: at T = 1,024 the forward is 1.4 to
 * 1.5 times as fast, at 256 1.1 times, at 128 no faster. */
static void copy_together(one_head *x, isize tiles, isize keys, float *to) {
    minillm_heads K = {to, 0, 0, x->D}, V = {to + x->Tk * x->D, 0, 0, x->D};
    if (tiles <= 4)
        return;
    copy_rows(keys, x->D, x->K, K);
    copy_rows(keys, x->D, x->V, V);
    x->K = K;
    x->V = V;
}

/* The forward for the queries of TILES tiles, or what is left of them. */
static void attend(one_head *x, isize group, float *workspace) {
    isize first = group * TILES * QUERIES, end = min(first + TILES * QUERIES, x->Tq);
    matrix S = {workspace, QUERIES, 1}, Q_transposed = part(S, KEYS, 0);
    copy_together(x, (end - first) / QUERIES, visible_keys(x, end, 0, x->Tk),
                  part(Q_transposed, x->D, 0).data);
    for (isize i = first; i < end; i += QUERIES) {
        isize n = min(QUERIES, end - i), last = visible_keys(x, i + n, 0, x->Tk);
        float m[QUERIES], l[QUERIES] = {0}, factor[QUERIES];
        for (int q = 0; q < QUERIES; q++)
            m[q] = -INFINITY;
        transposed_queries(x, i, n, Q_transposed);
        for (isize j = 0; j == 0 || j < last; j += KEYS) { /* once for no key at all */
            isize keys = min(KEYS, last - j);
            scores(x, i, j, keys, Q_transposed, S);
            online_softmax(keys, S.data, m, l, factor);
            if (j > 0)
                multiply_rows(n, x->D, factor, rows(x->out, i));
            add_to_queries(x, i, n, j, keys, S, x->V, x->out);
        }
        for (isize q = 0; q < n; q++) { /* out = o / l, or 0 where no key was seen: l = 0 */
            factor[q] = l[q] > 0 ? 1 / l[q] : 0;
            x->lse[i + q] = m[q] + logf(l[q]);
        }
        multiply_rows(n, x->D, factor, rows(x->out, i));
    }
}

static float dot(isize n, const float *x, const float *y) {
    float sum = 0;
    #pragma omp simd reduction(+ : sum)
    for (isize i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* The forward for query i alone, when there are too few to fill the lanes: generation. Each key is
 * read for one query only, so the speed limit is the memory, and what matters is to read K and V
 * once, row after row (four rows at a time took half as long again). */
static void attend_alone(one_head *x, isize i, float *P) {
    float *restrict o = rows(x->out, i).data, largest = -INFINITY, total = 0;
    isize keys = visible_keys(x, i + 1, 0, x->Tk);
    for (isize k = 0; k < keys; k++) {
        float score = dot(x->D, rows(x->Q, i).data, rows(x->K, k).data) * x->scale;
        P[k] = x->key_mask && !x->key_mask[k] ? -INFINITY : score;
        largest = P[k] > largest ? P[k] : largest;
    }
    float shift = largest == -INFINITY ? 0 : largest;
    #pragma omp simd reduction(+ : total)
    for (isize k = 0; k < keys; k++)
        total += P[k] = exp_(P[k] - shift);
    float factor = total > 0 ? 1 / total : 0; /* 0 where no key was seen */
    memset(o, 0, x->D * sizeof(float));
    for (isize k = 0; k < keys; k++) {
        const float *restrict v = rows(x->V, k).data;
        for (isize d = 0; d < x->D; d++)
            o[d] += P[k] * factor * v[d];
    }
    x->lse[i] = largest + logf(total);
}

/* Ask the memory for what the backward of the tile of queries from number i on begins with: rows far
 * apart, which the chip doesn't foresee. Asked while the tile before it is computed, they are there
 * in time: 1.05 to 1.2 times as fast at T = 64, 1.03 times at 256. */
static void fetch_tile(const one_head *x, isize i) {
    const minillm_heads arrays[] = {x->Q, x->dout, x->out};
    for (int a = 0; a < 3; a++)
        for (isize q = i; q < min(i + QUERIES, x->Tq); q++)
            for (isize d = 0; d < x->D; d += 16)
                __builtin_prefetch(rows(arrays[a], q).data + d, 0, 2);
}

/* Backward (derived in minillm/kernels/numpy_attention.py). For each tile P is computed again from
 * the scores and the lse of the forward, and then, with everything as [key][query],
 *
 *     dP = V doutᵀ      dS = scale P (dP - delta)      delta[query] = dout . out
 *     dQ += dSᵀ K       dK += dS Q                     dV += P dout
 *
 * Every tile adds to rows of dK and dV that others add to as well: so one thread does a whole head
 * (there is one `group`), and they grow in the workspace, where they lie side by side. */
static void head_backward(one_head *x, isize group, float *workspace) {
    matrix P = {workspace, QUERIES, 1}, dS = part(P, KEYS, 0);
    matrix Q_transposed = part(dS, KEYS, 0), dout_transposed = part(Q_transposed, x->D, 0);
    minillm_heads dK = {part(dout_transposed, x->D, 0).data, 0, 0, x->D};
    minillm_heads dV = {rows(dK, x->Tk).data, 0, 0, x->D};
    float lse[QUERIES] = {0}, delta[QUERIES] = {0};
    (void)group;
    fetch_tile(x, 0);
    copy_together(x, x->Tq / QUERIES, x->Tk, rows(dV, x->Tk).data);
    memset(dK.data, 0, 2 * x->Tk * x->D * sizeof(float));
    for (isize i = 0; i < x->Tq; i += QUERIES) {
        isize n = min(QUERIES, x->Tq - i), last = visible_keys(x, i + n, 0, x->Tk);
        transposed_queries(x, i, n, Q_transposed);
        transpose(i, n, x->D, x->dout, dout_transposed);
        for (isize q = 0; q < n; q++) {
            /* A query that saw no key has S = -inf everywhere: P = exp(-inf - 0) = 0. */
            lse[q] = x->lse[i + q] == -INFINITY ? 0 : x->lse[i + q];
            delta[q] = dot(x->D, rows(x->dout, i + q).data, rows(x->out, i + q).data);
        }
        fetch_tile(x, i + QUERIES);
        for (isize j = 0; j == 0 || j < last; j += KEYS) {
            isize keys = min(KEYS, last - j);
            scores(x, i, j, keys, Q_transposed, P); /* S, and in dS dP, at first */
            product(keys, QUERIES, x->D, rows(x->V, j), dout_transposed, zero_matrix, dS);
            for (isize k = 0; k < keys * QUERIES; k += QUERIES)
                #pragma omp simd
                for (int q = 0; q < QUERIES; q++) {
                    P.data[k + q] = exp_(P.data[k + q] - lse[q]);
                    dS.data[k + q] = P.data[k + q] * (dS.data[k + q] - delta[q]) * x->scale;
                }
            add_to_queries(x, i, n, j, keys, dS, x->K, x->dQ);
            add_to_keys(x, i, n, j, keys, dS, x->Q, dK);
            add_to_keys(x, i, n, j, keys, P, x->dout, dV);
        }
    }
    copy_rows(x->Tk, x->D, dK, x->dK);
    copy_rows(x->Tk, x->D, dV, x->dV);
}

/* Have `piece` called for each head and each of its `groups`, with `size` floats of workspace;
 * `work`: multiply-adds, or what takes as long, for each query, key and element of D. The last
 * queries, which have the most keys, come first: so no long piece is waited for at the end. */
static int run(void (*piece)(one_head *, isize, float *), isize groups, isize size, double work,
               const minillm_attention_call *call) {
    isize heads = call->B * call->H;
    int threads = threads_for(work * heads * call->Tq * call->Tk * call->D);
    size = round_up(size, 16);
    float *workspaces = allocate(threads * size);
    if (workspaces == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (isize p = heads * groups - 1; p >= 0; p--) {
        isize index = p / groups, b = index / call->H, h = index % call->H;
        one_head x = *call;
        minillm_heads *arrays[] = {&x.Q, &x.K, &x.V, &x.out, &x.dout, &x.dQ, &x.dK, &x.dV};
        for (int a = 0; a < 8; a++)
            if (arrays[a]->data) /* the forward has no gradients */
                arrays[a]->data += b * arrays[a]->batch + h * arrays[a]->head;
        x.lse += index * x.Tq;
        x.key_mask = x.key_mask ? x.key_mask + b * x.Tk : NULL;
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
