"""The C library as Python sees it: choosing it, errors, pointers, threads.

The library is compiled once for each instruction set, each time as an extension of its own. This
module imports the widest that the chip can run, or the one that MINILLM_ISA names. Importing it
fails with ImportError when the extensions aren't built, or are damaged.
"""

import importlib.util
import os

import numpy as np

from minillm.kernels.freed_memory import keep_freed_memory

INSTRUCTION_SETS = {"avx512": 16, "avx2": 8, "baseline": 4}  # floats in a vector, widest first


# For how long a thread that OpenMP keeps looks for work before it goes to sleep: some 60 microseconds
# with GCC's library, longer than Python takes from one kernel to the next; and with Clang's 1 ms, the
# least after none at all. By themselves they look for much longer, and by then Linux has no time left
# for them when somebody else wants their core.
_SHORT_SPINS = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "1"}


def _default_num_threads():
    """OMP_NUM_THREADS, as other numerical libraries understand it, or else the number of cores."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if first.isdecimal() and 1 <= int(first) <= 1024:
        return int(first)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(1024, cores or 1)


def _openmp_environment():
    """What OpenMP's library should read while it is loaded -> dict of variables."""
    wanted = {}
    if "OMP_WAIT_POLICY" not in os.environ:
        wanted = {name: value for name, value in _SHORT_SPINS.items() if name not in os.environ}
    if "OMP_NUM_THREADS" in os.environ:  # what is no number ends the process in Clang's library
        wanted["OMP_NUM_THREADS"] = str(_default_num_threads())
    return wanted


def load(isa):
    """-> the extension compiled for one of INSTRUCTION_SETS. ImportError if it isn't built."""
    # OpenMP's library reads the environment while it is loaded: only for that are these set.
    wanted = _openmp_environment()
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        return importlib.import_module(f"minillm.kernels._c_{isa}")
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _is_compiled_in(isa):
    return importlib.util.find_spec(f"minillm.kernels._c_{isa}") is not None


def _supported():
    """The instruction sets that are compiled in and that this chip has, the widest first."""
    lanes = load("baseline").lib.minillm_lanes_of_chip()  # this one runs anywhere
    return [isa for isa, its_lanes in INSTRUCTION_SETS.items()
            if its_lanes <= lanes and _is_compiled_in(isa)]


def _choose():
    wanted = os.environ.get("MINILLM_ISA") or SUPPORTED[0]
    if wanted not in SUPPORTED:
        choices = ", ".join(SUPPORTED)
        raise ValueError(f"MINILLM_ISA is {wanted!r}, wanted one that this machine has: {choices}")
    return wanted


SUPPORTED = _supported()
instruction_set = _choose()
_extension = load(instruction_set)
ffi, lib = _extension.ffi, _extension.lib

FLOAT32 = np.dtype(np.float32)
FLOATS = ffi.typeof("float[]")  # looked up once: parsing the string takes time at each call
from_buffer = ffi.from_buffer
_ATTENTION_CALL = ffi.typeof("minillm_attention_call *")
_FLOAT_POINTER = ffi.typeof("float *")


def pointer(array):
    """The address of a float32 array's first element, for an argument `float *`."""
    if array.flags.c_contiguous:
        return from_buffer(FLOATS, array)
    # from_buffer refuses views with gaps. This way to the address takes ten times as long.
    return ffi.cast(_FLOAT_POINTER, array.__array_interface__["data"][0])


def attention_call(*, Q, K, key_mask, causal, scale, lse, **arrays):
    """minillm.h's struct of everything that attention is given; arrays: (B, H, T, D) float32.

    It refers to the arrays, and doesn't keep them alive.
    """
    B, H, Tq, D = Q.shape
    call = ffi.new(_ATTENTION_CALL)
    call.B, call.H, call.Hkv, call.Tq, call.Tk, call.D = B, H, K.shape[1], Tq, K.shape[2], D
    call.ahead = call.Tk - Tq if causal else call.Tk
    call.Q, call.K = _heads(Q), _heads(K)
    for name, array in arrays.items():
        setattr(call, name, _heads(array))
    call.lse, call.scale = pointer(lse), scale
    if key_mask is not None:
        call.key_mask = from_buffer("unsigned char[]", key_mask)
    return call


def _heads(array):
    """A (B, H, T, D) float32 array as minillm.h's minillm_heads: its address, strides in floats."""
    batch, head, row, _ = array.strides
    return pointer(array), batch // 4, head // 4, row // 4


def check(error_code):
    """Turn an error code of minillm.h into an exception."""
    if error_code == lib.MINILLM_OUT_OF_MEMORY:
        raise MemoryError("no memory for the workspace of a kernel")
    assert error_code == lib.MINILLM_OK, error_code


def set_num_threads(n):
    """Let a kernel use up to `n` threads."""
    lib.minillm_set_num_threads(n)


def get_num_threads():
    return lib.minillm_get_num_threads()


def info():
    """What `minillm info` says about the C library -> dict."""
    return {
        "instruction set": instruction_set,
        "compiled in": [isa for isa in INSTRUCTION_SETS if _is_compiled_in(isa)],
        "supported": list(SUPPORTED),
        "threads": get_num_threads(),
        "compiler": ffi.string(lib.minillm_compiler()).decode(),
    }


set_num_threads(_default_num_threads())
keep_freed_memory()
