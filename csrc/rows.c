/* rows.c: the row-wise operations of a transformer, between its matrix products.
 *
 * NumPy evaluates a formula one operation at a time, and each operation reads and writes whole
 * arrays. Here each array comes from memory once. The memory bandwidth limits the speed, so plain
 * loops are enough, and the compiler vectorizes them. `#pragma omp simd` permits that where the
 * language doesn't: where a sum changes its order, and where two arrays could overlap.
 *
 * Threads take rows or chunks of numbers, large pieces first and small ones last (`guided`). So the
 * first thread has the first half of the rows in each kernel of a step, and finds them in its cache.
 * A sum over rows is computed in up to SUMS blocks, whose sums are then added in order. (Block b
 * starts at row rows * b / blocks, computed in 64 bits: the product can overflow a 32-bit isize.) */
#include <math.h>
#include <string.h>
#include "simd.h"

enum { SUMS = MINILLM_SUMS, CHUNK = 4096, COLUMNS = 64 };

/* The number of blocks of a sum over rows: 32 rows or more in each. */
static int64_t blocks_of(isize rows) { return min(SUMS, (rows + 31) / 32); }

static void add(isize n, const float *restrict x, float *restrict y) {
    for (isize i = 0; i < n; i++)
        y[i] += x[i];
}

/* sum = x + y, each thread the rows that it computed and will normalize: they are in its cache. */
void minillm_add(isize rows, const float *x, const float *y, float *sum) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows))
    for (isize chunk = 0; chunk < rows; chunk += CHUNK)
        #pragma omp simd
        for (isize i = chunk; i < min(rows, chunk + CHUNK); i++)
            sum[i] = x[i] + y[i];
}

/* GELU in its tanh form. (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)) = s: an exponential, no tanh.
 *
 *   y = x s,   u = a (x + b x^3)          dy/dx = s + x s',   s' = s (1 - s) 2u'                */
static const float TWO_A = 1.5957691216f, B = 0.044715f; /* a = sqrt(2 / pi) */

static inline float gelu_s(float x) {
    float minus_2u = -TWO_A * x * (1 + B * x * x);
    return minus_2u > 87.0f ? 0 : 1 / (1 + fast_exp(minus_2u)); /* s < exp(-87) = 1e-38 is 0 */
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

/* GELU in its exact form: y = x Phi(x), with the normal distribution Phi.
 *
 *   z = |x| / sqrt(2);   Phi(-|x|) = erfc(z) / 2 = e g(z) / 2,   e = exp(-z^2),   Phi(|x|) = 1 - that
 *   dy/dx = Phi(x) + x phi(x),   phi(x) = e / sqrt(2 pi)
 *
 * minillm/ops/erf.py explains g, a polynomial in u = (3 - 2z) / (3 + z), and computes its
 * coefficients. Beyond z = 6, Phi(-|x|) < 1e-17 is 0. */
static const float SQRT_HALF = 0.70710678119f, ROOT_OF_TWO_PI = 2.5066282746f, LAST = 6;
static const float G[] = {0.32158541788f, 0.36815156452f, 0.20143878562f, 0.081626864197f,
                          0.023308833496f, 0.0039559981253f, 6.8506365554e-5f, -1.2672804460e-4f,
                          -1.3260819432e-5f, 4.0176632212e-6f};

static inline float normal_cdf(float x, float *e) {
    float z = fabsf(x) * SQRT_HALF;
    z = z < LAST ? z : LAST;
    float u = (3 - 2 * z) / (3 + z), g = G[9];
    for (int i = 8; i >= 0; i--)
        g = g * u + G[i];
    *e = z < LAST ? fast_exp(-z * z) : 0;
    float tail = *e * g / 2;
    return x < 0 ? tail : 1 - tail;
}

void minillm_gelu(isize rows, const float *x, float *y) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(32.0 * rows))
    for (isize chunk = 0; chunk < rows; chunk += CHUNK)
        #pragma omp simd
        for (isize i = chunk; i < min(rows, chunk + CHUNK); i++) {
            float e;
            y[i] = x[i] * normal_cdf(x[i], &e);
        }
}

void minillm_gelu_backward(isize rows, const float *dy, const float *x, float *dx) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(32.0 * rows))
    for (isize chunk = 0; chunk < rows; chunk += CHUNK)
        #pragma omp simd
        for (isize i = chunk; i < min(rows, chunk + CHUNK); i++) {
            float e, cdf = normal_cdf(x[i], &e);
            dx[i] = dy[i] * (cdf + x[i] * e / ROOT_OF_TWO_PI);
        }
}

/* Squared ReLU: y = max(0, x)^2,   dx = 2 max(0, x) dy. NaN isn't below 0 and stays NaN. */
void minillm_relu2(isize rows, const float *x, float *y) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows))
    for (isize chunk = 0; chunk < rows; chunk += CHUNK)
        #pragma omp simd
        for (isize i = chunk; i < min(rows, chunk + CHUNK); i++) {
            float positive = x[i] < 0 ? 0 : x[i];
            y[i] = positive * positive;
        }
}

void minillm_relu2_backward(isize rows, const float *dy, const float *x, float *dx) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows))
    for (isize chunk = 0; chunk < rows; chunk += CHUNK)
        #pragma omp simd
        for (isize i = chunk; i < min(rows, chunk + CHUNK); i++)
            dx[i] = 2 * (x[i] < 0 ? 0 : x[i]) * dy[i];
}

/* h = SiLU(g) u = g s u,   s = 1 / (1 + exp(-g))
 * dg = dh u (s + g s (1 - s)),   du = dh g s                                                    */
static inline float sigmoid(float x) {
    return x < -87.0f ? 0 : 1 / (1 + fast_exp(-x));
}

void minillm_swiglu(isize rows, const float *g, const float *u, float *h) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows))
    for (isize chunk = 0; chunk < rows; chunk += CHUNK)
        #pragma omp simd
        for (isize i = chunk; i < min(rows, chunk + CHUNK); i++)
            h[i] = g[i] * sigmoid(g[i]) * u[i];
}

void minillm_swiglu_backward(isize rows, const float *dh, const float *g, const float *u, float *dg,
                             float *du) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows))
    for (isize chunk = 0; chunk < rows; chunk += CHUNK)
        #pragma omp simd
        for (isize i = chunk; i < min(rows, chunk + CHUNK); i++) {
            float s = sigmoid(g[i]);
            dg[i] = dh[i] * u[i] * (s + g[i] * s * (1 - s));
            du[i] = dh[i] * g[i] * s;
        }
}

/* y = weight (x - mean) / sqrt(var + eps) + bias for each row: three passes over a row in L1. The
 * sum of d numbers is rounded d times, so the first mean is inexact; the second pass measures its
 * error and corrects mean and variance. */
void minillm_layer_norm(isize rows, isize d, const float *X, const float *weight,
                        const float *bias, double eps, float *Y, float *means,
                        float *inverse_stds) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows * d))
    for (isize row = 0; row < rows; row++) {
        const float *x = X + row * d;
        float *y = Y + row * d;
        float sum = 0, error = 0, squares = 0;
        #pragma omp simd reduction(+ : sum)
        for (isize i = 0; i < d; i++)
            sum += x[i];
        float mean = sum / d;
        #pragma omp simd reduction(+ : error, squares)
        for (isize i = 0; i < d; i++) {
            error += x[i] - mean;
            squares += (x[i] - mean) * (x[i] - mean);
        }
        error /= d;
        mean += error;
        float variance = squares / d - error * error;
        float inverse = 1 / sqrtf((variance < 0 ? 0 : variance) + (float)eps); /* NaN stays NaN */
        #pragma omp simd
        for (isize i = 0; i < d; i++)
            y[i] = weight[i] * ((x[i] - mean) * inverse) + bias[i];
        means[row] = mean;
        inverse_stds[row] = inverse;
    }
}

/* dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / std with dx_hat = dy weight;
 * dweight += dy x_hat and dbias += dy, summed over the rows. minillm/ops/layer_norm.py has the
 * derivation. */
int minillm_layer_norm_backward(isize rows, isize d, const float *dY, const float *X,
                                const float *means, const float *inverse_stds,
                                const float *weight, float *dX, float *dweight, float *dbias) {
    int64_t blocks = blocks_of(rows);
    float *sums = calloc(max(1, blocks) * 2 * d, sizeof(float)); /* dweight and dbias of each block */
    if (sums == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows * d))
    for (int64_t b = 0; b < blocks; b++)
        for (isize row = rows * b / blocks; row < rows * (b + 1) / blocks; row++) {
            const float *dy = dY + row * d, *x = X + row * d;
            float *dx = dX + row * d;
            float *part_dweight = sums + 2 * b * d, *part_dbias = part_dweight + d;
            float mean = means[row], inverse = inverse_stds[row];
            float mean_dx_hat = 0, along_x_hat = 0; /* the two means in dx */
            #pragma omp simd reduction(+ : mean_dx_hat, along_x_hat)
            for (isize i = 0; i < d; i++) {
                float x_hat = (x[i] - mean) * inverse;
                mean_dx_hat += dy[i] * weight[i];
                along_x_hat += dy[i] * weight[i] * x_hat;
                part_dweight[i] += dy[i] * x_hat;
                part_dbias[i] += dy[i];
            }
            mean_dx_hat /= d;
            along_x_hat /= d;
            #pragma omp simd
            for (isize i = 0; i < d; i++)
                dx[i] = (dy[i] * weight[i] - mean_dx_hat -
                         (x[i] - mean) * inverse * along_x_hat) * inverse;
        }
    for (int b = 1; b < blocks; b++)
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

/* dx = (dx_hat - x_hat mean(dx_hat x_hat)) / rms with dx_hat = dy weight; dweight += dy x_hat,
 * summed over the rows. minillm/ops/rms_norm.py has the derivation. */
int minillm_rms_norm_backward(isize rows, isize d, const float *dY, const float *X,
                              const float *inverse_rms, const float *weight, float *dX,
                              float *dweight) {
    int64_t blocks = blocks_of(rows);
    float *sums = calloc(max(1, blocks) * d, sizeof(float)); /* dweight of each block of rows */
    if (sums == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows * d))
    for (int64_t b = 0; b < blocks; b++)
        for (isize row = rows * b / blocks; row < rows * (b + 1) / blocks; row++) {
            const float *dy = dY + row * d, *x = X + row * d;
            float *dx = dX + row * d, *part_dweight = sums + b * d;
            float inverse = inverse_rms[row], along_x_hat = 0;
            #pragma omp simd reduction(+ : along_x_hat)
            for (isize i = 0; i < d; i++) {
                along_x_hat += dy[i] * weight[i] * x[i] * inverse;
                part_dweight[i] += dy[i] * x[i] * inverse;
            }
            along_x_hat /= d;
            #pragma omp simd
            for (isize i = 0; i < d; i++)
                dx[i] = (dy[i] * weight[i] - x[i] * inverse * along_x_hat) * inverse;
        }
    for (int b = 1; b < blocks; b++)
        add(d, sums + b * d, sums);
    memcpy(dweight, sums, d * sizeof(float));
    free(sums);
    return MINILLM_OK;
}

static float largest_of(isize n, const float *z) {
    /* The largest of each of 16 columns first, then of these: 16 short chains of comparisons that
     * the compiler vectorizes, instead of one chain of n. */
    float largest[16], overall = -INFINITY;
    for (int i = 0; i < 16; i++)
        largest[i] = -INFINITY;
    for (isize j = 0; j + 16 <= n; j += 16)
        #pragma omp simd
        for (int i = 0; i < 16; i++)
            largest[i] = z[j + i] > largest[i] ? z[j + i] : largest[i];
    for (int i = 0; i < 16; i++)
        overall = largest[i] > overall ? largest[i] : overall;
    for (isize j = n / 16 * 16; j < n; j++)
        overall = z[j] > overall ? z[j] : overall;
    return overall;
}

/* loss = log(sum exp(z)) - (1 - smoothing) z[target] - smoothing mean(z) for each row z of logits;
 * 0 where the target is negative. Subtracting the largest z first keeps exp from overflowing. */
void minillm_token_losses(isize rows, isize V, const float *logits, const int64_t *targets,
                          double label_smoothing, float *losses, float *lse) {
    const float smoothing = (float)label_smoothing;
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows * V))
    for (isize row = 0; row < rows; row++) {
        const float *z = logits + row * V;
        float largest = largest_of(V, z), total = 0, sum = 0;
        float shift = largest == -INFINITY ? 0 : largest; /* -inf - -inf is NaN */
        /* Sum 1,024 terms at a time: a sum of 50,000 terms would round the small ones away. */
        for (isize first = 0; first < V; first += 1024) {
            float part = 0;
            #pragma omp simd reduction(+ : part)
            for (isize j = first; j < min(V, first + 1024); j++)
                part += fast_exp(z[j] - shift);
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

/* dz = dlosses (p - q) with p = exp(z - lse), the prediction, and q, the target distribution. dz
 * may overwrite z. */
void minillm_token_losses_backward(isize rows, isize V, double dlosses, const float *logits,
                                   const int64_t *targets, const float *lse,
                                   double label_smoothing, float *dlogits) {
    const float smoothing = (float)label_smoothing, factor = (float)dlosses;
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * rows * V))
    for (isize row = 0; row < rows; row++) {
        const float *z = logits + row * V;
        float *dz = dlogits + row * V;
        float lse_z = lse[row], smoothed = smoothing / V; /* q of all tokens but the target */
        if (targets[row] < 0) {
            memset(dz, 0, V * sizeof(float));
            continue;
        }
        #pragma omp simd
        for (isize j = 0; j < V; j++)
            dz[j] = (fast_exp(z[j] - lse_z) - smoothed) * factor;
        dz[targets[row]] -= (1 - smoothing) * factor;
    }
}

/* Step t of Adam, in place: with g = grad_scale g + l2 w (the array `g` is not changed),
 *
 *   m = beta1 m + (1 - beta1) g     v = beta2 v + (1 - beta2) g^2
 *   w = (1 - lr decay) w - lr m_hat / (sqrt(v_hat) + eps)
 *   with m_hat = m / (1 - beta1^t), v_hat = v / (1 - beta2^t)
 *
 * Compute the constants once, in double precision: as float32, 1 - 0.999 has only four correct
 * digits. */
typedef struct { float b1, rest1, b2, rest2, v_scale, g_scale, epsilon; double m_sum; } adam_rates;

static void adam_chunk(const minillm_adam_part *part, const adam_rates rates, isize chunk) {
    const float keep = (float)(1 - part->lr * part->decay), step = (float)(part->lr / rates.m_sum);
    const float penalty = (float)part->l2;
    const float *g = part->g;
    float *w = part->w, *m = part->m, *v = part->v;
    #pragma omp simd
    for (isize i = chunk; i < min(part->n, chunk + CHUNK); i++) {
        float g_i = rates.g_scale * g[i] + penalty * w[i];
        m[i] = rates.b1 * m[i] + rates.rest1 * g_i;
        v[i] = rates.b2 * v[i] + rates.rest2 * g_i * g_i;
        w[i] = keep * w[i] - step * m[i] / (sqrtf(v[i]) * rates.v_scale + rates.epsilon);
    }
}

/* Threads take chunks of all arrays: most arrays of a model are too small to share. */
void minillm_adam_all(isize parts, const minillm_adam_part *part, double t, double beta1,
                      double beta2, double eps, double grad_scale) {
    const adam_rates rates = {
        .b1 = (float)beta1, .rest1 = (float)(1 - beta1), .b2 = (float)beta2,
        .rest2 = (float)(1 - beta2), .m_sum = 1 - pow(beta1, t), /* sqrt(v) v_scale = sqrt(v_hat) */
        .v_scale = (float)pow(1 - pow(beta2, t), -0.5), .g_scale = (float)grad_scale,
        .epsilon = (float)eps,
    };
    isize numbers = 0, chunks = 0;
    for (isize p = 0; p < parts; p++) {
        numbers += part[p].n;
        chunks += (part[p].n + CHUNK - 1) / CHUNK;
    }
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * numbers))
    for (isize index = 0; index < chunks; index++) {
        isize p = 0, chunk = index; /* chunk number `chunk` of array p */
        for (; chunk * CHUNK >= part[p].n; p++)
            chunk -= (part[p].n + CHUNK - 1) / CHUNK;
        adam_chunk(&part[p], rates, chunk * CHUNK);
    }
}

void minillm_adam(isize rows, float *w, const float *g, float *m, float *v, double t, double lr,
                  double beta1, double beta2, double eps, double grad_scale, double l2,
                  double decay) {
    const minillm_adam_part part = {rows, w, m, v, g, lr, l2, decay};
    minillm_adam_all(1, &part, t, beta1, beta2, eps, grad_scale);
}

static inline const float *row_of(minillm_heads X, isize b, isize h, isize t) {
    return X.data + b * X.batch + h * X.head + t * X.row;
}

/* Rotate the points (a, b) of the plane, `step` apart in x and in y. The second half of a pair is
 * `other` after its first. */
static inline __attribute__((always_inline)) void
rotate_pairs(isize pairs, const int step, isize other, const float *x, const float *cos,
             const float *sin, float *y) {
    #pragma omp simd
    for (isize i = 0; i < pairs; i++) {
        float a = x[i * step], b = x[i * step + other];
        y[i * step] = a * cos[i] - b * sin[i];
        y[i * step + other] = a * sin[i] + b * cos[i];
    }
}

/* A thread takes positions, with all their heads: those lie side by side in memory, and share the
 * angles. */
void minillm_rotate(isize B, isize H, isize T, isize D, isize pairs, minillm_heads x,
                    minillm_heads cos, minillm_heads sin, int interleaved, minillm_heads y) {
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * B * H * T * D))
    for (isize position = 0; position < B * T; position++)
        for (isize h = 0; h < H; h++) {
            isize b = position / T, t = position % T;
            const float *source = row_of(x, b, h, t), *c = row_of(cos, b, h, t);
            const float *s = row_of(sin, b, h, t);
            float *target = (float *)row_of(y, b, h, t);
            if (interleaved)
                rotate_pairs(pairs, 2, 1, source, c, s, target);
            else
                rotate_pairs(pairs, 1, pairs, source, c, s, target);
            if (source != target)
                memcpy(target + 2 * pairs, source + 2 * pairs, (D - 2 * pairs) * sizeof(float));
        }
}

/* Block b of the sum of x^2, in double precision: in float32, x^2 overflows from x = 1.8e19 on. */
static double squares_of_block(isize n, const float *x, int64_t b) {
    double sum = 0;
    isize end = n * (b + 1) / SUMS;
    for (isize i = n * b / SUMS; i < end; i += 256) {
        for (int line = 0; line < 256; line += 16)
            __builtin_prefetch(x + i + 512 + line, 0, 2); /* 2 KB ahead, as in gemv.c */
        #pragma omp simd reduction(+ : sum)
        for (isize j = i; j < min(end, i + 256); j++)
            sum += (double)x[j] * x[j];
    }
    return sum;
}

/* Each array is its own sum of blocks: it doesn't depend on how many share a call. */
void minillm_sums_of_squares(isize arrays, const isize *n, const float *const *x, double *sums) {
    double numbers = 0;
    for (isize a = 0; a < arrays; a++)
        numbers += n[a];
    #pragma omp parallel for schedule(guided) num_threads(threads_for(16.0 * numbers))
    for (isize block = 0; block < arrays * SUMS; block++)
        sums[block] = squares_of_block(n[block / SUMS], x[block / SUMS], block % SUMS);
    for (isize a = 0; a < arrays; a++)
        for (int b = 1; b < SUMS; b++)
            sums[a * SUMS] += sums[a * SUMS + b];
}

double minillm_sum_of_squares(isize rows, const float *x) {
    double sums[SUMS];
    minillm_sums_of_squares(1, &rows, &x, sums);
    return sums[0];
}

/* total = the sum of all rows: the gradient of a bias. */
int minillm_sum_rows(isize rows, isize d, const float *x, float *total) {
    int64_t blocks = blocks_of(rows);
    float *sums = calloc(max(1, blocks) * d, sizeof(float));
    if (sums == NULL)
        return MINILLM_OUT_OF_MEMORY;
    #pragma omp parallel for schedule(guided) num_threads(threads_for(4.0 * rows * d))
    for (int64_t b = 0; b < blocks; b++)
        for (isize row = rows * b / blocks; row < rows * (b + 1) / blocks; row++)
            add(d, x + row * d, sums + b * d);
    for (int b = 1; b < blocks; b++)
        add(d, sums + b * d, sums);
    memcpy(total, sums, d * sizeof(float));
    free(sums);
    return MINILLM_OK;
}

/* table[ids[i]] += x[i] for each row i of x: the gradient of an embedding. Two rows may have the
 * same id, so a thread takes some columns of all rows. (x was just computed and is usually in a
 * cache, so count two multiply-adds for a number, not 16.) */
void minillm_scatter_add(isize n, isize d, isize rows, float *table, const int64_t *ids,
                         const float *x) {
    (void)n; /* the caller has checked that all ids are below n */
    #pragma omp parallel for schedule(dynamic) num_threads(threads_for(2.0 * rows * d))
    for (isize j = 0; j < d; j += COLUMNS)
        for (isize i = 0; i < rows; i++)
            add(min(COLUMNS, d - j), x + i * d + j, table + ids[i] * d + j);
}
