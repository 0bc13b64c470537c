"""The C library as Python sees it: loading, errors, pointers, threads, instruction sets.

Importing this module fails with ImportError when the extension isn't built.
"""

import os

import numpy as np


def _load():
    """Import the extension, with GNU OpenMP's threads told to sleep soon when there is no work.

    By default they spin for milliseconds between two kernels. On a machine that does anything else
    meanwhile, they then take the processor from the very thread they wait for: measured, a training
    step takes 2.5 times as long. 10,000 turns are some 10 microseconds. libgomp reads this variable
    when it is loaded, that is here; afterwards the environment is as it was.
    """
    variable = "GOMP_SPINCOUNT"
    is_ours = variable not in os.environ and "OMP_WAIT_POLICY" not in os.environ
    if is_ours:
        os.environ[variable] = "10000"
    try:
        import minillm.kernels._c as extension
    finally:
        if is_ours:
            del os.environ[variable]
    return extension.ffi, extension.lib


ffi, lib = _load()

FLOAT32 = np.dtype(np.float32)
FLOATS = ffi.typeof("float[]")  # looked up once: parsing the string takes time at each call
from_buffer = ffi.from_buffer
_HEADS = ffi.typeof("minillm_heads *")
_FLOAT_POINTER = ffi.typeof("float *")
_INSTRUCTION_SETS = [
    ffi.string(lib.minillm_isa_name(i)).decode() for i in range(lib.minillm_isa_count())
]
_is_forked_child = False


def pointer(array):
    """The address of a float32 array's first element, for an argument `float *`."""
    if array.flags.c_contiguous:
        return from_buffer(FLOATS, array)
    # from_buffer refuses views with gaps. This way to the address takes ten times as long.
    return ffi.cast(_FLOAT_POINTER, array.__array_interface__["data"][0])


def heads(array):
    """A (B, H, T, D) float32 array as minillm.h's struct: its address and strides, in floats."""
    batch, head, row, _ = array.strides
    return ffi.new(_HEADS, (pointer(array), batch // 4, head // 4, row // 4))


def mask_pointer(mask):
    """The address of a contiguous bool array's first element; NULL for None."""
    return ffi.NULL if mask is None else from_buffer("unsigned char[]", mask)


def check(error_code):
    """Turn an error code of minillm.h into an exception."""
    if error_code == lib.MINILLM_OUT_OF_MEMORY:
        raise MemoryError("no memory for the workspace of a kernel")
    assert error_code == lib.MINILLM_OK, error_code


def set_num_threads(n):
    """Let a kernel use up to `n` threads. A forked child stays on one: see `_after_fork`."""
    lib.minillm_set_num_threads(1 if _is_forked_child else n)


def get_num_threads():
    return lib.minillm_get_num_threads()


def _after_fork():
    """fork() copies only the thread that calls it, so the child has none of OpenMP's threads, and
    GNU OpenMP would wait for them for ever. One thread needs no others."""
    global _is_forked_child
    _is_forked_child = True
    set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def supported_instruction_sets():
    """The names of the instruction sets that are compiled in and that this chip has."""
    return [name for i, name in enumerate(_INSTRUCTION_SETS) if lib.minillm_isa_supported(i)]


def use_instruction_set(name):
    """Let the kernels use one instruction set. ValueError if the chip or the build lacks it."""
    if name not in supported_instruction_sets():
        choices = ", ".join(supported_instruction_sets())
        raise ValueError(f"MINILLM_ISA is {name!r}, wanted one that this machine has: {choices}")
    check(lib.minillm_use_isa(_INSTRUCTION_SETS.index(name)))


def info():
    """What `minillm info` says about the C library -> dict."""
    return {
        "instruction set": _INSTRUCTION_SETS[lib.minillm_current_isa()],
        "compiled in": list(_INSTRUCTION_SETS),
        "supported": supported_instruction_sets(),
        "threads": get_num_threads(),
        "openmp": bool(lib.minillm_has_openmp()),
        "compiler": ffi.string(lib.minillm_compiler()).decode(),
    }


if os.environ.get("MINILLM_ISA"):
    use_instruction_set(os.environ["MINILLM_ISA"])
