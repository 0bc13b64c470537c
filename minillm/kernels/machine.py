"""The limits of this machine: its peak rate of multiply-adds, and its memory bandwidth.

Both functions need the C extension and use the current instruction set. They return the best of
several repetitions: other programs can only make a measurement slower, never faster.
"""

import time
from contextlib import contextmanager

import numpy as np

from minillm.kernels import c_library, get_num_threads


def fma_peak(threads=None, seconds=0.2, instruction_set=None):
    """-> GFLOP/s of fused multiply-adds between registers

    threads: how many to use, by default the current number
    instruction_set: one of `c_library.supported`, by default the current one. Without FMA (baseline
        on x86-64) a multiply-add is two instructions, and still two operations.
    """
    extension = c_library.load(instruction_set or c_library.instruction_set)
    with _threads(extension.lib, threads):
        results = extension.ffi.new("float[]", extension.lib.minillm_get_num_threads())
        return _best(lambda n: extension.lib.minillm_run_fmas(n, results), seconds) / 1e9


def read_bandwidth(threads=None, seconds=0.5, megabytes=256):
    """-> GB/s of `threads` (by default the current ones) reading an array larger than the caches"""
    lib = c_library.load(c_library.supported[0]).lib  # widest vectors: arithmetic isn't the limit
    data = np.ones(megabytes * 10**6 // 4, np.float32)

    def run(n):
        for _ in range(n):
            lib.minillm_sum_of_squares(data.size, c_library.pointer(data))
        return n * data.nbytes

    with _threads(lib, threads):
        return _best(run, seconds, n=1) / 1e9


@contextmanager
def _threads(lib, threads):
    """Inside the block, let this extension use `threads`, by default the current number."""
    previous = lib.minillm_get_num_threads()
    lib.minillm_set_num_threads(threads or get_num_threads())
    try:
        yield
    finally:
        lib.minillm_set_num_threads(previous)


def _best(run, seconds, n=100_000):
    """-> the highest rate of the runs that fit into `seconds`: what `run(n)` returns, per second"""
    run(n)  # a warm-up: wake the threads, raise the clock rate, touch the memory
    best = 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or best == 0:
        start = time.perf_counter()
        amount = run(n)
        best = max(best, amount / (time.perf_counter() - start))
    return best
