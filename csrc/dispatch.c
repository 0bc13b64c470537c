/* dispatch.c: which compilation of the kernels runs, and on how many threads.
 *
 * Every kernel source is compiled once for each instruction set (setup.py), with the name of the
 * set at the end of each function: minillm_matmul_avx2 and so on. When the library is loaded it
 * asks the chip what it has, and from then on the public functions at the end of this file call
 * the widest of them. Only this file is compiled for the plain machine, so nothing that the chip
 * doesn't know is executed before it has been asked.
 *
 * How to add a kernel: see simd.h. */
#include "minillm.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#define FOR_EACH_KERNEL(DO, isa) \
    DO(matmul, isa) DO(matmul_rung, isa) DO(attention, isa) DO(attention_backward, isa) \
    DO(attention_rung, isa) DO(gelu_tanh, isa) DO(gelu_tanh_backward, isa) DO(layer_norm, isa) \
    DO(layer_norm_backward, isa) DO(cross_entropy, isa) DO(cross_entropy_backward, isa) \
    DO(adam, isa) DO(sum_of_squares, isa) DO(run_fmas, isa) DO(read_memory, isa)

/* One compilation of all the kernels. __typeof__ repeats the parameters from minillm.h, so that
 * they are written down only there. */
#define MEMBER(name, isa) __typeof__(minillm_##name) *name;
struct kernels {
    const char *isa;
    int (*supported)(void);
    FOR_EACH_KERNEL(MEMBER, )
};

#define DECLARATION(name, isa) __typeof__(minillm_##name) minillm_##name##_##isa;
#define DECLARE_ISA(isa) FOR_EACH_KERNEL(DECLARATION, isa)
#define INITIALIZER(name, isa) .name = minillm_##name##_##isa,
#define KERNELS_OF(isa) { #isa, isa##_supported, FOR_EACH_KERNEL(INITIALIZER, isa) }

#ifdef HAVE_AVX512
DECLARE_ISA(avx512)
static int avx512_supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#ifdef HAVE_AVX2
DECLARE_ISA(avx2)
static int avx2_supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

DECLARE_ISA(baseline)
static int baseline_supported(void) { return 1; }

static const struct kernels compiled[] = {
#ifdef HAVE_AVX512
    KERNELS_OF(avx512),
#endif
#ifdef HAVE_AVX2
    KERNELS_OF(avx2),
#endif
    KERNELS_OF(baseline),
};

enum { COMPILED = sizeof compiled / sizeof compiled[0] };

static const struct kernels *in_use = &compiled[COMPILED - 1];
static int threads = 1;

__attribute__((constructor)) static void choose_when_loaded(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init();
#endif
    int widest = 0;
    while (!compiled[widest].supported())
        widest++;
    in_use = &compiled[widest];
#ifdef _OPENMP
    threads = omp_get_max_threads(); /* the cores, or OMP_NUM_THREADS */
#endif
}

int minillm_isa_count(void) { return COMPILED; }
const char *minillm_isa_name(int i) { return compiled[i].isa; }
int minillm_isa_supported(int i) { return compiled[i].supported() != 0; }
int minillm_current_isa(void) { return (int)(in_use - compiled); }

int minillm_use_isa(int i)
{
    if (i < 0 || i >= COMPILED || !compiled[i].supported())
        return MINILLM_UNKNOWN_ISA;
    in_use = &compiled[i];
    return MINILLM_OK;
}

int minillm_get_num_threads(void) { return threads; }

void minillm_set_num_threads(int n)
{
#ifdef _OPENMP
    threads = n < 1 ? 1 : n;
#else
    (void)n;
#endif
}

int minillm_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

const char *minillm_compiler(void)
{
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

/* The public kernels: each forwards to the compilation in use. */

int minillm_matmul(ptrdiff_t batch, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K,
                   const float *A, ptrdiff_t lda, ptrdiff_t step_A, int transpose_A,
                   const float *B, ptrdiff_t ldb, ptrdiff_t step_B, int transpose_B,
                   float *C, ptrdiff_t ldc, ptrdiff_t step_C, int accumulate, const float *bias)
{
    return in_use->matmul(batch, M, N, K, A, lda, step_A, transpose_A,
                          B, ldb, step_B, transpose_B, C, ldc, step_C, accumulate, bias);
}

int minillm_attention(ptrdiff_t B, ptrdiff_t H, ptrdiff_t Tq, ptrdiff_t Tk, ptrdiff_t D,
                      const minillm_heads *Q, const minillm_heads *K, const minillm_heads *V,
                      const unsigned char *key_mask, int causal, float scale,
                      const minillm_heads *out, float *lse)
{
    return in_use->attention(B, H, Tq, Tk, D, Q, K, V, key_mask, causal, scale, out, lse);
}

int minillm_attention_backward(ptrdiff_t B, ptrdiff_t H, ptrdiff_t Tq, ptrdiff_t Tk, ptrdiff_t D,
                               const minillm_heads *dout, const minillm_heads *Q,
                               const minillm_heads *K, const minillm_heads *V,
                               const minillm_heads *out, const float *lse,
                               const unsigned char *key_mask, int causal, float scale,
                               const minillm_heads *dQ, const minillm_heads *dK,
                               const minillm_heads *dV)
{
    return in_use->attention_backward(B, H, Tq, Tk, D, dout, Q, K, V, out, lse, key_mask, causal,
                                      scale, dQ, dK, dV);
}

int minillm_attention_rung(int rung, ptrdiff_t heads, ptrdiff_t T, ptrdiff_t D,
                           const float *Q, const float *K, const float *V, float *out)
{
    return in_use->attention_rung(rung, heads, T, D, Q, K, V, out);
}

int minillm_matmul_rung(int rung, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K,
                        const float *A, const float *B, float *C)
{
    return in_use->matmul_rung(rung, M, N, K, A, B, C);
}

int minillm_gelu_tanh(ptrdiff_t n, const float *x, float *y) { return in_use->gelu_tanh(n, x, y); }

int minillm_gelu_tanh_backward(ptrdiff_t n, const float *dy, const float *x, float *dx)
{
    return in_use->gelu_tanh_backward(n, dy, x, dx);
}

int minillm_layer_norm(ptrdiff_t rows, ptrdiff_t d, const float *x, const float *gain,
                       const float *bias, float eps, float *y, float *mean, float *inverse_std)
{
    return in_use->layer_norm(rows, d, x, gain, bias, eps, y, mean, inverse_std);
}

int minillm_layer_norm_backward(ptrdiff_t rows, ptrdiff_t d, const float *dy, const float *x,
                                const float *mean, const float *inverse_std, const float *gain,
                                float *dx, float *dgain, float *dbias)
{
    return in_use->layer_norm_backward(rows, d, dy, x, mean, inverse_std, gain, dx, dgain, dbias);
}

int minillm_cross_entropy(ptrdiff_t rows, ptrdiff_t V, const float *logits, const int64_t *targets,
                          float smoothing, float *losses, float *log_total)
{
    return in_use->cross_entropy(rows, V, logits, targets, smoothing, losses, log_total);
}

int minillm_cross_entropy_backward(ptrdiff_t rows, ptrdiff_t V, const float *logits,
                                   const int64_t *targets, const float *log_total,
                                   float smoothing, float weight, float *dlogits)
{
    return in_use->cross_entropy_backward(rows, V, logits, targets, log_total, smoothing, weight,
                                          dlogits);
}

int minillm_adam(ptrdiff_t n, float *w, const float *g, float *m, float *v, float beta1,
                 float beta2, float l2, float keep, float step, float v_scale, float eps)
{
    return in_use->adam(n, w, g, m, v, beta1, beta2, l2, keep, step, v_scale, eps);
}

double minillm_sum_of_squares(ptrdiff_t n, const float *x) { return in_use->sum_of_squares(n, x); }

double minillm_run_fmas(ptrdiff_t n, float *result) { return in_use->run_fmas(n, result); }

float minillm_read_memory(ptrdiff_t n, const float *data) { return in_use->read_memory(n, data); }
