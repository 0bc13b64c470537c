"""The memory that a process uses, as counted by the operating system.

Python's own tracemalloc doesn't see what C allocates. The resident set does include it: the pages
that were touched. Linux also keeps its highest value, and lets a process set that mark back.
"""

import resource
import sys


def resident_memory():
    """-> bytes in use now (Linux), or at most so far (elsewhere)"""
    return _status("VmRSS") or _highest_ever()


def peak_memory():
    """-> the peak of bytes in use since `reset_peak`, or since the start if that isn't supported"""
    return _status("VmHWM") or _highest_ever()


def reset_peak():
    """Reset `peak_memory` to the current use -> True if that is supported"""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return True
    except OSError:
        return False


def _status(name):
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _highest_ever():
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024  # Linux counts in KB
