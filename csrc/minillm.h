/* minillm.h: the whole interface between Python and C. cffi reads it too (csrc/cffi_build.py).
 *
 * Matrices are row-major float32. A leading dimension (lda, ldb, ...) is the distance in floats
 * between the starts of two consecutive rows, so a view of some columns of a wider matrix needs no
 * copy. The caller checks shapes, ranges and overlap (minillm/kernels does). A kernel that needs a
 * workspace returns an error code. Every function is thread-safe. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef ptrdiff_t isize; /* sizes and indices: signed, as wide as a pointer */

enum { MINILLM_OK = 0, MINILLM_OUT_OF_MEMORY = 1 }; /* no workspace: the output is incomplete */

/* C = op(A) op(B) + bias, or C += op(A) op(B) when `accumulate`. `bias` is added to every row of
 * C: N numbers, or NULL. The product runs over `batch` matrices, step_A, step_B and step_C floats
 * apart. op(A) is M x K: A is stored as M rows of K, or as K rows of M when `transpose_A`. op(B)
 * is K x N: B is stored as K rows of N, or as N rows of K when `transpose_B`. */
int minillm_matmul(isize batch, isize M, isize N, isize K,
                   const float *A, isize lda, isize step_A, int transpose_A,
                   const float *B, isize ldb, isize step_B, int transpose_B,
                   float *C, isize ldc, isize step_C, int accumulate, const float *bias);

/* C = A B for contiguous matrices: nine arguments less for Python to convert. */
int minillm_plain_matmul(isize M, isize N, isize K, const float *A, const float *B, float *C);

/* The backward of y = x W + b, see matmul.c. All arrays are contiguous. */
int minillm_linear_backward(isize rows, isize d_in, isize d_out, const float *dy, const float *x,
                            const float *W, int transpose_W, int accumulate, float *dx, float *dW,
                            float *db);

/* The ladder that leads to minillm_matmul: rungs 1 to 5 of matmul_ladder.c. C = A B, contiguous. */
void minillm_matmul_rung(int rung, isize M, isize N, isize K,
                         const float *A, const float *B, float *C);

/* y = x Wᵀ + bias (gemv.c; BLAS's name for matrix times vector). x is M x K, y is M x N, W is N x K
 * of the given type; or, if not `transposed`, K x N, float32, with N a multiple of 32. A row of W has
 * 32 >> type bits for each of ldw weights. `scale`: N floats with int8; with int4, where ldw is K
 * rounded up to whole groups, N x ldw / MINILLM_GROUP numbers in bfloat16; otherwise NULL. `bias`: N
 * numbers, or NULL.
 * Up to MINILLM_STEP_ROWS rows of x, the weights are read from memory once, and MINILLM_GEMV_ROWS rows
 * at a time are multiplied with them. A row of y then has the same bits for any M, with int4 up to
 * rounding. More rows go to minillm_matmul; then it has the same bits for any such M. */
enum { MINILLM_GEMV_ROWS = 8, MINILLM_STEP_ROWS = 16, MINILLM_GROUP = 32 };
enum minillm_type { MINILLM_FLOAT32 = 0, MINILLM_BFLOAT16 = 1, MINILLM_INT8 = 2, MINILLM_INT4 = 3 };
int minillm_gemv(isize M, isize N, isize K, const float *x, isize ldx, int type,
                 const void *w, isize ldw, int transposed, const void *scale,
                 const float *bias, float *y, isize ldy);

/* A (B, H, T, D) array: its address, and its strides in floats from one batch, head and row to the
 * next. The D floats of a row are contiguous. */
typedef struct { float *data; isize batch, head, row; } minillm_heads;

/* The arguments of attention: out = P V, P = softmax(scale Q Kᵀ + bias). lse, a contiguous
 * (B, H, Tq) array, takes the logarithm of each query's softmax denominator. Q, out and their
 * gradients have H heads of Tq rows; K, V and theirs have Hkv heads of Tk rows. Hkv divides H, and
 * query head h reads key head h / (H / Hkv) (grouped-query attention). Three fields are the bias:
 *
 *     ahead           Query i sees no key after i + ahead: Tk - Tq if causal, Tk to see all.
 *     key_mask        No query sees a key whose byte is 0. (B, Tk), contiguous, or NULL.
 *     distance_bias   distance_bias[h][j - i + Tq - 1] is added to the score of query i and key j.
 *                     (H, Tq + Tk - 1), contiguous, or NULL. -inf hides a key: a sliding window.
 *                     Keys outside the window of a whole tile of queries are not read.
 *
 * With `each`, sequence b has its own keys: each[b] takes the place of K, V, Tk and key_mask, causal,
 * for fewer than MINILLM_FEW_QUERIES queries and no distance_bias. The call's Tk is then the largest.
 *
 * A query that sees no key gets out = 0 and lse = -inf. The backward reads distance_bias again. It
 * writes each sequence's gradient of it to ddistance_bias, (B, H, Tq + Tk - 1), contiguous, unless
 * that is NULL. D is a multiple of MINILLM_HEAD_UNIT; in a forward with fewer than
 * MINILLM_FEW_QUERIES queries it may be any number. */
enum { MINILLM_HEAD_UNIT = 32, MINILLM_FEW_QUERIES = 4 };
typedef struct { minillm_heads K, V; isize Tk; const unsigned char *key_mask; } minillm_keys;
typedef struct {
    isize B, H, Hkv, Tq, Tk, D, ahead;
    minillm_heads Q, K, V, out, dout, dQ, dK, dV;
    float *lse, scale;
    const unsigned char *key_mask;
    const float *distance_bias;
    float *ddistance_bias;
    const minillm_keys *each;
} minillm_attention_call;
int minillm_attention(const minillm_attention_call *call); /* Q, K, V -> out, lse */
int minillm_attention_backward(const minillm_attention_call *call); /* + dout -> dQ, dK, dV */

/* The ladder that leads to minillm_attention: rungs 1 to 3 of attention_ladder.c. Causal. All
 * arrays are contiguous, (heads, T, D). S: a workspace of T x T floats in rung 1, of T in rung
 * 2. */
void minillm_attention_rung(int rung, isize heads, isize T, isize D, const float *Q,
                            const float *K, const float *V, float *out, float *S);

/* The row-wise kernels; rows.c has the formulas. All arrays are contiguous: `rows` numbers, or
 * `rows` rows of d or V numbers. A target below 0 is ignored. minillm/kernels/signature.py defines
 * the order of the arguments. */
void minillm_add(isize rows, const float *x, const float *y, float *sum);
void minillm_gelu(isize rows, const float *x, float *y);
void minillm_gelu_backward(isize rows, const float *dy, const float *x, float *dx);
void minillm_gelu_tanh(isize rows, const float *x, float *y);
void minillm_gelu_tanh_backward(isize rows, const float *dy, const float *x, float *dx);
void minillm_relu2(isize rows, const float *x, float *y);
void minillm_relu2_backward(isize rows, const float *dy, const float *x, float *dx);
void minillm_swiglu(isize rows, const float *g, const float *u, float *h);
void minillm_swiglu_backward(isize rows, const float *dh, const float *g, const float *u, float *dg,
                             float *du);
void minillm_layer_norm(isize rows, isize d, const float *x, const float *weight,
                        const float *bias, double eps, float *y, float *mean, float *inverse_std);
int minillm_layer_norm_backward(isize rows, isize d, const float *dy, const float *x,
                                const float *mean, const float *inverse_std, const float *weight,
                                float *dx, float *dweight, float *dbias);
void minillm_rms_norm(isize rows, isize d, const float *x, const float *weight, double eps,
                      float *y, float *inverse_rms);
int minillm_rms_norm_backward(isize rows, isize d, const float *dy, const float *x,
                              const float *inverse_rms, const float *weight, float *dx,
                              float *dweight);
void minillm_token_losses(isize rows, isize V, const float *logits, const int64_t *targets,
                          double label_smoothing, float *losses, float *lse);
void minillm_token_losses_backward(isize rows, isize V, double dlosses, const float *logits,
                                   const int64_t *targets, const float *lse,
                                   double label_smoothing, float *dlogits);
void minillm_adam(isize rows, float *w, const float *g, float *m, float *v, double t, double lr,
                  double beta1, double beta2, double eps, double grad_scale, double l2,
                  double decay);
/* The same for several arrays, the weights of a model: `parts` of them, n numbers each. */
typedef struct {
    isize n;
    float *w, *m, *v;
    const float *g;
    double lr, l2, decay;
} minillm_adam_part;
void minillm_adam_all(isize parts, const minillm_adam_part *part, double t, double beta1,
                      double beta2, double eps, double grad_scale);
double minillm_sum_of_squares(isize rows, const float *x);
/* The same for several arrays: x[i] has n[i] numbers, and sums[i * MINILLM_SUMS] takes its sum. The
 * numbers between are the workspace. */
enum { MINILLM_SUMS = 64 };
void minillm_sums_of_squares(isize arrays, const isize *n, const float *const *x, double *sums);
int minillm_sum_rows(isize rows, isize d, const float *x, float *total);
void minillm_scatter_add(isize n, isize d, isize rows, float *table, const int64_t *ids,
                         const float *x);

/* Rotary positions: rotate the first 2 `pairs` elements of each row of x, a (B, H, T, D) array, and
 * copy the rest. Pair i is elements 2i and 2i + 1 if `interleaved`, otherwise i and i + pairs. cos
 * and sin have `pairs` contiguous numbers for each row; a stride of 0 shares them. y may be x. */
void minillm_rotate(isize B, isize H, isize T, isize D, isize pairs, minillm_heads x,
                    minillm_heads cos, minillm_heads sin, int interleaved, minillm_heads y);

/* One more token of each of B sequences through n_blocks decoder blocks, the last norm and the output
 * head (decode.c). x: (B, d), the tokens' vectors, becomes the residual stream after the blocks;
 * logits: (B, head.N). All arrays are contiguous.
 *
 * minillm_norm: LayerNorm, or RMSNorm if `bias` is NULL.
 * minillm_linear: a matrix of weights as in minillm_gemv. With float32 it is N x K if `transposed`,
 * otherwise K x N, with any N.
 * minillm_block: `scale` is that of attention. `gate` is needed for SwiGLU only. q_norm and k_norm
 * are RMSNorms of D numbers, or their weights are NULL.
 * minillm_sequence: block i has its keys and values at K[i] and V[i], (Hkv, capacity, D), with room
 * for number `length`. key_mask: length + 1 bytes, 0 at keys that nobody sees, or NULL. Several of
 * them may share K and V, with lengths that follow one another: several tokens of one sequence.
 * minillm_decoder: cos and sin as in minillm_rotate, for `pairs` pairs, 0 for no rotation. */
typedef struct { const float *weight, *bias; double eps; } minillm_norm;
typedef struct {
    isize N, K, ldw;
    int type, transposed;
    const void *w, *scale;
    const float *bias;
} minillm_linear;
typedef struct {
    minillm_norm norm1, norm2, q_norm, k_norm;
    minillm_linear qkv, output, expand, gate, contract;
    float scale;
} minillm_block;
typedef struct {
    isize length, capacity;
    float **K, **V;
    const unsigned char *key_mask;
} minillm_sequence;
enum { MINILLM_GELU_TANH = 0, MINILLM_GELU = 1, MINILLM_RELU2 = 2, MINILLM_SWIGLU = 3 };
typedef struct {
    isize B, d, H, Hkv, D, n_blocks, pairs;
    int activation, interleaved;
    minillm_heads cos, sin;
    const minillm_sequence *const *sequences; /* B of them */
    const minillm_block *blocks;
    minillm_norm norm;
    minillm_linear head;
    float *x, *logits;
} minillm_decoder;
int minillm_decode(const minillm_decoder *call);

/* The maximum number of threads of a kernel: initially 1, and always 1 without OpenMP. Each thread
 * of the program that calls kernels gets its own team of this size. If the system can't start the
 * threads, OpenMP ends the process. */
void minillm_set_num_threads(int n);
int minillm_get_num_threads(void);

/* 1 keeps a kernel's other threads off the core of the calling thread (Linux only; threads.c says
 * why). Initially 0. */
void minillm_avoid_callers_core(int on);

/* The number of floats in this chip's vectors: 16 with AVX-512, 8 with AVX2, otherwise 4. Call it
 * in the baseline library: the others may not run on this chip. */
int minillm_lanes_of_chip(void);

/* 1 if the chip has AMX's bfloat16 tiles and the system lets this process use them. It asks the
 * system for that. */
int minillm_may_use_amx(void);
const char *minillm_compiler(void);

/* Run n times 12 vector multiply-adds, with AMX 4 tile products, on each thread (machine.c), for the
 * caller to time. `results` has one float for each thread. Returns the number of float32
 * operations. */
double minillm_run_fmas(isize n, float *results);
