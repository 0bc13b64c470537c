"""Weights in fewer bits: how the numbers are stored, and what the kernels for them have in common.

    float32    as it is: 4 bytes
    bfloat16   the upper half of a float32, in a uint16: 2 bytes. The same range, 8 bits of precision
    int8       W[j, k] = scale[j] q[j, k], q from -127 to 127: 1 byte, and a scale for each output

One token needs every weight of a model once, so generating is as fast as the memory delivers the
weights: half of the bytes, nearly twice the speed.
"""

import math

import numpy as np

from minillm.checks import require_float
from minillm.kernels.arguments import contiguous, require_array

TYPES = {np.dtype(np.float32): "float32", np.dtype(np.uint16): "bfloat16",
         np.dtype(np.int8): "int8"}


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
    # Weights so small that 1 / scale would overflow are 0 for all purposes.
    scale = np.where(largest > 127e-37, largest / 127, 1).astype(np.float32)
    return np.rint(W / scale[:, None]).astype(np.int8), scale


def to_float32(weights, scale=None):
    """What `weights` (of one of the three types) and `scale` stand for -> float32 (N, K)"""
    if weights.dtype == np.uint16:
        return from_bfloat16(weights)
    weights = weights.astype(np.float32, copy=False)
    return weights if scale is None else weights * scale[:, None]


def stored_arguments(x, weights, scale, bias):
    """Check the arguments of `matmul_stored` -> rows of x (M, K), weights, scale, bias; contiguous

    Raises TypeError and ValueError: one line that names the argument.
    """
    require_float("x", x)
    if not isinstance(weights, np.ndarray):
        raise TypeError(f"weights is a {type(weights).__name__}, wanted a NumPy array")
    if weights.dtype not in TYPES:
        raise TypeError(f"weights has dtype {weights.dtype}, wanted float32, uint16 (bfloat16) or "
                        "int8")
    if weights.ndim != 2:
        raise ValueError(f"weights has shape {weights.shape}, wanted 2 axes: (N, K)")
    N, K = weights.shape
    if x.ndim == 0 or x.shape[-1] != K:
        raise ValueError(f"x has shape {x.shape}, wanted (..., {K}) to match weights")
    if (scale is None) == (weights.dtype == np.int8):
        came, wanted = ("None", "an array") if scale is None else ("an array", "None")
        raise ValueError(f"scale is {came}, wanted {wanted} with weights of {weights.dtype}")
    for name, array, dtype in (("scale", scale, np.float32), ("bias", bias, x.dtype)):
        if array is not None:
            require_array(name, array, dtype)
            if array.shape != (N,):
                raise ValueError(f"{name} has shape {array.shape}, wanted {(N,)}")
    rows = contiguous(x).reshape(math.prod(x.shape[:-1]), K)
    return (rows, contiguous(weights), *(
        array if array is None else contiguous(array) for array in (scale, bias)))
