"""What this machine can do at most: multiply-adds and memory traffic, measured through the C library.

Both functions need the C extension, and run with the instruction set in use. The best of several
repetitions counts: other programs can only make a measurement slower, never faster.
"""

import time

import numpy as np

from minillm.kernels.c_library import ffi, get_num_threads, lib, pointer, set_num_threads


def fma_peak(threads=None, seconds=0.2):
    """-> GFLOP/s of fused multiply-adds between registers, on `threads` (default: those in use).

    On a set without FMA (baseline on x86-64) a multiplication and an addition count the same.
    """
    result = ffi.new("float *")

    def run(n):
        return lib.minillm_run_fmas(n, result)

    return _best(run, seconds, threads) / 1e9


def read_bandwidth(threads=None, seconds=0.5, megabytes=256):
    """-> GB/s when `threads` (default: those in use) read an array much larger than the caches."""
    data = np.ones(megabytes * 10**6 // 4, np.float32)

    def run(n):
        for _ in range(n):
            lib.minillm_read_memory(data.size, pointer(data))
        return n * data.nbytes

    return _best(run, seconds, threads, n=1) / 1e9


def _best(run, seconds, threads, n=100_000):
    """The highest rate, in `run(n)`'s units per second, of the runs that fit into `seconds`."""
    before = get_num_threads()
    set_num_threads(before if threads is None else threads)
    try:
        run(n)  # wakes the threads and the clock, and touches the memory
        best = 0.0
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or best == 0:
            start = time.perf_counter()
            amount = run(n)
            best = max(best, amount / (time.perf_counter() - start))
        return best
    finally:
        set_num_threads(before)
