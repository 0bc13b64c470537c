"""Tuning of the whole process. Importing minillm does none of this."""

import ctypes
import functools
import os
import sys

from minillm.kernels import c_library

# How long an OpenMP thread spins, waiting for work, before it sleeps. With GCC's library: about 60
# microseconds, longer than Python takes from one kernel to the next. With Clang's: 1 ms, the
# shortest time above none. By default they spin much longer. That uses up their share of CPU time,
# so Linux then favours another program that wants their core.
_SHORT_SPINS = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "1"}

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

_MADV_HUGEPAGE = 14  # of Linux's mman.h
_HUGE_PAGE = 2 << 20  # the bytes of one
_IN_HUGE_PAGES = (1 << 30) - (1 << 20)  # how many bytes of the heap, below the threshold above


def tune_process():
    """Tune this process for a program that mostly trains, generates or measures.

    The command line, the training loop and the benchmark call this function.

    * Freed memory, up to 2 GB, stays with the process for its next arrays (with glibc, unless the
      environment sets GLIBC_TUNABLES or a MALLOC_… variable). The first GB of it lies in huge pages
      if Linux has them.
    * Idle OpenMP threads sleep sooner (unless the environment sets OMP_WAIT_POLICY or the variable
      of the OpenMP library). OpenMP reads this while it loads, so call this function before the
      first kernel, and before another package loads the same OpenMP library.
    * On Linux, the other threads of a kernel stay off the core of the calling thread (unless the
      environment sets OMP_PROC_BIND).

    The environment is unchanged afterwards. A second call changes nothing.
    """
    _keep_freed_memory()
    spins = {}
    if "OMP_WAIT_POLICY" not in os.environ:
        spins = {name: value for name, value in _SHORT_SPINS.items() if name not in os.environ}
    with c_library.environment(spins):
        if c_library.why_missing():
            return
    c_library.lib.minillm_avoid_callers_core(1)


@functools.cache
def _keep_freed_memory():
    """Keep the memory that a training step frees, because the next step needs it again.

    By default glibc returns large arrays to the system at once. The system then provides them again
    page by page, filled with zeros, which took a fifth of a step on a virtual machine.
    """
    decided = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    mallopt = None if decided else _glibc("mallopt")
    if mallopt is None:
        return
    if not mallopt(_M_MMAP_THRESHOLD, 1 << 30):  # return only larger arrays at once
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)     # (the maximum of an older glibc),
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)        # and the end of the heap when 2 GB of it are free
    _use_huge_pages()


def _use_huge_pages():
    """Ask for pages of 2 MB for the heap, as NumPy does for arrays of 4 MB and more.

    The arrays of a small model's step lie in thousands of pages of 4 KB, more than the processor
    remembers the places of. Looking them up took 10 % of a step on a virtual machine. The system
    only takes addresses that exist, so let the heap grow to its size first. That takes no memory.
    """
    malloc, free, sbrk, madvise = map(_glibc, ("malloc", "free", "sbrk", "madvise"))
    malloc.restype = sbrk.restype = ctypes.c_void_p
    malloc.argtypes = ctypes.c_size_t,
    free.argtypes = ctypes.c_void_p,
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    start = malloc(_IN_HUGE_PAGES)
    end = sbrk(0)
    free(start)
    if start is not None and start + _IN_HUGE_PAGES <= end:  # else it was not a part of the heap
        start = -(-start // _HUGE_PAGE) * _HUGE_PAGE
        madvise(start, end - start, _MADV_HUGEPAGE)


def release_freed_memory():
    """Return the memory that this process has freed to the system, if its C library is glibc."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(function):
    """-> a function that only glibc has, or None with another C library"""
    return getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
