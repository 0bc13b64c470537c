/* decode.c: generation's step, one more token of each sequence through a decoder, in one call. Each
 * sequence has a length and keys and values of its own: rows of one batch, or texts that a server
 * works on. To read several tokens of a text, pass it several times, each time one token longer: a
 * block first appends all keys and values and then attends, so a token sees those before it.
 *
 * Python needs about 100 microseconds to run the kernels of a block one by one, time in which the
 * memory delivers 2 MB of weights. This file runs the same kernels, on the same numbers, in the
 * same order. The definition is DecoderBlock in minillm/nn/blocks.py, with norm="pre":
 *
 *     x = x + attention(norm1(x));  x = x + feed_forward(norm2(x))
 *
 * An activation is computed in place. */
#include <string.h>
#include "simd.h"

/* The arrays between two kernels, for all B rows. */
typedef struct {
    float *normed, *qkv, *heads, *branch, *hidden, *gate, *statistics;
    minillm_keys *each;
} arrays;

static void normalize(const minillm_decoder *p, minillm_norm norm, const arrays *a) {
    float *first = a->statistics, *second = first + p->B;
    if (norm.bias)
        minillm_layer_norm(p->B, p->d, p->x, norm.weight, norm.bias, norm.eps, a->normed, first,
                           second);
    else
        minillm_rms_norm(p->B, p->d, p->x, norm.weight, norm.eps, a->normed, first);
}

static int apply(const minillm_linear *f, isize B, const float *x, float *y) {
    if (!f->transposed)
        return minillm_matmul(1, B, f->N, f->K, x, f->K, 0, 0, f->w, f->ldw, 0, 0, y, f->N, 0, 0,
                              f->bias);
    return minillm_gemv(B, f->N, f->K, x, f->K, f->type, f->w, f->ldw, 1, f->scale, f->bias, y,
                        f->N);
}

/* RMSNorm of each of `heads` vectors of every row of qkv, from X on, in place. */
static void normalize_heads(const minillm_decoder *p, minillm_norm norm, isize heads,
                            minillm_heads X, const arrays *a) {
    for (isize b = 0; b < p->B && norm.weight; b++) {
        float *x = X.data + b * X.batch;
        minillm_rms_norm(heads, p->D, x, norm.weight, norm.eps, x, a->statistics);
    }
}

static void add_branch(const minillm_decoder *p, const float *branch) {
    minillm_add(p->B * p->d, p->x, branch, p->x);
}

/* Append the new keys and values, (Hkv, D) each, to a sequence's in block number `index` -> all */
static minillm_keys append(const minillm_decoder *p, const minillm_sequence *sequence, isize index,
                           const float *keys, const float *values) {
    isize D = p->D, head = sequence->capacity * D;
    float *K = sequence->K[index], *V = sequence->V[index];
    for (isize h = 0; h < p->Hkv; h++) {
        isize place = h * head + sequence->length * D;
        memcpy(K + place, keys + h * D, D * sizeof(float));
        memcpy(V + place, values + h * D, D * sizeof(float));
    }
    return (minillm_keys){{K, 0, head, D}, {V, 0, head, D}, sequence->length + 1,
                          sequence->key_mask};
}

/* branch = attention(normed): append the new keys and values to the cache, then attend to all. */
static int attend(const minillm_decoder *p, isize index, const arrays *a) {
    const minillm_block *block = p->blocks + index;
    isize D = p->D, width = (p->H + 2 * p->Hkv) * D; /* of a row of qkv: queries, keys, values */
    isize longest = 0;
    minillm_heads Q = {a->qkv, width, D, width}, K = Q;
    K.data += p->H * D;
    int error = apply(&block->qkv, p->B, a->normed, a->qkv);
    if (error)
        return error;
    normalize_heads(p, block->q_norm, p->H, Q, a);
    normalize_heads(p, block->k_norm, p->Hkv, K, a);
    if (p->pairs) {
        minillm_rotate(p->B, p->H, 1, D, p->pairs, Q, p->cos, p->sin, p->interleaved, Q);
        minillm_rotate(p->B, p->Hkv, 1, D, p->pairs, K, p->cos, p->sin, p->interleaved, K);
    }
    for (isize b = 0; b < p->B; b++) {
        const float *keys = K.data + b * width;
        a->each[b] = append(p, p->sequences[b], index, keys, keys + p->Hkv * D);
        longest = max(longest, a->each[b].Tk);
    }
    minillm_attention_call call = {
        .B = p->B, .H = p->H, .Hkv = p->Hkv, .Tq = 1, .Tk = longest, .D = D, .Q = Q,
        .each = a->each, .out = {a->heads, p->H * D, D, p->H * D}, .lse = a->statistics,
        .scale = block->scale,
    };
    error = minillm_attention(&call);
    return error ? error : apply(&block->output, p->B, a->heads, a->branch);
}

/* branch = feed_forward(normed) */
static int feed_forward(const minillm_decoder *p, const minillm_block *block, const arrays *a) {
    isize n = p->B * block->expand.N;
    int error = apply(&block->expand, p->B, a->normed, a->hidden);
    if (!error && p->activation == MINILLM_SWIGLU)
        error = apply(&block->gate, p->B, a->normed, a->gate);
    if (error)
        return error;
    if (p->activation == MINILLM_SWIGLU)
        minillm_swiglu(n, a->gate, a->hidden, a->hidden);
    else if (p->activation == MINILLM_RELU2)
        minillm_relu2(n, a->hidden, a->hidden);
    else if (p->activation == MINILLM_GELU)
        minillm_gelu(n, a->hidden, a->hidden);
    else
        minillm_gelu_tanh(n, a->hidden, a->hidden);
    return apply(&block->contract, p->B, a->hidden, a->branch);
}

static int run(const minillm_decoder *p, const arrays *a) {
    for (isize i = 0; i < p->n_blocks; i++) {
        const minillm_block *block = p->blocks + i;
        normalize(p, block->norm1, a);
        int error = attend(p, i, a);
        if (error)
            return error;
        add_branch(p, a->branch);
        normalize(p, block->norm2, a);
        error = feed_forward(p, block, a);
        if (error)
            return error;
        add_branch(p, a->branch);
    }
    normalize(p, p->norm, a);
    return apply(&p->head, p->B, a->normed, p->logits);
}

int minillm_decode(const minillm_decoder *p) {
    isize widths[] = {p->d, (p->H + 2 * p->Hkv) * p->D, p->H * p->D, p->d, p->blocks[0].expand.N,
                      p->blocks[0].expand.N, max(2, p->H)};
    float *parts[7];
    isize total = 0;
    int error = MINILLM_OUT_OF_MEMORY;
    for (int i = 0; i < 7; i++)
        total += round_up(p->B * widths[i], 16);
    float *workspace = allocate(total), *next = workspace;
    minillm_keys *each = malloc(p->B * sizeof *each);
    if (workspace && each) {
        for (int i = 0; i < 7; i++) {
            parts[i] = next;
            next += round_up(p->B * widths[i], 16);
        }
        arrays a = {parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], parts[6], each};
        error = run(p, &a);
    }
    free(workspace);
    free(each);
    return error;
}
