"""What the axes of an array mean, as the docstrings of the functions that hold it say.

    "Q: (B, H, T, D); K, V: (B, n_kv_heads, S, D)"    ->  {"Q": ["B", "H", "T", "D"], "K": …}
"""

import functools
import re

from minillm.insight.recording import RETURNED

SHAPE = re.compile(r"((?:\w+, )*(?:\w+ and )?\w+):? \(([^()]+)\)")
GENERAL = {"...", "n", "d", "N", "M", "K", "d_in", "d_out", "r", "rows", "columns", "count"}


@functools.cache
def shapes_in(doc):
    """-> {variable: tuple of the names of its axes}; a result's are under its name, too"""
    found = {}
    for names, shape in SHAPE.findall(doc):
        axes = tuple(axis.strip() for axis in shape.split(",") if axis.strip())
        if all(re.fullmatch(r"[\w.]+( [\w]+)?", axis) for axis in axes):
            for name in re.split(r", | and ", names):
                found.setdefault(name, axes)
    return found


def results_in(doc):
    """-> list of the names of the results: "-> dx: (B, T, d)" """
    _, _, after = doc.partition("->")
    return [name for names, _ in SHAPE.findall(after.split("\n\n")[0])
            for name in re.split(r", | and ", names)]


def name_axes(recording):
    """-> {Value: list of names of its axes, "" for an unknown one}

    Where no docstring says it, a size that belongs to one name only does. Names of GENERAL are
    sizes of anything.
    """
    axes, sizes = {}, {}
    for call in recording.calls.values():
        doc = call.function.doc
        shapes, results = shapes_in(doc), iter(results_in(doc))
        for name, value in call.variables.items():
            known = shapes.get(name.split(".")[-1])
            if name.startswith(RETURNED):
                known = shapes.get(next(results, None))
            if known is None or len(known) != value.array.ndim or GENERAL & set(known):
                continue
            if all(not axis.isdecimal() or int(axis) == size
                   for axis, size in zip(known, value.array.shape)):
                axes.setdefault(value, list(known))
                for axis, size in zip(known, value.array.shape):
                    if axis.isidentifier():
                        sizes.setdefault(axis, size)
    by_size = {}
    for axis, size in sizes.items():
        if size > 1:
            by_size.setdefault(size, []).append(axis)
    certain = {size: "T" if "T" in names else names[0] for size, names in by_size.items()
               if len(names) == 1 or "T" in names}
    for value in recording.values.values():
        if value not in axes:
            shape = value.array.shape
            axes[value] = ["B" if place == 0 and size == 1 and len(shape) > 1 else
                           certain.get(size, "") for place, size in enumerate(shape)]
    return axes
