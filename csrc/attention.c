/* attention.c: out = P V with P = softmax(scale Q Kᵀ + bias), and its gradients, without ever
 * holding the Tq x Tk matrix P (Milakov and Gimelshein 2018; Dao et al. 2022, "FlashAttention",
 * algorithms 1 and 4). minillm/ops/attention.py has the formulas and the derivation of the
 * backward; the letters here are the same.
 *
 * The work goes tile by tile, QUERIES queries times KEYS keys. A tile of scores is S[key][query]:
 * the queries lie side by side in the lanes of two vectors. Then
 *   - the softmax of a query runs down its lane: maximum, exponential and sum are plain vector
 *     arithmetic, and no sum runs across lanes;
 *   - all seven matrix products of the forward and the backward have the shape of `product` in
 *     tile.h. Q and dout are transposed once for all keys; K and V never.
 *
 * The cost of an element of the tile in the forward: 2 D multiply-adds, and about 15 operations for
 * the softmax. With D = 64, nine tenths of the time is FMA. */
#include <math.h>
#include "tile.h"

enum { QUERIES = PAIR, KEYS = 128 }; /* a tile of scores: 16 KB at most; the backward has two */
enum { TILES = 8 }; /* tiles of queries in a strip, the forward's unit of work */
_Static_assert(MINILLM_HEAD_UNIT % PAIR == 0, "a head is a whole number of tiles wide");

typedef minillm_attention_call one_head; /* a copy of the call; its arrays start at one head */

/* A tile of scores: n queries from query i on, and `keys` keys from key j on. `first` is the first
 * key of the row of tiles that these queries work through. */
typedef struct { isize i, n, first, j, keys; } score_tile;

/* The arrays of query head number `index` of all B H. H / Hkv query heads share a key head: they
 * read the same memory, and K and V are not repeated. */
static one_head select_head(const minillm_attention_call *call, isize index) {
    isize b = index / call->H, h = index % call->H, key_head = h / (call->H / call->Hkv);
    isize distances = call->Tq + call->Tk - 1;
    one_head head = *call;
    minillm_heads *arrays[] = {&head.Q, &head.out, &head.dout, &head.dQ,
                               &head.K, &head.V, &head.dK, &head.dV};
    for (int a = 0; a < 8; a++)
        if (arrays[a]->data) /* NULL: the gradients in a forward */
            arrays[a]->data += b * arrays[a]->batch + (a < 4 ? h : key_head) * arrays[a]->head;
    head.lse += index * call->Tq;
    if (call->key_mask)
        head.key_mask += b * call->Tk;
    if (call->distance_bias)
        head.distance_bias += h * distances;
    if (call->ddistance_bias)
        head.ddistance_bias += index * distances;
    if (call->each) {
        const minillm_keys *keys = call->each + b;
        head.K = keys->K;
        head.V = keys->V;
        head.K.data += key_head * keys->K.head;
        head.V.data += key_head * keys->V.head;
        head.Tk = keys->Tk;
        head.ahead = keys->Tk - call->Tq;
        head.key_mask = keys->key_mask;
    }
    return head;
}

/* The rows of a head from row i on. */
static matrix rows(minillm_heads X, isize i) { return (matrix){X.data + i * X.row, X.row, 1}; }

/* A causal query i sees no key after i + ahead, which cuts a tile along a diagonal. Scores of the
 * tile beyond the diagonal are computed and then set to -inf, so P is 0 there. Keys that no query
 * of the tile sees are not even read. The next two functions count along the two axes. */

/* How many of the `keys` keys from key j on the causal mask leaves visible to queries before
 * `end`. */
static isize causal_keys(const one_head *head, isize end, isize j, isize keys) {
    return max(0, min(keys, end + head->ahead - j));
}

/* How many of the n queries from query i on the causal mask keeps from seeing `key`: the first
 * ones. */
static isize queries_before(const one_head *head, isize i, isize n, isize key) {
    return max(0, min(n, key - head->ahead - i));
}

/* Keys from `first` up to, but not including, `end`. */
typedef struct { isize first, end; } key_range;

/* The range of keys that at least one of the n queries from query i on may see: up to the causal
 * limit, and inside the sliding window. The window is what remains of distance_bias without the
 * runs of -inf at its ends. The bias of query i + q and key j is bias[j + n - 1 - q]: a key is
 * outside if that is -inf for all n queries. */
static key_range visible_keys(const one_head *head, isize i, isize n) {
    isize end = causal_keys(head, i + n, 0, head->Tk);
    isize low = 0, high = end + n - 1; /* the window is bias[low] to bias[high - 1] */
    if (head->distance_bias == NULL)
        return (key_range){0, end};
    const float *bias = head->distance_bias + head->Tq - i - n;
    while (low < high && bias[low] == -INFINITY)
        low++;
    while (high > low && bias[high - 1] == -INFINITY)
        high--;
    return (key_range){min(end, max(0, low - (n - 1))), min(end, high)};
}

/* target[d][query] = X[query][d] for n queries from query i on, and 0 for missing queries. */
static void transpose(isize i, isize n, isize D, minillm_heads X, matrix target) {
    pack_panel(target.data, QUERIES, n, D, rows(X, i));
}

/* target = scale Qᵀ for n queries from query i on. */
static void transpose_queries(const one_head *head, isize i, isize n, matrix target) {
    transpose(i, n, head->D, head->Q, target);
    for (isize e = 0; e < head->D * QUERIES; e++)
        target.data[e] *= head->scale;
}

/* A tile has QUERIES + keys - 1 distances, from its first key and last query to its last key and
 * first query. A *band* holds one number for each of them, in reverse, so that the numbers of one
 * key lie in the order of the queries, as its scores do. The number of key k and query q of the
 * tile is band[keys - 1 - k + q]; band[0] belongs to the largest distance. */
static isize largest_distance(const one_head *head, score_tile at) {
    return at.j + at.keys - 1 - at.i + head->Tq - 1; /* as an index of distance_bias */
}

/* S[key][query] += distance_bias[key - query + Tq - 1]; missing queries get 0. */
static void add_distance_bias(const one_head *head, score_tile at, float *restrict S) {
    float band[QUERIES + KEYS];
    isize largest = largest_distance(head, at);
    for (isize e = 0; e < QUERIES + at.keys - 1; e++)
        band[e] = e <= largest ? head->distance_bias[largest - e] : 0;
    for (isize k = 0; k < at.keys; k++)
        for (int q = 0; q < QUERIES; q++)
            S[k * QUERIES + q] += band[at.keys - 1 - k + q];
}

/* ddistance_bias[key - query + Tq - 1] += dS[key][query], a sum along each diagonal; and dS *= scale.
 *
 * From one key to the next, the band moves on by one number. A vector that is written and then read
 * one number further on has to wait for the cache. So the keys k, k + LANES, k + 2 LANES, ... add to
 * one band, which moves on by whole vectors, and in the end the LANES bands are added up, each one
 * number further on than the band before. (dS of missing queries is 0.) */
static void add_diagonals(const one_head *head, score_tile at, float *restrict dS) {
    float bands[LANES][LANES + QUERIES + KEYS]; /* each with a margin of LANES zeros at both ends */
    isize last = (at.keys - 1) / LANES * LANES, width = last + QUERIES;
    for (int lane = 0; lane < LANES; lane++)
        memset(bands[lane], 0, (width + 2 * LANES) * sizeof(float));
    for (isize k = 0; k < at.keys; k++) {
        float *restrict band = bands[k % LANES] + LANES + last - k / LANES * LANES;
        for (int q = 0; q < QUERIES; q++) {
            band[q] += dS[k * QUERIES + q];
            dS[k * QUERIES + q] *= head->scale;
        }
    }
    /* Number e of the sum belongs to the band of the whole tile from `missing` numbers on, because
     * the tile may end before the last lane. */
    isize missing = last + LANES - at.keys, largest = largest_distance(head, at);
    for (isize e = 0; e < width + LANES; e += LANES) {
        vec sum = broadcast(0);
        for (int lane = 0; lane < LANES; lane++)
            sum += load(bands[lane] + e + 1 + lane);
        for (isize l = max(e, missing); l < min(e + LANES, missing + at.n + at.keys - 1); l++)
            head->ddistance_bias[largest + missing - l] += sum[l - e];
    }
}

/* S[key][query] of a tile, -inf where the query may not see the key. */
static void scores(const one_head *head, score_tile at, matrix Q_transposed, matrix S) {
    product(at.keys, QUERIES, head->D, rows(head->K, at.j), Q_transposed, zero_matrix, S);
    if (head->distance_bias)
        add_distance_bias(head, at, S.data);
    /* Without a key mask, start with the first key that is hidden from any query. */
    isize k = head->key_mask ? 0 : causal_keys(head, at.i + 1, at.j, at.keys);
    for (; k < at.keys; k++) {
        int masked = head->key_mask && !head->key_mask[at.j + k];
        isize hidden = masked ? QUERIES : queries_before(head, at.i, QUERIES, at.j + k);
        float *s = S.data + k * QUERIES;
        #pragma omp simd
        for (int q = 0; q < QUERIES; q++)
            s[q] = q < hidden ? -INFINITY : s[q];
    }
}

/* sum[query] += Σ over the tile's keys of weight[key][query] X[key]: out from P and V, dQ from dS
 * and K. The first tile of a row starts from 0. */
static void add_to_queries(const one_head *head, score_tile at, matrix weight, minillm_heads X,
                           minillm_heads sum) {
    for (isize q = 0; q < at.n; q += MR)
        product(min(MR, at.n - q), head->D, causal_keys(head, at.i + q + MR, at.j, at.keys),
                part(transposed(weight), q, 0), rows(X, at.j),
                at.j > at.first ? rows(sum, at.i + q) : zero_matrix, rows(sum, at.i + q));
}

/* sum[key] += Σ over the tile's queries of weight[key][query] X[query]: dV from P and dout, dK from
 * dS and Q. */
static void add_to_keys(const one_head *head, score_tile at, matrix weight, minillm_heads X,
                        minillm_heads sum) {
    for (isize k = 0; k < at.keys; k += MR) {
        isize q = queries_before(head, at.i, at.n, at.j + k);
        product(min(MR, at.keys - k), head->D, at.n - q, part(weight, k, q), rows(X, at.i + q),
                rows(sum, at.j + k), rows(sum, at.j + k));
    }
}

/* exp(x) for a weight of attention. Below 2^-64 it is 0, as it would be in any sum with a weight near
 * 1. Otherwise products of the smallest weights and a small gradient would be denormal numbers, with
 * which some chips compute fifty times as slowly: with ALiBi's bias, the backward at T = 1,024 took
 * 1.8 times as long. */
static inline float exp_weight(float x) { return exp_or_zero(x, -64.0f); }

static void multiply_rows(isize n, isize D, const float *factor, matrix X) {
    for (isize q = 0; q < n; q++)
        for (isize d = 0; d < D; d++)
            X.data[q * X.row + d] *= factor[q];
}

/* One more tile of keys in the online softmax (rung 3 of attention_ladder.c). The tile raises the
 * largest score from m to m'. S becomes P = exp(S - m'), and l becomes factor l + Σ P with
 * factor = exp(m - m'). The caller multiplies out by the factor. As long as all scores are -inf,
 * shift by 0 instead of m' = -inf: exp(-inf - 0) = 0, where -inf - -inf would be NaN. */
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
        factor[q] = exp_weight(before[q] - shift[q]);
        l[q] *= factor[q];
    }
    for (isize k = 0; k < keys * QUERIES; k += QUERIES)
        #pragma omp simd
        for (int q = 0; q < QUERIES; q++)
            l[q] += S[k + q] = exp_weight(S[k + q] - shift[q]);
}

static void copy_rows(key_range keys, isize D, minillm_heads source, minillm_heads target) {
    for (isize j = keys.first; j < keys.end; j++)
        memcpy(rows(target, j).data, rows(source, j).data, D * sizeof(float));
}

/* Where heads lie side by side, the rows of one head are far apart: 9 KB in a fused Q K V buffer of
 * 12 heads, so each key is on another page, and all keys share a quarter of the cache sets. If more
 * than a few tiles of queries read K and V, first make them contiguous in `workspace`: at T = 1,024
 * the forward becomes 1.4 to 1.5 times as fast, at 256 1.1 times, at 128 no faster. */
static void make_contiguous(one_head *head, isize tiles, key_range keys, float *workspace) {
    minillm_heads K = {workspace, 0, 0, head->D};
    minillm_heads V = {workspace + head->Tk * head->D, 0, 0, head->D};
    if (tiles <= 4)
        return;
    copy_rows(keys, head->D, head->K, K);
    copy_rows(keys, head->D, head->V, V);
    head->K = K;
    head->V = V;
}

/* The forward for one tile of queries: n queries from query i on. */
static void attend_tile(const one_head *head, isize i, isize n, matrix S, matrix Q_transposed) {
    key_range seen = visible_keys(head, i, n);
    float m[QUERIES], l[QUERIES] = {0}, factor[QUERIES];
    for (int q = 0; q < QUERIES; q++)
        m[q] = -INFINITY;
    transpose_queries(head, i, n, Q_transposed);
    for (isize j = seen.first; j == seen.first || j < seen.end; j += KEYS) { /* once if no keys */
        score_tile at = {i, n, seen.first, j, min(KEYS, seen.end - j)};
        scores(head, at, Q_transposed, S);
        online_softmax(at.keys, S.data, m, l, factor);
        if (j > seen.first)
            multiply_rows(n, head->D, factor, rows(head->out, i));
        add_to_queries(head, at, S, head->V, head->out);
    }
    for (isize q = 0; q < n; q++) { /* out / l; 0 for a query that saw no key, l = 0 */
        factor[q] = l[q] > 0 ? 1 / l[q] : 0;
        head->lse[i + q] = m[q] + logf(l[q]);
    }
    multiply_rows(n, head->D, factor, rows(head->out, i));
}

static isize strips(isize Tq) { return (Tq + TILES * QUERIES - 1) / (TILES * QUERIES); }

/* A unit of work of the forward: one strip of one head. */
static void attend_strip(const minillm_attention_call *call, isize piece, float *workspace) {
    one_head head = select_head(call, piece / strips(call->Tq));
    isize begin = piece % strips(call->Tq) * TILES * QUERIES;
    isize end = min(begin + TILES * QUERIES, head.Tq);
    matrix S = {workspace, QUERIES, 1}, Q_transposed = part(S, KEYS, 0);
    make_contiguous(&head, (end - begin) / QUERIES, visible_keys(&head, begin, end - begin),
                    part(Q_transposed, head.D, 0).data);
    for (isize i = begin; i < end; i += QUERIES)
        attend_tile(&head, i, min(QUERIES, end - i), S, Q_transposed);
}

static float dot(isize n, const float *x, const float *y) {
    float sum = 0;
    #pragma omp simd reduction(+ : sum)
    for (isize i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* A unit of work of the forward when there are too few queries to fill the lanes, as in generation:
 * one query of one head. Each key is read for one query only, so the memory bandwidth limits the
 * speed. Read K and V once, row after row. (Four rows at a time took half as long again.) */
static void attend_one_query(const minillm_attention_call *call, isize piece, float *P) {
    one_head head = select_head(call, piece / call->Tq);
    isize i = piece % call->Tq;
    key_range seen = visible_keys(&head, i, 1);
    const float *bias = head.distance_bias ? head.distance_bias + head.Tq - 1 - i : NULL;
    float *restrict o = rows(head.out, i).data, largest = -INFINITY, total = 0;
    for (isize k = seen.first; k < seen.end; k++) {
        float score = dot(head.D, rows(head.Q, i).data, rows(head.K, k).data) * head.scale;
        if (bias)
            score += bias[k];
        P[k] = head.key_mask && !head.key_mask[k] ? -INFINITY : score;
        largest = P[k] > largest ? P[k] : largest;
    }
    float shift = largest == -INFINITY ? 0 : largest;
    #pragma omp simd reduction(+ : total)
    for (isize k = seen.first; k < seen.end; k++)
        total += P[k] = exp_weight(P[k] - shift);
    float factor = total > 0 ? 1 / total : 0; /* 0 if the query sees no key */
    memset(o, 0, head.D * sizeof(float));
    for (isize k = seen.first; k < seen.end; k++) {
        const float *restrict v = rows(head.V, k).data;
        for (isize d = 0; d < head.D; d++)
            o[d] += P[k] * factor * v[d];
    }
    head.lse[i] = largest + logf(total);
}

/* Prefetch the inputs of the backward for the tile of queries from query i on. Their rows are far
 * apart, which the hardware prefetcher doesn't predict. They arrive while the tile before is
 * computed: 1.05 to 1.2 times as fast at T = 64, 1.03 times at 256. */
static void prefetch_tile(const one_head *head, isize i) {
    const minillm_heads arrays[] = {head->Q, head->dout, head->out};
    for (int a = 0; a < 3; a++)
        for (isize q = i; q < min(i + QUERIES, head->Tq); q++)
            for (isize d = 0; d < head->D; d += 16)
                __builtin_prefetch(rows(arrays[a], q).data + d, 0, 2);
}

/* In one tile, turn S into P = exp(S - lse), and dP into scale dS with dS = P (dP - delta).
 *
 * dS itself is the gradient of the biased score: its diagonal sums go into ddistance_bias first. dQ
 * and dK need scale dS. Without a bias both steps are one. P and dS hold S and dP on entry. */
static void softmax_backward(const one_head *head, score_tile at, const float *lse,
                             const float *delta, float *restrict P, float *restrict dS) {
    float factor = head->ddistance_bias ? 1 : head->scale;
    for (isize k = 0; k < at.keys * QUERIES; k += QUERIES)
        #pragma omp simd
        for (int q = 0; q < QUERIES; q++) {
            P[k + q] = exp_weight(P[k + q] - lse[q]);
            dS[k + q] = P[k + q] * (dS[k + q] - delta[q]) * factor;
        }
    if (head->ddistance_bias)
        add_diagonals(head, at, dS);
}

/* The backward for one query head. For each tile, recompute P from the scores and the lse of the
 * forward. Then, with every tile as [key][query],
 *
 *     dP = V doutᵀ      dS = P (dP - delta)      delta[query] = dout . out
 *     dQ = scale dSᵀ K      dK += scale dS Q      dV += P dout                      */
static void head_backward(const one_head *head, float *workspace) {
    matrix P = {workspace, QUERIES, 1}, dS = part(P, KEYS, 0);
    matrix Q_transposed = part(dS, KEYS, 0), dout_transposed = part(Q_transposed, head->D, 0);
    float lse[QUERIES], delta[QUERIES];
    for (isize i = 0; i < head->Tq; i += QUERIES) {
        isize n = min(QUERIES, head->Tq - i);
        key_range seen = visible_keys(head, i, n);
        transpose_queries(head, i, n, Q_transposed);
        transpose(i, n, head->D, head->dout, dout_transposed);
        for (isize q = 0; q < QUERIES; q++) {
            /* A query that saw no key has S = -inf everywhere, so P = exp(-inf - 0) = 0. A missing
             * query has S = dP = 0, so dS = 0. */
            lse[q] = q >= n || head->lse[i + q] == -INFINITY ? 0 : head->lse[i + q];
            delta[q] = q >= n ? 0 : dot(head->D, rows(head->dout, i + q).data,
                                        rows(head->out, i + q).data);
        }
        prefetch_tile(head, i + QUERIES);
        for (isize j = seen.first; j == seen.first || j < seen.end; j += KEYS) {
            score_tile at = {i, n, seen.first, j, min(KEYS, seen.end - j)};
            scores(head, at, Q_transposed, P); /* for now P holds S, and dS dP */
            product(at.keys, QUERIES, head->D, rows(head->V, j), dout_transposed, zero_matrix, dS);
            softmax_backward(head, at, lse, delta, P.data, dS.data);
            add_to_queries(head, at, dS, head->K, head->dQ);
            add_to_keys(head, at, dS, head->Q, head->dK);
            add_to_keys(head, at, P, head->dout, head->dV);
        }
    }
}

/* A unit of work of the backward: one key head, with all query heads that read it. All their tiles
 * add to its dK and dV, which are accumulated in contiguous rows of the workspace. One thread adds
 * them in a fixed order, so the sums are bit for bit the same for any number of threads. */
static void group_backward(const minillm_attention_call *call, isize piece, float *workspace) {
    isize group = call->H / call->Hkv, tiles_size = 2 * QUERIES * (KEYS + call->D);
    one_head first = select_head(call, piece * group);
    key_range all_keys = {0, call->Tk};
    minillm_heads dK = {workspace + tiles_size, 0, 0, call->D};
    minillm_heads dV = {rows(dK, call->Tk).data, 0, 0, call->D};
    prefetch_tile(&first, 0);
    make_contiguous(&first, group * call->Tq / QUERIES, all_keys, rows(dV, call->Tk).data);
    memset(dK.data, 0, 2 * call->Tk * call->D * sizeof(float));
    for (isize g = 0; g < group; g++) {
        one_head head = select_head(call, piece * group + g);
        head.K = first.K, head.V = first.V, head.dK = dK, head.dV = dV;
        if (head.ddistance_bias)
            memset(head.ddistance_bias, 0, (call->Tq + call->Tk - 1) * sizeof(float));
        head_backward(&head, workspace);
    }
    copy_rows(all_keys, call->D, dK, first.dK);
    copy_rows(all_keys, call->D, dV, first.dV);
}

/* Run every piece, with `size` floats of workspace for each thread. The last pieces go first: their
 * causal queries see the most keys. If there are enough sequences, a thread takes all pieces of one:
 * its heads lie side by side in memory, and two threads would write to the same cache lines. `work`:
 * the time of a query, a key and an element of D, in multiply-adds. */
static int run(void (*run_piece)(const minillm_attention_call *, isize, float *), isize pieces,
               isize size, double work, const minillm_attention_call *call) {
    int threads = threads_for(work * call->B * call->H * call->Tq * call->Tk * call->D);
    size = round_up(size, 16);
    float *workspaces = allocate(threads * size);
    if (workspaces == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel for num_threads(threads) \
        schedule(dynamic, call->B >= 4 * threads ? pieces / call->B : 1)
    for (isize piece = pieces - 1; piece >= 0; piece--)
        run_piece(call, piece, workspaces + omp_get_thread_num() * size);
    free(workspaces);
    return MINILLM_OK;
}

int minillm_attention(const minillm_attention_call *call) {
    isize heads = call->B * call->H;
    /* With few queries K and V come from memory: 2 numbers count as 32 multiply-adds (simd.h). */
    if (call->Tq < MINILLM_FEW_QUERIES)
        return run(attend_one_query, heads * call->Tq, call->Tk, 32, call);
    return run(attend_strip, heads * strips(call->Tq),
               QUERIES * (KEYS + call->D) + 2 * call->Tk * call->D, 2, call);
}

int minillm_attention_backward(const minillm_attention_call *call) {
    return run(group_backward, call->B * call->Hkv,
               2 * QUERIES * (KEYS + call->D) + 4 * call->Tk * call->D, 5, call);
}
