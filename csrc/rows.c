/* rows.c: what a transformer does between its products.
 *
 * NumPy does these formulas one operation at a time, and each operation reads and writes whole
 * arrays. Here each array comes from memory once. The memory limits the speed, so plain loops are
 * enough, and the compiler vectorizes them. `#pragma omp simd` allows it where the language doesn't:
 * where a sum changes its order, and where two arrays could be the same memory.
 *
 * Threads take rows or chunks of numbers, large ones first and small ones last (`guided`). A sum over
 * the rows is computed for each of SUMS blocks alone, and then over the blocks in order. (Block b
 * begins with row rows * b / SUMS, in 64 bits: the product overflows where isize has 32.) */
#include <math.h>
#include <string.h>
#include "simd.h"

enum { SUMS = 64, CHUNK = 4096, COLUMNS = 64 };

static void add(isize n, const float *restrict x, float *restrict y) {
    for (isize i = 0; i < n; i++)
        y[i] += x[i];
}

/* GELU in its tanh form. (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)) = s: one exponential, no tanh.
 *
 *   y = x s,   u = a (x + b x^3)          dy/dx = s + x s',   s' = s (1 - s) 2u'                */
static const float TWO_A = 1.5957691216f, B = 0.044715f; /* a = sqrt(2 / pi) */

static inline float gelu_s(float x) {
    float minus_2u = -TWO_A * x * (1 + B * x * x);
    return minus_2u > 87.0f ? 0 : 1 / (1 + exp_(minus_2u)); /* exp(-87) = 1e-38 is 0 here */
}

void minillm_gelu_tanh(isize rows, const float *x, float *y) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows))
    for (isize chunk = 0; chunk < rows; chunk += CHUNK)
        #pragma omp simd
        for (isize i = chunk; i < min(rows, chunk + CHUNK); i++)
            y[i] = x[i] * gelu_s(x[i]);
}

void minillm_gelu_tanh_backward(isize rows, const float *dy, const float *x, float *dx) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows))
    for (isize chunk = 0; chunk < rows; chunk += CHUNK)
        #pragma omp simd
        for (isize i = chunk; i < min(rows, chunk + CHUNK); i++) {
            float s = gelu_s(x[i]);
            dx[i] = dy[i] * (s + s * (1 - s) * x[i] * TWO_A * (1 + 3 * B * x[i] * x[i]));
        }
}

/* y = weight (x - mean) / sqrt(var + eps) + bias for each row: three passes over a row in L1. The sum
 * of d numbers is rounded d times; the second pass measures the error of the mean, `rest`. */
void minillm_layer_norm(isize rows, isize d, const float *X, const float *weight,
                        const float *bias, double eps, float *Y, float *means, float *inverse_stds) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows * d))
    for (isize row = 0; row < rows; row++) {
        const float *x = X + row * d;
        float *y = Y + row * d;
        float sum = 0, rest = 0, squares = 0;
        #pragma omp simd reduction(+ : sum)
        for (isize i = 0; i < d; i++)
            sum += x[i];
        float mean = sum / d;
        #pragma omp simd reduction(+ : rest, squares)
        for (isize i = 0; i < d; i++) {
            rest += x[i] - mean;
            squares += (x[i] - mean) * (x[i] - mean);
        }
        rest /= d;
        mean += rest;
        float variance = squares / d - rest * rest;
        float inverse = 1 / sqrtf((variance < 0 ? 0 : variance) + (float)eps); /* NaN stays NaN */
        #pragma omp simd
        for (isize i = 0; i < d; i++)
            y[i] = weight[i] * ((x[i] - mean) * inverse) + bias[i];
        means[row] = mean;
        inverse_stds[row] = inverse;
    }
}

/* dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / std with dx_hat = dy weight, and for the
 * sums over the rows dweight += dy x_hat, dbias += dy. The derivation: minillm/ops/layer_norm.py. */
int minillm_layer_norm_backward(isize rows, isize d, const float *dY, const float *X,
                                const float *means, const float *inverse_stds,
                                const float *weight, float *dX, float *dweight, float *dbias) {
    float *sums = calloc(SUMS * 2 * d, sizeof(float)); /* dweight and dbias of each block of rows */
    if (sums == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel for schedule(dynamic) num_threads(threads_for(16.0 * rows * d))
    for (int64_t b = 0; b < SUMS; b++)
        for (isize row = rows * b / SUMS; row < rows * (b + 1) / SUMS; row++) {
            const float *dy = dY + row * d, *x = X + row * d;
            float *dx = dX + row * d, *part_dweight = sums + 2 * b * d, *part_dbias = part_dweight + d;
            float mean = means[row], inverse = inverse_stds[row], sum = 0, along = 0;
            #pragma omp simd reduction(+ : sum, along)
            for (isize i = 0; i < d; i++) {
                float x_hat = (x[i] - mean) * inverse;
                sum += dy[i] * weight[i];
                along += dy[i] * weight[i] * x_hat;
                part_dweight[i] += dy[i] * x_hat;
                part_dbias[i] += dy[i];
            }
            sum /= d;
            along /= d;
            #pragma omp simd
            for (isize i = 0; i < d; i++)
                dx[i] = (dy[i] * weight[i] - sum - (x[i] - mean) * inverse * along) * inverse;
        }
    for (int b = 1; b < SUMS; b++)
        add(2 * d, sums + 2 * b * d, sums);
    memcpy(dweight, sums, d * sizeof(float));
    memcpy(dbias, sums + d, d * sizeof(float));
    free(sums);
    return MINILLM_OK;
}

/* y = weight x / sqrt(mean(x^2) + eps) for each row. */
void minillm_rms_norm(isize rows, isize d, const float *X, const float *weight, double eps,
                      float *Y, float *inverse_rms) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows * d))
    for (isize row = 0; row < rows; row++) {
        const float *x = X + row * d;
        float *y = Y + row * d, squares = 0;
        #pragma omp simd reduction(+ : squares)
        for (isize i = 0; i < d; i++)
            squares += x[i] * x[i];
        float inverse = 1 / sqrtf(squares / d + (float)eps);
        #pragma omp simd
        for (isize i = 0; i < d; i++)
            y[i] = weight[i] * (x[i] * inverse);
        inverse_rms[row] = inverse;
    }
}

/* dx = (dx_hat - x_hat mean(dx_hat x_hat)) / rms with dx_hat = dy weight, and the sum over the rows
 * dweight += dy x_hat. The derivation: minillm/ops/rms_norm.py. */
int minillm_rms_norm_backward(isize rows, isize d, const float *dY, const float *X,
                              const float *inverse_rms, const float *weight, float *dX,
                              float *dweight) {
    float *sums = calloc(SUMS * d, sizeof(float)); /* dweight of each block of rows */
    if (sums == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel for schedule(dynamic) num_threads(threads_for(16.0 * rows * d))
    for (int64_t b = 0; b < SUMS; b++)
        for (isize row = rows * b / SUMS; row < rows * (b + 1) / SUMS; row++) {
            const float *dy = dY + row * d, *x = X + row * d;
            float *dx = dX + row * d, *part = sums + b * d, inverse = inverse_rms[row], along = 0;
            #pragma omp simd reduction(+ : along)
            for (isize i = 0; i < d; i++) {
                along += dy[i] * weight[i] * x[i] * inverse;
                part[i] += dy[i] * x[i] * inverse;
            }
            along /= d;
            #pragma omp simd
            for (isize i = 0; i < d; i++)
                dx[i] = (dy[i] * weight[i] - x[i] * inverse * along) * inverse;
        }
    for (int b = 1; b < SUMS; b++)
        add(d, sums + b * d, sums);
    memcpy(dweight, sums, d * sizeof(float));
    free(sums);
    return MINILLM_OK;
}

static float largest_of(isize n, const float *z) {
    float largest[16], of_all = -INFINITY; /* of 16 columns, not one chain of n comparisons */
    for (int i = 0; i < 16; i++)
        largest[i] = -INFINITY;
    for (isize j = 0; j + 16 <= n; j += 16)
        #pragma omp simd
        for (int i = 0; i < 16; i++)
            largest[i] = z[j + i] > largest[i] ? z[j + i] : largest[i];
    for (int i = 0; i < 16; i++)
        of_all = largest[i] > of_all ? largest[i] : of_all;
    for (isize j = n / 16 * 16; j < n; j++)
        of_all = z[j] > of_all ? z[j] : of_all;
    return of_all;
}

/* loss = log(sum exp(z)) - (1 - smoothing) z[target] - smoothing mean(z) for each row z of logits;
 * 0 where the target is negative. The largest z is taken out of the sum before it can overflow. */
void minillm_token_losses(isize rows, isize V, const float *logits, const int64_t *targets,
                          double label_smoothing, float *losses, float *lse) {
    const float smoothing = (float)label_smoothing;
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows * V))
    for (isize row = 0; row < rows; row++) {
        const float *z = logits + row * V;
        float largest = largest_of(V, z), total = 0, sum = 0;
        float shift = largest == -INFINITY ? 0 : largest; /* -inf - -inf is not a number */
        /* 1,024 at a time: in a sum of 50,000 terms the small ones would be rounded away. */
        for (isize first = 0; first < V; first += 1024) {
            float part = 0;
            #pragma omp simd reduction(+ : part)
            for (isize j = first; j < min(V, first + 1024); j++)
                part += exp_(z[j] - shift);
            total += part;
        }
        #pragma omp simd reduction(+ : sum)
        for (isize j = 0; j < (smoothing > 0 ? V : 0); j++)
            sum += z[j];
        lse[row] = shift + logf(total);
        losses[row] = targets[row] < 0 ? 0 : lse[row] - (1 - smoothing) * z[targets[row]] -
                                             smoothing * sum / V;
    }
}

/* dz = dlosses (p - q): what the model said, p = exp(z - lse), minus what it should have said. dz
 * may be written over z. */
void minillm_token_losses_backward(isize rows, isize V, double dlosses, const float *logits,
                                   const int64_t *targets, const float *lse,
                                   double label_smoothing, float *dlogits) {
    const float smoothing = (float)label_smoothing, factor = (float)dlosses;
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows * V))
    for (isize row = 0; row < rows; row++) {
        const float *z = logits + row * V;
        float *dz = dlogits + row * V;
        float lse_z = lse[row], each = smoothing / V;
        if (targets[row] < 0) {
            memset(dz, 0, V * sizeof(float));
            continue;
        }
        #pragma omp simd
        for (isize j = 0; j < V; j++)
            dz[j] = (exp_(z[j] - lse_z) - each) * factor;
        dz[targets[row]] -= (1 - smoothing) * factor;
    }
}

/* Step t of Adam, all in place: g = grad_scale g + l2 w (but `g` itself stays as it is),
 *
 *   m = beta1 m + (1 - beta1) g     v = beta2 v + (1 - beta2) g^2
 *   w = (1 - lr decay) w - lr m_hat / (sqrt(v_hat) + eps)
 *   with m_hat = m / (1 - beta1^t), v_hat = v / (1 - beta2^t)
 *
 * What is the same for all numbers is computed once, in double precision: as float32, 1 - 0.999 has
 * only four correct digits. */
void minillm_adam(isize rows, float *w, const float *g, float *m, float *v, double t, double lr,
                  double beta1, double beta2, double eps, double grad_scale, double l2,
                  double decay) {
    const float b1 = (float)beta1, rest1 = (float)(1 - beta1);
    const float b2 = (float)beta2, rest2 = (float)(1 - beta2);
    const float keep = (float)(1 - lr * decay), step = (float)(lr / (1 - pow(beta1, t)));
    const float v_scale = (float)pow(1 - pow(beta2, t), -0.5); /* sqrt(v) v_scale = sqrt(v_hat) */
    const float g_scale = (float)grad_scale, penalty = (float)l2, epsilon = (float)eps;
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows))
    for (isize chunk = 0; chunk < rows; chunk += CHUNK)
        #pragma omp simd
        for (isize i = chunk; i < min(rows, chunk + CHUNK); i++) {
            float g_i = g_scale * g[i] + penalty * w[i];
            m[i] = b1 * m[i] + rest1 * g_i;
            v[i] = b2 * v[i] + rest2 * g_i * g_i;
            w[i] = keep * w[i] - step * m[i] / (sqrtf(v[i]) * v_scale + epsilon);
        }
}

/* The sum of x^2 over n numbers, in double precision: float32 would overflow from 1.8e19 on. */
double minillm_sum_of_squares(isize rows, const float *x) {
    double sums[SUMS], total = 0;
    #pragma omp parallel for schedule(dynamic) num_threads(threads_for(16.0 * rows))
    for (int64_t b = 0; b < SUMS; b++) {
        double sum = 0;
        isize end = rows * (b + 1) / SUMS;
        for (isize i = rows * b / SUMS; i < end; i += 256) {
            for (int line = 0; line < 256; line += 16)
                __builtin_prefetch(x + i + 512 + line, 0, 2); /* 2 KB ahead, as in gemv.c */
            #pragma omp simd reduction(+ : sum)
            for (isize j = i; j < min(end, i + 256); j++)
                sum += (double)x[j] * x[j];
        }
        sums[b] = sum;
    }
    for (int b = 0; b < SUMS; b++)
        total += sums[b];
    return total;
}

/* total = the sum of all rows: the gradient of a bias. A thread takes some columns of all rows, so that
 * each number of the result is one sum in order. */
void minillm_sum_rows(isize rows, isize d, const float *x, float *total) {
    #pragma omp parallel for schedule(dynamic) num_threads(threads_for(2.0 * rows * d))
    for (isize j = 0; j < d; j += COLUMNS) {
        memset(total + j, 0, min(COLUMNS, d - j) * sizeof(float));
        for (isize n = 0; n < rows; n++)
            add(min(COLUMNS, d - j), x + n * d + j, total + j);
    }
}

/* table[ids[i]] += x[i] for each row i of x: the gradient of an embedding. Two rows may go to the same
 * place, so a thread takes some columns of all rows. (x was just computed and is in a cache as a rule:
 * a number takes two multiply-adds' time.) */
void minillm_scatter_add(isize n, isize d, isize rows, float *table, const int64_t *ids,
                         const float *x) {
    (void)n; /* the caller has checked that all ids are below */
    #pragma omp parallel for schedule(dynamic) num_threads(threads_for(2.0 * rows * d))
    for (isize j = 0; j < d; j += COLUMNS)
        for (isize i = 0; i < rows; i++)
            add(min(COLUMNS, d - j), x + i * d + j, table + ids[i] * d + j);
}
