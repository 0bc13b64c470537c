/* minillm.h: the whole interface between Python and C.
 *
 * cffi reads its declarations from this very file (csrc/cffi_build.py), so nothing is declared
 * twice. It understands plain declarations and enums; lines that begin with '#' are left out.
 *
 * Conventions. Matrices are row-major float32. A leading dimension (lda, ldb, ...) is the distance
 * between the beginnings of two rows, counted in floats, so that a view of some columns of a wider
 * matrix needs no copy. The caller has checked shapes and overlap (minillm/kernels/c.py does).
 * Every kernel returns an error code. All of them may be called from several threads at once.
 */
#ifndef MINILLM_H
#define MINILLM_H

#include <stddef.h>

enum minillm_error {
    MINILLM_OK = 0,
    MINILLM_OUT_OF_MEMORY = 1, /* the workspace could not be allocated; the output is untouched */
    MINILLM_UNKNOWN_ISA = 2,   /* minillm_use_isa: not compiled in, or the chip doesn't have it */
};

/* C = op(A) op(B), or C += op(A) op(B) when `accumulate`; `batch` times, `step_` floats apart.
 * op(A) is M x K: A is stored as M rows of K, or as K rows of M when `transpose_A`.
 * op(B) is K x N: B is stored as K rows of N, or as N rows of K when `transpose_B`.         */
int minillm_matmul(ptrdiff_t batch, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K,
                   const float *A, ptrdiff_t lda, ptrdiff_t step_A, int transpose_A,
                   const float *B, ptrdiff_t ldb, ptrdiff_t step_B, int transpose_B,
                   float *C, ptrdiff_t ldc, ptrdiff_t step_C, int accumulate);

/* The ladder that leads to minillm_matmul: rungs 1 to 5 of matmul_ladder.c. Contiguous C = A B. */
int minillm_matmul_rung(int rung, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K,
                        const float *A, const float *B, float *C);

/* The limits of the machine (machine.c): the caller measures how long these two take. */
double minillm_run_fmas(ptrdiff_t n, float *result); /* -> the number of operations */
float minillm_read_memory(ptrdiff_t n, const float *data);

/* A (B, H, T, D) array: where it begins, and how many floats it is from one batch, head and row to
 * the next. The D floats of a row lie side by side. */
typedef struct { float *data; ptrdiff_t batch, head, row; } minillm_heads;

/* out = softmax(scale Q K^T + mask) V, and the log of each query's softmax denominator in lse, a
 * contiguous (B, H, Tq) array. Q and out have Tq rows, K and V have Tk. Query i sees the keys up
 * to i + Tk - Tq if `causal`, and of those the ones whose key_mask isn't 0: (B, Tk), or NULL. */
int minillm_attention(ptrdiff_t B, ptrdiff_t H, ptrdiff_t Tq, ptrdiff_t Tk, ptrdiff_t D,
                      const minillm_heads *Q, const minillm_heads *K, const minillm_heads *V,
                      const unsigned char *key_mask, int causal, float scale,
                      const minillm_heads *out, float *lse);

/* The gradients of minillm_attention, given that of out. */
int minillm_attention_backward(ptrdiff_t B, ptrdiff_t H, ptrdiff_t Tq, ptrdiff_t Tk, ptrdiff_t D,
                               const minillm_heads *dout, const minillm_heads *Q,
                               const minillm_heads *K, const minillm_heads *V,
                               const minillm_heads *out, const float *lse,
                               const unsigned char *key_mask, int causal, float scale,
                               const minillm_heads *dQ, const minillm_heads *dK,
                               const minillm_heads *dV);

/* How many threads a kernel may use. The only mutable state of the library, with the choice of
 * the instruction set. Without OpenMP it is always 1. */
void minillm_set_num_threads(int n);
int minillm_get_num_threads(void);

/* The instruction sets of this build, the widest first: every kernel is compiled once for each
 * of them. When the library is loaded it picks the widest one that the chip can run. */
int minillm_isa_count(void);
const char *minillm_isa_name(int i);
int minillm_isa_supported(int i);    /* can this chip run number i? */
int minillm_current_isa(void);       /* the number of the one in use */
int minillm_use_isa(int i);          /* not while a kernel is running */

const char *minillm_compiler(void);
int minillm_has_openmp(void);

#endif
