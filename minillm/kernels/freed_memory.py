"""What becomes of the memory of arrays that are no longer needed."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory():
    """Let this process keep the memory that it frees, up to 2 GB of it, for its next arrays.

    The arrays that a training step frees are wanted again in the next one, a second later. By itself
    glibc gives large ones back to the system at once, which hands them out again page by page,
    filled with zeros: on a virtual machine that took a fifth of a step. Nothing happens with another
    C library, or where the environment already says something about malloc.
    """
    decided = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if decided or sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
    if mallopt is None:
        return
    if not mallopt(_M_MMAP_THRESHOLD, 1 << 30):  # only what is larger is handed back at once
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)     # (an older glibc takes no more than this),
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)        # and the end of the heap when 2 GB of it are free


def release_freed_memory():
    """Give the memory that this process has freed back to the system, if its C library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
