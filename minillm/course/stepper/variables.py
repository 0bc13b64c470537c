"""The variables of a step as rows: name, shape, range; and one array of them as a picture."""

from typing import NamedTuple

import numpy as np
from rich.text import Text

from minillm.course.stepper import grids
from minillm.course.stepper.recording import RETURNED
from minillm.course.stepper.snapshots import ArraySnapshot, GroupSnapshot

SCORES = {"S", "P", "dS", "dP", "distance"}  # (…, T, T) in ops/attention.py


class Row(NamedTuple):
    """A variable, or a part of one such as "cache.x"."""

    name: str
    value: object  # a snapshot
    is_new: bool  # the statement that ran last made or changed it
    is_used: bool  # the statement about to run mentions it


def rows_of(step):
    """-> Rows of a step: the result or what is new, then what the statement uses, then the rest"""
    is_first = step is step.call.steps[0]
    rows = [Row(name, value, not is_first and name in step.changes, name in step.statement.names)
            for name, value in step.variables().items()]
    rows += [Row(name, value, False, True) for name, value in step.attributes.items()]
    rows = [part for row in rows for part in _with_parts(row)]
    return sorted(rows, key=_order)


def _with_parts(row):
    yield row
    if isinstance(row.value, GroupSnapshot):
        for name, value in row.value.parts:
            name = row.name + name if name.startswith("[") else f"{row.name}.{name}"
            part = Row(name, value, row.is_new, row.is_used)
            if isinstance(value, GroupSnapshot):
                yield from list(_with_parts(part))[1:]
            elif isinstance(value, ArraySnapshot):
                yield part


def _order(row):
    is_result = row.name.split("[")[0].split(".")[0] == RETURNED
    is_none = getattr(row.value, "text", "") == "None"
    return (not is_result, not row.is_new, is_none, row.name.startswith("_"), not row.is_used)


def describe(value):
    """-> (shape, range) of an array, or ("", a few words) of anything else"""
    if isinstance(value, ArraySnapshot):
        shape = "(" + ", ".join(map(str, value.shape)) + ")"
        if value.kept.size == 1 and value.is_whole:
            return shape, f"{_short(value.dtype)} {grids.number(value.kept.reshape(-1)[0])}"
        if value.is_unwritten:
            return shape, f"{_short(value.dtype)}, not written yet"
        if value.mean is None:
            return shape, _short(value.dtype)
        if value.dtype.kind != "f":
            return shape, f"{_short(value.dtype)} {value.low} … {value.high}"
        low, high, mean = map(grids.number, (value.low, value.high, value.mean))
        return shape, f"{_short(value.dtype)} {low} … {high}, mean {mean}"
    if not isinstance(value, GroupSnapshot):
        return "", value.text
    if value.kind == "tuple":
        return "", f"({', '.join(_in_a_word(part) for _, part in value.parts)})"
    if value.kind == "dict":
        return "", f"dict of {len(value.parts)} arrays"
    return "", f"{value.kind}({', '.join(name for name, _ in value.parts)})"


def _in_a_word(value):
    if isinstance(value, GroupSnapshot):
        return value.kind
    shape, words = describe(value)
    return shape or words


def _short(dtype):
    """float32 -> f32"""
    return f"{dtype.kind}{8 * dtype.itemsize}" if dtype.kind in "iuf" else str(dtype)


class Picture:
    """An array as a table, a heat map or a ranking of tokens.

    name, snapshot: the variable; session: a Session, which knows what the axes are
    """

    def __init__(self, name, snapshot, session):
        self.name = name
        self.snapshot = snapshot
        self._session = session
        kept = snapshot.kept
        if kept.dtype.kind not in "biuf":
            kept = np.zeros((0,))
        kept = kept.reshape(1, -1) if kept.ndim < 2 else kept
        self.matrices = kept.reshape(-1, *kept.shape[-2:]) if kept.size else np.zeros((1, 0, 0))
        self._leading = kept.shape[:-2]
        finite = [abs(each) for each in (snapshot.low, snapshot.high)
                  if each is not None and np.isfinite(each)]
        finite += [float(np.abs(kept[np.isfinite(kept)]).max(initial=0))] if not finite else []
        self._extent = max(finite, default=0)
        self.row_labels, self.column_labels = self._labels()

    @property
    def size(self):
        """(number of matrices, rows, columns)"""
        return self.matrices.shape

    @property
    def kinds(self):
        """-> the ways to draw it, the most telling one first"""
        if self._is_over_vocabulary():
            return ["ranking", "table", "map"]
        return ["table", "map"]

    def title(self, matrix=0):
        shape, words = describe(self.snapshot)
        index = ", ".join(map(str, np.unravel_index(matrix, self._leading)))
        index = f"[{index}]" if self._leading and np.prod(self._leading) > 1 else ""
        return f"{self.name}{index}  {shape} {words}"

    def draw(self, width, height, kind=None, matrix=0, top=0, left=0):
        """-> Text; kind: one of `kinds`, by default the first one that fits"""
        if self.matrices.size == 0:
            return Text("nothing to show: the array is empty")
        kind = kind or self.best_kind(width)
        values = self.matrices[min(matrix, len(self.matrices) - 1)]
        top = max(0, min(top, len(values) - 1))
        if kind == "ranking":
            return grids.ranking(values, self._session.vocabulary, width, height,
                                 rows=self.row_labels, by_size=self.name.startswith("d"), top=top)
        if len(values) == 1 and self.column_labels is None and kind == "map":
            return self._wrapped_map(values[0], width, height)
        draw = grids.table if kind == "table" else grids.heat_map
        return draw(values, self._extent, width, height, rows=self.row_labels,
                    columns=self.column_labels, top=top, left=left)

    def best_kind(self, width):
        if self._is_over_vocabulary():
            return "ranking"
        margin = grids.margin(self.row_labels or [str(self.size[1])], width)
        needed = margin + self.size[2] * grids.cell_width(self.matrices[0])
        return "table" if needed <= width else "map"

    def note(self):
        """-> what the reader must know about the picture, or "" """
        if not self.snapshot.is_whole:
            return f"only the first {self.size[1]} × {self.size[2]} numbers are kept"
        return ""

    def _wrapped_map(self, vector, width, height):
        """A long vector in several rows."""
        per_row = max(1, (width - 6) // grids.MAP_CELL)
        per_row = max(per_row, -(-len(vector) // max(1, height - 1)))
        padded = np.full(-(-len(vector) // per_row) * per_row, np.nan)
        padded[: len(vector)] = vector
        rows = [str(start) for start in range(0, len(vector), per_row)]
        return grids.heat_map(padded.reshape(-1, per_row), self._extent, width, height, rows=rows)

    def _is_over_vocabulary(self):
        shape = self.snapshot.shape
        return (bool(shape) and shape[-1] == len(self._session.vocabulary)
                and self.size[2] == shape[-1])

    def _labels(self):
        """-> the tokens along the rows and along the columns, or None for each"""
        shape, tokens = self.snapshot.shape, self._session.tokens
        T, widths = len(tokens), self._session.widths
        vocabulary = self._session.vocabulary
        if len(shape) == 2 and shape[0] == len(vocabulary):  # the embeddings and their gradient
            return vocabulary, None
        if self.snapshot.is_weight:
            return None, None
        if T in widths or T == 1:  # another axis may have this size by coincidence
            if self.name in SCORES and shape[-2:] == (T, T):
                return tokens, tokens
            return (tokens if shape[:-1] == (1, T) else None,
                    tokens if shape == (1, T) else None)
        rows = tokens if len(shape) >= 2 and shape[-2] == T else None
        columns = tokens if shape[-1:] == (T,) and (len(shape) <= 2 or shape[-2] == T) else None
        return rows, columns
