/* threads.c: a kernel's work is cut into pieces, and a few threads take them, one after another.
 *
 * A library for this, such as OpenMP, ends each loop by waiting for all of its threads, also for
 * one that has not even begun because some other program (or the threads of NumPy's BLAS, which
 * keep a core busy for a tenth of a second after each product) has its core. Here the caller works
 * too, and waits only for pieces that somebody has begun. A thread that comes late finds nothing
 * left, and has held up nobody. Which thread does a piece never shows in the result. */
#define _GNU_SOURCE /* for sched_getcpu and affinities */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include "simd.h"

/* How long a thread looks for its next piece before it goes to sleep. To wake one takes 10 to 50
 * microseconds, and between two kernels of a training step lie some 20 microseconds of Python. */
#define SPIN_SECONDS 100e-6

enum { MOST_THREADS = 1025 }; /* 0 to 1,024 */

static atomic_int most_threads = 1; /* what set_num_threads said */

static struct {
    atomic_flag is_in_use; /* one job at a time */
    int workers;           /* how many threads exist beside the caller, who is number 0 */
    int caller_core;       /* which they are kept off, or -1 */
    pthread_t ids[MOST_THREADS];

    piece_function do_piece; /* the job in hand: only for those who have taken one of its pieces */
    const void *job;
    float *workspaces;       /* one after another, */
    ptrdiff_t workspace;     /* so many floats for each thread */
    /* How many pieces nobody has taken yet, times MOST_THREADS, plus how many threads may take one.
     * In one number, so that to look and to take is one step (compare and exchange). */
    _Atomic uint64_t left;
    _Atomic ptrdiff_t unfinished;

    pthread_mutex_t mutex; /* only for going to sleep and for waking up */
    struct { atomic_int is_asleep; pthread_cond_t wake; } threads[MOST_THREADS];
} pool;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Is there a piece left that this thread may take? */
static int is_for(int thread, uint64_t left)
{
    return left >= MOST_THREADS && thread < (int)(left % MOST_THREADS);
}

static int has_work(int thread) { return is_for(thread, atomic_load(&pool.left)); }

/* Take and do pieces until none is left. Nobody can begin the next job before a piece that is taken
 * is done, so what `pool` says of the job stays true meanwhile. */
static void work(int thread)
{
    uint64_t left = atomic_load(&pool.left);
    while (is_for(thread, left)) {
        if (!atomic_compare_exchange_weak(&pool.left, &left, left - MOST_THREADS))
            continue; /* somebody else was quicker; `left` is now what there is */
        pool.do_piece(pool.job, (ptrdiff_t)(left / MOST_THREADS) - 1,
                      pool.workspaces + thread * pool.workspace);
        atomic_fetch_sub(&pool.unfinished, 1);
        left = atomic_load(&pool.left);
    }
}

/* No wake-up can be lost: `share_out` writes `left` and then reads `is_asleep`; a worker writes
 * `is_asleep` and then reads `left`. Whichever write came first, the other side reads after it: so
 * either the worker finds the work, or `share_out` the sleeper. */
static void sleep_until_work(int thread)
{
    pthread_mutex_lock(&pool.mutex);
    atomic_store(&pool.threads[thread].is_asleep, 1);
    while (!has_work(thread))
        pthread_cond_wait(&pool.threads[thread].wake, &pool.mutex);
    atomic_store(&pool.threads[thread].is_asleep, 0);
    pthread_mutex_unlock(&pool.mutex);
}

static void *worker(void *number)
{
    for (int thread = (int)(intptr_t)number;;) {
        double end = now() + SPIN_SECONDS;
        while (!has_work(thread) && now() < end)
            continue;
        if (!has_work(thread))
            sleep_until_work(thread);
        work(thread);
    }
    return NULL;
}

static void wake(int thread)
{
    if (!atomic_load(&pool.threads[thread].is_asleep))
        return;
    pthread_mutex_lock(&pool.mutex);
    pthread_cond_signal(&pool.threads[thread].wake);
    pthread_mutex_unlock(&pool.mutex);
}

/* Signals are for the threads of the program, so the new ones block them. If the system gives no
 * more threads, there are fewer. */
static void start_workers(int wanted)
{
    pool.caller_core = -1; /* for them all, old and new, to be placed */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int number = pool.workers + 1; number <= wanted; pool.workers = number++) {
        if (pthread_create(&pool.ids[number], NULL, worker, (void *)(intptr_t)number) != 0)
            break;
        pthread_detach(pool.ids[number]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* When no core is idle, Linux likes to put a thread that is woken on the core of the one who woke
 * it: there it would wait until the caller is done. So the caller's core is forbidden to them. */
static void keep_off_this_core(void)
{
#ifdef __linux__
    cpu_set_t cores;
    int core = sched_getcpu();
    if (core < 0 || core == pool.caller_core ||
        sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) < 2)
        return;
    CPU_CLR(core, &cores);
    for (int number = 1; number <= pool.workers; number++)
        pthread_setaffinity_np(pool.ids[number], sizeof cores, &cores);
    pool.caller_core = core;
#endif
}

int share_out(ptrdiff_t pieces, int threads, ptrdiff_t workspace, piece_function do_piece,
              const void *job)
{
    threads = (int)max(1, min(min(threads, pieces), MOST_THREADS - 1));
    workspace = round_up(workspace, 16); /* no cache line belongs to two threads */
    float *workspaces = workspace == 0 ? NULL : allocate(threads * workspace);
    if (workspaces == NULL && workspace > 0)
        return MINILLM_OUT_OF_MEMORY;
    if (threads == 1 || atomic_flag_test_and_set(&pool.is_in_use)) {
        while (pieces-- > 0) /* alone; also when another thread of the program has the workers */
            do_piece(job, pieces, workspaces);
    } else {
        if (pool.workers < threads - 1)
            start_workers(threads - 1);
        keep_off_this_core();
        pool.do_piece = do_piece;
        pool.job = job;
        pool.workspaces = workspaces;
        pool.workspace = workspace;
        atomic_store(&pool.unfinished, pieces);
        atomic_store(&pool.left, (uint64_t)pieces * MOST_THREADS + (uint64_t)threads);
        for (int thread = 1; thread < min(threads, pool.workers + 1); thread++)
            wake(thread);
        work(0);
        while (atomic_load(&pool.unfinished) > 0)
            sched_yield(); /* somebody has a piece in hand, and perhaps no core */
        atomic_flag_clear(&pool.is_in_use);
    }
    free(workspaces);
    return MINILLM_OK;
}

/* No workers, no job. Also for the child of a fork(), which copies only the calling thread. */
static void begin_empty(void)
{
    pthread_mutex_init(&pool.mutex, NULL);
    for (int thread = 0; thread < MOST_THREADS; thread++) {
        pthread_cond_init(&pool.threads[thread].wake, NULL);
        atomic_store(&pool.threads[thread].is_asleep, 0);
    }
    atomic_store(&pool.left, 0);
    atomic_flag_clear(&pool.is_in_use);
    pool.workers = 0;
    pool.caller_core = -1;
}

__attribute__((constructor)) static void when_loaded(void)
{
    begin_empty();
    pthread_atfork(NULL, NULL, begin_empty);
}

void minillm_set_num_threads(int n)
{
    atomic_store(&most_threads, (int)max(1, min(n, MOST_THREADS - 1)));
}

int minillm_get_num_threads(void) { return atomic_load(&most_threads); }

int threads_for(double work)
{
    int most = minillm_get_num_threads();
    double worthwhile = work / 500e3;
    return worthwhile < 2 ? 1 : worthwhile < most ? (int)worthwhile : most;
}
