/* check_kernels.c: every kernel against plain loops in double precision, without Python.
 *
 * The main tests are in Python. This program runs where they can't: on another processor, under an
 * emulator, and under ThreadSanitizer. .ci/compilers builds and runs it. Exit status 0 means
 * success.
 *
 *     cc -O2 -fopenmp -Icsrc tests/csrc/check_kernels.c csrc/[a-z]*.c -lm -o check && ./check */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "minillm.h"

static int failures;
static uint64_t state = 1;

/* Numbers between -1 and 1 (Knuth's linear congruential generator). */
static float draw(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(state >> 33) / (1u << 30) - 1);
}

static float *numbers(ptrdiff_t n) {
    float *x = malloc(n * sizeof(float)); /* exactly n, so a sanitizer sees reads beyond */
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = draw();
    return x;
}

/* Report the first result that differs by more than `tolerance` (absolute and relative). */
static void compare(const char *what, ptrdiff_t n, const float *got, const double *wanted,
                    double tolerance) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (got[i] != wanted[i] && /* equal infinities pass */
            !(fabs(got[i] - wanted[i]) <= tolerance * (1 + fabs(wanted[i])))) {
            printf("%s: number %td is %.9g, wanted %.9g\n", what, i, got[i], wanted[i]);
            failures++;
            return;
        }
}

static void check_matmul(ptrdiff_t batch, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K) {
    for (int variant = 0; variant < 12; variant++) {
        int tA = variant & 1, tB = variant >> 1 & 1, mode = variant / 4; /* plain, add, bias */
        float *A = numbers(batch * M * K), *B = numbers(batch * K * N), *C = numbers(batch * M * N);
        float *bias = numbers(N);
        double *wanted = malloc((batch * M * N + 1) * sizeof(double));
        for (ptrdiff_t b = 0; b < batch; b++)
            for (ptrdiff_t i = 0; i < M; i++)
                for (ptrdiff_t j = 0; j < N; j++) {
                    double sum = mode == 1 ? C[(b * M + i) * N + j] : mode == 2 ? bias[j] : 0;
                    for (ptrdiff_t k = 0; k < K; k++)
                        sum += (double)A[b * M * K + (tA ? k * M + i : i * K + k)] *
                               B[b * K * N + (tB ? j * K + k : k * N + j)];
                    wanted[(b * M + i) * N + j] = sum;
                }
        failures += minillm_matmul(batch, M, N, K, A, tA ? M : K, M * K, tA, B, tB ? K : N, K * N,
                                   tB, C, N, M * N, mode == 1, mode == 2 ? bias : NULL);
        compare("matmul", batch * M * N, C, wanted, 1e-5 * (1 + sqrt(K)));
        for (int rung = 1; rung <= 5 && variant == 0 && batch == 1; rung++) {
            minillm_matmul_rung(rung, M, N, K, A, B, C);
            compare("matmul_rung", M * N, C, wanted, 1e-5 * (1 + sqrt(K)));
        }
        free(A), free(B), free(C), free(bias), free(wanted);
    }
}

static void check_linear_backward(ptrdiff_t rows, ptrdiff_t d_in, ptrdiff_t d_out, int transpose_W) {
    float *dy = numbers(rows * d_out), *x = numbers(rows * d_in), *W = numbers(d_in * d_out);
    float *dx = numbers(rows * d_in), *dW = numbers(d_in * d_out), *db = numbers(d_out);
    double *wx = calloc(rows * d_in, sizeof(double)), *wW = calloc(d_in * d_out, sizeof(double));
    double *wb = calloc(d_out, sizeof(double));
    for (ptrdiff_t i = 0; i < d_in * d_out; i++)
        wW[i] = dW[i];
    for (ptrdiff_t n = 0; n < rows; n++)
        for (ptrdiff_t j = 0; j < d_out; j++) {
            wb[j] += dy[n * d_out + j];
            for (ptrdiff_t i = 0; i < d_in; i++) {
                ptrdiff_t w = transpose_W ? j * d_in + i : i * d_out + j;
                wx[n * d_in + i] += (double)dy[n * d_out + j] * W[w];
                wW[w] += (double)dy[n * d_out + j] * x[n * d_in + i];
            }
        }
    failures += minillm_linear_backward(rows, d_in, d_out, dy, x, W, transpose_W, 1, dx, dW, db);
    compare("linear_backward: dx", rows * d_in, dx, wx, 1e-4);
    compare("linear_backward: dW", d_in * d_out, dW, wW, 1e-4);
    compare("linear_backward: db", d_out, db, wb, 1e-4);
    free(dy), free(x), free(W), free(dx), free(dW), free(db), free(wx), free(wW), free(wb);
}

static void check_quantized(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K) {
    float *x = numbers(M * K), *scale = numbers(N), *bias = numbers(N), *y = numbers(M * N);
    int8_t *q = malloc(N * K + 1);
    uint16_t *half = malloc((N * K + 1) * 2);
    double *wanted = malloc((M * N + 1) * sizeof(double));
    for (ptrdiff_t i = 0; i < N * K; i++) {
        float value = draw();
        uint32_t bits;
        memcpy(&bits, &value, 4);
        half[i] = bits >> 16;
        q[i] = (int8_t)(127 * value);
    }
    for (int type = MINILLM_BFLOAT16; type <= MINILLM_INT8; type++) {
        for (ptrdiff_t i = 0; i < M; i++)
            for (ptrdiff_t j = 0; j < N; j++) {
                double sum = bias[j];
                for (ptrdiff_t k = 0; k < K; k++) {
                    uint32_t bits = (uint32_t)half[j * K + k] << 16;
                    float value;
                    memcpy(&value, &bits, 4);
                    sum += x[i * K + k] * (type == MINILLM_INT8 ? scale[j] * q[j * K + k] : value);
                }
                wanted[i * N + j] = sum;
            }
        int is_int8 = type == MINILLM_INT8;
        failures += minillm_gemv(M, N, K, x, K, type, is_int8 ? (void *)q : half, K, 1,
                                     is_int8 ? scale : NULL, bias, y, N);
        compare(is_int8 ? "int8" : "bfloat16", M * N, y, wanted, is_int8 ? 1e-3 : 1e-4);
    }
    free(x), free(scale), free(bias), free(y), free(q), free(half), free(wanted);
}

/* int4: byte i of a group of 32 has the weights i and i + 16. */
static void check_int4(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K) {
    ptrdiff_t groups = (K + MINILLM_GROUP - 1) / MINILLM_GROUP;
    float *x = numbers(M * K), *bias = numbers(N), *y = numbers(M * N);
    uint8_t *q = malloc(N * groups * 16 + 1);
    uint16_t *scale = malloc(N * groups * 2 + 2);
    double *wanted = malloc((M * N + 1) * sizeof(double));
    for (ptrdiff_t i = 0; i < N * groups * 16; i++)
        q[i] = (uint8_t)(127.5f * (1 + draw()));
    for (ptrdiff_t i = 0; i < N * groups; i++) {
        float value = draw();
        uint32_t bits;
        memcpy(&bits, &value, 4);
        scale[i] = bits >> 16;
    }
    for (ptrdiff_t i = 0; i < M; i++)
        for (ptrdiff_t j = 0; j < N; j++) {
            double sum = bias[j];
            for (ptrdiff_t k = 0; k < K; k++) {
                ptrdiff_t group = j * groups + k / 32;
                int byte = q[group * 16 + k % 16];
                uint32_t bits = (uint32_t)scale[group] << 16;
                float value;
                memcpy(&value, &bits, 4);
                sum += x[i * K + k] * value * ((k % 32 < 16 ? byte & 15 : byte >> 4) - 8);
            }
            wanted[i * N + j] = sum;
        }
    failures += minillm_gemv(M, N, K, x, K, MINILLM_INT4, q, groups * MINILLM_GROUP, 1, scale,
                             bias, y, N);
    compare("int4", M * N, y, wanted, 1e-4);
    free(x), free(bias), free(y), free(q), free(scale), free(wanted);
}

/* Attention and its gradients by their definition. The H query heads read H / group key heads.
 * `bias`: 0 for none, 1 for random numbers, 2 for random numbers inside a sliding window. */
static void check_attention(ptrdiff_t B, ptrdiff_t H, ptrdiff_t group, ptrdiff_t Tq, ptrdiff_t Tk,
                            ptrdiff_t D, int causal, int masked, int bias) {
    ptrdiff_t Hkv = H / group, nq = B * H * Tq * D, nk = B * Hkv * Tk * D, distances = Tq + Tk - 1;
    float *Q = numbers(nq), *K = numbers(nk), *V = numbers(nk), *dout = numbers(nq);
    float *out = numbers(nq), *lse = numbers(B * H * Tq), scale = 0.7f;
    float *dQ = numbers(nq), *dK = numbers(nk), *dV = numbers(nk);
    float *distance_bias = numbers(H * distances), *ddistance_bias = numbers(B * H * distances);
    unsigned char *mask = malloc(B * Tk);
    double *o = calloc(nq, sizeof(double)), *gq = calloc(nq, sizeof(double));
    double *gk = calloc(nk, sizeof(double)), *gv = calloc(nk, sizeof(double));
    double *gb = calloc(B * H * distances, sizeof(double));
    double *P = malloc(Tk * sizeof(double)), *dP = malloc(Tk * sizeof(double));
    double *log_totals = malloc(B * H * Tq * sizeof(double));
    for (ptrdiff_t j = 0; j < B * Tk; j++)
        mask[j] = j % 3 != 0;
    for (ptrdiff_t e = 0; e < H * distances && bias == 2; e++) { /* 40 distances */
        ptrdiff_t distance = e % distances - (Tq - 1) + e / distances * 40;
        if (distance > 20 || distance <= -20)
            distance_bias[e] = -INFINITY;
    }
    for (ptrdiff_t h = 0; h < B * H; h++) /* h / group is the key head, in this order too */
        for (ptrdiff_t i = 0; i < Tq; i++) {
            const float *q = Q + (h * Tq + i) * D, *g = dout + (h * Tq + i) * D;
            ptrdiff_t first_key = h / group * Tk;
            double total = 0, delta = 0;
            for (ptrdiff_t j = 0; j < Tk; j++) {
                int hidden = (causal && j > i + Tk - Tq) || (masked && !mask[h / H * Tk + j]);
                double s = 0;
                for (ptrdiff_t d = 0; d < D; d++)
                    s += q[d] * K[(first_key + j) * D + d];
                s *= scale;
                if (bias)
                    s += distance_bias[h % H * distances + j - i + Tq - 1];
                total += P[j] = hidden ? 0 : exp(s);
            }
            log_totals[h * Tq + i] = log(total);
            for (ptrdiff_t j = 0; j < Tk; j++) {
                P[j] = total > 0 ? P[j] / total : 0;
                dP[j] = 0;
                for (ptrdiff_t d = 0; d < D; d++) {
                    dP[j] += g[d] * V[(first_key + j) * D + d];
                    o[(h * Tq + i) * D + d] += P[j] * V[(first_key + j) * D + d];
                    gv[(first_key + j) * D + d] += P[j] * g[d];
                }
                delta += P[j] * dP[j];
            }
            for (ptrdiff_t j = 0; j < Tk; j++) {
                double dS = P[j] * (dP[j] - delta);
                gb[h * distances + j - i + Tq - 1] += dS;
                for (ptrdiff_t d = 0; d < D; d++) {
                    gq[(h * Tq + i) * D + d] += scale * dS * K[(first_key + j) * D + d];
                    gk[(first_key + j) * D + d] += scale * dS * q[d];
                }
            }
        }
#define HEADS(x, H, T) {x, (H) * (T) * D, (T) * D, D}
    minillm_attention_call call = {
        .B = B, .H = H, .Hkv = Hkv, .Tq = Tq, .Tk = Tk, .D = D, .ahead = causal ? Tk - Tq : Tk,
        .Q = HEADS(Q, H, Tq), .K = HEADS(K, Hkv, Tk), .V = HEADS(V, Hkv, Tk),
        .out = HEADS(out, H, Tq), .dout = HEADS(dout, H, Tq), .dQ = HEADS(dQ, H, Tq),
        .dK = HEADS(dK, Hkv, Tk), .dV = HEADS(dV, Hkv, Tk), .lse = lse, .scale = scale,
        .key_mask = masked ? mask : NULL, .distance_bias = bias ? distance_bias : NULL,
        .ddistance_bias = bias ? ddistance_bias : NULL,
    };
    failures += minillm_attention(&call);
    compare("attention", nq, out, o, 1e-5);
    compare("attention: lse", B * H * Tq, lse, log_totals, 1e-5);
    if (D % MINILLM_HEAD_UNIT == 0) { /* the backward requires it */
        failures += minillm_attention_backward(&call);
        compare("attention_backward: dQ", nq, dQ, gq, 1e-4);
        compare("attention_backward: dK", nk, dK, gk, 1e-4);
        compare("attention_backward: dV", nk, dV, gv, 1e-4);
        if (bias)
            compare("attention_backward: ddistance_bias", B * H * distances, ddistance_bias, gb,
                    1e-4);
    }
    free(Q), free(K), free(V), free(dout), free(out), free(lse), free(dQ), free(dK), free(dV);
    free(mask), free(o), free(gq), free(gk), free(gv), free(gb), free(P), free(dP);
    free(log_totals), free(distance_bias), free(ddistance_bias);
}

static double gelu(double x) {
    return x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))) / 2;
}

static void check_rows(ptrdiff_t rows, ptrdiff_t d) {
    ptrdiff_t n = rows * d;
    float *x = numbers(n), *dy = numbers(n), *y = numbers(n), *weight = numbers(d);
    float *bias = numbers(d), *mean = numbers(rows), *inverse = numbers(rows), *dx = numbers(n);
    float *dweight = numbers(d), *dbias = numbers(d), *m = numbers(n), *v = numbers(n);
    int64_t *targets = malloc((rows + 1) * sizeof(int64_t));
    double *wanted = calloc(n + 1, sizeof(double)), *more = calloc(n + 1, sizeof(double));
    double squares = 0;

    for (ptrdiff_t i = 0; i < n; i++) {
        x[i] *= 3;
        wanted[i] = gelu(x[i]);
        more[i] = dy[i] * (gelu(x[i] + 1e-6) - gelu(x[i] - 1e-6)) / 2e-6;
        squares += (double)x[i] * x[i];
    }
    minillm_gelu_tanh(n, x, y);
    minillm_gelu_tanh_backward(n, dy, x, dx);
    compare("gelu_tanh", n, y, wanted, 1e-6);
    compare("gelu_tanh_backward", n, dx, more, 1e-5);
    for (ptrdiff_t i = 0; i < n; i++) {
        wanted[i] = x[i] > 0 ? x[i] * x[i] : 0;
        more[i] = x[i] > 0 ? 2 * x[i] * dy[i] : 0;
    }
    minillm_relu2(n, x, y);
    minillm_relu2_backward(n, dy, x, dx);
    compare("relu2", n, y, wanted, 1e-6);
    compare("relu2_backward", n, dx, more, 1e-6);
    minillm_add(n, x, dy, y);
    for (ptrdiff_t i = 0; i < n; i++)
        wanted[i] = (double)x[i] + dy[i];
    compare("add", n, y, wanted, 1e-6);
    for (ptrdiff_t i = 0; i < n; i++) {
        double e = exp(-x[i]), s = 1 / (1 + e);
        wanted[i] = x[i] * s * dy[i];
        more[i] = dy[i] * dy[i] * (s + x[i] * s * (1 - s));
    }
    float *du = numbers(n);
    minillm_swiglu(n, x, dy, y); /* u and dh are both dy */
    minillm_swiglu_backward(n, dy, x, dy, dx, du);
    compare("swiglu", n, y, wanted, 1e-6);
    compare("swiglu_backward: dg", n, dx, more, 1e-5);
    compare("swiglu_backward: du", n, du, wanted, 1e-6); /* dh g s */
    free(du);
    compare("sum_of_squares", 1, &(float){(float)minillm_sum_of_squares(n, x)}, &squares, 1e-6);

    double *weights = calloc(d, sizeof(double)), *biases = calloc(d, sizeof(double));
    for (ptrdiff_t r = 0; r < rows; r++) {
        double mu = 0, var = 0, a = 0, b = 0;
        for (ptrdiff_t i = r * d; i < (r + 1) * d; i++)
            mu += x[i] / d;
        for (ptrdiff_t i = r * d; i < (r + 1) * d; i++)
            var += (x[i] - mu) * (x[i] - mu) / d;
        double s = 1 / sqrt(var + 0.1);
        for (ptrdiff_t i = 0; i < d; i++) {
            double x_hat = (x[r * d + i] - mu) * s;
            wanted[r * d + i] = weight[i] * x_hat + bias[i];
            weights[i] += dy[r * d + i] * x_hat;
            biases[i] += dy[r * d + i];
            a += weight[i] * dy[r * d + i] / d;
            b += weight[i] * dy[r * d + i] * x_hat / d;
        }
        for (ptrdiff_t i = 0; i < d; i++)
            more[r * d + i] = (weight[i] * dy[r * d + i] - a - (x[r * d + i] - mu) * s * b) * s;
    }
    minillm_layer_norm(rows, d, x, weight, bias, 0.1f, y, mean, inverse);
    failures += minillm_layer_norm_backward(rows, d, dy, x, mean, inverse, weight, dx, dweight,
                                            dbias);
    compare("layer_norm", n, y, wanted, 1e-5);
    compare("layer_norm_backward: dx", n, dx, more, 1e-4);
    compare("layer_norm_backward: dweight", d, dweight, weights, 1e-4);
    compare("layer_norm_backward: dbias", d, dbias, biases, 1e-4);

    memset(weights, 0, d * sizeof(double));
    for (ptrdiff_t r = 0; r < rows; r++) {
        double square = 0, b = 0;
        for (ptrdiff_t i = r * d; i < (r + 1) * d; i++)
            square += (double)x[i] * x[i] / d;
        double s = 1 / sqrt(square + 0.1);
        for (ptrdiff_t i = 0; i < d; i++) {
            double x_hat = x[r * d + i] * s;
            wanted[r * d + i] = weight[i] * x_hat;
            weights[i] += dy[r * d + i] * x_hat;
            b += weight[i] * dy[r * d + i] * x_hat / d;
        }
        for (ptrdiff_t i = 0; i < d; i++)
            more[r * d + i] = (weight[i] * dy[r * d + i] - x[r * d + i] * s * b) * s;
    }
    minillm_rms_norm(rows, d, x, weight, 0.1, y, inverse);
    failures += minillm_rms_norm_backward(rows, d, dy, x, inverse, weight, dx, dweight);
    compare("rms_norm", n, y, wanted, 1e-5);
    compare("rms_norm_backward: dx", n, dx, more, 1e-4);
    compare("rms_norm_backward: dweight", d, dweight, weights, 1e-4);

    for (ptrdiff_t r = 0; r < rows; r++)
        targets[r] = r * r % 2;
    memset(wanted, 0, d * sizeof(double));
    for (ptrdiff_t i = 0; i < n; i++)
        wanted[i % d] += targets[i / d] == 0 ? x[i] : 0;
    float *table = calloc(2 * d, sizeof(float)), *total = numbers(d);
    minillm_scatter_add(2, d, rows, table, targets, x);
    compare("scatter_add", d, table, wanted, 1e-4);
    memset(wanted, 0, d * sizeof(double));
    for (ptrdiff_t i = 0; i < n; i++)
        wanted[i % d] += x[i];
    minillm_sum_rows(rows, d, x, total);
    compare("sum_rows", d, total, wanted, 1e-4);
    free(table), free(total);

    double *losses = calloc(rows + 1, sizeof(double));
    for (ptrdiff_t r = 0; r < rows; r++) {
        double total = 0;
        targets[r] = r % 4 == 3 ? -100 : r % d;
        for (ptrdiff_t i = 0; i < d; i++)
            total += exp(x[r * d + i]);
        for (ptrdiff_t i = 0; i < d; i++) {
            double q = 0.1 / d + (i == targets[r] ? 0.9 : 0);
            more[r * d + i] = targets[r] < 0 ? 0 : 0.5 * (exp(x[r * d + i]) / total - q);
            losses[r] += targets[r] < 0 ? 0 : q * (log(total) - x[r * d + i]);
        }
    }
    minillm_token_losses(rows, d, x, targets, 0.1, mean, inverse);
    minillm_token_losses_backward(rows, d, 0.5, x, targets, inverse, 0.1, dx);
    compare("token_losses", rows, mean, losses, 1e-5);
    compare("token_losses_backward", n, dx, more, 1e-5);

    for (ptrdiff_t i = 0; i < n; i++) {
        v[i] = m[i] * m[i];
        double g = 0.7 * dy[i] + 0.2 * x[i];
        double m_i = 0.9 * m[i] + 0.1 * g, v_i = 0.99 * v[i] + 0.01 * g * g;
        double m_hat = m_i / (1 - 0.9 * 0.9), v_hat = v_i / (1 - 0.99 * 0.99);
        wanted[i] = (1 - 0.3 * 0.4) * x[i] - 0.3 * m_hat / (sqrt(v_hat) + 0.01);
    }
    minillm_adam(n, x, dy, m, v, 2, 0.3, 0.9, 0.99, 0.01, 0.7, 0.2, 0.4);
    compare("adam", n, x, wanted, 1e-4);
    free(x), free(dy), free(y), free(weight), free(bias), free(mean), free(inverse), free(dx);
    free(dweight), free(dbias), free(m), free(v), free(targets), free(wanted), free(more);
    free(weights), free(biases), free(losses);
}

/* Rotary positions for the first heads of rows that hold more, in place and into a new array. */
static void check_rotate(ptrdiff_t B, ptrdiff_t H, ptrdiff_t T, ptrdiff_t D, ptrdiff_t pairs) {
    ptrdiff_t row = (H + 1) * D, n = B * T * row;
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        float *x = numbers(n), *y = numbers(n), *c = numbers(T * pairs), *s = numbers(T * pairs);
        double *wanted = malloc((n + 1) * sizeof(double));
        for (ptrdiff_t e = 0; e < n; e++) {
            ptrdiff_t t = e / row % T, d = e % row % D, i = interleaved ? d / 2 : d % pairs;
            ptrdiff_t other = interleaved ? 1 : pairs, second = interleaved ? d % 2 : d >= pairs;
            wanted[e] = x[e];
            if (d >= 2 * pairs || e % row >= H * D)
                continue; /* not rotated; or the last head, which isn't an argument */
            wanted[e] *= c[t * pairs + i];
            wanted[e] += (double)(second ? x[e - other] : -x[e + other]) * s[t * pairs + i];
        }
        memcpy(y, x, n * sizeof(float));
        minillm_heads X = {x, T * row, D, row}, Y = {y, T * row, D, row};
        minillm_heads C = {c, 0, 0, pairs}, S = {s, 0, 0, pairs};
        minillm_rotate(B, H, T, D, pairs, X, C, S, interleaved, Y);
        compare("rotate", n, y, wanted, 1e-6);
        minillm_rotate(B, H, T, D, pairs, X, C, S, interleaved, X);
        compare("rotate in place", n, x, wanted, 1e-6);
        free(x), free(y), free(c), free(s), free(wanted);
    }
}

/* Everything below that a decoder points to, freed together. */
static void *kept[1000];
static int n_kept;

static void *keep(void *memory) { return kept[n_kept++] = memory; }
static float *keep_numbers(ptrdiff_t n) { return keep(numbers(n)); }
static double *keep_zeros(ptrdiff_t n) { return keep(calloc(n + 1, sizeof(double))); }

static float bfloat16(float value, uint16_t *upper_half) { /* -> what is stored */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    *upper_half = bits >> 16;
    bits &= 0xffff0000;
    memcpy(&value, &bits, 4);
    return value;
}

/* A matrix of weights of the given type with a bias, and the numbers that it stands for: N x K. */
static double *make_linear(minillm_linear *f, ptrdiff_t N, ptrdiff_t K, int type, int transposed) {
    ptrdiff_t groups = (K + MINILLM_GROUP - 1) / MINILLM_GROUP;
    double *W = keep_zeros(N * K);
    float *w = keep_numbers(N * K), *scale = keep_numbers(N);
    uint16_t *half = keep(calloc(N * K + N * groups, 2)), *group_scale = half + N * K;
    uint8_t *q = keep(calloc(N * (K + 16 * groups) + 1, 1)), *q4 = q + N * K;
    for (ptrdiff_t i = 0; i < N * groups && type == MINILLM_INT4; i++)
        bfloat16(0.1f * draw(), group_scale + i);
    for (ptrdiff_t j = 0; j < N; j++)
        for (ptrdiff_t k = 0; k < K; k++) {
            ptrdiff_t i = j * K + k, group = j * groups + k / 32;
            if (type == MINILLM_FLOAT32)
                W[i] = w[transposed ? i : k * N + j];
            else if (type == MINILLM_BFLOAT16)
                W[i] = bfloat16(w[i], half + i);
            else if (type == MINILLM_INT8)
                W[i] = scale[j] / 127 * (int8_t)(q[i] = (uint8_t)(int)(127 * w[i]));
            else {
                int level = (int)(7.9f * w[i]) + 8;
                uint32_t bits = (uint32_t)group_scale[group] << 16;
                float value;
                memcpy(&value, &bits, 4);
                q4[group * 16 + k % 16] |= (uint8_t)(level << (k % 32 < 16 ? 0 : 4));
                W[i] = value * (level - 8);
            }
        }
    for (ptrdiff_t j = 0; j < N; j++)
        scale[j] /= 127;
    const void *stored[] = {w, half, q, q4};
    *f = (minillm_linear){
        .N = N, .K = K, .ldw = type == MINILLM_INT4 ? 32 * groups : type || transposed ? K : N,
        .type = type, .transposed = type || transposed, .w = stored[type], .bias = keep_numbers(N),
        .scale = type == MINILLM_INT8 ? (void *)scale : type == MINILLM_INT4 ? group_scale : NULL,
    };
    return W;
}

static double *linear(const minillm_linear *f, const double *W, ptrdiff_t B, const double *x) {
    double *y = keep_zeros(B * f->N);
    for (ptrdiff_t b = 0; b < B; b++)
        for (ptrdiff_t j = 0; j < f->N; j++) {
            y[b * f->N + j] = f->bias[j];
            for (ptrdiff_t k = 0; k < f->K; k++)
                y[b * f->N + j] += x[b * f->K + k] * W[j * f->K + k];
        }
    return y;
}

/* LayerNorm, or RMSNorm if there is no bias, of a row of d numbers. */
static void norm_of(minillm_norm norm, ptrdiff_t d, const double *x, double *y) {
    double mean = 0, square = 0;
    for (ptrdiff_t i = 0; i < d && norm.bias; i++)
        mean += x[i] / d;
    for (ptrdiff_t i = 0; i < d; i++)
        square += (x[i] - mean) * (x[i] - mean) / d;
    for (ptrdiff_t i = 0; i < d; i++)
        y[i] = norm.weight[i] * (x[i] - mean) / sqrt(square + norm.eps) +
               (norm.bias ? norm.bias[i] : 0);
}

static double *norms_of(minillm_norm norm, ptrdiff_t rows, ptrdiff_t d, const double *x) {
    double *y = keep_zeros(rows * d);
    for (ptrdiff_t b = 0; b < rows; b++)
        norm_of(norm, d, x + b * d, y + b * d);
    return y;
}

static double activate(int activation, double u, double gate) {
    switch (activation) {
    case MINILLM_GELU_TANH: return gelu(u);
    case MINILLM_GELU: return u * (1 + erf(u / sqrt(2))) / 2;
    case MINILLM_RELU2: return u > 0 ? u * u : 0;
    default: return gate / (1 + exp(-gate)) * u;
    }
}

/* What the definition in decode.c does with one head: rotate its query or key. */
static void rotate_head(const minillm_decoder *p, ptrdiff_t b, double *x) {
    for (ptrdiff_t i = 0; i < p->pairs; i++) {
        double *one = x + (p->interleaved ? 2 * i : i);
        double *two = one + (p->interleaved ? 1 : p->pairs);
        double c = p->cos.data[b * p->cos.batch + i], s = p->sin.data[b * p->sin.batch + i];
        double rotated = *one * c - *two * s;
        *two = *two * c + *one * s;
        *one = rotated;
    }
}

static double *in_double(ptrdiff_t n, const float *x) {
    double *y = keep_zeros(n);
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] = x[i];
    return y;
}

/* The output of attention's heads (B, H * D) in block number `index`. */
static double *heads_of(const minillm_decoder *p, ptrdiff_t index, double *qkv) {
    const minillm_block *block = p->blocks + index;
    ptrdiff_t D = p->D, width = (p->H + 2 * p->Hkv) * D;
    double *out = keep_zeros(p->B * p->H * D);
    for (ptrdiff_t b = 0; b < p->B; b++) {
        const minillm_sequence *sequence = p->sequences[b];
        ptrdiff_t length = sequence->length, T = length + 1;
        double *P = keep_zeros(T);
        double *K = in_double(p->Hkv * sequence->capacity * D, sequence->K[index]);
        double *V = in_double(p->Hkv * sequence->capacity * D, sequence->V[index]);
        for (ptrdiff_t h = 0; h < p->H + p->Hkv; h++) {
            double *x = qkv + b * width + h * D;
            minillm_norm norm = h < p->H ? block->q_norm : block->k_norm;
            if (norm.weight)
                norm_of(norm, D, x, x);
            rotate_head(p, b, x);
        }
        for (ptrdiff_t h = 0; h < p->H; h++) {
            ptrdiff_t kv = h / (p->H / p->Hkv), first = kv * sequence->capacity * D;
            const double *q = qkv + b * width + h * D, *key = qkv + b * width + (p->H + kv) * D;
            double total = 0;
            memcpy(K + first + length * D, key, D * sizeof(double));
            memcpy(V + first + length * D, key + p->Hkv * D, D * sizeof(double));
            for (ptrdiff_t t = 0; t < T; t++) {
                double score = 0;
                for (ptrdiff_t i = 0; i < D; i++)
                    score += q[i] * K[first + t * D + i];
                P[t] = sequence->key_mask && !sequence->key_mask[t] ? 0 : exp(score * block->scale);
                total += P[t];
            }
            for (ptrdiff_t t = 0; t < T; t++)
                for (ptrdiff_t i = 0; i < D; i++)
                    out[(b * p->H + h) * D + i] += P[t] / total * V[first + t * D + i];
        }
    }
    return out;
}

/* A token through two blocks. GELU comes with LayerNorm, the other activations with RMSNorm and
 * rotary positions, squared ReLU with norms of queries and keys. Sequence b has length 9 - b % 4, and a
 * mask if b > 0. */
static void check_decode(ptrdiff_t B, ptrdiff_t H, ptrdiff_t group, ptrdiff_t D, ptrdiff_t d,
                         ptrdiff_t n_hidden, int type, int activation) {
    enum { BLOCKS = 2, LENGTH = 9, CAPACITY = 12, V = 101 };
    ptrdiff_t Hkv = H / group, n_cache = Hkv * CAPACITY * D, width = (H + 2 * Hkv) * D;
    int classic = activation == MINILLM_GELU_TANH || activation == MINILLM_GELU;
    minillm_norm norm = {keep_numbers(d), classic ? keep_numbers(d) : NULL, 0.1};
    minillm_norm head_norm = {activation == MINILLM_RELU2 ? keep_numbers(D) : NULL, NULL, 0.1};
    minillm_block blocks[BLOCKS];
    unsigned char *mask = keep(malloc(LENGTH + 1));
    for (ptrdiff_t i = 0; i <= LENGTH; i++)
        mask[i] = i != 2;
    minillm_sequence *sequence = keep(calloc(B, sizeof *sequence)), **sequences;
    sequences = keep(calloc(B, sizeof *sequences));
    for (ptrdiff_t b = 0; b < B; b++) {
        float **K = keep(calloc(2 * BLOCKS, sizeof *K)), **V = K + BLOCKS;
        for (int i = 0; i < BLOCKS; i++) {
            K[i] = keep_numbers(n_cache);
            V[i] = keep_numbers(n_cache);
        }
        sequence[b] = (minillm_sequence){LENGTH - b % 4, CAPACITY - b % 2, K, V, b ? mask : NULL};
        sequences[b] = sequence + b;
    }
    ptrdiff_t pairs = classic ? 0 : D / 2;
    minillm_decoder p = {
        .B = B, .d = d, .H = H, .Hkv = Hkv, .D = D, .n_blocks = BLOCKS,
        .pairs = pairs, .activation = activation, .interleaved = activation == MINILLM_RELU2,
        .cos = {keep_numbers(B * pairs + 1), pairs, 0, 0},
        .sin = {keep_numbers(B * pairs + 1), pairs, 0, 0},
        .sequences = (const minillm_sequence *const *)sequences, .blocks = blocks, .norm = norm,
        .x = keep_numbers(B * d), .logits = keep_numbers(B * V),
    };
    double *x = in_double(B * d, p.x);
    for (int i = 0; i < BLOCKS; i++) {
        minillm_block *block = blocks + i;
        *block = (minillm_block){
            .norm1 = norm, .norm2 = norm, .q_norm = head_norm, .k_norm = head_norm, .scale = 0.1f,
        };
        double *W = make_linear(&block->qkv, width, d, type, i);
        double *qkv = linear(&block->qkv, W, B, norms_of(norm, B, d, x));
        double *heads = heads_of(&p, i, qkv);
        W = make_linear(&block->output, d, H * D, type, i);
        double *branch = linear(&block->output, W, B, heads);
        for (ptrdiff_t e = 0; e < B * d; e++)
            x[e] += branch[e];
        double *normed = norms_of(norm, B, d, x);
        W = make_linear(&block->expand, n_hidden, d, type, i);
        double *hidden = linear(&block->expand, W, B, normed);
        W = make_linear(&block->gate, n_hidden, d, type, i);
        double *gate = linear(&block->gate, W, B, normed);
        for (ptrdiff_t e = 0; e < B * n_hidden; e++)
            hidden[e] = activate(activation, hidden[e], gate[e]);
        W = make_linear(&block->contract, d, n_hidden, type, i);
        branch = linear(&block->contract, W, B, hidden);
        for (ptrdiff_t e = 0; e < B * d; e++)
            x[e] += branch[e];
    }
    double *W = make_linear(&p.head, V, d, type, 1);
    double *logits = linear(&p.head, W, B, norms_of(norm, B, d, x));
    failures += minillm_decode(&p);
    compare("decode", B * V, p.logits, logits, 1e-4);
    while (n_kept > 0)
        free(kept[--n_kept]);
}

#if defined(_OPENMP) && defined(__linux__)
int threads_for(double work); /* threads.c */

static void *spin(void *stop) {
    while (!*(atomic_int *)stop)
        ;
    return NULL;
}

static int becomes(int threads) { /* within a minute, for a kernel of 2 million multiply-adds */
    for (int tries = 0; tries < 60000 && threads_for(2e6) != threads; tries++)
        usleep(1000);
    return threads_for(2e6) == threads;
}

/* While other threads of the process keep the cores busy, a small kernel runs on one thread, a large
 * one on all of them; afterwards both run on all of them. */
static void check_sharing(void) {
    enum { MOST = 64 };
    int spinning = (int)sysconf(_SC_NPROCESSORS_ONLN);
    pthread_t thread[MOST];
    atomic_int stop = 0;
    if (spinning > MOST)
        return;
    for (int i = 0; i < spinning; i++)
        pthread_create(&thread[i], NULL, spin, &stop);
    int shares = becomes(1) && threads_for(1e9) == 2;
    stop = 1;
    for (int i = 0; i < spinning; i++)
        pthread_join(thread[i], NULL);
    if (!shares || !becomes(2)) {
        printf("threads: a kernel gets %d beside others\n", threads_for(2e6));
        failures++;
    }
}
#endif

int main(void) {
#ifdef __AMX_BF16__
    if (!minillm_may_use_amx()) {
        printf("skipped: built for AMX, which this machine doesn't have\n");
        return 0;
    }
#endif
#if defined(_OPENMP) && defined(__linux__)
    minillm_set_num_threads(2);
    check_sharing();
#endif
    for (int threads = 1; threads <= 3; threads++) {
        minillm_set_num_threads(threads);
        for (ptrdiff_t n = 1; n < 40; n += 6)
            check_matmul(1, n, 2 * n + 1, n + 3);
        check_matmul(1, 200, 150, 401);
        check_matmul(1, 2055, 9, 10);
        check_matmul(1, 130, 161, 33); /* with AMX: tiles, complete and at the edges */
        check_matmul(1, 30, 401, 400);
        check_matmul(3, 70, 65, 67);
        check_matmul(1, 3, 600, 300);
        check_matmul(1, 41, 64, 50);
        check_matmul(1, 20, 40, 0);
        check_linear_backward(70, 33, 40, 0);
        check_linear_backward(5, 64, 96, 1);
        for (ptrdiff_t M = 1; M <= 9; M++) {
            check_quantized(M, 11 + 100 * M, 60 * M + 7);
            check_int4(M, 11 + 100 * M, 60 * M + 7);
        }
        for (int variant = 0; variant < 12; variant++) {
            int causal = variant & 1, masked = variant >> 1 & 1, bias = variant / 4;
            check_attention(1, 3, 1, 150, 150, 64, causal, masked, bias);
            check_attention(2, 4, 2, 290, 310, 32, causal, masked, bias);
            check_attention(1, 2, 2, 3, 140, 40, causal, masked, bias);
            check_attention(2, 6, 3, 5, 140, 32, causal, masked, bias);
            check_attention(1, 2, 1, 1, 33, 16, causal, masked, bias);
            check_attention(1, 2, 1, 70, 200, 32, causal, masked, bias);
            check_attention(1, 2, 2, 70, 40, 32, causal, masked, bias); /* some see no key */
        }
        check_rotate(1, 1, 1, 2, 1);
        check_rotate(2, 3, 5, 9, 3);
        check_rotate(3, 4, 70, 64, 32);
        for (int type = MINILLM_FLOAT32; type <= MINILLM_INT4; type++)
            for (int activation = MINILLM_GELU_TANH; activation <= MINILLM_SWIGLU; activation++) {
                check_decode(1, 3, 1, 8, 24, 40, type, activation);
                check_decode(18, 4, 2, 10, 44, 70, type, activation);
            }
        check_decode(2, 4, 1, 256, 700, 1500, MINILLM_INT4, MINILLM_SWIGLU); /* many threads */
        check_rows(1, 3);
        check_rows(70, 33);
        check_rows(600, 130);
    }
    printf("%s, %d threads at most: %d failures\n", minillm_compiler(), 3, failures);
    return failures != 0;
}
