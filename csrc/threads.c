/* threads.c: how many threads a kernel gets, and where they run.
 *
 * They are OpenMP's. With schedule(dynamic) each takes a new piece of the work when it has done
 * one: so if its core is busy elsewhere, the others do more. Without OpenMP the pragmas fall away,
 * and the loops are the ordinary ones that they look like.
 *
 * Every result is bit for bit the same for any number of threads. So the work is cut over outputs;
 * or a sum into parts that are always the same, and these are added in order. */
#define _GNU_SOURCE /* for sched_getcpu and affinities */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include "simd.h"

#ifndef _OPENMP
void minillm_set_num_threads(int n) { (void)n; }
int minillm_get_num_threads(void) { return 1; }
int threads_for(double work) { return (void)work, 1; }
#else
static atomic_int most_threads = 1;
static _Thread_local int team; /* how many threads, this one among them, have settled */

void minillm_set_num_threads(int n) { most_threads = (int)max(1, min(n, 1024)); }
int minillm_get_num_threads(void) { return most_threads; }

/* When no core is idle, Linux likes to put a thread that is woken on the core of the one who woke
 * it: there it would wait until the caller is done. So the caller's core is forbidden to the
 * others, unless the user has said where threads belong (OMP_PROC_BIND). */
static void settle(int threads) {
#ifdef __linux__
    static _Thread_local int avoided_core;
    int core = sched_getcpu();
    cpu_set_t cores;
    if ((threads == team && core == avoided_core) || core < 0 ||
        omp_get_proc_bind() != omp_proc_bind_false ||
        sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) == 1)
        return;
    CPU_CLR(core, &cores);
    #pragma omp parallel num_threads(threads)
    if (omp_get_thread_num() > 0)
        sched_setaffinity(0, sizeof cores, &cores);
    avoided_core = core;
#endif
    team = threads;
}

/* All or one: OpenMP ends the threads that a smaller team doesn't need, and starts them slowly. */
int threads_for(double work) {
    int threads = work < 1e6 ? 1 : most_threads;
    if (threads > 1)
        settle(threads);
    return threads;
}

/* fork() copies only the calling thread, and in the child GCC's OpenMP would wait for the others
 * forever. So they end first, and are made anew when needed. (Clang's looks after itself.) */
static void before_fork(void) {
#ifndef __clang__
    omp_pause_resource_all(omp_pause_hard);
#endif
    team = 0;
}

__attribute__((constructor)) static void when_loaded(void) {
    omp_get_max_threads(); /* Clang's OpenMP reads the environment when first asked */
    pthread_atfork(before_fork, NULL, NULL);
}
#endif
