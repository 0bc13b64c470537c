"""Where one number of a run comes from: the numbers from which a statement computed it."""

from typing import NamedTuple

import numpy as np

from minillm.insight.dataflow import label_of

SHOWN = 4096  # numbers at most of a row or a column


class Operand(NamedTuple):
    """A number, or a row of numbers, that a statement reads.

    name: as the statement calls it;  path: the Value's
    index: an integer for each axis, None where the axis was read as a whole
    values: float64, a number () or a row (n,)
    """

    name: str
    path: str
    index: tuple
    values: np.ndarray


class Computation(NamedTuple):
    """statement: the source text;  operands: list of Operands
    same: the Operand that is the same number in another value, by a view of its memory, or None
    product: (row, column): Operands of a matrix product, whose sum of products the number is, plus
        the Operand `bias` if there is one
    """

    statement: str
    operands: list
    same: Operand | None
    product: tuple | None
    bias: Operand | None


def computation(recording, value, index):
    """-> Computation of the number value.array[index]

    value: a Value of the recording;  index: a tuple of integers
    """
    if value.maker is None:
        return Computation("", [], None, None, None)
    step = step_of(value)
    statement = step.statement if step else value.statement
    text = value.maker.function.text(statement) if statement else ""
    same = None if value.is_argument else _same(value, index, step)
    product, bias = _product(recording, value, index)
    if same is not None and product is None:
        product, bias = _product(recording, recording.values[same.path], same.index)
    operands = []
    if step is not None and same is None and product is None:
        for name in step.statement.direct:
            read = step.reads.get(name)
            if read is not None and read is not value and not read.is_unwritten:
                operands.append(_operand(name, read, value.array.shape, index))
        for read, name in _from_calls(step).items():
            operands.append(_operand(name, read, value.array.shape, index))
    return Computation(text, [each for each in operands if each is not None], same, product, bias)


def _from_calls(step):
    """-> {Value: name} of what the calls in a step have made and no other call of it has read"""
    found = {}
    for call in step.calls:
        for value in call.arguments.values():
            found.pop(value, None)
        found.update(dict.fromkeys(call.outputs.values(), label_of(call)))
    return found


def step_of(value):
    """-> the Step that made a value, or None for an argument"""
    steps = value.maker.steps
    for step in steps:
        if any(made is value for made in step.made.values()):
            return step
    outputs = value.maker.outputs.values()
    return steps[-1] if steps and any(made is value for made in outputs) else None


def _same(value, index, step):
    """-> the Operand at the same place in memory, of which the value is a view, or None"""
    if step is None or step.statement.written:
        return None
    place = value.address + sum(i * stride for i, stride in zip(index, value.strides))
    for name, read in {**step.reads, **value.maker.arguments}.items():
        offset = place - read.address
        if (read is not value and read.is_contiguous and 0 <= offset < read.array.nbytes
                and read.array.dtype == value.array.dtype and read.maker is not None):
            at = np.unravel_index(offset // read.array.itemsize, read.array.shape)
            return Operand(name, read.path, tuple(map(int, at)), np.float64(read.array[at]))
    return None


def _operand(name, read, shape, index):
    """The number of `read` that belongs to index, by the rules of broadcasting; or the row that
    was summed up"""
    array = read.array
    if array.ndim > len(shape):  # an axis is gone: a mean over positions, a row of a table
        return None
    at = []
    for axis in range(-array.ndim, 0):
        size, of_result = array.shape[axis], shape[axis]
        at.append(0 if size == 1 else index[axis] if size == of_result
                  else None if of_result == 1 else -1)
    if -1 in at or at.count(None) > 1:
        return None
    values = array[tuple(slice(None) if i is None else i for i in at)]
    return Operand(name, read.path, tuple(at), np.asarray(values, np.float64)[..., :SHOWN]
                   if np.ndim(values) else np.float64(values))


def _product(recording, value, index):
    """-> (row, column), bias of the matrix product that made a number, or None, None"""
    call = value.maker
    if call.name != "matmul":
        made = next((other for other in _matmuls(recording, value)), None)
        if made is None:
            return None, None
        flat = np.ravel_multi_index(index, value.array.shape)
        index = tuple(map(int, np.unravel_index(flat, made.array.shape)))
        value, call = made, made.maker
    A, B = call.arguments.get("A"), call.arguments.get("B")
    if A is None or B is None or value.array.ndim < 2:
        return None, None
    bias = call.arguments.get("bias")
    bias = None if bias is None or value.name == "C" and "#" not in value.path else Operand(
        "bias", bias.path, index[-1:], np.float64(bias.array[index[-1]]))
    batch, number = index[:-2], float(value.array[index])
    for row in _lines(A, "A", batch, index[-2], transposed=False):
        for column in _lines(B, "B", batch, index[-1], transposed=True):
            if row.values.shape == column.values.shape:
                total = row.values @ column.values + (0 if bias is None else bias.values)
                size = np.abs(row.values) @ np.abs(column.values)
                if abs(total - number) <= 1e-4 * size + 1e-12:
                    return (row, column), bias
    return None, None


def _matmuls(recording, value):
    """Yield the result of a matrix product that is the same memory in another shape."""
    for other in recording.products:
        if (other.address == value.address and other.array.size == value.array.size
                and other.is_contiguous and value.is_contiguous and other.born <= value.born
                and np.array_equal(other.array.ravel(), value.array.ravel())):
            yield other


def _lines(value, name, batch, i, transposed):
    """Yield the row i of a matrix and its column i, the likelier one first."""
    array = value.array
    lead = batch[len(batch) - (array.ndim - 2):] if array.ndim > 2 else ()
    for by_column in (transposed, not transposed):
        axis = -1 if by_column else -2
        if i < array.shape[axis]:
            at = (*lead, None, i) if by_column else (*lead, i, None)
            values = array[tuple(slice(None) if k is None else k for k in at)]
            yield Operand(name, value.path, at, np.asarray(values, np.float64))
