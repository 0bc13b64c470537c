"""The output head and cross-entropy together, without the matrix of all logits.

GPT-2 scores 50,257 tokens at each position: for 4 texts of 1,024 tokens that is a matrix of 823 MB,
and its gradient is as large. But the loss and all gradients are sums over the rows, so a few rows
at a time are enough.
"""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_shape
from minillm.ops.cross_entropy import checked_targets, token_losses, token_losses_backward
from minillm.ops.dropout import require_probability
from minillm.ops.matmul import matmul
from minillm.ops.sum_rows import sum_rows

LARGE = 1 << 28  # bytes of logits, above which a model computes its loss in chunks
CHUNK = 1 << 26  # bytes of the logits of a chunk, about
# csrc/matmul.c adds the products of 384 rows at a time to dW (its KC). Chunks that are multiples of
# it make the same sums in the same order, so dW is the same, bit for bit.
SUMMED_ROWS = 384


class LinearCrossEntropyCache(NamedTuple):
    x: np.ndarray  # (..., d)
    W: np.ndarray  # (V, d)
    b: np.ndarray | None  # (V,)
    lse: np.ndarray  # (N, 1): log Σ_j exp(z_j) of each row
    targets: np.ndarray  # (N,): -1 where the target is ignored
    n_targets: int
    label_smoothing: float
    chunks: list  # of slices of the N rows


def linear_cross_entropy(x, W, b, targets, *, ignore_index=-100, label_smoothing=0.0, chunk=None):
    """L = cross_entropy(z, targets),  z = x Wᵀ + b: (..., V), of which a chunk exists at a time

    x: (..., d), W: (V, d), b: (V,) or None, of one float dtype; targets, ignore_index and
    label_smoothing: see `cross_entropy`
    chunk: bytes of the logits of a chunk, about; default: CHUNK
    ->  loss: float, in nats; cache for `linear_cross_entropy_backward`

    In float32 on the C kernels, the loss, dx and dW are bit for bit those of `linear` and
    `cross_entropy`, if each chunk has more than 500,000 multiply-adds (csrc/matmul.c multiplies
    smaller matrices in another order); db, to which each chunk adds its sum, is so with one chunk.
    """
    require_float("x", x)
    require_float("W", W)
    require_shape("W", W, (None, x.shape[-1]))
    require_probability("label_smoothing", label_smoothing)
    targets = checked_targets(targets, x.shape[:-1], len(W), ignore_index)
    rows, labels = x.reshape(-1, x.shape[-1]), targets.reshape(-1)
    losses, lse = np.empty(len(rows), x.dtype), np.empty((len(rows), 1), x.dtype)
    chunks = chunks_of(len(rows), len(W) * x.itemsize, chunk)
    logits = _memory_for(chunks, len(W), x.dtype)
    for c in chunks:
        z = matmul(rows[c], W, logits[: c.stop - c.start], transpose_B=True, bias=b)
        losses[c], lse[c] = token_losses(z, labels[c], label_smoothing)
    n_targets = int((labels >= 0).sum())
    loss = float(losses.reshape(targets.shape).sum(dtype=np.float64)) / max(n_targets, 1)
    return loss, LinearCrossEntropyCache(x, W, b, lse, labels, n_targets, label_smoothing, chunks)


# Row r of the logits, z_r = W x_r + b, has the gradient dz_r = (p_r - q_r) dloss / n_targets, which
# depends on no other row (ops/cross_entropy.py). And (ops/linear.py)
#   dx_r = Wᵀ dz_r               a row of dx needs a row of dz only
#   dW   = Σ_r dz_r x_rᵀ         sums over the rows: each chunk of rows adds its share
#   db   = Σ_r dz_r
# The forward has forgotten z, so the backward multiplies x Wᵀ once more: a third on top of the
# head's three products. Nothing else is computed twice, because lse is kept.
def linear_cross_entropy_backward(dloss, cache, *, dW=None, accumulate=False, with_dW=True):
    """dloss: float  ->  dx: (..., d), dW: (V, d), db: (V,), None if b was None

    dW, accumulate: see `linear_backward`;  with_dW: False, for frozen weights: dW is None
    """
    x, W, b, lse, targets, n_targets, label_smoothing, chunks = cache
    rows = x.reshape(-1, x.shape[-1])
    dx = np.empty_like(rows)
    if with_dW and dW is None:
        dW = np.empty_like(W)
    if with_dW and not chunks and not accumulate:
        dW[...] = 0
    db = None if b is None else np.zeros_like(b)
    logits = _memory_for(chunks, len(W), x.dtype)
    for c in chunks:
        z = matmul(rows[c], W, logits[: c.stop - c.start], transpose_B=True, bias=b)
        dz = token_losses_backward(float(dloss) / max(n_targets, 1), z, targets[c], lse[c],
                                   label_smoothing, out=z)
        matmul(dz, W, dx[c])
        if with_dW:
            matmul(dz, rows[c], dW, transpose_A=True, accumulate=accumulate or c.start > 0)
        if db is not None:
            db += sum_rows(dz)
    return dx.reshape(x.shape), dW if with_dW else None, db


def chunks_of(N, row_bytes, chunk=None):
    """-> list of slices that cut N rows, of row_bytes each, into chunks of about `chunk` bytes

    All but the last are multiples of SUMMED_ROWS. A remainder of less than a quarter joins the
    chunk before it: a product of few rows is made in another way (csrc/gemv.c).
    """
    chunk = CHUNK if chunk is None else chunk
    step = SUMMED_ROWS * max(1, round(chunk / (SUMMED_ROWS * row_bytes)))
    starts = list(range(0, N, step))
    if len(starts) > 1 and N - starts[-1] < step // 4:
        starts.pop()
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], N])]


def _memory_for(chunks, V, dtype):
    """-> (rows, V): memory for the logits of one chunk after the other"""
    return np.empty((max((c.stop - c.start for c in chunks), default=0), V), dtype)
