"""Quantized weights: a matrix for inference, in 32, 16, 8 or 4.5 bits per weight.

    float32    unchanged
    bfloat16   the upper half of a float32: the same range, 8 bits of precision
    int8       W_jk = scale_j q_jk with q from -127 to 127, and a scale for each output j
    int4       W_jk = scale_jg q_jk with q from -8 to 7, and a scale in bfloat16 for each group g of
               32 weights of an output: k from 32 g to 32 g + 31

To generate a token, a model reads each of its weights once, so the memory bandwidth limits its
speed: half of the bytes is nearly twice the speed.
"""

import math
from typing import NamedTuple

import numpy as np

from minillm.kernels import kernel
from minillm.kernels.matmul import GROUP, QuantizedMatmul, n_groups

# NumPy has no bfloat16: a uint16 holds its bits.
_STORED_AS = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(np.uint16),
              "int8": np.dtype(np.int8), "int4": np.dtype(np.uint8)}
DTYPES = tuple(_STORED_AS)

# Up to this number of rows csrc/gemv.c multiplies them with the weights as they are stored, and a row
# has the same bits for any number; beyond, it unpacks and packs the weights: MINILLM_STEP_ROWS.
LARGEST_STEP = 16


class QuantizedWeights(NamedTuple):
    """W: (n_outputs, n_inputs) in one of DTYPES. `linear` and `embedding` accept it instead of an
    array. It has no gradient, so it can't be trained.

    values: (n_outputs, n_inputs) of float32, uint16 (the bits of bfloat16) or int8; with int4
        uint8, two weights a byte: see `to_int4`
    scale:  (n_outputs,) float32 with int8: W = scale[:, None] * values; (n_outputs, groups) uint16
        (bfloat16) with int4; None with the others
    n_inputs: the number of columns of W

    The weights of one output are contiguous, so generation reads the memory from front to back, in
    float32 too (csrc/gemv.c).
    """

    dtype: str
    values: np.ndarray
    scale: np.ndarray | None
    n_inputs: int

    @property
    def shape(self):
        return len(self.values), self.n_inputs

    @property
    def ndim(self):
        return 2

    @property
    def size(self):
        """The number of weights."""
        return math.prod(self.shape)

    @property
    def nbytes(self):
        return self.values.nbytes + (0 if self.scale is None else self.scale.nbytes)

    def rows(self, ids):
        """ids: (...) -> their rows, float32 (..., n_inputs): the lookup of an embedding table"""
        ids_in_a_row = np.ravel(ids)
        scale = None if self.scale is None else self.scale[ids_in_a_row]
        rows = dequantize(self.values[ids_in_a_row], scale, self.n_inputs)
        return rows.reshape(*np.shape(ids), self.n_inputs)

    def multiply(self, x, bias=None):
        """x: (..., n_inputs), bias: (n_outputs,) or None -> x Wᵀ + bias: (..., n_outputs)"""
        return quantized_matmul(x, self.values, self.scale, bias)


@kernel(QuantizedMatmul())
def quantized_matmul(x, weights, scale=None, bias=None):
    """y = x Wᵀ + bias, with W = dequantize(weights, scale, K)

    x: (..., K), float32 or float64
    weights: (N, K), float32, uint16 (the bits of bfloat16) or int8; or (N, 16 groups) uint8 for
        int4, with K / 32 groups, rounded up
    scale: (N,) float32 for int8, (N, groups) uint16 (bfloat16) for int4, otherwise None
    bias: (N,) of x's dtype, or None  ->  y: (..., N)

    For inference only: there is no backward. The C twin is csrc/gemv.c.
    Raises TypeError for a wrong type or dtype; ValueError for shapes that don't match, a missing
    `scale` with int8 or int4, and a `scale` with other weights.
    """
    W = dequantize(weights, scale, x.shape[-1]).astype(x.dtype, copy=False)
    y = x @ W.T
    return y if bias is None else y + bias


def quantize(W, dtype):
    """W: float32 (n_outputs, n_inputs), in any memory order -> QuantizedWeights

    Raises ValueError for a dtype that isn't one of DTYPES, and for infinite weights as int8 or
    int4.
    """
    n_inputs = W.shape[1]
    if dtype == "float32":
        return QuantizedWeights(dtype, np.array(W, np.float32, order="C"), None, n_inputs)
    if dtype == "bfloat16":
        return QuantizedWeights(dtype, to_bfloat16(W), None, n_inputs)
    if dtype == "int8":
        return QuantizedWeights(dtype, *to_int8(W), n_inputs)
    if dtype == "int4":
        return QuantizedWeights(dtype, *to_int4(W), n_inputs)
    raise ValueError(f"dtype is {dtype!r}, wanted one of {', '.join(DTYPES)}")


def quantize_together(matrices, dtype):
    """Yield the QuantizedWeights of each of a list of matrices, all in one block of memory.

    Generation then reads all of them as one stream, in large pages: 6 % more tokens per second with
    float32 than from separate blocks. Raises the errors of `quantize`.
    """
    if dtype not in _STORED_AS:
        raise ValueError(f"dtype is {dtype!r}, wanted one of {', '.join(DTYPES)}")
    sizes = [size for W in matrices for size in _sizes(dtype, *W.shape)]
    memory = np.empty(sum(sizes) + 63, np.uint8)
    begin = -memory.ctypes.data % 64

    def moved(array):
        nonlocal begin
        if array is None:
            return None
        place = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
        place[...] = array
        begin += _whole_lines(array.nbytes)
        return place

    for W in matrices:
        weights = quantize(W, dtype)
        yield weights._replace(values=moved(weights.values), scale=moved(weights.scale))


def _sizes(dtype, N, K):
    """-> the bytes of the values and of the scale of a matrix (N, K), in whole cache lines"""
    values = N * K * _STORED_AS[dtype].itemsize
    scale = 4 * N if dtype == "int8" else 0
    if dtype == "int4":
        values, scale = N * n_groups(K) * GROUP // 2, N * n_groups(K) * 2
    return _whole_lines(values), _whole_lines(scale)


def _whole_lines(n_bytes):
    return (n_bytes + 63) // 64 * 64


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
        _refuse_infinite("int8")
    # Weights so small that 1 / scale would overflow become 0.
    scale = np.where(largest > 127e-37, largest / 127, 1).astype(np.float32)
    return np.rint(W / scale[:, None]).astype(np.int8), scale


def _refuse_infinite(dtype):
    raise ValueError(f"W has infinite or NaN weights, wanted finite ones to store as {dtype}")


# For a group w of 32 weights, find the scale s and the integers q, -8 <= q_k <= 7, with the least
# error E = Σ_k (w_k - s q_k)².
#
#   given s   every q_k on its own: w_k / s, rounded to the nearest integer, and clipped
#   given q   ∂E/∂s = -2 Σ_k q_k (w_k - s q_k) = 0:   s = Σ_k w_k q_k / Σ_k q_k²
#
# Each step lowers E, but alternating them ends in the minimum next to the start. So start from
# several scales. There is one more level below zero than above, so let s have the sign that makes
# the weight m of the largest magnitude negative: s = -m / 8 maps it to -8. A larger s rounds the
# others more coarsely. A smaller s clips m, and what all others gain may outweigh that. Then fit s
# to the q of each start, round s to bfloat16 as it will be stored, and round the weights once more.
# The best start wins.
STARTS = (7.2, 8.0, 8.8)  # -m / s
_BLOCK = 1024  # groups at a time: their arrays stay in the cache


def to_int4(W):
    """float32 (N, K) -> q + 8: uint8 (N, 16 groups), scale: uint16 (N, groups) in bfloat16

    The last group is filled up with zeros. Byte i of a group's 16 bytes holds weight i in its lower
    half and weight i + 16 in its upper half, so one mask and one shift unpack 16 weights at a time.
    """
    W = np.ascontiguousarray(W, np.float32)
    if not np.isfinite(W).all():
        _refuse_infinite("int4")
    N, K = W.shape
    groups = n_groups(K)
    padded = np.zeros((N, groups * GROUP), np.float32)
    padded[:, :K] = W
    padded = padded.reshape(-1, GROUP)
    q, scale = np.empty(padded.shape, np.uint8), np.empty(len(padded), np.uint16)
    for begin in range(0, len(padded), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        q[block], scale[block] = _fit(padded[block])
    packed = q[:, : GROUP // 2] | q[:, GROUP // 2 :] << 4
    return packed.reshape(N, groups * GROUP // 2), scale.reshape(N, groups)


def _fit(w):
    """w: float32 (n, 32) -> q + 8: uint8 (n, 32), scale: uint16 (n,) in bfloat16"""
    m = w[np.arange(len(w)), np.abs(w).argmax(axis=1)]
    best_q, best_scale = np.zeros(w.shape, np.float32), np.zeros(len(w), np.uint16)
    least = np.full(len(w), np.inf, np.float32)
    unit = np.where(m == 0, 1, np.abs(m))  # so that no square overflows or vanishes
    w, m = w / unit[:, None], m / unit
    for start in STARTS:
        q = _nearest(w, -m / start)
        scale = np.einsum("gk,gk->g", w, q) / np.maximum(np.einsum("gk,gk->g", q, q), 1)
        stored = to_bfloat16(scale * unit)
        scale = from_bfloat16(stored) / unit
        q = _nearest(w, scale)
        rest = w - scale[:, None] * q
        error = np.einsum("gk,gk->g", rest, rest)
        better = error < least
        least[better], best_scale[better], best_q[better] = (
            error[better], stored[better], q[better])
    return (best_q + 8).astype(np.uint8), best_scale


def _nearest(w, scale):
    """-> w / scale, rounded to the integers from -8 to 7; 0 where the scale is 0"""
    with np.errstate(divide="ignore"):
        inverse = np.where(scale == 0, 0, 1 / scale).astype(np.float32)
    q = w * inverse[:, None]
    np.rint(q, out=q)
    return np.clip(q, -8, 7, out=q)


def dequantize(values, scale=None, n_inputs=None):
    """The weights as they were stored -> W: float32 (N, n_inputs)

    values, scale: see QuantizedWeights; n_inputs: needed with int4 only
    """
    if values.dtype == np.uint16:
        return from_bfloat16(values)
    if values.dtype == np.uint8:
        return np.ascontiguousarray(_from_int4(values, scale)[:, :n_inputs])
    W = values.astype(np.float32, copy=False)
    return W if scale is None else W * scale[:, None]


def _from_int4(packed, scale):
    """The inverse of `to_int4` -> float32 (N, 32 groups)"""
    N, groups = scale.shape
    packed = packed.reshape(N, groups, GROUP // 2)
    W = np.empty((N, groups, GROUP), np.float32)
    W[..., : GROUP // 2] = packed & 15
    W[..., GROUP // 2 :] = packed >> 4
    W -= 8
    W *= from_bfloat16(scale)[..., None]
    return W.reshape(N, groups * GROUP)
