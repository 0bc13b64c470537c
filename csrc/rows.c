/* rows.c: what a transformer does between its products: GELU, layer norm, cross-entropy, Adam,
 * embedding gradients.
 *
 * NumPy does these formulas one operation at a time, and each operation reads and writes whole
 * arrays that fit no cache. Here the whole formula runs over a piece that is in the cache or in
 * registers: each array comes from memory once and goes there once (a row that is passed over
 * again is in the cache), and that is what limits the speed. So the loops are plain ones, and the
 * compiler makes vectors of them. Where it would have to add numbers in another order than the one
 * written, which it may not, `#pragma omp simd reduction` allows it.
 *
 * Threads share out BLOCKS blocks of rows (or of numbers; `add_to_rows`: some columns). A sum over
 * the rows, such as the gradient of a gain, is made for each block alone, and then over the blocks
 * in order. The blocks are the same for any number of threads, and so are the sums, bit for bit. */
#include <math.h>
#include <string.h>
#include "simd.h"

enum { BLOCKS = 64 };

/* The arguments of a kernel, as all of its threads see them: each kernel has some of these. */
typedef struct rows_job {
    ptrdiff_t rows, d, pieces; /* elementwise kernels have 1 number in a row */
    const float *x, *dy, *gain, *bias, *g;
    float *y, *dx, *mean, *inverse_std, *losses, *log_total, *w, *m, *v;
    const int64_t *ids;
    float eps, smoothing, weight, l2, keep, step, v_scale;
    double beta1, beta2; /* 1 - 0.999 has only four right digits in float32 */
    void (*do_rows)(const struct rows_job *the, ptrdiff_t begin, ptrdiff_t end);
    ptrdiff_t block; /* which one do_rows is to do, for those that make sums for each block: */
    float *sums;
    double *squares;
} rows_job;

static void do_blocks(const void *arguments, ptrdiff_t piece, float *workspace)
{
    (void)workspace;
    const rows_job *the = arguments;
    /* Multiples of 16 where a row is one number: no block but the last ends within a vector. */
    ptrdiff_t size = round_up((the->rows + BLOCKS - 1) / BLOCKS, the->d == 1 ? 16 : 1);
    ptrdiff_t block = BLOCKS * piece / the->pieces, end = BLOCKS * (piece + 1) / the->pieces;
    for (; block < end; block++) {
        rows_job own = *the;
        own.block = block;
        own.do_rows(&own, min(the->rows, block * size), min(the->rows, (block + 1) * size));
    }
}

/* A number that is streamed through takes as long as some 16 multiply-adds. A thread works on
 * blocks that lie side by side: so the prefetcher doesn't fetch what another one writes to. */
static int do_all_rows(rows_job *job)
{
    int threads = threads_for(16.0 * job->rows * job->d);
    job->pieces = min(4 * threads, BLOCKS);
    return share_out(job->pieces, threads, 0, do_blocks, job);
}

/* y += x */
static void add(ptrdiff_t n, const float *restrict x, float *restrict y)
{
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] += x[i];
}

/* GELU in its tanh form. (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)) = s: one exponential, no tanh.
 *
 *   y = x s,   u = a (x + b x^3)          dy/dx = s + x s',   s' = s (1 - s) 2u'                */
static const float TWO_A = 1.5957691216f, B = 0.044715f; /* a = sqrt(2 / pi) */

static inline float gelu_s(float x)
{
    float minus_2u = -TWO_A * x * (1 + B * x * x);
    return minus_2u > 87.0f ? 0 : 1 / (1 + exp_(minus_2u)); /* e^-87 = 1e-38 is as good as 0 */
}

static void gelu_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end)
{
    const float *restrict x = the->x;
    float *restrict y = the->y;
    for (ptrdiff_t i = begin; i < end; i++)
        y[i] = x[i] * gelu_s(x[i]);
}

int minillm_gelu_tanh(ptrdiff_t n, const float *x, float *y)
{
    return do_all_rows(&(rows_job){.rows = n, .d = 1, .x = x, .y = y, .do_rows = gelu_rows});
}

static void gelu_backward_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end)
{
    const float *restrict x = the->x, *restrict dy = the->dy;
    float *restrict dx = the->dx;
    for (ptrdiff_t i = begin; i < end; i++) {
        float s = gelu_s(x[i]);
        dx[i] = dy[i] * s * (1 + x[i] * (1 - s) * TWO_A * (1 + 3 * B * x[i] * x[i]));
    }
}

int minillm_gelu_tanh_backward(ptrdiff_t n, const float *dy, const float *x, float *dx)
{
    return do_all_rows(&(rows_job){
        .rows = n, .d = 1, .dy = dy, .x = x, .dx = dx, .do_rows = gelu_backward_rows,
    });
}

/* y = gain (x - mean) / sqrt(var + eps) + bias for each row: three passes over a row in L1. The sum
 * of d numbers is rounded d times; the second pass measures how far that has put the mean off. */
static void layer_norm_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end)
{
    ptrdiff_t d = the->d;
    const float *restrict gain = the->gain, *restrict bias = the->bias;
    for (ptrdiff_t row = begin; row < end; row++) {
        const float *restrict x = the->x + row * d;
        float *restrict y = the->y + row * d;
        float sum = 0, rest = 0, squares = 0;
        #pragma omp simd reduction(+ : sum)
        for (ptrdiff_t i = 0; i < d; i++)
            sum += x[i];
        float mean = sum / d;
        #pragma omp simd reduction(+ : rest, squares)
        for (ptrdiff_t i = 0; i < d; i++) {
            rest += x[i] - mean;
            squares += (x[i] - mean) * (x[i] - mean);
        }
        rest /= d;
        mean += rest;
        float variance = squares / d - rest * rest;
        float inverse = 1 / sqrtf((variance > 0 ? variance : 0) + the->eps);
        for (ptrdiff_t i = 0; i < d; i++)
            y[i] = gain[i] * ((x[i] - mean) * inverse) + bias[i];
        the->mean[row] = mean;
        the->inverse_std[row] = inverse;
    }
}

int minillm_layer_norm(ptrdiff_t rows, ptrdiff_t d, const float *x, const float *gain,
                       const float *bias, float eps, float *y, float *mean, float *inverse_std)
{
    return do_all_rows(&(rows_job){
        .rows = rows, .d = d, .x = x, .gain = gain, .bias = bias, .eps = eps, .y = y,
        .mean = mean, .inverse_std = inverse_std, .do_rows = layer_norm_rows,
    });
}

/* dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / std with dx_hat = dy gain, and the sums
 * over the rows dgain = sum dy x_hat, dbias = sum dy. The derivation: minillm/ops/layer_norm.py. */
static void layer_norm_backward_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end)
{
    ptrdiff_t d = the->d;
    const float *restrict gain = the->gain;
    float *restrict dgain = the->sums + 2 * the->block * d, *restrict dbias = dgain + d;
    for (ptrdiff_t row = begin; row < end; row++) {
        const float *restrict x = the->x + row * d, *restrict dy = the->dy + row * d;
        float *restrict dx = the->dx + row * d;
        float mean = the->mean[row], inverse = the->inverse_std[row], sum = 0, along = 0;
        #pragma omp simd reduction(+ : sum, along)
        for (ptrdiff_t i = 0; i < d; i++) {
            float x_hat = (x[i] - mean) * inverse;
            sum += dy[i] * gain[i];
            along += dy[i] * gain[i] * x_hat;
            dgain[i] += dy[i] * x_hat;
            dbias[i] += dy[i];
        }
        sum /= d;
        along /= d;
        for (ptrdiff_t i = 0; i < d; i++)
            dx[i] = (dy[i] * gain[i] - sum - (x[i] - mean) * inverse * along) * inverse;
    }
}

int minillm_layer_norm_backward(ptrdiff_t rows, ptrdiff_t d, const float *dy, const float *x,
                                const float *mean, const float *inverse_std, const float *gain,
                                float *dx, float *dgain, float *dbias)
{
    float *sums = calloc(2 * BLOCKS * d + 1, sizeof(float)); /* for each block dgain, dbias */
    if (sums == NULL)
        return MINILLM_OUT_OF_MEMORY;
    do_all_rows(&(rows_job){
        .rows = rows, .d = d, .dy = dy, .x = x, .mean = (float *)mean,
        .inverse_std = (float *)inverse_std, .gain = gain, .dx = dx, .sums = sums,
        .do_rows = layer_norm_backward_rows,
    });
    memset(dgain, 0, d * sizeof(float));
    memset(dbias, 0, d * sizeof(float));
    for (int block = 0; block < BLOCKS; block++) {
        add(d, sums + 2 * block * d, dgain);
        add(d, sums + (2 * block + 1) * d, dbias);
    }
    free(sums);
    return MINILLM_OK;
}

/* The largest of n numbers, for each of 16 columns first: so 16 comparisons are under way. */
static float largest_of(ptrdiff_t n, const float *z)
{
    float largest[16];
    for (int i = 0; i < 16; i++)
        largest[i] = -INFINITY;
    for (ptrdiff_t j = 0; j + 16 <= n; j += 16)
        for (int i = 0; i < 16; i++)
            largest[i] = z[j + i] > largest[i] ? z[j + i] : largest[i];
    for (ptrdiff_t j = n / 16 * 16; j < n; j++)
        largest[0] = z[j] > largest[0] ? z[j] : largest[0];
    for (int i = 1; i < 16; i++)
        largest[0] = largest[i] > largest[0] ? largest[i] : largest[0];
    return largest[0];
}

/* loss = log(sum exp(z)) - (1 - smoothing) z[target] - smoothing mean(z) for each row z of logits;
 * 0 where the target is negative. The largest z is taken out of the sum before it can overflow. */
static void cross_entropy_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end)
{
    ptrdiff_t V = the->d;
    for (ptrdiff_t row = begin; row < end; row++) {
        const float *z = the->x + row * V;
        float largest = largest_of(V, z), total = 0, sum = 0;
        float shift = largest == -INFINITY ? 0 : largest; /* -inf - -inf is not a number */
        /* 1,024 at a time: to a large sum of 50,000 terms the small ones would count as 0. */
        for (ptrdiff_t first = 0; first < V; first += 1024) {
            float part = 0;
            #pragma omp simd reduction(+ : part)
            for (ptrdiff_t j = first; j < min(V, first + 1024); j++)
                part += exp_(z[j] - shift);
            total += part;
        }
        if (the->smoothing > 0) {
            #pragma omp simd reduction(+ : sum)
            for (ptrdiff_t j = 0; j < V; j++)
                sum += z[j];
        }
        float log_total = shift + logf(total);
        ptrdiff_t target = the->ids[row];
        the->log_total[row] = log_total;
        the->losses[row] = 0;
        if (target >= 0)
            the->losses[row] = log_total - (1 - the->smoothing) * z[target];
        if (target >= 0 && the->smoothing > 0)
            the->losses[row] -= the->smoothing * sum / V;
    }
}

int minillm_cross_entropy(ptrdiff_t rows, ptrdiff_t V, const float *logits, const int64_t *targets,
                          float smoothing, float *losses, float *log_total)
{
    return do_all_rows(&(rows_job){
        .rows = rows, .d = V, .x = logits, .ids = targets, .smoothing = smoothing,
        .losses = losses, .log_total = log_total, .do_rows = cross_entropy_rows,
    });
}

/* dz = weight (p - q): what the model said, p = exp(z - log_total), minus what it should have. */
static void cross_entropy_backward_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end)
{
    ptrdiff_t V = the->d;
    for (ptrdiff_t row = begin; row < end; row++) {
        const float *z = the->x + row * V; /* not `restrict`: dz may be the same memory */
        float *dz = the->dx + row * V;
        float log_total = the->log_total[row], each = the->smoothing / V, weight = the->weight;
        if (the->ids[row] < 0) {
            memset(dz, 0, V * sizeof(float));
            continue;
        }
        #pragma omp simd
        for (ptrdiff_t j = 0; j < V; j++)
            dz[j] = (exp_(z[j] - log_total) - each) * weight;
        dz[the->ids[row]] -= (1 - the->smoothing) * weight;
    }
}

int minillm_cross_entropy_backward(ptrdiff_t rows, ptrdiff_t V, const float *logits,
                                   const int64_t *targets, const float *log_total,
                                   float smoothing, float weight, float *dlogits)
{
    return do_all_rows(&(rows_job){
        .rows = rows, .d = V, .x = logits, .ids = targets, .log_total = (float *)log_total,
        .smoothing = smoothing, .weight = weight, .dx = dlogits,
        .do_rows = cross_entropy_backward_rows,
    });
}

/* One step of Adam: see minillm/training/optimizers.py. */
static void adam_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end)
{
    const rows_job a = *the; /* a copy that nothing else points to: its numbers stay in registers */
    const float *restrict g = a.g;
    float *restrict w = a.w, *restrict m = a.m, *restrict v = a.v;
    const float beta1 = (float)a.beta1, rest1 = (float)(1 - a.beta1);
    const float beta2 = (float)a.beta2, rest2 = (float)(1 - a.beta2);
    for (ptrdiff_t i = begin; i < end; i++) {
        float g_i = g[i] + a.l2 * w[i];
        m[i] = beta1 * m[i] + rest1 * g_i;
        v[i] = beta2 * v[i] + rest2 * g_i * g_i;
        w[i] = a.keep * w[i] - a.step * m[i] / (sqrtf(v[i]) * a.v_scale + a.eps);
    }
}

int minillm_adam(ptrdiff_t n, float *w, const float *g, float *m, float *v, double beta1,
                 double beta2, float l2, float keep, float step, float v_scale, float eps)
{
    return do_all_rows(&(rows_job){
        .rows = n, .d = 1, .w = w, .g = g, .m = m, .v = v, .beta1 = beta1, .beta2 = beta2,
        .l2 = l2, .keep = keep, .step = step, .v_scale = v_scale, .eps = eps,
        .do_rows = adam_rows,
    });
}

/* The sum of x^2 over n numbers, in double precision: float32 would overflow from 1.8e19 on. */
static void squares_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end)
{
    const float *x = the->x;
    double sum = 0;
    #pragma omp simd reduction(+ : sum)
    for (ptrdiff_t i = begin; i < end; i++)
        sum += (double)x[i] * x[i];
    the->squares[the->block] = sum;
}

double minillm_sum_of_squares(ptrdiff_t n, const float *x)
{
    double squares[BLOCKS] = {0}, total = 0;
    do_all_rows(&(rows_job){
        .rows = n, .d = 1, .x = x, .squares = squares, .do_rows = squares_rows,
    });
    for (int block = 0; block < BLOCKS; block++)
        total += squares[block];
    return total;
}

/* y[ids[n]] += x[n] for each of the rows n: the gradient of an embedding. Two rows n may go to the
 * same place, so a piece of the work is not some rows but some columns of all of them. */
enum { COLUMNS_OF_A_PIECE = 64 };

static void add_piece_to_rows(const void *arguments, ptrdiff_t piece, float *workspace)
{
    (void)workspace;
    const rows_job *the = arguments;
    ptrdiff_t i = piece * COLUMNS_OF_A_PIECE, columns = min(COLUMNS_OF_A_PIECE, the->d - i);
    for (ptrdiff_t n = 0; n < the->rows; n++)
        add(columns, the->x + n * the->d + i, the->y + the->ids[n] * the->d + i);
}

int minillm_add_to_rows(ptrdiff_t rows, ptrdiff_t d, const int64_t *ids, const float *x, float *y)
{
    return share_out((d + COLUMNS_OF_A_PIECE - 1) / COLUMNS_OF_A_PIECE,
                     threads_for(8.0 * rows * d), 0, add_piece_to_rows,
                     &(rows_job){.rows = rows, .d = d, .x = x, .ids = ids, .y = y});
}
