/* matmul.c: C = op(A) op(B). */
#include "simd.h"

DECLARE_KERNEL(minillm_matmul);

int KERNEL(minillm_matmul)(ptrdiff_t batch, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K,
                           const float *A, ptrdiff_t lda, ptrdiff_t step_A, int transpose_A,
                           const float *B, ptrdiff_t ldb, ptrdiff_t step_B, int transpose_B,
                           float *C, ptrdiff_t ldc, ptrdiff_t step_C, int accumulate)
{
    for (ptrdiff_t b = 0; b < batch; b++, A += step_A, B += step_B, C += step_C)
        for (ptrdiff_t i = 0; i < M; i++)
            for (ptrdiff_t j = 0; j < N; j++) {
                float sum = accumulate ? C[i * ldc + j] : 0;
                for (ptrdiff_t k = 0; k < K; k++)
                    sum += A[transpose_A ? k * lda + i : i * lda + k] *
                           B[transpose_B ? j * ldb + k : k * ldb + j];
                C[i * ldc + j] = sum;
            }
    return MINILLM_OK;
}
