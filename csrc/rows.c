/* rows.c: what a transformer does between its products: GELU, layer norm, cross-entropy, Adam,
 * sums of rows.
 *
 * NumPy does these formulas one operation at a time, and each operation reads and writes whole
 * arrays that fit no cache. Here the whole formula runs over a piece that is in the cache or in
 * registers: each array comes from memory once and goes there once (a row that is passed over
 * again is in the cache), and that is what limits the speed.
 *
 * Threads share out BLOCKS blocks of rows (or of numbers; `add_to_rows`: of columns). A sum over
 * the rows, such as the gradient of a bias, is made for each block alone, and then over the blocks
 * in order. The blocks are the same for any number of threads, and so are the sums, bit for bit. */
#include <math.h>
#include <string.h>
#include "simd.h"

enum { BLOCKS = 64 };

/* The arguments of a kernel, as all of its threads see them: each kernel has some of these. */
typedef struct rows_job {
    ptrdiff_t rows, d, pieces; /* elementwise kernels have 1 number in a row */
    const float *x, *dy, *gain, *bias, *g;
    float *y, *dx, *mean, *inverse_std, *sums, *losses, *log_total, *w, *m, *v;
    const int64_t *targets;
    float eps, smoothing, weight, l2, keep, step, v_scale;
    double beta1, beta2, *squares; /* 1 - 0.999 has only four right digits in float32 */
    void (*do_rows)(const struct rows_job *the, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t block);
} rows_job;

static void do_blocks(const void *job, ptrdiff_t piece, int thread)
{
    (void)thread;
    const rows_job *the = job;
    /* Whole cache lines where a row is a single number, so that no two threads write to one. */
    ptrdiff_t unit = the->d == 1 ? 16 : 1;
    ptrdiff_t size = round_up((the->rows + BLOCKS - 1) / BLOCKS, unit);
    ptrdiff_t block = BLOCKS * piece / the->pieces, end = BLOCKS * (piece + 1) / the->pieces;
    for (; block < end; block++) {
        ptrdiff_t first = block * size, last = min(the->rows, first + size);
        if (first < last)
            the->do_rows(the, first, last, block);
    }
}

/* A number that is streamed through takes as long as some 16 multiply-adds. A thread works on
 * blocks that lie side by side: so the prefetcher doesn't fetch what another one writes to. */
static int do_all_rows(rows_job *job)
{
    int threads = threads_for(16.0 * job->rows * job->d);
    job->pieces = min(4 * threads, BLOCKS);
    share_out(job->pieces, threads, do_blocks, job);
    return MINILLM_OK;
}

/* total[i] = the sum over the blocks of sums[block * step + i], for d columns */
static void add_up_blocks(ptrdiff_t d, const float *sums, ptrdiff_t step, float *total)
{
    memset(total, 0, d * sizeof(float));
    for (int block = 0; block < BLOCKS; block++, sums += step)
        for (ptrdiff_t i = 0; i < d; i++)
            total[i] += sums[i];
}

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

static void gelu_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t block)
{
    (void)block;
    for (ptrdiff_t i = begin; i < end; i += LANES) {
        vec x = load_at(the->x, i, end, 0);
        store_at(the->y, i, end, x * gelu_s(x));
    }
}

int minillm_gelu_tanh(ptrdiff_t n, const float *x, float *y)
{
    return do_all_rows(&(rows_job){.rows = n, .d = 1, .x = x, .y = y, .do_rows = gelu_rows});
}

static void gelu_backward_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end,
                               ptrdiff_t block)
{
    (void)block;
    for (ptrdiff_t i = begin; i < end; i += LANES) {
        vec dy = load_at(the->dy, i, end, 0);
        store_at(the->dx, i, end, dy * gelu_slope(load_at(the->x, i, end, 0)));
    }
}

int minillm_gelu_tanh_backward(ptrdiff_t n, const float *dy, const float *x, float *dx)
{
    return do_all_rows(&(rows_job){
        .rows = n, .d = 1, .dy = dy, .x = x, .dx = dx, .do_rows = gelu_backward_rows,
    });
}

/* y = gain (x - mean) / sqrt(var + eps) + bias for each row: three passes over a row in L1. */
static void layer_norm_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t block)
{
    (void)block;
    ptrdiff_t d = the->d;
    for (ptrdiff_t row = begin; row < end; row++) {
        const float *x = the->x + row * d;
        vec sum = broadcast(0), squares = broadcast(0);
        for (ptrdiff_t i = 0; i < d; i += LANES)
            sum += load_at(x, i, d, 0);
        float mean = horizontal_sum(sum) / d;
        for (ptrdiff_t i = 0; i < d; i += LANES) {
            vec centred = load_at(x, i, d, mean) - mean;
            squares += centred * centred;
        }
        float inverse = 1 / sqrtf(horizontal_sum(squares) / d + the->eps);
        for (ptrdiff_t i = 0; i < d; i += LANES) {
            vec x_hat = (load_at(x, i, d, 0) - mean) * inverse;
            vec y = load_at(the->gain, i, d, 0) * x_hat + load_at(the->bias, i, d, 0);
            store_at(the->y + row * d, i, d, y);
        }
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
static void layer_norm_backward_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end,
                                     ptrdiff_t block)
{
    ptrdiff_t d = the->d;
    float *dgain = the->sums + 2 * block * d, *dbias = dgain + d;
    for (ptrdiff_t row = begin; row < end; row++) {
        const float *dy = the->dy + row * d, *x = the->x + row * d;
        float mean = the->mean[row], inverse = the->inverse_std[row];
        vec sum = broadcast(0), projection = broadcast(0);
        for (ptrdiff_t i = 0; i < d; i += LANES) {
            vec dy_i = load_at(dy, i, d, 0), dx_hat = dy_i * load_at(the->gain, i, d, 0);
            vec x_hat = (load_at(x, i, d, mean) - mean) * inverse;
            sum += dx_hat;
            projection += dx_hat * x_hat;
            store_at(dgain, i, d, load_at(dgain, i, d, 0) + dy_i * x_hat);
            store_at(dbias, i, d, load_at(dbias, i, d, 0) + dy_i);
        }
        float mean_dx_hat = horizontal_sum(sum) / d, along = horizontal_sum(projection) / d;
        for (ptrdiff_t i = 0; i < d; i += LANES) {
            vec dx_hat = load_at(dy, i, d, 0) * load_at(the->gain, i, d, 0);
            vec x_hat = (load_at(x, i, d, mean) - mean) * inverse;
            store_at(the->dx + row * d, i, d, (dx_hat - mean_dx_hat - x_hat * along) * inverse);
        }
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
    add_up_blocks(d, sums, 2 * d, dgain);
    add_up_blocks(d, sums + d, 2 * d, dbias);
    free(sums);
    return MINILLM_OK;
}

/* loss = log(sum exp(z)) - (1 - smoothing) z[target] - smoothing mean(z) for each row z of logits;
 * 0 where the target is negative. The largest z is taken out of the sum before it can overflow. */
static void cross_entropy_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end,
                               ptrdiff_t block)
{
    (void)block;
    ptrdiff_t V = the->d;
    for (ptrdiff_t row = begin; row < end; row++) {
        const float *z = the->x + row * V;
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
        float log_total = shift + logf(horizontal_sum(total)), loss = 0;
        if (the->targets[row] >= 0)
            loss = log_total - (1 - the->smoothing) * z[the->targets[row]];
        if (the->targets[row] >= 0 && the->smoothing > 0)
            loss -= the->smoothing * horizontal_sum(sum) / V;
        the->log_total[row] = log_total;
        the->losses[row] = loss;
    }
}

int minillm_cross_entropy(ptrdiff_t rows, ptrdiff_t V, const float *logits, const int64_t *targets,
                          float smoothing, float *losses, float *log_total)
{
    return do_all_rows(&(rows_job){
        .rows = rows, .d = V, .x = logits, .targets = targets, .smoothing = smoothing,
        .losses = losses, .log_total = log_total, .do_rows = cross_entropy_rows,
    });
}

/* dz = weight (p - q): what the model said, p = exp(z - log_total), minus what it should have. */
static void cross_entropy_backward_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end,
                                        ptrdiff_t block)
{
    (void)block;
    ptrdiff_t V = the->d;
    for (ptrdiff_t row = begin; row < end; row++) {
        const float *z = the->x + row * V;
        float *dz = the->dx + row * V;
        if (the->targets[row] < 0) {
            memset(dz, 0, V * sizeof(float));
            continue;
        }
        for (ptrdiff_t j = 0; j < V; j += LANES) {
            vec p = vexp(load_at(z, j, V, 0) - the->log_total[row]);
            store_at(dz, j, V, (p - the->smoothing / V) * the->weight);
        }
        dz[the->targets[row]] -= (1 - the->smoothing) * the->weight;
    }
}

int minillm_cross_entropy_backward(ptrdiff_t rows, ptrdiff_t V, const float *logits,
                                   const int64_t *targets, const float *log_total,
                                   float smoothing, float weight, float *dlogits)
{
    return do_all_rows(&(rows_job){
        .rows = rows, .d = V, .x = logits, .targets = targets, .log_total = (float *)log_total,
        .smoothing = smoothing, .weight = weight, .dx = dlogits,
        .do_rows = cross_entropy_backward_rows,
    });
}

/* One step of Adam: see minillm/training/optimizers.py. The compiler makes vectors of this loop. */
static void adam_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t block)
{
    (void)block;
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
static void squares_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t block)
{
    const float *x = the->x;
    double lanes[16] = {0}; /* added up separately, so that 16 additions are under way */
    ptrdiff_t i = begin;
    for (; i + 16 <= end; i += 16)
        for (int j = 0; j < 16; j++)
            lanes[j] += (double)x[i + j] * x[i + j];
    for (; i < end; i++)
        lanes[0] += (double)x[i] * x[i];
    for (int j = 0; j < 16; j++)
        the->squares[block] += lanes[j];
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

/* The sum of all rows: the gradient of a bias. */
static void sum_rows(const rows_job *the, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t block)
{
    ptrdiff_t d = the->d;
    float *sum = the->sums + block * d;
    for (ptrdiff_t row = begin; row < end; row++)
        for (ptrdiff_t i = 0; i < d; i += LANES)
            store_at(sum, i, d, load_at(sum, i, d, 0) + load_at(the->x + row * d, i, d, 0));
}

int minillm_sum_of_rows(ptrdiff_t rows, ptrdiff_t d, const float *x, float *sum)
{
    float *sums = calloc(BLOCKS * d + 1, sizeof(float));
    if (sums == NULL)
        return MINILLM_OUT_OF_MEMORY;
    do_all_rows(&(rows_job){.rows = rows, .d = d, .x = x, .sums = sums, .do_rows = sum_rows});
    add_up_blocks(d, sums, d, sum);
    free(sums);
    return MINILLM_OK;
}

/* y[ids[n]] += x[n] for each of the rows n: the gradient of an embedding. Two rows n may go to the
 * same place, so a piece of the work is not some rows but some columns of all of them. */
enum { COLUMNS_OF_A_PIECE = 64 };

static void add_piece_to_rows(const void *job, ptrdiff_t piece, int thread)
{
    (void)thread;
    const rows_job *the = job;
    ptrdiff_t d = the->d, begin = piece * COLUMNS_OF_A_PIECE;
    ptrdiff_t end = min(d, begin + COLUMNS_OF_A_PIECE);
    for (ptrdiff_t n = 0; n < the->rows; n++) {
        const float *x = the->x + n * d;
        float *y = the->y + the->targets[n] * d;
        for (ptrdiff_t i = begin; i < end; i += LANES)
            store_at(y, i, end, load_at(y, i, end, 0) + load_at(x, i, end, 0));
    }
}

int minillm_add_to_rows(ptrdiff_t rows, ptrdiff_t d, const int64_t *ids, const float *x, float *y)
{
    share_out((d + COLUMNS_OF_A_PIECE - 1) / COLUMNS_OF_A_PIECE, threads_for(8.0 * rows * d),
              add_piece_to_rows, &(rows_job){.rows = rows, .d = d, .x = x, .targets = ids, .y = y});
    return MINILLM_OK;
}
