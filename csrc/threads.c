/* threads.c: how many threads a kernel gets, and where they run.
 *
 * They are OpenMP's. With schedule(dynamic) a thread takes a new piece of the work when it has
 * finished one, so if its core is busy elsewhere, the others do more. Without OpenMP the pragmas are
 * ignored, and the loops are the ordinary ones that they look like.
 *
 * Every result is bit for bit the same for any number of threads. So the work is divided by outputs;
 * or a sum into parts that are always the same, which are added in order. */
#define _GNU_SOURCE /* for sched_getcpu and affinities */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include "simd.h"

#ifndef _OPENMP
void minillm_set_num_threads(int n) { (void)n; }
int minillm_get_num_threads(void) { return 1; }
void minillm_avoid_callers_core(int on) { (void)on; }
int threads_for(double work) { return (void)work, 1; }
#else
static atomic_int most_threads = 1, avoid_callers_core = 0;
static _Thread_local int settled; /* how many threads, with this one, avoid its core */

void minillm_set_num_threads(int n) { most_threads = (int)max(1, min(n, 1024)); }
int minillm_get_num_threads(void) { return most_threads; }
void minillm_avoid_callers_core(int on) { avoid_callers_core = on; }

/* When no core is idle, Linux tends to put a woken thread on the core of the thread that woke it;
 * there it waits until the caller is done. So, if the program asks for it, the other threads must
 * not run on the caller's core, unless the user has said where threads belong (OMP_PROC_BIND). */
static void settle(int threads) {
#ifdef __linux__
    static _Thread_local int avoided_core;
    int core = sched_getcpu();
    cpu_set_t cores;
    if ((threads == settled && core == avoided_core) || core < 0 ||
        omp_get_proc_bind() != omp_proc_bind_false ||
        sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) == 1)
        return;
    CPU_CLR(core, &cores);
    #pragma omp parallel num_threads(threads)
    if (omp_get_thread_num() > 0)
        sched_setaffinity(0, sizeof cores, &cores);
    avoided_core = core;
#endif
    settled = threads;
}

/* All threads or one: OpenMP ends the threads that a smaller team doesn't need, and starting them
 * again is slow. */
int threads_for(double work) {
    int threads = work < 1e6 ? 1 : most_threads;
    if (threads > 1 && avoid_callers_core)
        settle(threads);
    return threads;
}

/* fork() copies only the calling thread, and in the child GCC's OpenMP would wait for the others
 * forever. So they end before it, and start again when needed. (Clang's handles fork itself.) */
static void before_fork(void) {
#ifndef __clang__
    omp_pause_resource_all(omp_pause_hard);
#endif
    settled = 0;
}

__attribute__((constructor)) static void when_loaded(void) {
    omp_get_max_threads(); /* makes Clang's OpenMP read the environment now */
    pthread_atfork(before_fork, NULL, NULL);
}
#endif
