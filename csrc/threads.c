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
#include <stdatomic.h>
#include "simd.h"
#ifdef __linux__
#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#endif

#ifndef _OPENMP
void minillm_set_num_threads(int n) { (void)n; }
int minillm_get_num_threads(void) { return 1; }
void minillm_avoid_callers_core(int on) { (void)on; }
int threads_for(double work) { return (void)work, 1; }
#else
static atomic_int most_threads = 1, avoid_callers_core = 0;

void minillm_set_num_threads(int n) { most_threads = (int)max(1, min(n, 1024)); }
int minillm_get_num_threads(void) { return most_threads; }
void minillm_avoid_callers_core(int on) { avoid_callers_core = on; }

#ifdef __linux__
/* What each thread that calls kernels knows about its team, and about the threads of other libraries
 * in this process. */
enum { WATCHED = 16 };
static _Thread_local struct {
    int threads, cores, avoided_core; /* the team's size; the cores that it may use */
    pid_t members[1024];              /* the team's threads but the calling one */
    pid_t others[WATCHED];            /* some threads that aren't in the team */
    int n_watched;
    double others_for_each, listed, read, cpu; /* times in seconds */
    int others_are_busy;
} team;

static double seconds(clockid_t clock) {
    struct timespec time;
    return clock_gettime(clock, &time) == 0 ? time.tv_sec + 1e-9 * time.tv_nsec : 0;
}

/* Get to know the team. When no core is idle, Linux tends to put a woken thread on the core of the
 * thread that woke it. There it waits until the caller is done. So minillm_avoid_callers_core keeps
 * the other threads off the caller's core, unless the user places the threads (OMP_PROC_BIND). */
static void meet_team(int threads) {
    int core = sched_getcpu(), avoid = avoid_callers_core;
    cpu_set_t cores;
    if (threads == team.threads && (core == team.avoided_core || !avoid))
        return;
    team.cores = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : INT_MAX;
    avoid = avoid && core >= 0 && team.cores > 1 && team.cores < INT_MAX &&
            omp_get_proc_bind() == omp_proc_bind_false;
    if (avoid)
        CPU_CLR(core, &cores);
    pid_t *members = team.members; /* of the calling thread: each thread has its own `team` */
    #pragma omp parallel num_threads(threads)
    if (omp_get_thread_num() > 0) {
        members[omp_get_thread_num() - 1] = (pid_t)syscall(SYS_gettid);
        if (avoid)
            sched_setaffinity(0, sizeof cores, &cores);
    }
    team.threads = threads;
    team.avoided_core = core;
    team.listed = 0;
}

/* List the process's other threads. Watch only some of many: those of a library work and wait
 * together. */
static void list_others(void) {
    pid_t self = (pid_t)syscall(SYS_gettid);
    int others = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks)) != NULL;) {
        pid_t thread = atoi(task->d_name); /* 0: not a thread, "." */
        int is_other = thread != 0 && thread != self;
        for (int i = 0; i < team.threads - 1; i++)
            is_other = is_other && thread != team.members[i];
        if (is_other && others++ < WATCHED)
            team.others[others - 1] = thread;
    }
    if (tasks)
        closedir(tasks);
    team.n_watched = (int)min(others, WATCHED);
    team.others_for_each = others > 0 ? (double)others / team.n_watched : 0;
}

/* How many cores' worth of time the other threads have used since the last reading. */
static double read_others(void) {
    double before = team.read, cpu_before = team.cpu;
    team.cpu = 0;
    for (int i = 0; i < team.n_watched; i++) /* as pthread_getcpuclockid makes a clock's number */
        team.cpu += seconds((clockid_t)(~(unsigned)team.others[i] << 3 | 6));
    team.read = seconds(CLOCK_MONOTONIC);
    return (team.cpu - cpu_before) * team.others_for_each / (team.read - before);
}

/* Do other threads of this process keep the cores busy that the team needs?
 *
 * NumPy's BLAS, PyTorch's and others let their threads spin after a product, for up to a tenth of a
 * second, in case another one follows. A team's thread then has to share its core. Once in a while
 * the system lets it wait for 1 to 4 ms there, and the whole kernel with it: 100 times as long as a
 * small one takes on one thread.
 *
 * Read the others' clocks, at most every 100 microseconds: that takes a fifth of one. An average
 * over a long time says nothing about this moment, so unless nobody has done anything, read twice.
 * If fewer than half of the cores that the team could have besides the caller's are free, they are
 * busy. */
static int others_are_busy(int threads) {
    double now = seconds(CLOCK_MONOTONIC), passed = now - team.read;
    if (passed < 100e-6)
        return team.others_are_busy;
    int is_new = now - team.listed > 0.1;
    if (is_new) {
        list_others();
        team.listed = now;
    }
    double busy = read_others();
    if (is_new || (passed > 1e-3 && busy * passed > 20e-6)) {
        while (seconds(CLOCK_MONOTONIC) < team.read + 3e-6)
            ;
        busy = read_others();
    }
    team.others_are_busy = team.cores - 1 - busy < 0.5 * (min(threads, team.cores) - 1);
    return team.others_are_busy;
}
#endif

/* All threads or one, nothing between: OpenMP ends the threads that a smaller team leaves over, and
 * starting them again is slow. A kernel of a millisecond or more is shared even if others are busy:
 * a matrix product of n = 256 took 2.2 times as long for that, of n = 512 0.85 times. */
int threads_for(double work) {
    int threads = work < 1e6 ? 1 : most_threads;
#ifdef __linux__
    if (threads > 1) {
        meet_team(threads);
        threads = work < 1e8 && others_are_busy(threads) ? 1 : threads;
    }
#endif
    return threads;
}

/* fork() copies only the calling thread; in the child, GCC's OpenMP would wait for the others
 * forever. So end them before the fork. They start again when a kernel needs them. (Clang's OpenMP
 * handles fork itself.) */
static void before_fork(void) {
#ifndef __clang__
    omp_pause_resource_all(omp_pause_hard);
#endif
#ifdef __linux__
    team.threads = 0;
#endif
}

__attribute__((constructor)) static void when_loaded(void) {
    omp_get_max_threads(); /* makes Clang's OpenMP read the environment now */
    pthread_atfork(before_fork, NULL, NULL);
}
#endif
