"""A kernel's signature: one line from which its checks and its call of the C library follow.

    x (..., d), weight (d,), 0 <= eps -> y (..., d), inverse_rms (..., 1)

Before the arrow stand the arguments, after it the results.

    x (..., d)               an array of float32 or float64, all of a call of the same dtype. A name
                             in the shape means the same size wherever it stands, at least 1;
                             `...` means any leading axes, the same wherever they stand
    eps    0 <= p < 1        a number, perhaps with bounds
    0 <= ids (...) < n       an array of integers of any dtype, with bounds on its elements
    w (...) -> w (...)       a result with the name of an argument: the array is changed in place
    -> dx (...) over x       a new array, or the caller's `out`, which may be x itself
    -> total                 a number

The C function is called by convention. Its arguments are the sizes, in the order in which their
names appear in the signature (`...` is one size, the number of rows); then the arguments; then the
results that are new arrays. The arrays are contiguous float32 and int64_t, the numbers double. It
returns nothing, or an error code, or the result that is a number.
"""

import math
import re
from typing import Any, NamedTuple

import numpy as np

from minillm.checks import require_float
from minillm.kernels import c_library
from minillm.kernels.arguments import contiguous, is_plain, require_apart, require_array

FLOAT32, FLOAT64, INT64 = (np.dtype(name) for name in ("float32", "float64", "int64"))

_ITEM = re.compile(
    r"(?:(?P<low>\S+) <= )?(?P<name>\w+)(?: \((?P<dims>[^)]*)\))?(?: < (?P<high>\w+))?"
    r"(?: over (?P<over>\w+))?"
)


class Item(NamedTuple):
    """One argument or one result."""

    name: str
    dims: tuple | None  # the names of the sizes without "..."; None for a number
    leading: bool  # does the shape begin with "..."?
    low: int | None  # the smallest number that is allowed
    high: str | None  # the name of the size, or the number, that all must stay below
    over: str | None  # the argument whose memory this result may take

    @property
    def is_integers(self):
        return self.dims is not None and self.high is not None

    @property
    def wanted_shape(self):
        dims = ("...",) * self.leading + self.dims
        return f"({', '.join(dims)}{',' * (len(dims) == 1 and not self.leading)})"

    def learn(self, array, sizes):
        """Compare the array's shape with the `sizes` known so far, and add those that are new."""
        shape = array.shape
        split = len(shape) - len(self.dims)  # the number of leading axes
        fits = split >= 0 if self.leading else split == 0
        if fits and self.leading:
            fits = sizes.setdefault("...", shape[:split]) == shape[:split]
        if fits:
            for name, size in zip(self.dims, shape[split:]):
                if sizes.setdefault(name, size) != size or size == 0:
                    fits = False
        if not fits:
            raise ValueError(f"{self.name} has shape {shape}, wanted {self._wanted(sizes, shape)}")

    def _wanted(self, sizes, shape):
        """What would have fitted: numbers for the sizes that other arguments have fixed."""
        if 0 in shape[len(shape) - len(self.dims) :]:
            return f"{self.wanted_shape} with no size of 0"
        known = [str(sizes.get(name, name)) for name in self.dims]
        lead = [str(size) for size in sizes.get("...", ["..."])] if self.leading else []
        parts = lead + known
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"

    def shape(self, sizes):
        own = [sizes[name] for name in self.dims]
        return (*sizes["..."], *own) if self.leading else tuple(own)


class Call(NamedTuple):
    """The arguments of one call, checked."""

    values: list  # contiguous arrays of one float dtype or int64, and floats
    sizes: dict  # name -> size; "..." -> the leading axes
    dtype: Any
    out: Any  # the caller's array for the result, or None


class Signature:
    """The checks of one kernel, and its calls of the three implementations."""

    def __init__(self, text, c_name):
        self.c_name = c_name
        inputs, outputs = text.split(" -> ")
        self.inputs, self.outputs = _parse(inputs), _parse(outputs)
        self.names = [item.name for item in self.inputs]
        self.numbers = [i for i, item in enumerate(self.inputs) if item.dims is None]
        self.new = [item for item in self.outputs if item.name not in self.names and item.dims is not None]
        in_place = [item.name for item in self.outputs if item.name in self.names]
        self.in_place = [self.names.index(name) for name in in_place]
        sizes = {}  # an ordered set
        for item in (*self.inputs, *self.outputs):
            if item.dims is not None:
                sizes.update(dict.fromkeys(("...",) * item.leading + item.dims))
        self.size_names = [name for name in sizes if name != "1"]

    # ---------------------------------------------------------------- checks

    def check(self, values, out=None):
        """-> Call. Raises TypeError and ValueError: one line that names the argument."""
        sizes, dtype, checked = {"1": 1}, None, []
        for item, value in zip(self.inputs, values):
            if item.dims is None:
                value = value if type(value) is float else _number(item.name, value)
                if item.low is not None or item.high is not None:
                    _require_bounds(item, value)
            elif item.high is not None:
                value = _integers(item, value, sizes)
            else:
                if dtype is None:
                    require_float(item.name, value)
                    dtype = FLOAT32 if value.dtype == FLOAT32 else FLOAT64
                if not is_plain(value, dtype):
                    require_array(item.name, value, dtype)
                    value = contiguous(value)
                item.learn(value, sizes)
            checked.append(value)
        for index in self.in_place:
            self._check_written(self.names[index], values[index], values, index)
        if out is not None:
            self._check_out(out, values, sizes, dtype)
        return Call(checked, sizes, dtype, out)

    def _check_out(self, out, values, sizes, dtype):
        if len(self.outputs) != 1 or not self.new:
            raise TypeError("out is an array, but this kernel has not exactly one array as its result")
        (result,) = self.new
        require_array("out", out, dtype)
        if out.shape != result.shape(sizes):
            raise ValueError(f"out has shape {out.shape}, wanted {result.shape(sizes)}")
        may_be = self.names.index(result.over) if result.over else None
        if may_be is not None and values[may_be] is not out:
            may_be = None
        self._check_written("out", out, values, may_be)

    def _check_written(self, name, array, values, itself):
        """Refuse an array to write to that has gaps, or memory in common with another argument."""
        if not (array.flags.carray or array.size == 0):
            raise ValueError(f"{name} is read-only or has gaps, wanted a writable contiguous array")
        for index, (item, other) in enumerate(zip(self.inputs, values)):
            if item.dims is not None and index != itself:
                require_apart(name, array, item.name, other)

    # ---------------------------------------------------------------- the implementations

    def c(self, call):
        """Call the C function -> the results"""
        values, sizes, _, out = call
        lib, from_buffer = c_library.lib, c_library.ffi.from_buffer
        floats, integers = c_library.FLOATS, c_library.INTEGERS
        arguments = [math.prod(sizes[name]) if name == "..." else sizes[name]
                     for name in self.size_names]
        for item, value in zip(self.inputs, values):
            if item.dims is None:
                arguments.append(value)
            else:
                arguments.append(from_buffer(floats if item.high is None else integers, value))
        new = [out] if out is not None else [np.empty(item.shape(sizes), FLOAT32)
                                             for item in self.new]
        for array in new:
            arguments.append(from_buffer(floats, array))
        returned = getattr(lib, self.c_name)(*arguments)
        if not self.new and not self.in_place:
            return returned
        if returned:
            c_library.check(returned)
        return _one_or_all(new)

    def naive(self, function, call):
        """Call the naive loops: they see the leading axes as one -> the results"""
        values = [value if item.dims is None else value.reshape(_rows(item, call.sizes))
                  for item, value in zip(self.inputs, call.values)]
        results = function(*values)
        if not self.new:
            return results
        results = results if isinstance(results, tuple) else (results,)
        results = [np.asarray(result, call.dtype).reshape(item.shape(call.sizes))
                   for item, result in zip(self.new, results)]
        return into(call.out, _one_or_all(results))


def _one_or_all(results):
    return results[0] if len(results) == 1 else tuple(results) if results else None


def into(out, result):
    """-> the result, or `out` with the result in it"""
    if out is None:
        return result
    out[...] = result
    return out


def _rows(item, sizes):
    own = [sizes[name] for name in item.dims if name != "1"]
    return (math.prod(sizes["..."]), *own) if item.leading else tuple(own)


def _parse(text):
    return [_item(part) for part in re.split(r", (?![^(]*\))", text)]


def _item(text):
    match = _ITEM.fullmatch(text)
    if match is None:
        raise ValueError(f"signature: {text!r} is neither an array nor a number")
    dims, low = match["dims"], match["low"]
    names = () if dims is None else tuple(re.findall(r"\w+|\.\.\.", dims))
    leading = names[:1] == ("...",)
    return Item(match["name"], None if dims is None else names[leading:], leading,
                None if low is None else int(low), match["high"], match["over"])


def _number(name, value):
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value)
    raise TypeError(f"{name} is a {type(value).__name__}, wanted a number")


def _require_bounds(item, value):
    too_low = item.low is not None and not value >= item.low
    too_high = item.high is not None and not value < float(item.high)
    if too_low or too_high:
        low = "" if item.low is None else f"{item.low} <= "
        high = "" if item.high is None else f" < {item.high}"
        raise ValueError(f"{item.name} is {value}, wanted {low}{item.name}{high}")


def _integers(item, array, sizes):
    """-> the array as contiguous int64, once its elements are known to lie within the bounds"""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        kind = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{item.name} is {kind}, wanted a NumPy array of integers")
    item.learn(array, sizes)
    below = sizes[item.high]
    if array.size:
        lowest, highest = int(array.min()), int(array.max())
        if highest >= below or (item.low is not None and lowest < item.low):
            wrong = highest if highest >= below else lowest
            wanted = "up to" if item.low is None else f"from {item.low} to"
            raise ValueError(f"{item.name} contains {wrong}, wanted ids {wanted} {below - 1}")
    return array if is_plain(array, INT64) else contiguous(array.astype(INT64))
