/* few_rows.h: what matmul.c hands over to few_rows.c. */
#ifndef MINILLM_FEW_ROWS_H
#define MINILLM_FEW_ROWS_H

#include "minillm.h"

/* Up to so many rows the arithmetic keeps pace with the memory: a cache line is 16 float32 weights,
 * for 8 rows 128 multiply-adds, and that is 8 FMAs with AVX-512: no longer than the line takes. */
enum { FEW = 8 };

/* y (M x N) = x (M x K) W + bias (N numbers, or NULL), or y += x W when `accumulate`; with Wᵀ in
 * the place of W if `transposed`: then W is stored as N rows of K. The types other than float32 are
 * always `transposed`; `scale` (N numbers) is for int8 only, else NULL. */
int few_rows(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float *x, ptrdiff_t ldx,
             enum minillm_type type, const void *w, ptrdiff_t ldw, int transposed,
             const float *scale, int accumulate, const float *bias, float *y, ptrdiff_t ldy);

#endif
