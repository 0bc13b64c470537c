/* few_rows.h: what matmul.c hands over to few_rows.c. */
#ifndef MINILLM_FEW_ROWS_H
#define MINILLM_FEW_ROWS_H

#include "minillm.h"

/* Up to so many rows the multiply-adds keep pace with the memory: 64 bytes of float32 weights for
 * each 8 of them. */
enum { FEW = 8 };

/* y (M x N) += x (M x K) W, or x Wᵀ if `transposed`: then W is stored as N rows of K. The types
 * other than float32 are always `transposed`; `scale` (N numbers) is for int8 only, else NULL. */
int few_rows(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float *x, ptrdiff_t ldx,
             enum minillm_type type, const void *w, ptrdiff_t ldw, int transposed,
             const float *scale, float *y, ptrdiff_t ldy);

#endif
