"""A matrix of weights stored for inference: a row for each output, in 4, 2 or 1 bytes a weight."""

from typing import NamedTuple

import numpy as np

from minillm import kernels
from minillm.kernels.stored_weights import TYPES, to_bfloat16, to_float32, to_int8

DTYPES = tuple(TYPES.values())


class StoredWeights(NamedTuple):
    """W: (n_outputs, n_inputs) in one of DTYPES. It takes the place of an array of weights in
    `linear` and `embedding`, but can't be trained: it has no gradient.

    values: (n_outputs, n_inputs) of float32, uint16 (the bits of bfloat16) or int8
    scale:  (n_outputs,) float32 with int8: W = scale[:, None] * values; None with the others

    Storing a row for each output lets generation read the memory from front to back, also in
    float32 (csrc/few_rows.c).
    """

    dtype: str
    values: np.ndarray
    scale: np.ndarray | None = None

    @property
    def shape(self):
        return self.values.shape

    @property
    def ndim(self):
        return 2

    @property
    def size(self):
        """The number of weights."""
        return self.values.size

    @property
    def nbytes(self):
        return self.values.nbytes + (0 if self.scale is None else self.scale.nbytes)

    def rows(self, ids):
        """Row `id` for each of ids (...) -> float32 (..., n_inputs): an embedding table's tokens"""
        scale = None if self.scale is None else self.scale[ids].ravel()
        rows = to_float32(self.values[ids].reshape(-1, self.shape[1]), scale)
        return rows.reshape(*np.shape(ids), self.shape[1])

    def multiply(self, x, bias=None):
        """x: (..., n_inputs), bias: (n_outputs,) or None -> x Wᵀ + bias: (..., n_outputs)"""
        return kernels.matmul_stored(x, self.values, self.scale, bias)


def store(W, dtype):
    """W: float32 (n_outputs, n_inputs), in any memory order -> StoredWeights

    Raises ValueError for a dtype that isn't one of DTYPES, and for infinite weights as int8.
    """
    if dtype == "float32":
        return StoredWeights(dtype, np.array(W, np.float32, order="C"))
    if dtype == "bfloat16":
        return StoredWeights(dtype, to_bfloat16(W))
    if dtype == "int8":
        return StoredWeights(dtype, *to_int8(W))
    raise ValueError(f"dtype is {dtype!r}, wanted one of {', '.join(DTYPES)}")


def store_together(matrices, dtype):
    """Yield the StoredWeights of each of a list of matrices, one after another in one piece of memory.

    A token then reads all of them as one stream, in large pages: with float32, 6 % more tokens a
    second than from many pieces. Raises what `store` raises.
    """
    itemsize = {name: stored_as.itemsize for stored_as, name in TYPES.items()}.get(dtype, 0)
    sizes = [(W.size * itemsize + 63) // 64 * 64 for W in matrices]  # whole cache lines
    memory = np.empty(sum(sizes) + 63, np.uint8)
    begin = -memory.ctypes.data % 64
    for W, size in zip(matrices, sizes):
        stored = store(W, dtype)
        values = memory[begin : begin + stored.values.nbytes].view(stored.values.dtype)
        values = values.reshape(W.shape)
        values[...] = stored.values
        yield stored._replace(values=values)
        begin += size
