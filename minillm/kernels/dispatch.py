"""Which implementation of a kernel runs: naive, NumPy or C.

`@kernel(...)` decorates the NumPy formula of an op. It ties three functions together: that one, its
twin of the same name in naive.py, and `minillm_<name>` in the C library.
"""

import functools
import inspect
import os
import threading
import time
import warnings
from contextlib import contextmanager

import numpy as np

from minillm.kernels import c_library
from minillm.kernels.signature import FLOAT32, Signature, into

registry = {}  # name -> the dispatching function, for all kernels imported so far

_current_name = None  # None until the first use, because choosing loads the C library
_observers = []
_running = threading.local()  # its `kernel` is True while an observed kernel runs


def kernel(binding, *, cache=None):
    """Make the decorated function a kernel with three implementations.

    binding: a signature, one line in the language of signature.py. The decorated function has one
        of three forms:
            f(arguments of the signature)                  -> the results
            f(arguments), with `cache`, a NamedTuple class -> the first result, a cache: a forward
            f(first argument, cache)                       -> the results: a backward
        The fields of a cache are arguments and results of the signature. A forward collects them; a
        backward's signature lists its first argument and then those fields. The naive and the C
        function always take the arguments of the signature and return its results. A kernel whose
        only result is an array also takes `out`, an array to write it to.

    Or an object with
        check(*arguments, **options) -> dict of all arguments, checked, for all implementations
        c(**checked) -> the results, for float32; it calls the C library
        fast(*arguments, **options) -> the results, or None outside the common case (optional)
            Without `c` it is the only way to C, and the function is made of calls of another kernel:
            they are what observers see.
        trivial(**checked) -> the results if there is nothing to compute, however large the other
            sizes (2⁴⁰ matrices without rows); otherwise None (optional)
    The function and its naive twin are called with **checked. The dtype of the first value of
    `checked`, an array, decides: float32 may run in C, everything else runs in NumPy.
    """

    def decorate(function):
        name = function.__name__
        if isinstance(binding, str):
            runs_on = Signature(binding, f"minillm_{name}", has_cache=cache is not None)
            run, fast = _run_signature(function, runs_on, cache)
        else:
            runs_on = binding
            run, fast = _run_binding(function, binding), getattr(binding, "fast", None)
        is_composed = not isinstance(binding, str) and not hasattr(binding, "c")

        @functools.wraps(function)
        def dispatch(*arguments, **options):
            if _observers and not getattr(_running, "kernel", False):
                if is_composed:
                    return function(*arguments, **options)
                return _observed(name, dispatch, arguments, options)
            if fast is not None and (_current_name or current()) == "c":
                result = fast(*arguments, **options)
                if result is not None:
                    return result
            return run(*arguments, **options)

        dispatch.binding = runs_on
        registry[name] = dispatch
        return dispatch

    return decorate


def _run_signature(function, signature, cache):
    """-> the functions `run` and `fast` of a kernel with this signature"""
    parameters = inspect.signature(function)
    n_parameters, takes_cache = len(parameters.parameters), "cache" in parameters.parameters
    # The position of each field of the cache among the arguments and results.
    places = [*signature.names, *(item.name for item in signature.new)]
    fields = [] if cache is None else [places.index(name) for name in cache._fields]
    n_returned = sum(item.name not in cache._fields for item in signature.new) if cache else 0

    def run(*arguments, out=None, **options):
        if options or len(arguments) != n_parameters:
            bound = parameters.bind(*arguments, **options)
            bound.apply_defaults()
            arguments = bound.args
        values = _with_fields(arguments, signature) if takes_cache else arguments
        call = signature.check(values, out)
        name = current()
        if call.dtype is not FLOAT32 and name == "c":
            name = "numpy"
        if name == "numpy":
            values = call.values
            if takes_cache:
                cache_type = getattr(type(arguments[1]), "_make", tuple)
                values = values[0], cache_type(values[1:])
            result = function(*values)
            if call.plan.sizes.get("...") == ():
                result = _as_arrays(result, call.dtype)
            return into(out, result)
        if name == "c":
            return returned(call.values, signature.c(call))
        return returned(call.values, signature.naive(_naive_twin(function), call))

    def fast(*arguments, **options):
        values = arguments
        if takes_cache and len(arguments) == 2 and isinstance(arguments[1], tuple):
            values = arguments[0], *arguments[1]
        if options or len(values) != len(signature.inputs):
            return None
        results = signature.fast(values)
        return None if results is None else returned(values, results)

    def returned(values, results):
        """What the kernel returns: a result, a tuple of them, or some of them and a cache"""
        if cache is not None:
            everything = *values, *results
            return (*results[:n_returned], cache(*[everything[place] for place in fields]))
        return results[0] if len(results) == 1 else tuple(results) if results else None

    return run, fast if signature.new and not signature.in_place else None


def _run_binding(function, binding):
    trivial = getattr(binding, "trivial", None)

    def run(*arguments, **options):
        checked = binding.check(*arguments, **options)
        if trivial is not None:
            result = trivial(**checked)
            if result is not None:
                return result
        if not hasattr(binding, "c"):
            return function(**checked)
        if current() == "naive":
            return _naive_twin(function)(**checked)
        if current() == "c" and next(iter(checked.values())).dtype == FLOAT32:
            return binding.c(**checked)
        return function(**checked)

    return run


def _naive_twin(function):
    from minillm.kernels import naive

    return getattr(naive, function.__name__)


def _with_fields(arguments, signature):
    first, cache = arguments
    if not isinstance(cache, tuple) or len(cache) != len(signature.names) - 1:
        wanted = ", ".join(signature.names[1:])
        raise TypeError(f"cache is a {type(cache).__name__}, wanted the forward's: ({wanted})")
    return first, *cache


def _as_arrays(result, dtype):
    """Turn the scalars that NumPy returns for 0-d arrays back into arrays."""
    if isinstance(result, tuple):
        parts = [_as_arrays(part, dtype) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return np.asarray(result, dtype) if isinstance(result, np.generic) else result


# -------------------------------------------------------------------- the choice


class use:
    """Choose the implementation: "naive", "numpy" or "c".

        use("numpy")              # from now on, in the whole process
        with use("naive"):        # until the end of the block
            ...

    Raises ValueError for any other name, and ImportError for "c" if the extension isn't built.
    """

    def __init__(self, name):
        self._previous = _current_name  # None before the first choice, which may warn
        _set_current(name)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        _restore(self._previous)


def current():
    """The name of the implementation in use: "naive", "numpy" or "c"."""
    if _current_name is None:
        _choose()
    return _current_name


def _set_current(name):
    global _current_name
    if name not in ("naive", "numpy", "c"):
        raise ValueError(f"kernels {name!r} are unknown, wanted 'naive', 'numpy' or 'c'")
    if name == "c" and c_library.why_missing():
        raise ImportError(f"the C extension of minillm isn't built: {c_library.why_missing()}")
    _current_name = name


def _restore(name):
    global _current_name
    _current_name = name


def _choose():
    """Use what MINILLM_KERNELS names, by default C; without the C extension, warn and use NumPy."""
    wanted = os.environ.get("MINILLM_KERNELS") or "c"
    if wanted == "c" and c_library.why_missing():
        warnings.warn(
            f"the C kernels of minillm are missing ({c_library.why_missing()}), so NumPy "
            "computes, more slowly; to build them, install a C compiler and then minillm again",
            RuntimeWarning,
            stacklevel=3,
        )
        wanted = "numpy"
    _set_current(wanted)


# -------------------------------------------------------------------- observation


@contextmanager
def observe(callback):
    """Inside the block, call `callback(name, seconds, arguments, options, result)` after a kernel.

    A kernel that another one calls, as NumPy's formulas do, is a part of that one and isn't
    reported. For benchmarks. Without observers it costs a kernel call one test of a global variable.
    """
    _observers.append(callback)
    try:
        yield
    finally:
        _observers.remove(callback)


def is_observed():
    """-> whether an `observe` block is running"""
    return bool(_observers)


def _observed(name, run, arguments, options):
    _running.kernel = True
    try:
        start = time.perf_counter()
        result = run(*arguments, **options)
        seconds = time.perf_counter() - start
    finally:
        _running.kernel = False
    for callback in _observers:
        callback(name, seconds, arguments, options, result)
    return result
