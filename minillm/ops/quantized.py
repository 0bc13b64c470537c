"""Quantized weights: a matrix for inference in 4, 2 or 1 bytes a weight.

    float32    as it is
    bfloat16   the upper half of a float32: the same range, 8 bits of precision
    int8       W_jk = scale_j q_jk with q from -127 to 127, and a scale for each output j

To generate a token, a model reads each of its weights once, so it is as fast as the memory delivers
them: half of the bytes, nearly twice the speed.
"""

import math
from typing import NamedTuple

import numpy as np

from minillm.kernels import kernel
from minillm.kernels.matmul import QuantizedMatmul
from minillm.ops.matmul import matmul

# NumPy knows no bfloat16: its bits are kept in a uint16.
_STORED_AS = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(np.uint16),
              "int8": np.dtype(np.int8)}
DTYPES = tuple(_STORED_AS)

# Up to this number of rows, unpacking the weights anew for every few rows is faster than unpacking
# the whole matrix once.
_MOST_ROWS = 32


class QuantizedWeights(NamedTuple):
    """W: (n_outputs, n_inputs) in one of DTYPES. It takes the place of an array of weights in
    `linear` and `embedding`, but can't be trained: it has no gradient.

    values: (n_outputs, n_inputs) of float32, uint16 (the bits of bfloat16) or int8
    scale:  (n_outputs,) float32 with int8: W = scale[:, None] * values; None with the others

    The weights of one output lie side by side, so that generation reads the memory from front to
    back, also in float32 (csrc/gemv.c).
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
        rows = dequantize(self.values[ids].reshape(-1, self.shape[1]), scale)
        return rows.reshape(*np.shape(ids), self.shape[1])

    def multiply(self, x, bias=None):
        """x: (..., n_inputs), bias: (n_outputs,) or None -> x Wᵀ + bias: (..., n_outputs)"""
        if math.prod(x.shape[:-1]) > _MOST_ROWS and x.dtype == np.float32:
            W = dequantize(self.values, self.scale)
            rows = matmul(x.reshape(-1, x.shape[-1]), W, transpose_B=True, bias=bias)
            return rows.reshape(*x.shape[:-1], len(W))
        return quantized_matmul(x, self.values, self.scale, bias)


@kernel(QuantizedMatmul())
def quantized_matmul(x, weights, scale=None, bias=None):
    """y = x Wᵀ + bias, with W = scale[:, None] * weights

    x: (..., K), float32 or float64;  weights: (N, K), float32, uint16 (the bits of bfloat16) or int8;
    scale: (N,) float32 for int8, otherwise None;  bias: (N,) of x's dtype or None  ->  y: (..., N)

    For inference: there is no backward. The C twin, csrc/gemv.c, is made for few rows of x. Raises
    TypeError for a wrong type or dtype, ValueError for shapes that don't fit and for a `scale` that
    is missing or that the weights have no use for.
    """
    W = dequantize(weights, scale).astype(x.dtype, copy=False)
    y = x @ W.T
    return y if bias is None else y + bias


def quantize(W, dtype):
    """W: float32 (n_outputs, n_inputs), in any memory order -> QuantizedWeights

    Raises ValueError for a dtype that isn't one of DTYPES, and for infinite weights as int8.
    """
    if dtype == "float32":
        return QuantizedWeights(dtype, np.array(W, np.float32, order="C"))
    if dtype == "bfloat16":
        return QuantizedWeights(dtype, to_bfloat16(W))
    if dtype == "int8":
        return QuantizedWeights(dtype, *to_int8(W))
    raise ValueError(f"dtype is {dtype!r}, wanted one of {', '.join(DTYPES)}")


def quantize_together(matrices, dtype):
    """Yield the QuantizedWeights of each of a list of matrices, all in one piece of memory.

    A token then reads all of them as one stream, in large pages: with float32, 6 % more tokens a
    second than from many pieces. Raises what `quantize` raises.
    """
    itemsize = _STORED_AS[dtype].itemsize if dtype in _STORED_AS else 0
    sizes = [(W.size * itemsize + 63) // 64 * 64 for W in matrices]  # whole cache lines
    memory = np.empty(sum(sizes) + 63, np.uint8)
    begin = -memory.ctypes.data % 64
    for W, size in zip(matrices, sizes):
        weights = quantize(W, dtype)
        values = memory[begin : begin + weights.values.nbytes].view(weights.values.dtype)
        values = values.reshape(W.shape)
        values[...] = weights.values
        yield weights._replace(values=values)
        begin += size


def to_bfloat16(x):
    """float32 array -> uint16 array of its bfloat16 bits, rounded to nearest, ties to even

    Half a step of the lower 16 bits is added, a little less where the last bit that stays is 0, and
    the lower half cut off. A NaN stays one: its bits aren't a number to be rounded.
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    last = (bits >> 16) & 1
    rounded = (bits + (0x7FFF + last)) >> 16
    return np.where(np.isnan(x), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def from_bfloat16(bits):
    """uint16 array -> float32 array, exactly: the lower half of each number is 0"""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_int8(W):
    """float32 (N, K) -> q: int8 (N, K), scale: float32 (N,) with W ≈ scale[:, None] * q

    Symmetric, a scale for each row (an output of the linear map): scale_j = max_k |W_jk| / 127,
    q_jk = W_jk / scale_j rounded to the nearest integer. So an error is at most half a scale.
    """
    W = np.ascontiguousarray(W, np.float32)
    largest = np.abs(W).max(axis=1, initial=0)
    if not np.isfinite(largest).all():
        raise ValueError("W has infinite or NaN weights, wanted finite ones to store as int8")
    # Where 1 / scale would overflow, the weights are too small to matter: they become 0.
    scale = np.where(largest > 127e-37, largest / 127, 1).astype(np.float32)
    return np.rint(W / scale[:, None]).astype(np.int8), scale


def dequantize(values, scale=None):
    """values: (N, K) of one of the three types, scale: (N,) or None -> W: float32 (N, K)"""
    if values.dtype == np.uint16:
        return from_bfloat16(values)
    W = values.astype(np.float32, copy=False)
    return W if scale is None else W * scale[:, None]
