/* few_rows.h: what matmul.c hands over to few_rows.c. */
#ifndef MINILLM_FEW_ROWS_H
#define MINILLM_FEW_ROWS_H

#include "minillm.h"

/* Up to so many rows the arithmetic keeps pace with the memory: a cache line is 16 float32 weights,
 * for 8 rows 128 multiply-adds, and that is 8 FMAs with AVX-512: no longer than the line takes. */
enum { FEW = 8 };

/* y (M x N) = x (M x K) W + bias (N numbers, or NULL), or y += x W when `accumulate`; with Wᵀ in
 * the place of W if `transposed`: then W is stored as N rows of K. The types other than float32 are
 * always `transposed`; `scale` (N numbers) is for int8 only, else NULL. M is FEW at most. */
typedef struct {
    ptrdiff_t M, N, K, ldx, ldw, ldy;
    const float *x, *scale, *bias;
    enum minillm_type type;
    const void *w;
    float *y;
    int transposed, accumulate;
} few_rows_call;

int few_rows(few_rows_call the);

#endif
