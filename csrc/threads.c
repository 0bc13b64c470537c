/* threads.c: how many threads a kernel gets, and where they run.
 *
 * The threads are OpenMP's. With schedule(dynamic) a thread takes a new piece of work whenever it
 * finishes one, so if another program slows its core, the other threads do more. Without OpenMP the
 * compiler ignores the pragmas, and the loops run as ordinary ones.
 *
 * Results are bit for bit the same for any number of threads. Therefore each output belongs to one
 * thread; or a sum is cut into fixed parts, which are added in order. */
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
static _Thread_local int placed_threads; /* the size of the team that avoids this thread's core */

void minillm_set_num_threads(int n) { most_threads = (int)max(1, min(n, 1024)); }
int minillm_get_num_threads(void) { return most_threads; }
void minillm_avoid_callers_core(int on) { avoid_callers_core = on; }

/* When no core is idle, Linux tends to put a woken thread on the core of the thread that woke it.
 * There it waits until the caller is done. So minillm_avoid_callers_core keeps the other threads
 * off the caller's core, unless the user places the threads (OMP_PROC_BIND). */
static void place_threads(int threads) {
#ifdef __linux__
    static _Thread_local int avoided_core;
    int core = sched_getcpu();
    cpu_set_t cores;
    if ((threads == placed_threads && core == avoided_core) || core < 0 ||
        omp_get_proc_bind() != omp_proc_bind_false ||
        sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) == 1)
        return;
    CPU_CLR(core, &cores);
    #pragma omp parallel num_threads(threads)
    if (omp_get_thread_num() > 0)
        sched_setaffinity(0, sizeof cores, &cores);
    avoided_core = core;
#endif
    placed_threads = threads;
}

/* All threads or one, nothing between: OpenMP ends the threads that a smaller team leaves over, and
 * starting them again is slow. */
int threads_for(double work) {
    int threads = work < 1e6 ? 1 : most_threads;
    if (threads > 1 && avoid_callers_core)
        place_threads(threads);
    return threads;
}

/* fork() copies only the calling thread; in the child, GCC's OpenMP would wait for the others
 * forever. So end them before the fork. They start again when a kernel needs them. (Clang's OpenMP
 * handles fork itself.) */
static void before_fork(void) {
#ifndef __clang__
    omp_pause_resource_all(omp_pause_hard);
#endif
    placed_threads = 0;
}

__attribute__((constructor)) static void when_loaded(void) {
    omp_get_max_threads(); /* makes Clang's OpenMP read the environment now */
    pthread_atfork(before_fork, NULL, NULL);
}
#endif
