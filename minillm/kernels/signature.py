"""A kernel's signature: one line that defines its checks and its call of the C library.

    x (..., d), weight (d,), 0 <= eps -> y (..., d), inverse_rms (..., 1)

The arguments stand before the arrow, the results after it.

    x (..., d)               an array of float32 or float64, the same dtype for all of a call. A
                             name in a shape is the same size, at least 1, wherever it appears;
                             `...` stands for any leading axes, the same wherever they appear
    eps    0 <= p < 1        a number, optionally with bounds
    0 <= ids (...) < n       an array of integers of any dtype, with bounds on its elements
    w (...) -> w (...)       a result with the name of an argument: the array changes in place
    -> dx (...) over x       a new array, or the caller's `out`, which may be x itself
    -> total                 a number

A convention defines the arguments of the C function: first the sizes, in the order in which their
names appear in the signature (`...` is one size, the number of rows); then the arguments; then the
results that are new arrays. Arrays are contiguous, float32 or int64_t; numbers are double. The
function returns nothing, or an error code, or the result that is a number.
"""

import math
import re
from typing import Any, NamedTuple

import numpy as np

from minillm.checks import require_float, require_number
from minillm.kernels import c_library
from minillm.kernels.arguments import (
    C_CONTIGUOUS_AND_ALIGNED,
    contiguous,
    is_plain,
    require_apart,
    require_array,
)

FLOAT32, FLOAT64, INT64 = (np.dtype(name) for name in ("float32", "float64", "int64"))

_ITEM = re.compile(
    r"(?:(?P<low>\S+) <= )?(?P<name>\w+)(?: \((?P<dims>[^)]*)\))?(?: < (?P<high>\w+))?"
    r"(?: over (?P<over>\w+))?"
)


class Item(NamedTuple):
    """One argument or one result."""

    name: str
    kind: str  # "array", "integers" or "number"
    dims: tuple  # the names of the sizes without "..."
    leading: bool  # does the shape begin with "..."?
    low: int | None  # the smallest number that is allowed
    high: str | None  # the exclusive upper bound: the name of a size, or a number
    over: str | None  # the argument that this result may overwrite

    @property
    def bounds(self):
        low = "" if self.low is None else f"{self.low} <= "
        return f"{low}{self.name}" + ("" if self.high is None else f" < {self.high}")

    def learn(self, shape, sizes):
        """Check the shape against the `sizes` known so far, and add the new ones to them."""
        split = len(shape) - len(self.dims)  # the number of leading axes
        fits = split >= 0 if self.leading else split == 0
        if fits and self.leading:
            fits = sizes.setdefault("...", shape[:split]) == shape[:split]
        if not fits or any(size == 0 or sizes.setdefault(name, size) != size
                           for name, size in zip(self.dims, shape[split:])):
            lead = sizes.get("...", ["..."]) if self.leading else ()
            wanted = [str(size) for size in (*lead, *(sizes.get(name, name) for name in self.dims))]
            wanted = f"({', '.join(wanted)}{',' * (len(wanted) == 1)})"
            above_0 = ", all sizes above 0" if 0 in shape[split:] else ""
            raise ValueError(f"{self.name} has shape {shape}, wanted {wanted}{above_0}")

    def shape(self, sizes):
        lead = sizes["..."] if self.leading else ()
        return (*lead, *(sizes[name] for name in self.dims))

    def rows_shape(self, sizes):
        """The shape with all leading axes merged into one, and without the axes of size 1."""
        lead = (math.prod(sizes["..."]),) if self.leading else ()
        return (*lead, *(sizes[name] for name in self.dims if name != "1"))


def _parse(text):
    """x (..., d), 0 <= ids (...) < n -> list of Items"""
    return [_parse_item(part) for part in re.split(r", (?![^(]*\))", text)]


def _parse_item(text):
    match = _ITEM.fullmatch(text)
    if match is None:
        raise ValueError(f"signature: {text!r} is neither an array nor a number")
    name, low, dims, high, over = match.group("name", "low", "dims", "high", "over")
    kind = "number" if dims is None else "array" if high is None else "integers"
    names = tuple(re.findall(r"\w+|\.\.\.", dims or ""))
    leading = names[:1] == ("...",)
    return Item(name, kind, names[leading:], leading, None if low is None else int(low), high, over)


class Plan(NamedTuple):
    """What the shapes of the arguments determine."""

    sizes: dict  # name -> size; "..." -> the leading axes
    for_c: list  # the sizes that the C function takes
    new_shapes: list  # the shapes of the results that are new arrays


class Call(NamedTuple):
    """The arguments of one call, checked."""

    values: list  # contiguous arrays of one float dtype or int64, and floats
    plan: Plan
    dtype: Any
    out: Any  # the caller's array for the result, or None


class Signature:
    """The checks of one kernel, and its calls of the C function and the naive loops."""

    def __init__(self, text, c_name, has_cache=False):
        self.c_name = c_name
        self.c_function = None
        self.inputs, self.outputs = map(_parse, text.split(" -> "))
        self.names = [item.name for item in self.inputs]
        self.new = [item for item in self.outputs
                    if item.name not in self.names and item.kind == "array"]
        self.in_place = [self.names.index(item.name) for item in self.outputs
                         if item.name in self.names]
        self.takes_out = len(self.outputs) == len(self.new) == 1 and not has_cache
        self.floats, self.integers = (
            [index for index, item in enumerate(self.inputs) if item.kind == kind]
            for kind in ("array", "integers"))
        self.ranges = [(index, -math.inf if item.low is None else item.low,
                        math.inf if item.high is None else float(item.high))
                       for index, item in enumerate(self.inputs) if item.kind == "number"]
        self.arrays = sorted(self.floats + self.integers)
        names = [name for item in (*self.inputs, *self.outputs)
                 for name in ("...",) * item.leading + item.dims]
        self.size_names = [name for name in dict.fromkeys(names) if name != "1"]
        self.plans = {}  # shapes -> Plan: training repeats the same shapes in every step

    # ---------------------------------------------------------------- checks

    def check(self, values, out=None):
        """-> Call. Raises TypeError and ValueError: one line that names the argument."""
        checked = list(values)
        dtype = getattr(checked[self.floats[0]], "dtype", None)
        dtype = FLOAT64 if dtype == FLOAT64 else FLOAT32
        for index in self.floats:
            value = checked[index]
            if not is_plain(value, dtype):
                require_float(self.names[index], value)
                require_array(self.names[index], value, dtype)
                checked[index] = contiguous(value)
        for index in self.integers:
            _require_integers(self.names[index], checked[index])
        shapes = tuple([checked[index].shape for index in self.arrays])
        plan = self.plans.get(shapes) or self._plan(shapes)
        for index in self.integers:
            checked[index] = _within_bounds(self.inputs[index], checked[index], plan.sizes)
        for index, *_ in self.ranges:
            checked[index] = _number(self.inputs[index], checked[index])
        if self.in_place and not self._are_writable_and_apart(values):
            for index in self.in_place:
                self._require_writable(self.names[index], values[index], values, index)
        if out is not None:
            self._check_out(out, values, plan, dtype)
        return Call(checked, plan, dtype, out)

    def _plan(self, shapes):
        sizes = {"1": 1}
        for index, shape in zip(self.arrays, shapes):
            self.inputs[index].learn(shape, sizes)
        for_c = [math.prod(sizes[name]) if name == "..." else sizes[name]
                 for name in self.size_names]
        if len(self.plans) >= 100:
            self.plans.clear()  # generation brings ever new lengths: bound the memory
        self.plans[shapes] = Plan(sizes, for_c, [item.shape(sizes) for item in self.new])
        return self.plans[shapes]

    def _check_out(self, out, values, plan, dtype):
        if not self.takes_out:
            raise TypeError("out is given, wanted None: the result isn't just one new array")
        require_array("out", out, dtype)
        if out.shape != plan.new_shapes[0]:
            raise ValueError(f"out has shape {out.shape}, wanted {plan.new_shapes[0]}")
        over = self.new[0].over and self.names.index(self.new[0].over)
        itself = over if over is not None and values[over] is out else None
        self._require_writable("out", out, values, itself)

    def _are_writable_and_apart(self, values):
        """A quick test: are all arrays distinct, contiguous, writable and owners of their memory?

        The weights and moments of a model pass it.
        """
        arrays = [values[index] for index in self.arrays]
        return (len({id(array) for array in arrays}) == len(arrays) and
                all([array.base is None and array.flags.carray for array in arrays]))

    def _require_writable(self, name, array, values, itself):
        """Refuse an output that is read-only, has gaps, or shares memory with another argument."""
        if not (array.flags.carray or (array.size == 0 and array.flags.writeable)):
            raise ValueError(f"{name} is read-only or has gaps, wanted a writable contiguous array")
        for index in self.arrays:
            if index != itself:
                require_apart(name, array, self.names[index], values[index])

    # ---------------------------------------------------------------- the implementations

    def load(self):
        """Look up what the calls of the C function need."""
        self.from_buffer = c_library.ffi.from_buffer
        self.float_pointer, of_integers = c_library.FLOATS, c_library.INTEGERS
        self.array_types = [
            (index, *((FLOAT32, self.float_pointer) if index in self.floats else
                      (INT64, of_integers))) for index in self.arrays]
        self.c_function = getattr(c_library.lib, self.c_name)

    def fast(self, values):
        """Call the C function in the usual case -> list of the results, new arrays; else None

        The usual case is what training repeats: plain arrays of shapes that `check` has seen, and
        numbers within bounds. Between two large kernels nothing of Python is left in the caches, so
        each line here costs a microsecond, and the way through `check` and `c` 30 of them.
        """
        if self.c_function is None:
            self.load()
        from_buffer, pointers, shapes = self.from_buffer, [*values], []
        for index, dtype, c_type in self.array_types:
            array = values[index]
            if not (type(array) is np.ndarray and array.dtype is dtype and
                    array.flags.num & C_CONTIGUOUS_AND_ALIGNED == C_CONTIGUOUS_AND_ALIGNED):
                return None
            shapes.append(array.shape)
            pointers[index] = from_buffer(c_type, array)
        plan = self.plans.get(tuple(shapes))
        if plan is None:
            return None
        for index in self.integers:
            _require_bounds(self.inputs[index], values[index], plan.sizes)
        for index, low, high in self.ranges:
            if type(values[index]) is not float or not low <= values[index] < high:
                return None
        _, for_c, new_shapes = plan
        new = []
        for shape in new_shapes:
            new.append(array := np.empty(shape, FLOAT32))
            pointers.append(from_buffer(self.float_pointer, array))
        returned = self.c_function(*for_c, *pointers)
        if returned:
            c_library.check(returned)
        return new

    def c(self, call):
        """Call the C function -> list of the results"""
        values, plan, _, out = call
        if self.c_function is None:
            self.load()
        values = values.copy()
        for index, _, c_type in self.array_types:
            values[index] = self.from_buffer(c_type, values[index])
        new = [np.empty(shape, FLOAT32) for shape in plan.new_shapes] if out is None else [out]
        returned = self.c_function(*plan.for_c, *values, *[
            self.from_buffer(self.float_pointer, array) for array in new])
        if not self.new and not self.in_place:
            return [returned]
        if returned:
            c_library.check(returned)
        return new

    def naive(self, function, call):
        """Call the naive loops, with the leading axes merged into one -> list of the results"""
        values, (sizes, _, new_shapes), dtype, out = call
        results = function(*[
            value if item.kind == "number" else value.reshape(item.rows_shape(sizes))
            for item, value in zip(self.inputs, values)])
        if not self.new:
            return [] if results is None else [results]
        results = results if isinstance(results, tuple) else (results,)
        results = [np.asarray(result, dtype).reshape(shape)
                   for result, shape in zip(results, new_shapes)]
        return results if out is None else [into(out, *results)]


def into(out, result):
    """-> the result, or `out` with the result in it"""
    if out is None:
        return result
    out[...] = result
    return out


def _number(item, value):
    """-> the number as a float. Raises TypeError for other types, ValueError if out of bounds."""
    if type(value) is not float:
        value = require_number(item.name, value)
    if (item.low is not None and not value >= item.low) or (
            item.high is not None and not value < float(item.high)):
        raise ValueError(f"{item.name} is {value}, wanted {item.bounds}")
    return value


def _require_integers(name, array):
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        kind = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{name} is {kind}, wanted a NumPy array of integers")


def _within_bounds(item, array, sizes):
    """-> the integers as contiguous int64. Raises ValueError if one of them is out of bounds."""
    _require_bounds(item, array, sizes)
    return contiguous(array.astype(INT64, copy=False))


def _require_bounds(item, array, sizes):
    below = sizes[item.high]
    if array.size == 0:
        return
    highest = int(np.maximum.reduce(array, axis=None))  # array.max() takes longer to get here
    lowest = int(np.minimum.reduce(array, axis=None)) if item.low is not None else 0
    if highest >= below or lowest < (item.low or 0):
        wrong = highest if highest >= below else lowest
        wanted = "up to" if item.low is None else f"from {item.low} to"
        raise ValueError(f"{item.name} contains {wrong}, wanted ids {wanted} {below - 1}")
