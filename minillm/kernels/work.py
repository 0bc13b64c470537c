"""The work of a kernel call: its operations, and the bytes that it has to move at least.

A multiply-add is two operations. In an attention with a causal mask only the pairs of a query and a
key that it may see count.
"""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from minillm.kernels.dispatch import observe

PRODUCTS = ("matmul", "quantized_matmul", "fused_attention", "fused_attention_backward")

# The approximate number of operations of a kernel for each number of its first array. Exponentials
# and divisions are one operation each. Only a roofline uses this.
OPERATIONS = {
    "layer_norm": 8, "layer_norm_backward": 12, "rms_norm": 5, "rms_norm_backward": 9,
    "gelu": 20, "gelu_backward": 28, "gelu_tanh": 12, "gelu_tanh_backward": 20,
    "relu2": 2, "relu2_backward": 3, "token_losses": 4,
    "token_losses_backward": 3,
    "add": 1, "rotate": 3, "adam": 12, "sum_of_squares": 2, "sum_rows": 1, "scatter_add": 1,
}


class Work(NamedTuple):
    """Of one call of a kernel."""

    flops: float
    bytes: int  # at least: every array is read or written once
    shape: tuple


def work(name, arguments, options, result):
    """-> Work of one call, from what `kernels.observe` reports"""
    arrays = arrays_in((*arguments, *options.values()))
    if name == "matmul":
        A, B = arguments[:2]
        (M, K) = A.shape[-2:][::-1] if options.get("transpose_A") else A.shape[-2:]
        N = B.shape[-2] if options.get("transpose_B") else B.shape[-1]
        batch = result.size // (M * N)
        moved = A.nbytes + B.nbytes + result.nbytes * (2 if options.get("accumulate") else 1)
        return Work(2.0 * batch * M * N * K, moved, (batch, M, N, K))
    moved = sum(array.nbytes for array in arrays) + _bytes_of(result)
    if name == "quantized_matmul":
        x, weights = arguments[:2]
        return Work(2.0 * x.size * len(weights), moved, (x.size // x.shape[-1], *weights.shape))
    if name in ("fused_attention", "fused_attention_backward"):
        is_forward = name == "fused_attention"
        Q, K = arguments[:2] if is_forward else arguments[1:3]
        (B, H, T, D), S = Q.shape, K.shape[2]
        is_causal = any(getattr(argument, "causal", False)
                        for argument in (*arguments, *options.values()))
        # Forward: Q Kᵀ and P V. Backward: Q Kᵀ again, dV, dP, dQ and dK.
        products = 2 if is_forward else 5
        return Work(2.0 * products * B * H * attention_pairs(T, S, is_causal) * D, moved,
                    (B, H, T, D))
    if name == "adam":  # reads w, g, m, v; writes w, m, v
        return Work(OPERATIONS[name] * arrays[0].size, 7 * arrays[0].nbytes, arrays[0].shape)
    first = arrays[0] if arrays else np.empty(0)
    return Work(OPERATIONS.get(name, 0) * first.size, moved, first.shape)


def attention_pairs(T, S, is_causal):
    """-> how many pairs of one of the last T positions and a key of S it may see there are"""
    return T * (S - T) + T * (T + 1) // 2 if is_causal else T * S


@contextmanager
def count_products():
    """A context of {kernel: operations}: of all matrix products and attentions inside it."""
    found = {}

    def count(name, seconds, arguments, options, result):
        if name in PRODUCTS:
            found[name] = found.get(name, 0) + int(work(name, arguments, options, result).flops)

    with observe(count):
        yield found


def arrays_in(values):
    """-> all arrays among the arguments, those in a cache included"""
    found = []
    for value in values:
        if isinstance(value, tuple):
            found += arrays_in(value)
        elif isinstance(value, np.ndarray):
            found.append(value)
    return found


def _bytes_of(result):
    """-> the bytes of the arrays in a result, without those in its cache (a NamedTuple)"""
    if isinstance(result, np.ndarray):
        return result.nbytes
    if type(result) is tuple:
        return sum(_bytes_of(part) for part in result)
    return 0
