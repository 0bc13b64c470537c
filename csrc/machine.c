/* machine.c: what this machine can run, and its peak rate of multiply-adds. */
#include "simd.h"
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

int minillm_lanes_of_chip(void) {
#if defined(__x86_64__) || defined(__i386__)
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return avx2 && avx512 ? 16 : avx2 ? 8 : 4;
#else
    return 4;
#endif
}

/* Tile registers enlarge by 8 KB what Linux saves when it switches threads, so it grants them only
 * on request, once for a process (Linux: Documentation/arch/x86/xstate.rst). */
int minillm_may_use_amx(void) {
#if defined(__x86_64__) && defined(__linux__)
    enum { BF16 = 1 << 22, TILE = 1 << 24, ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & BF16) || !(d & TILE))
        return 0;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
#else
    return 0;
#endif
}

const char *minillm_compiler(void) {
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

#ifdef __AMX_BF16__
#include "amx.h"

/* n times 4 tile products between registers. Six products are needed for each number of C. */
double minillm_run_fmas(isize n, float *results) {
    int threads = threads_for(1e9);
    #pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; thread++) {
        _Alignas(64) float C[SIDE][SIDE];
        configure_tiles(); /* and fill them with zeros */
        for (isize k = 0; k < n; k++)
            add_products();
        _tile_stored(0, C, sizeof(C[0]));
        _tile_release();
        results[thread] = C[0][0];
    }
    return 2.0 * 4 * SIDE * SIDE * DEPTH / 6 * (double)n * threads;
}
#else
/* n times 12 independent FMAs between registers. At least 8 must be in flight (tile.h), and 12 sums
 * and the two operands fit into the 16 registers of the older instruction sets. */
double minillm_run_fmas(isize n, float *results) {
    int threads = threads_for(1e9);
    #pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; thread++) {
        vec sums[12], a = broadcast(0.999f), b = broadcast(0.001f), total = broadcast(0);
        for (int i = 0; i < 12; i++)
            sums[i] = broadcast((float)(thread + i));
        for (isize k = 0; k < n; k++)
            for (int i = 0; i < 12; i++)
                sums[i] = sums[i] * a + b;
        for (int i = 0; i < 12; i++)
            total += sums[i];
        results[thread] = horizontal_sum(total); /* a result, so the compiler keeps the loop */
    }
    return 2.0 * 12 * LANES * (double)n * threads;
}
#endif
