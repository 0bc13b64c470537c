"""What this machine can do at most: multiply-adds and memory traffic, measured through the C library.

Both functions need the C extension, and run with the instruction set in use. The best of several
repetitions counts: other programs can only make a measurement slower, never faster.
"""

import time
from contextlib import contextmanager

import numpy as np

from minillm.kernels import c_library, get_num_threads


def fma_peak(threads=None, seconds=0.2, instruction_set=None):
    """-> GFLOP/s of fused multiply-adds between registers, on `threads` (default: those in use).

    instruction_set: one of `c_library.supported`; by default the one in use. On a set without FMA
    (baseline on x86-64) a multiplication and an addition count the same.
    """
    extension = c_library.load(instruction_set or c_library.instruction_set)
    with _threads(extension.lib, threads):
        results = extension.ffi.new("float[]", extension.lib.minillm_get_num_threads())
        return _best(lambda n: extension.lib.minillm_run_fmas(n, results), seconds) / 1e9


def read_bandwidth(threads=None, seconds=0.5, megabytes=256):
    """-> GB/s when `threads` (default: those in use) read an array much larger than the caches."""
    lib = c_library.load(c_library.supported[0]).lib  # here the arithmetic never takes longer
    data = np.ones(megabytes * 10**6 // 4, np.float32)

    def run(n):
        for _ in range(n):
            lib.minillm_sum_of_squares(data.size, c_library.pointer(data))
        return n * data.nbytes

    with _threads(lib, threads):
        return _best(run, seconds, n=1) / 1e9


@contextmanager
def _threads(lib, threads):
    """Let the kernels of this extension use `threads`, or as many as those in use, for a while."""
    previous = lib.minillm_get_num_threads()
    lib.minillm_set_num_threads(threads or get_num_threads())
    try:
        yield
    finally:
        lib.minillm_set_num_threads(previous)


def _best(run, seconds, n=100_000):
    """The highest rate, in `run(n)`'s units per second, of the runs that fit into `seconds`."""
    run(n)  # wakes the threads and the clock, and touches the memory
    best = 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or best == 0:
        start = time.perf_counter()
        amount = run(n)
        best = max(best, amount / (time.perf_counter() - start))
    return best
