"""The C library as Python sees it: choosing it, loading it, errors, pointers, threads.

The library is compiled once for each instruction set, each time into a separate extension.
Importing this module loads nothing. The first use of a name in LOADED, such as `lib` or `ffi`,
loads the fastest extension that the chip can run, or the one that MINILLM_ISA names. It raises
ImportError if the extensions aren't built or are damaged, and ValueError if MINILLM_ISA names none
that runs here.
"""

import contextlib
import importlib.util
import os

import numpy as np

# Floats per vector, fastest first. "amx" is AVX-512 with tiles for products (csrc/amx.h).
INSTRUCTION_SETS = {"amx": 16, "avx512": 16, "avx2": 8, "baseline": 4}
FLOAT32 = np.dtype(np.float32)

LOADED = ("lib", "ffi", "FLOATS", "INTEGERS", "instruction_set", "supported")


def __getattr__(name):
    """Python calls this for a name that the module doesn't define yet (PEP 562)."""
    if name not in LOADED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _load()
    return globals()[name]


def _load():
    supported = _supported()
    wanted = os.environ.get("MINILLM_ISA") or supported[0]
    if wanted not in supported:
        raise ValueError(f"MINILLM_ISA is {wanted!r}, wanted one that this machine has: "
                         f"{', '.join(supported)}")
    extension = load(wanted)
    extension.lib.minillm_set_num_threads(_default_num_threads())
    globals().update(
        lib=extension.lib, ffi=extension.ffi, instruction_set=wanted, supported=supported,
        # Look the types up once: parsing these strings in each call takes time.
        FLOATS=extension.ffi.typeof("float[]"), INTEGERS=extension.ffi.typeof("int64_t[]"),
    )


def load(isa):
    """-> the extension compiled for one of INSTRUCTION_SETS. ImportError if it isn't built."""
    # The OpenMP library reads the environment while it loads. Clang's ends the process if
    # OMP_NUM_THREADS is not a number.
    threads = {"OMP_NUM_THREADS": str(_default_num_threads())}
    with environment(threads if "OMP_NUM_THREADS" in os.environ else {}):
        return importlib.import_module(f"minillm.kernels._c_{isa}")


@contextlib.contextmanager
def environment(variables):
    """Set environment variables until the end of the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def is_loaded():
    return "lib" in globals()


def why_missing():
    """Load the library if it isn't loaded yet -> None, or the ImportError if that failed"""
    try:
        if not is_loaded():
            _load()
    except ImportError as error:
        return error
    return None


def _is_compiled_in(isa):
    return importlib.util.find_spec(f"minillm.kernels._c_{isa}") is not None


def _supported():
    """-> the instruction sets that are compiled in and that this chip has, fastest first"""
    baseline = load("baseline").lib  # this one runs anywhere
    lanes, amx = baseline.minillm_lanes_of_chip(), baseline.minillm_may_use_amx()
    return [isa for isa, its_lanes in INSTRUCTION_SETS.items()
            if its_lanes <= lanes and (isa != "amx" or amx) and _is_compiled_in(isa)]


def _default_num_threads():
    """-> OMP_NUM_THREADS, read as other numerical libraries do, otherwise the number of cores"""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if first.isdecimal() and 1 <= int(first) <= 1024:
        return int(first)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(1024, cores or 1)


# The functions below need `lib` to be loaded: they use the names of LOADED as globals.


def pointer(array):
    """-> the address of a float32 array's first element, for an argument of type `float *`"""
    if array.flags.c_contiguous:
        return ffi.from_buffer(FLOATS, array)
    # from_buffer refuses views with gaps. This way takes ten times as long.
    return ffi.cast("float *", array.__array_interface__["data"][0])


def check(error_code):
    """Turn an error code of minillm.h into an exception."""
    if error_code == lib.MINILLM_OUT_OF_MEMORY:
        raise MemoryError("no memory for the workspace of a kernel")
    assert error_code == lib.MINILLM_OK, error_code


def info():
    """-> dict of facts about the C library, for `minillm info`"""
    return {
        "instruction set": instruction_set,
        "compiled in": [isa for isa in INSTRUCTION_SETS if _is_compiled_in(isa)],
        "supported": list(supported),
        "threads": lib.minillm_get_num_threads(),
        "compiler": ffi.string(lib.minillm_compiler()).decode(),
    }
