"""The linear map: Q, K, V, the feed-forward network and the output head all use it."""

import math
from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_shape
from minillm.kernels import kernel
from minillm.kernels.arguments import require_apart
from minillm.kernels.linear import Linear, LinearBackward
from minillm.ops.matmul import matmul
from minillm.ops.quantized import QuantizedWeights
from minillm.ops.sum_rows import sum_rows


class LinearCache(NamedTuple):
    x: np.ndarray  # (N, d_in): all leading axes of the input flattened into one
    W: np.ndarray
    transpose_W: bool
    has_bias: bool


@kernel(Linear(LinearCache))
def linear(x, W, b=None, *, transpose_W=False):
    """y = x W + b

    x: (..., d_in), W: (d_in, d_out), b: (d_out,) or None, all of one float dtype
    ->  y: (..., d_out), cache for `linear_backward`

    With `transpose_W`, W is stored as (d_out, d_in) and y = x Wᵀ + b. An output head can so share
    the table of the token embeddings (Press and Wolf 2017, "Using the Output Embedding ...").
    W may be a slice of columns of a larger matrix; nothing is copied. For inference only, W may be
    QuantizedWeights, which are always (d_out, d_in); the cache is then None.
    """
    require_float("x", x)
    if isinstance(W, QuantizedWeights):
        return W.multiply(x, b), None
    require_float("W", W)
    require_shape("W", W, (None, None))
    d_in, d_out = W.shape[::-1] if transpose_W else W.shape
    if x.shape[-1:] != (d_in,):
        raise ValueError(f"x has shape {x.shape}, wanted (..., {d_in}) for W of shape {W.shape}")
    rows = x.reshape(math.prod(x.shape[:-1]), d_in)
    if b is not None:
        require_float("b", b)
        require_shape("b", b, (d_out,))
    y = matmul(rows, W, transpose_B=transpose_W, bias=b)
    return y.reshape(*x.shape[:-1], d_out), LinearCache(rows, W, transpose_W, b is not None)


# y_nj = Σ_i x_ni W_ij + b_j, so for a loss L with dy_nj = ∂L/∂y_nj:
#   ∂L/∂x_ni = Σ_j dy_nj W_ij    dx = dy Wᵀ
#   ∂L/∂W_ij = Σ_n x_ni dy_nj    dW = xᵀ dy
#   ∂L/∂b_j  = Σ_n dy_nj         db = the sum of dy's rows
# For y = x Vᵀ set W = Vᵀ:  dx = dy V,  dV = (dW)ᵀ = dyᵀ x.
@kernel(LinearBackward())
def linear_backward(dy, cache, *, dW=None, accumulate=False, with_dW=True):
    """dy: (..., d_out)  ->  dx: (..., d_in), dW: the shape of W, db: (d_out,), None if b was None

    dW: the array to write to, or, with `accumulate`, to add to; by default a new one. It may be a
        slice of columns of a larger array. The largest gradients of a model so need no temporary.
    with_dW: False, for frozen parameters, skips dW and db: both are None
    """
    x, W, transpose_W, has_bias = cache
    rows = _rows_of_dy(dy, len(x), W.shape[0] if transpose_W else W.shape[1])
    dW_and_db = None, None
    if dW is not None:
        require_float("dW", dW)
        require_apart("dW", dW, "W", W)  # dx, which comes last, needs W
    if with_dW:  # first, and dx last: dy is still in the cache now, and dx for who reads it next
        db = sum_rows(rows) if has_bias else None
        left, right = (rows, x) if transpose_W else (x, rows)
        dW_and_db = matmul(left, right, dW, transpose_A=True, accumulate=accumulate), db
    dx = matmul(rows, W, transpose_B=not transpose_W).reshape(*dy.shape[:-1], x.shape[-1])
    return dx, *dW_and_db


def _rows_of_dy(dy, N, d_out):
    """Check dy: (..., d_out) -> dy with the leading axes flattened into one: (N, d_out)"""
    require_float("dy", dy)
    if dy.shape[-1:] != (d_out,) or math.prod(dy.shape[:-1]) != N:
        raise ValueError(f"dy has shape {dy.shape}, wanted (..., {d_out}) for the {N} rows of x")
    return dy.reshape(N, d_out)
