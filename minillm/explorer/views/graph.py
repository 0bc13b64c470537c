"""The model itself: its calls, what flows between them, every value, forward and backward.

    graph              the tree of calls, the graph inside each, the functions' source; no values
    graph_value        one value: a window of its numbers and of its gradient, their statistics
    graph_number       one number: from which numbers it was computed
    graph_difference   one number: its gradient by the backward and by a finite difference
    graph_values       what a page without a server shows: all statistics, and small values
"""

from collections import OrderedDict

import numpy as np

from minillm.explorer.views import offline, view
from minillm.insight.axes import name_axes
from minillm.insight.computation import computation
from minillm.insight.dataflow import Flow, is_shown, label_of
from minillm.insight.finite_difference import Differences
from minillm.insight.recording import BACKWARD, record
from minillm.insight.subject import Subject
from minillm.insight.twins import Twins, norm

KEPT = 3  # recordings, and runs for finite differences, of the last texts
LARGE = 20_000_000  # parameters, from which on only the last one is kept
WINDOW = 256  # rows and columns of a value that travel at once
OFFLINE_NUMBERS, OFFLINE_LARGEST = 24_000, 2_400  # in a page without a server: of all, of one


@view
def graph(subject: Subject, text: str, explorer=None) -> dict:
    """The run of a text, forward and backward.

    calls: [{id, label, type, module, parent, twin, function, nodes, edges, variables}]; `root` and
        `backward_root` are numbers of calls, as all others are
        nodes: [[kind, label, call or -1, first line, last line, [values]]], see dataflow.Node
        edges: [[from, to, value]] with numbers of nodes;  variables: {name: value}
    values: {path, shape, axes, dtype, maker (-1: a parameter), function, first, last: lists;
        norm, gradient: float32 (n,), of the value and of its gradient, nan where there is none}
    functions: [{name, place, first, lines, doc, equation, derivation}]
    loss, kind: the objective's;  tokens: strings
    """
    return _kept(explorer, subject, text).answer


@view
def graph_value(subject: Subject, text: str, path: str, matrix: int = 0, row: int = 0,
                column: int = 0, explorer=None) -> dict:
    """A value of the run: {path, shape, dtype, matrices, row, column, statistics, values, gradient}

    path: as in `graph`, or any name that a call has for it: "transformer.h.0.attention:Q"
    matrix: the number of the matrix (the last two axes) in the stack of the other axes
    values: (rows, columns), at most 256 × 256 from `row` and `column` on
    gradient: {statistics, values, path} or None where the backward has computed none
    """
    run = _kept(explorer, subject, text)
    value = run.recording.value(path)
    matrices = _matrices(value.array)
    matrix, row, column = (_within(name, at, size) for name, at, size in zip(
        ("matrix", "row", "column"), (matrix, row, column), matrices.shape))
    window = matrix, slice(row, row + WINDOW), slice(column, column + WINDOW)
    gradient = run.twins.gradient(value)
    at = run.twins.value_of_gradient(value)
    return {
        "path": value.path, "shape": list(value.array.shape), "dtype": value.array.dtype.name,
        "matrices": list(matrices.shape), "matrix": matrix, "row": row, "column": column,
        "statistics": statistics(value.array), "values": matrices[window],
        "gradient": None if gradient is None else {
            "path": at.path if at else None, "statistics": statistics(gradient),
            "values": _matrices(gradient)[window]},
    }


@view
def graph_number(subject: Subject, text: str, path: str, index: list[int], explorer=None) -> dict:
    """From which numbers one was computed: {value, gradient, statement, operands, same, product,
    bias}, see insight/computation.py
    """
    run = _kept(explorer, subject, text)
    value = run.recording.value(path)
    index = _checked_index(value, index)
    gradient = run.twins.gradient(value)
    return {"value": float(value.array[index]),
            "gradient": None if gradient is None else float(gradient[index]),
            **computation(run.recording, value, index)._asdict()}


@view
def graph_difference(subject: Subject, text: str, path: str, index: list[int], eps: float = 1e-4,
                     explorer=None) -> dict:
    """{analytic, numeric, central, losses, value, relative_error, eps} of one number, in float64

    analytic: the backward's gradient, None where it has computed none
    """
    if not 1e-9 <= eps <= 1:
        raise ValueError(f"eps is {eps:g}, wanted a number from 1e-9 to 1")
    value = _kept(explorer, subject, text).recording.value(path)
    differences = _remembered(explorer, "differences", subject, text, Differences)
    if value.path not in differences.recording.values:
        raise ValueError(f"{value.path} is no value of the run in float64")
    index = _checked_index(value, index)
    found = differences.difference(value.path, index, eps)
    return {**found._asdict(), "eps": eps,
            "relative_error": None if np.isnan(found.analytic) else found.relative_error}


@view
def graph_values(subject: Subject, text: str, explorer=None) -> dict:
    """{statistics: (n, 8) float32, gradients: the same of the gradients, nan where there is none;
    small: {number of a value: {values, gradient}}} for a page without a server
    """
    run = _kept(explorer, subject, text)
    gradients = [run.twins.gradient(value) for value in run.values]
    room, small = OFFLINE_NUMBERS, {}
    for place in run.by_importance():
        value, gradient = run.values[place], gradients[place]
        numbers = value.array.size * (1 if gradient is None else 2)
        if value.array.size <= OFFLINE_LARGEST and numbers <= room:
            room -= numbers
            small[place] = {"values": value.array, "gradient": gradient}
    arrays = [None if value.is_unwritten else value.array for value in run.values]
    return {"statistics": _table(arrays), "gradients": _table(gradients), "small": small}


@offline
def offline_graph(subject, text):
    yield "graph", {}
    yield "graph_values", {}


# ---- a recording as an answer


class Run:
    """A recording with what the page needs from it."""

    def __init__(self, subject, text):
        self.recording = record(subject, text)
        self.twins = Twins(self.recording)
        self._functions, self._function_of = [], {}
        self.values, self._number_of = [], {}
        self._calls = [call for root in (self.recording.root, self.recording.backward_root)
                       if root for call in _tree(root)]
        self._place = {call: place for place, call in enumerate(self._calls)}
        calls = [self._call(call) for call in self._calls]
        reading, objective = self.recording.reading, self.recording.objective
        self.answer = {
            "root": 0, "backward_root": self._place.get(self.recording.backward_root, -1),
            "calls": calls, "functions": self._functions, "loss": self.recording.loss,
            "kind": objective.kind, "tokens": objective.tokens or reading.tokens,
            "source_tokens": reading.source_tokens,
            "targets": [np.asarray(each) for each in objective.targets
                        if each.dtype.kind in "iu"],
            "values": self._columns(),
        }

    def _call(self, call):
        flow = Flow(call)
        place = {node: number for number, node in enumerate(flow.nodes)}
        return {
            "id": call.id, "label": label_of(call) if call.parent else "loss",
            "type": type(call.module).__name__ if call.is_module else "",
            "parent": self._place.get(call.parent, -1), "twin": self._place.get(call.twin, -1),
            "function": self._function(call),
            "nodes": [[node.kind, node.label, self._place.get(node.call, -1),
                       *((node.statement.first, node.statement.last) if node.statement else (0, 0)),
                       [self._value(value) for value in node.values]] for node in flow.nodes],
            "edges": [[place[a], place[b], self._value(value)] for a, b, value in flow.edges],
            "variables": {name: self._value(value) for name, value in call.variables.items()
                          if not value.is_unwritten},
        }

    def _function(self, call):
        if call.code not in self._function_of:
            function = call.function
            self._function_of[call.code] = len(self._functions)
            self._functions.append({
                "name": function.name, "place": function.place, "first": function.first,
                "lines": function.lines(), "equation": function.equation(),
                "derivation": [line.removeprefix("#").removeprefix(" ")
                               for line in function.comment_above()],
            })
        return self._function_of[call.code]

    def _value(self, value):
        if value not in self._number_of:
            self._number_of[value] = len(self.values)
            self.values.append(value)
        return self._number_of[value]

    def _columns(self):
        axes = name_axes(self.recording)
        gradients = [self.twins.gradient(value) for value in self.values]
        return {
            "path": [value.path for value in self.values],
            "shape": [list(value.array.shape) for value in self.values],
            "axes": [axes[value] for value in self.values],
            "dtype": [value.array.dtype.name for value in self.values],
            "maker": [self._place.get(value.maker, -1) for value in self.values],
            "function": [self._function(value.maker) if value.maker else -1
                         for value in self.values],
            "first": [value.statement.first if value.statement else 0 for value in self.values],
            "last": [value.statement.last if value.statement else 0 for value in self.values],
            "norm": np.array([np.nan if value.is_unwritten else norm(value.array)
                              for value in self.values], np.float32),
            "gradient": np.array([np.nan if each is None else norm(each) for each in gradients],
                                 np.float32),
        }

    def by_importance(self):
        """-> numbers of the values: attention weights, what modules return, then the others"""
        weights = {call.variables.get("weights") for call in self._calls}
        returned = {value for call in self._calls if call.is_module
                    for value in call.outputs.values()}
        return sorted(range(len(self.values)), key=lambda place: (
            self.values[place].path.startswith(BACKWARD), self.values[place] not in weights,
            self.values[place] not in returned, self.values[place].array.size))


def _tree(root):
    yield root
    for call in root.calls:
        if is_shown(call):
            yield from _tree(call)


def _kept(explorer, subject, text):
    return _remembered(explorer, "run", subject, text, Run)


def _remembered(explorer, kind, subject, text, make):
    """-> what make(subject, text) made for these weights and this text the last time"""
    if explorer is None:
        return make(subject, text)
    kept = explorer.kept.setdefault(f"graph {kind}", OrderedDict())
    key = _key(subject, text)
    if key not in kept:
        size = sum(parameter.size for parameter in subject.model.parameters())
        while len(kept) >= (1 if size >= LARGE else KEPT):
            kept.popitem(last=False)
        kept[key] = make(subject, text)
    kept.move_to_end(key)
    return kept[key]


def _key(subject, text):
    """The model with its weights as they are now, and the text"""
    samples = [parameter.data.flat[:: max(1, parameter.data.size // 64)].tobytes()
               for parameter in subject.model.parameters()
               if isinstance(parameter.data, np.ndarray)]
    return id(subject.model), hash(b"".join(samples)), text


# ---- arrays

STATISTICS = ("min", "max", "mean", "std", "norm", "zeros", "nan", "infinite")


def statistics(array):
    """-> {min, max, mean, std, norm of the finite numbers; zeros: their share; nan, infinite: how
    many}
    """
    array = np.asarray(array, np.float64)
    finite = array[np.isfinite(array)]
    some = finite if finite.size else np.full(1, np.nan)
    return {"min": float(some.min()), "max": float(some.max()), "mean": float(some.mean()),
            "std": float(some.std()), "norm": float(np.sqrt(np.square(finite).sum())),
            "zeros": float((array == 0).mean()) if array.size else 0.0,
            "nan": int(np.isnan(array).sum()), "infinite": int(np.isinf(array).sum())}


def _table(arrays):
    """-> (n, 8): the statistics of each array, nan where it is None"""
    none = dict.fromkeys(STATISTICS, float("nan"))
    rows = [none if array is None else statistics(array) for array in arrays]
    return np.array([[row[name] for name in STATISTICS] for row in rows], np.float32)


def _matrices(array):
    """-> the array as a stack of matrices (n, rows, columns)"""
    if array.ndim < 2:
        return array.reshape(1, 1, -1)
    return array.reshape(-1, *array.shape[-2:])


def _within(name, at, size):
    if not 0 <= at < size:
        raise ValueError(f"{name} is {at}, wanted 0 to {size - 1}")
    return at


def _checked_index(value, index):
    shape = value.array.shape
    if len(index) != len(shape) or not all(0 <= i < size for i, size in zip(index, shape)):
        raise ValueError(f"index is {index}, wanted an index of the shape {shape}")
    return tuple(index)
