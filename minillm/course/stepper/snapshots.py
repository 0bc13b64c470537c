"""Snapshots: what a variable held at one moment, kept although the program runs on.

An array may change in place later, so its snapshot is a copy. The memory is bounded. Weights, which
don't change while you step, are referred to and not copied. An array that several functions hold is
copied once, until it changes. Of a large array, or when the budget is spent, only a corner and a
few statistics are kept.
"""

from dataclasses import dataclass

import numpy as np

from minillm.nn.module import Module, Parameter

LARGEST = 4 << 20  # bytes of an array that is copied as a whole
CORNER = 64  # rows and columns that are kept of a larger one
SAMPLES = 4096  # numbers by which a change of a larger one is noticed


@dataclass(frozen=True, eq=False)
class ArraySnapshot:
    """An array, or the corner [0, …, 0, :64, :64] of one that is too large to keep."""

    shape: tuple
    dtype: np.dtype
    kept: np.ndarray  # as many axes as `shape`
    low: float | None  # the extremes and the mean of all numbers; None if there are none
    high: float | None
    mean: float | None
    is_weight: bool = False
    samples: np.ndarray | None = None

    @property
    def is_whole(self):
        return self.kept.shape == self.shape

    @property
    def is_unwritten(self):
        """-> whether the memory is new and nothing was written to it (`recording.py` fills NaN)"""
        return self.dtype.kind == "f" and self.mean is None and bool(np.isnan(self.kept).all())


@dataclass(frozen=True)
class GroupSnapshot:
    """A tuple, a cache or another object with parts: its type and (name, snapshot) of each part."""

    kind: str
    parts: tuple


@dataclass(frozen=True)
class TextSnapshot:
    """Anything else, in a few words."""

    text: str


class Keeper:
    """Makes snapshots.

    paths: {id(module): dotted name}, how to name the modules of the model
    weights: the arrays that are the model's parameters
    budget: bytes for all copies together
    """

    def __init__(self, paths, weights, budget=256 << 20):
        self._paths = paths
        self._weights = {array.__array_interface__["data"][0] for array in weights}
        self._room = budget
        self._newest = {}  # where an array lies in memory -> its newest snapshot

    def keep(self, value, depth=2):
        """-> a snapshot of `value`; the same one as before if an array hasn't changed"""
        if isinstance(value, Parameter):
            value = value.data
        if isinstance(value, np.ndarray):
            return self._keep_array(value)
        if isinstance(value, Module):
            path = self._paths.get(id(value), "")
            return TextSnapshot(f"{type(value).__name__} {path}".rstrip())
        parts = _parts(value) if depth else []
        if parts:
            kept = tuple((name, self.keep(part, depth - 1)) for name, part in parts)
            return GroupSnapshot(type(value).__name__, kept)
        return TextSnapshot(_in_few_words(value))

    def _keep_array(self, array):
        memory = array.__array_interface__
        place = (memory["data"][0], memory["typestr"], array.shape, array.strides)
        newest = self._newest.get(place)
        if newest is None or not _is_unchanged(newest, array):
            is_weight = memory["data"][0] in self._weights
            newest = self._newest[place] = self._snapshot(array, is_weight)
        return newest

    def _snapshot(self, array, is_weight):
        low, high, mean = _statistics(array)
        facts = array.shape, array.dtype
        if is_weight:
            return ArraySnapshot(*facts, array, low, high, mean, True)
        if array.nbytes <= min(LARGEST, self._room):
            self._room -= array.nbytes
            return ArraySnapshot(*facts, array.copy(), low, high, mean)
        corner = array[_corner(array.ndim)].copy()
        return ArraySnapshot(*facts, corner, low, high, mean, False, _samples(array))


def _corner(ndim):
    """-> the index of the corner that is kept of a large array"""
    return (slice(1),) * (ndim - 2) + (slice(CORNER),) * min(ndim, 2)


def _samples(array):
    return array.flat[:: max(1, array.size // SAMPLES)].copy()


def _is_unchanged(snapshot, array):
    if snapshot.is_weight:
        return True
    if snapshot.is_whole:
        return np.array_equal(snapshot.kept, array, equal_nan=array.dtype.kind == "f")
    return np.array_equal(snapshot.samples, _samples(array), equal_nan=array.dtype.kind == "f")


def _statistics(array):
    """-> the least, the greatest and the mean of the finite numbers; a hidden score is -inf"""
    if array.dtype.kind not in "biuf" or array.size == 0:
        return None, None, None
    with np.errstate(all="ignore"):  # memory from np.empty may hold anything
        low, high = array.min().item(), array.max().item()
        if not np.isfinite(low) or not np.isfinite(high):
            array = array[np.isfinite(array)]
        return low, high, float(array.mean(dtype=np.float64)) if array.size else None


def _parts(value):
    """-> [(name, part)] of a tuple, a cache, an output or another small object of minillm"""
    if isinstance(value, tuple):
        names = getattr(value, "_fields", [f"[{index}]" for index in range(len(value))])
        return list(zip(names, value)) if len(value) <= 8 else []
    if isinstance(value, dict) and all(isinstance(part, np.ndarray) for part in value.values()):
        return list(value.items())
    if type(value).__module__.startswith("minillm.") and hasattr(value, "__dict__"):
        return [(name, part) for name, part in vars(value).items()
                if part is not None and not name.startswith("_")
                and not hasattr(part, "to_dict")]  # a configuration
    return []


def _in_few_words(value):
    if value is None or isinstance(value, (bool, int, str, np.dtype)):
        return repr(value)[:60]
    if isinstance(value, (float, np.generic)):
        return f"{value:.6g}"
    if isinstance(value, (tuple, dict)) and not value:
        return "empty"
    if isinstance(value, dict):
        return f"dict of {', '.join(map(str, value))}"[:60]
    if isinstance(value, (list, tuple)):
        kinds = sorted({type(item).__name__ for item in value})
        return f"{type(value).__name__} of {len(value)} {' or '.join(kinds[:2])}".rstrip()
    if hasattr(value, "item"):  # a Loss
        return f"{type(value).__name__} {value.item():.6g}"
    return getattr(value, "__qualname__", type(value).__name__).removeprefix("<").split(".<")[0]
