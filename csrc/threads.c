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

enum { MOST_THREADS = 1025 /* 0 to 1,024 */, STACK_BYTES = 512 << 10 };

static atomic_int most_threads = 1; /* what set_num_threads said */

static struct {
    atomic_flag is_in_use; /* one job at a time */
    int workers;           /* how many threads exist beside the caller, who is number 0 */
    int placed;            /* how many of them `keep_off_this_core` has seen */
    pthread_t ids[MOST_THREADS];

    piece_function do_piece; /* the job in hand: only for those who have taken one of its pieces */
    const void *job;
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

static int is_finished(int thread)
{
    (void)thread;
    return atomic_load(&pool.unfinished) == 0;
}

/* Look for a while, then sleep. Whoever makes `condition` true calls `wake` afterwards: either it
 * sees that this thread is asleep, or this thread sees that the condition is true. */
static void wait_until(int (*condition)(int), int thread)
{
    for (double end = now() + SPIN_SECONDS; now() < end;)
        if (condition(thread))
            return;
    pthread_mutex_lock(&pool.mutex);
    atomic_store(&pool.threads[thread].is_asleep, 1);
    while (!condition(thread))
        pthread_cond_wait(&pool.threads[thread].wake, &pool.mutex);
    atomic_store(&pool.threads[thread].is_asleep, 0);
    pthread_mutex_unlock(&pool.mutex);
}

/* Wake threads number `first` to `end` - 1 where they sleep. */
static void wake(int first, int end)
{
    int is_locked = 0;
    for (int thread = first; thread < end; thread++)
        if (atomic_load(&pool.threads[thread].is_asleep)) {
            if (!is_locked)
                pthread_mutex_lock(&pool.mutex);
            is_locked = 1;
            pthread_cond_signal(&pool.threads[thread].wake);
        }
    if (is_locked)
        pthread_mutex_unlock(&pool.mutex);
}

/* Take and do pieces until none is left. Nobody can begin the next job before a piece that is taken
 * is done, so what `pool` says of the job stays true meanwhile. */
static void work(int thread)
{
    uint64_t left = atomic_load(&pool.left);
    while (is_for(thread, left)) {
        if (!atomic_compare_exchange_weak(&pool.left, &left, left - MOST_THREADS))
            continue; /* somebody else was quicker; `left` is now what there is */
        pool.do_piece(pool.job, (ptrdiff_t)(left / MOST_THREADS) - 1, thread);
        if (atomic_fetch_sub(&pool.unfinished, 1) == 1)
            wake(0, 1);
        left = atomic_load(&pool.left);
    }
}

static void *worker(void *number)
{
    for (;;) {
        wait_until(has_work, (int)(intptr_t)number);
        work((int)(intptr_t)number);
    }
    return NULL;
}

/* Signals are for the threads of the program, so the new ones block them all, but for those that
 * say that a thread has itself done something wrong. If the system gives no more threads, there
 * are fewer. */
static void start_workers(int wanted)
{
    sigset_t signals, before;
    sigfillset(&signals);
    sigdelset(&signals, SIGSEGV);
    sigdelset(&signals, SIGBUS);
    sigdelset(&signals, SIGFPE);
    sigdelset(&signals, SIGILL);
    pthread_sigmask(SIG_SETMASK, &signals, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    while (pool.workers < wanted) {
        int number = pool.workers + 1;
        if (pthread_create(&pool.ids[number], &attributes, worker, (void *)(intptr_t)number) != 0)
            break;
        pool.workers = number;
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* When no core is idle, Linux likes to put a thread that is woken on the core of the one who woke
 * it: there it would wait until the caller is done. So the caller's core is forbidden to the
 * workers. */
static void keep_off_this_core(void)
{
#ifdef __linux__
    static cpu_set_t allowed;
    int core = sched_getcpu();
    cpu_set_t cores;
    if (core < 0 || pool.workers == 0 || sched_getaffinity(0, sizeof cores, &cores) != 0)
        return;
    CPU_CLR(core, &cores);
    int is_done = pool.placed == pool.workers && CPU_EQUAL(&cores, &allowed);
    if (is_done || CPU_COUNT(&cores) == 0)
        return;
    for (int number = 1; number <= pool.workers; number++)
        pthread_setaffinity_np(pool.ids[number], sizeof cores, &cores);
    allowed = cores;
    pool.placed = pool.workers;
#endif
}

void share_out(ptrdiff_t pieces, int threads, piece_function do_piece, const void *job)
{
    threads = (int)min(threads, MOST_THREADS - 1);
    if (threads < 2 || pieces < 2 || atomic_flag_test_and_set(&pool.is_in_use)) {
        while (pieces-- > 0) /* alone; also when another thread of the program has the workers */
            do_piece(job, pieces, 0);
        return;
    }
    if (pool.workers < threads - 1)
        start_workers(threads - 1);
    keep_off_this_core();
    pool.do_piece = do_piece;
    pool.job = job;
    atomic_store(&pool.unfinished, pieces);
    atomic_store(&pool.left, (uint64_t)pieces * MOST_THREADS + (uint64_t)threads);
    wake(1, (int)min(threads, pool.workers + 1));
    work(0);
    wait_until(is_finished, 0);
    atomic_flag_clear(&pool.is_in_use);
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
    pool.workers = pool.placed = 0;
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
