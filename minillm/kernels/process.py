"""What tunes a whole process. Importing minillm does none of this."""

import ctypes
import os
import sys

from minillm.kernels import c_library

# For how long a thread of OpenMP looks for work before it goes to sleep: about 60 microseconds with
# GCC's library, longer than Python takes from one kernel to the next; and with Clang's 1 ms, the
# least after none at all. By default they look for much longer, and by then Linux has no time left
# for them when another program wants their core.
_SHORT_SPINS = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "1"}

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def tune_process():
    """Arrange this process for kernels that follow one another: for a program that mostly trains,
    generates or measures. The command line, the training loop and the benchmark call it.

    * Memory that is freed stays with the process, up to 2 GB, for its next arrays (with glibc, and
      unless the environment has GLIBC_TUNABLES or a MALLOC_… variable).
    * Threads of OpenMP that find no work go to sleep sooner (unless the environment has
      OMP_WAIT_POLICY or the variable of the OpenMP library in use). OpenMP reads this when it is
      loaded, so it has an effect only before the first kernel, and before another package has
      loaded the same OpenMP library.
    * On Linux, the other threads of a kernel stay away from the core of the thread that calls it
      (unless the environment has OMP_PROC_BIND).

    The environment is as before afterwards. A second call changes nothing.
    """
    _keep_freed_memory()
    spins = {}
    if "OMP_WAIT_POLICY" not in os.environ:
        spins = {name: value for name, value in _SHORT_SPINS.items() if name not in os.environ}
    with c_library.environment(spins):
        if c_library.why_missing():
            return
    c_library.lib.minillm_avoid_callers_core(1)


def _keep_freed_memory():
    """The arrays that a training step frees are wanted again in the next one, a second later.

    By default glibc gives large ones back to the system at once, which provides them again page by
    page, filled with zeros: on a virtual machine that took a fifth of a step.
    """
    decided = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    mallopt = None if decided else _glibc("mallopt")
    if mallopt is None:
        return
    if not mallopt(_M_MMAP_THRESHOLD, 1 << 30):  # only what is larger goes back at once
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)     # (an older glibc takes no more than this),
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)        # and the end of the heap when 2 GB of it are free


def release_freed_memory():
    """Give the memory that this process has freed back to the system, if its C library is glibc."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(function):
    """-> a function of the C library that only glibc has, otherwise None"""
    return getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
