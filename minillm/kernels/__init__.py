"""The hot loops of a transformer, in three implementations: naive, NumPy and C.

    naive.py       nested Python loops: the definition
    minillm/ops    whole arrays at a time, in the file of each op
    csrc/          the C library

`use("numpy")` chooses the implementation, `with use("numpy"):` chooses it for a block. The
environment variable MINILLM_KERNELS sets the initial one; the default is "c". Without a built C
extension, minillm warns once and uses NumPy.

float32 is the working type. NumPy computes float64 (gradient checks), in mode "c" too.
Importing this package loads no library; the first kernel call, or `info()`, does.
"""

import numpy as np

from minillm.kernels import c_library
from minillm.kernels.dispatch import current, kernel, observe, use
from minillm.kernels.process import tune_process

__all__ = ["current", "get_num_threads", "info", "kernel", "observe", "set_num_threads",
           "tune_process", "use"]


def set_num_threads(n):
    """Let each C kernel use up to `n` threads. The results are the same bit for bit for any `n`.

    The initial value is OMP_NUM_THREADS or the number of cores. The threads are OpenMP's and start
    with the first kernel that has enough work for them. Each thread of the program that calls
    kernels gets its own team, and so does a child of os.fork(). If the system can't start that many
    threads, OpenMP ends the process.
    """
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
        raise TypeError(f"n is a {type(n).__name__}, wanted an integer")
    if not 1 <= n <= 1024:
        raise ValueError(f"n is {n}, wanted a number of threads from 1 to 1024")
    if c_library.why_missing() is None:
        c_library.lib.minillm_set_num_threads(int(n))


def get_num_threads():
    """The maximum number of threads of a C kernel; 1 without the extension or without OpenMP."""
    return 1 if c_library.why_missing() else c_library.lib.minillm_get_num_threads()


def info():
    """The facts for `minillm info` -> dict: the implementation, the C library, NumPy's BLAS."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    facts = {"implementation": current()}
    missing = c_library.why_missing()
    facts.update({"c extension": f"not built ({missing})"} if missing else c_library.info())
    facts["numpy"] = np.__version__
    facts["numpy blas"] = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    return facts
