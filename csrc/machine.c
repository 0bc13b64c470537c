/* machine.c: what this machine can do at most. Every speed is to be seen beside these two numbers.
 *
 * The caller measures the time that each of these functions takes. */
#include "simd.h"

DECLARE_KERNEL(minillm_run_fmas);
DECLARE_KERNEL(minillm_read_memory);

/* `n` times 12 FMAs that don't depend on each other, from register to register, on each thread.
 * An FMA takes 4 cycles and two can begin in each, so at least 8 have to be under way; 12 sums and
 * the two factors fit the 16 registers of the older instruction sets. -> how many floating-point
 * operations that was, on all threads together. */
double KERNEL(minillm_run_fmas)(ptrdiff_t n, float *result)
{
    int threads = minillm_get_num_threads();
    float total = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : total)
    for (int thread = 0; thread < threads; thread++) {
        vec sums[12], a = broadcast(0.999f), b = broadcast(0.001f);
        for (int i = 0; i < 12; i++)
            sums[i] = broadcast((float)(thread + i));
        for (ptrdiff_t k = 0; k < n; k++)
            for (int i = 0; i < 12; i++)
                sums[i] = sums[i] * a + b;
        for (int i = 0; i < 12; i++)
            total += horizontal_sum(sums[i]);
    }
    *result = total; /* somebody uses the result, so the compiler can't leave the loop out */
    return 2.0 * 12 * LANES * (double)n * threads;
}

/* Read n floats once, and return their sum. With an array much larger than the caches the time is
 * that of the memory. Each thread reads its own part from front to back; 8 sums, so that the
 * additions are never what is waited for. */
float KERNEL(minillm_read_memory)(ptrdiff_t n, const float *data)
{
    int threads = minillm_get_num_threads();
    float total = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : total)
    for (int thread = 0; thread < threads; thread++) {
        ptrdiff_t i = n * thread / threads, end = n * (thread + 1) / threads;
        vec sums[8] = {{0}};
        for (; i + 8 * LANES <= end; i += 8 * LANES)
            for (int j = 0; j < 8; j++)
                sums[j] += load(data + i + j * LANES);
        for (; i < end; i++)
            sums[0][0] += data[i];
        for (int j = 0; j < 8; j++)
            total += horizontal_sum(sums[j]);
    }
    return total;
}
