"""Quantized weights: a matrix for inference, in 4, 2 or 1 bytes per weight.

    float32    unchanged
    bfloat16   the upper half of a float32: the same range, 8 bits of precision
    int8       W_jk = scale_j q_jk with q from -127 to 127, and a scale for each output j

To generate a token, a model reads each of its weights once, so the memory bandwidth limits its
speed: half of the bytes is nearly twice the speed.
"""

import math
from typing import NamedTuple

import numpy as np

from minillm.kernels import kernel
from minillm.kernels.matmul import QuantizedMatmul
from minillm.ops.matmul import matmul

# NumPy has no bfloat16: a uint16 holds its bits.
_STORED_AS = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(np.uint16),
              "int8": np.dtype(np.int8)}
DTYPES = tuple(_STORED_AS)

# Up to this number of rows csrc/gemv.c, which unpacks the weights again for every 8 rows, is
# faster than unpacking the whole matrix once.
_MAX_GEMV_ROWS = 32


class QuantizedWeights(NamedTuple):
    """W: (n_outputs, n_inputs) in one of DTYPES. `linear` and `embedding` accept it instead of an
    array. It has no gradient, so it can't be trained.

    values: (n_outputs, n_inputs) of float32, uint16 (the bits of bfloat16) or int8
    scale:  (n_outputs,) float32 with int8: W = scale[:, None] * values; None with the others

    The weights of one output are contiguous, so generation reads the memory from front to back, in
    float32 too (csrc/gemv.c).
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
        """ids: (...) -> their rows, float32 (..., n_inputs): the lookup of an embedding table"""
        scale = None if self.scale is None else self.scale[ids].ravel()
        rows = dequantize(self.values[ids].reshape(-1, self.shape[1]), scale)
        return rows.reshape(*np.shape(ids), self.shape[1])

    def multiply(self, x, bias=None):
        """x: (..., n_inputs), bias: (n_outputs,) or None -> x Wᵀ + bias: (..., n_outputs)"""
        if math.prod(x.shape[:-1]) > _MAX_GEMV_ROWS and x.dtype == np.float32:
            W = dequantize(self.values, self.scale)
            rows = matmul(x.reshape(-1, x.shape[-1]), W, transpose_B=True, bias=bias)
            return rows.reshape(*x.shape[:-1], len(W))
        return quantized_matmul(x, self.values, self.scale, bias)


@kernel(QuantizedMatmul())
def quantized_matmul(x, weights, scale=None, bias=None):
    """y = x Wᵀ + bias, with W = scale[:, None] * weights

    x: (..., K), float32 or float64
    weights: (N, K), float32, uint16 (the bits of bfloat16) or int8
    scale: (N,) float32 for int8, otherwise None;  bias: (N,) of x's dtype, or None  ->  y: (..., N)

    For inference only: there is no backward. The C twin, csrc/gemv.c, is made for few rows of x.
    Raises TypeError for a wrong type or dtype; ValueError for shapes that don't match, a missing
    `scale` with int8, and a `scale` with other weights.
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
    """Yield the QuantizedWeights of each of a list of matrices, all in one block of memory.

    Generation then reads all of them as one stream, in large pages: 6 % more tokens per second with
    float32 than from separate blocks. Raises the errors of `quantize`.
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

    Add half a step of the upper 16 bits, or just less if the last bit that stays is 0, and cut the
    lower half off. NaN bypasses the rounding, which could turn it into infinity.
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

    Symmetric, with a scale for each row (an output of the linear map): scale_j = max_k |W_jk| / 127
    and q_jk = W_jk / scale_j, rounded to the nearest integer. The error is at most half a scale.
    """
    W = np.ascontiguousarray(W, np.float32)
    largest = np.abs(W).max(axis=1, initial=0)
    if not np.isfinite(largest).all():
        raise ValueError("W has infinite or NaN weights, wanted finite ones to store as int8")
    # Weights so small that 1 / scale would overflow become 0.
    scale = np.where(largest > 127e-37, largest / 127, 1).astype(np.float32)
    return np.rint(W / scale[:, None]).astype(np.int8), scale


def dequantize(values, scale=None):
    """values: (N, K) of one of the three types, scale: (N,) or None -> W: float32 (N, K)"""
    if values.dtype == np.uint16:
        return from_bfloat16(values)
    W = values.astype(np.float32, copy=False)
    return W if scale is None else W * scale[:, None]
