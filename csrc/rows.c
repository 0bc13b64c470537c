/* rows.c: what a transformer does between its products: GELU, layer norm, cross-entropy, Adam.
 *
 * NumPy does these formulas one operation at a time, and each operation reads and writes whole
 * arrays that fit no cache. Here the whole formula runs over a piece that is in the cache or in
 * registers: each array is read or written once, and that is what limits the speed.
 *
 * Threads share out BLOCKS blocks of rows (or of numbers). A sum over the rows, such as the
 * gradient of a bias, is made for each block alone, and then over the blocks in order. The blocks
 * are the same for any number of threads, and so are the sums, bit for bit. */
#include <math.h>
#include <string.h>
#include "simd.h"

DECLARE_KERNEL(minillm_gelu_tanh);
DECLARE_KERNEL(minillm_gelu_tanh_backward);
DECLARE_KERNEL(minillm_layer_norm);
DECLARE_KERNEL(minillm_layer_norm_backward);
DECLARE_KERNEL(minillm_cross_entropy);
DECLARE_KERNEL(minillm_cross_entropy_backward);
DECLARE_KERNEL(minillm_adam);
DECLARE_KERNEL(minillm_sum_of_squares);

enum { BLOCKS = 64 };

/* Where a block of n things begins; it ends where the next one begins. */
static ptrdiff_t begin(ptrdiff_t n, int block) { return min(n, (n + BLOCKS - 1) / BLOCKS * block); }

/* The same for numbers instead of rows: whole cache lines, so that no two threads write to one. */
static ptrdiff_t begin_line(ptrdiff_t n, int block)
{
    return min(n, 16 * begin((n + 15) / 16, block));
}

/* Run the following block of code, with `block` from 0 to BLOCKS - 1, on as many threads as it is
 * worth. A number that is streamed through takes as long as some 16 multiply-adds; but the threads
 * share the memory, so that a second one saves less than half of the time: 4 is what counts. */
#define FOR_EACH_BLOCK(count) \
    int threads = threads_for(4.0 * (count)); \
    (void)threads; /* without OpenMP nobody asks for it */ \
    _Pragma("omp parallel for num_threads(threads) schedule(static) if (threads > 1)") \
    for (int block = 0; block < BLOCKS; block++)

/* A vector of a row of n, from column i on; beyond the end it is `fill`, and nothing is stored. */
static inline vec load_at(const float *row, ptrdiff_t i, ptrdiff_t n, float fill)
{
    return i + LANES <= n ? load(row + i) : load_first(row + i, n - i, fill);
}

static inline void store_at(float *row, ptrdiff_t i, ptrdiff_t n, vec x)
{
    if (i + LANES <= n)
        store(row + i, x);
    else
        store_first(row + i, x, n - i);
}

/* GELU in its tanh form. (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)) = s: one exponential, no tanh.
 *
 *   y = x s,   u = a (x + b x^3)          dy/dx = s + x s',   s' = s (1 - s) 2u'                */
static inline vec gelu_s(vec x)
{
    const float TWO_A = 1.5957691216f, B = 0.044715f; /* a = sqrt(2 / pi) */
    return 1.0f / (1.0f + vexp(-TWO_A * x * (1.0f + B * x * x)));
}

static inline vec gelu_slope(vec x)
{
    const float TWO_A = 1.5957691216f, B = 0.044715f;
    vec s = gelu_s(x);
    return s * (1.0f + x * (1.0f - s) * TWO_A * (1.0f + 3 * B * x * x));
}

int KERNEL(minillm_gelu_tanh)(ptrdiff_t n, const float *x, float *y)
{
    FOR_EACH_BLOCK(n) {
        ptrdiff_t end = begin_line(n, block + 1);
        for (ptrdiff_t i = begin_line(n, block); i < end; i += LANES) {
            vec x_i = load_at(x, i, end, 0);
            store_at(y, i, end, x_i * gelu_s(x_i));
        }
    }
    return MINILLM_OK;
}

int KERNEL(minillm_gelu_tanh_backward)(ptrdiff_t n, const float *dy, const float *x, float *dx)
{
    FOR_EACH_BLOCK(n) {
        ptrdiff_t end = begin_line(n, block + 1);
        for (ptrdiff_t i = begin_line(n, block); i < end; i += LANES)
            store_at(dx, i, end, load_at(dy, i, end, 0) * gelu_slope(load_at(x, i, end, 0)));
    }
    return MINILLM_OK;
}

/* y = gain (x - mean) / sqrt(var + eps) + bias for each row: three passes over a row in L1. */
int KERNEL(minillm_layer_norm)(ptrdiff_t rows, ptrdiff_t d, const float *x, const float *gain,
                               const float *bias, float eps, float *y, float *mean,
                               float *inverse_std)
{
    FOR_EACH_BLOCK(rows * d) {
        for (ptrdiff_t row = begin(rows, block); row < begin(rows, block + 1); row++) {
            const float *x_row = x + row * d;
            vec sum = broadcast(0), squares = broadcast(0);
            for (ptrdiff_t i = 0; i < d; i += LANES)
                sum += load_at(x_row, i, d, 0);
            float m = horizontal_sum(sum) / d;
            for (ptrdiff_t i = 0; i < d; i += LANES) {
                vec centred = load_at(x_row, i, d, m) - m;
                squares += centred * centred;
            }
            float inverse = 1 / sqrtf(horizontal_sum(squares) / d + eps);
            for (ptrdiff_t i = 0; i < d; i += LANES) {
                vec x_hat = (load_at(x_row, i, d, 0) - m) * inverse;
                vec y_i = load_at(gain, i, d, 0) * x_hat + load_at(bias, i, d, 0);
                store_at(y + row * d, i, d, y_i);
            }
            mean[row] = m;
            inverse_std[row] = inverse;
        }
    }
    return MINILLM_OK;
}

/* dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / std with dx_hat = dy gain, and the sums
 * over the rows dgain = sum dy x_hat, dbias = sum dy. The derivation: minillm/ops/layer_norm.py. */
int KERNEL(minillm_layer_norm_backward)(ptrdiff_t rows, ptrdiff_t d, const float *dy,
                                        const float *x, const float *mean,
                                        const float *inverse_std, const float *gain, float *dx,
                                        float *dgain, float *dbias)
{
    float *sums = calloc(2 * BLOCKS * d + 1, sizeof(float)); /* for each block dgain, dbias */
    if (sums == NULL)
        return MINILLM_OUT_OF_MEMORY;
    FOR_EACH_BLOCK(rows * d) {
        float *block_dgain = sums + 2 * block * d, *block_dbias = block_dgain + d;
        for (ptrdiff_t row = begin(rows, block); row < begin(rows, block + 1); row++) {
            const float *dy_row = dy + row * d, *x_row = x + row * d;
            float m = mean[row], inverse = inverse_std[row];
            vec sum = broadcast(0), projection = broadcast(0);
            for (ptrdiff_t i = 0; i < d; i += LANES) {
                vec dy_i = load_at(dy_row, i, d, 0), dx_hat = dy_i * load_at(gain, i, d, 0);
                vec x_hat = (load_at(x_row, i, d, m) - m) * inverse;
                sum += dx_hat;
                projection += dx_hat * x_hat;
                store_at(block_dgain, i, d, load_at(block_dgain, i, d, 0) + dy_i * x_hat);
                store_at(block_dbias, i, d, load_at(block_dbias, i, d, 0) + dy_i);
            }
            float mean_dx_hat = horizontal_sum(sum) / d, along = horizontal_sum(projection) / d;
            for (ptrdiff_t i = 0; i < d; i += LANES) {
                vec dx_hat = load_at(dy_row, i, d, 0) * load_at(gain, i, d, 0);
                vec x_hat = (load_at(x_row, i, d, m) - m) * inverse;
                store_at(dx + row * d, i, d, (dx_hat - mean_dx_hat - x_hat * along) * inverse);
            }
        }
    }
    memset(dgain, 0, d * sizeof(float));
    memset(dbias, 0, d * sizeof(float));
    for (int block = 0; block < BLOCKS; block++)
        for (ptrdiff_t i = 0; i < d; i++) {
            dgain[i] += sums[2 * block * d + i];
            dbias[i] += sums[2 * block * d + d + i];
        }
    free(sums);
    return MINILLM_OK;
}

/* loss = log(sum exp(z)) - (1 - smoothing) z[target] - smoothing mean(z) for each row z of logits;
 * 0 where the target is negative. The largest z is taken out of the sum before it can overflow. */
int KERNEL(minillm_cross_entropy)(ptrdiff_t rows, ptrdiff_t V, const float *logits,
                                  const int64_t *targets, float smoothing, float *losses,
                                  float *log_total)
{
    FOR_EACH_BLOCK(rows * V) {
        for (ptrdiff_t row = begin(rows, block); row < begin(rows, block + 1); row++) {
            const float *z = logits + row * V;
            vec largest = broadcast(-INFINITY), total = broadcast(0), sum = broadcast(0);
            for (ptrdiff_t j = 0; j < V; j += LANES) {
                largest = vmax(largest, load_at(z, j, V, -INFINITY));
                sum += load_at(z, j, V, 0);
            }
            float shift = horizontal_max(largest);
            shift = shift == -INFINITY ? 0 : shift; /* -inf - -inf is not a number */
            /* 1,024 at a time: to a large sum of 50,000 terms the small ones would count as 0. */
            for (ptrdiff_t first = 0; first < V; first += 1024) {
                vec part = broadcast(0);
                for (ptrdiff_t j = first; j < min(V, first + 1024); j += LANES)
                    part += vexp(load_at(z, j, V, -INFINITY) - shift);
                total += part;
            }
            log_total[row] = shift + logf(horizontal_sum(total));
            losses[row] = 0;
            if (targets[row] >= 0)
                losses[row] = log_total[row] - (1 - smoothing) * z[targets[row]];
            if (targets[row] >= 0 && smoothing > 0)
                losses[row] -= smoothing * horizontal_sum(sum) / V;
        }
    }
    return MINILLM_OK;
}

/* dz = weight (p - q): what the model said, p = exp(z - log_total), minus what it should have. */
int KERNEL(minillm_cross_entropy_backward)(ptrdiff_t rows, ptrdiff_t V, const float *logits,
                                           const int64_t *targets, const float *log_total,
                                           float smoothing, float weight, float *dlogits)
{
    FOR_EACH_BLOCK(rows * V) {
        for (ptrdiff_t row = begin(rows, block); row < begin(rows, block + 1); row++) {
            const float *z = logits + row * V;
            float *dz = dlogits + row * V;
            if (targets[row] < 0) {
                memset(dz, 0, V * sizeof(float));
                continue;
            }
            for (ptrdiff_t j = 0; j < V; j += LANES) {
                vec p = vexp(load_at(z, j, V, 0) - log_total[row]);
                store_at(dz, j, V, (p - smoothing / V) * weight);
            }
            dz[targets[row]] -= (1 - smoothing) * weight;
        }
    }
    return MINILLM_OK;
}

/* One step of Adam: see minillm/training/optimizers.py. The compiler makes vectors of this loop. */
int KERNEL(minillm_adam)(ptrdiff_t n, float *restrict w, const float *restrict g,
                         float *restrict m, float *restrict v, float beta1, float beta2, float l2,
                         float keep, float step, float v_scale, float eps)
{
    FOR_EACH_BLOCK(n) {
        for (ptrdiff_t i = begin_line(n, block); i < begin_line(n, block + 1); i++) {
            float g_i = g[i] + l2 * w[i];
            m[i] = beta1 * m[i] + (1 - beta1) * g_i;
            v[i] = beta2 * v[i] + (1 - beta2) * g_i * g_i;
            w[i] = keep * w[i] - step * m[i] / (sqrtf(v[i]) * v_scale + eps);
        }
    }
    return MINILLM_OK;
}

/* The sum of x^2 over n numbers, in double precision: float32 would overflow from 1.8e19 on. */
double KERNEL(minillm_sum_of_squares)(ptrdiff_t n, const float *x)
{
    double sums[BLOCKS] = {0}, total = 0;
    FOR_EACH_BLOCK(n) {
        double lanes[16] = {0}; /* added up separately, so that 16 additions are under way */
        ptrdiff_t i = begin_line(n, block), end = begin_line(n, block + 1);
        for (; i + 16 <= end; i += 16)
            for (int j = 0; j < 16; j++)
                lanes[j] += (double)x[i + j] * x[i + j];
        for (; i < end; i++)
            lanes[0] += (double)x[i] * x[i];
        for (int j = 0; j < 16; j++)
            sums[block] += lanes[j];
    }
    for (int block = 0; block < BLOCKS; block++)
        total += sums[block];
    return total;
}
