"""The time of a step by op: a clock around every kernel, for a few steps.

`kernels.observe` reports each call. A call belongs to the function of minillm.ops that made it, if
that isn't the kernel itself. Time outside of kernels is the rest.
"""

import sys
import time
from dataclasses import dataclass

import numpy as np

from minillm import kernels

PRODUCTS = ("matmul", "fused_attention", "fused_attention_backward")

# The approximate number of operations of a kernel for each number of its first array. Exponentials
# and divisions are one operation each. Only the roofline uses this.
OPERATIONS = {
    "layer_norm": 8, "layer_norm_backward": 12, "rms_norm": 5, "rms_norm_backward": 9,
    "gelu": 20, "gelu_backward": 28, "gelu_tanh": 12, "gelu_tanh_backward": 20, "token_losses": 4,
    "token_losses_backward": 3,
    "rotate": 3, "adam": 12, "sum_of_squares": 2, "sum_rows": 1, "scatter_add": 1,
}


@dataclass
class Part:
    """The measurements of one kind of call; `op` is None for a kernel that is itself an op."""

    op: str | None
    kernel: str
    shape: tuple
    seconds: float = 0.0
    calls: int = 0
    flops: float = 0.0
    bytes: float = 0.0


class Profile:
    """Collects Parts."""

    def __init__(self):
        self.parts = {}

    def count(self, kernel, seconds, arguments, options, result):
        """The callback for `kernels.observe`."""
        op = _calling_op()
        arrays = _arrays((*arguments, *options.values()))
        flops, traffic, shape = _work(kernel, arguments, options, arrays, result)
        part = self.parts.setdefault((op, kernel, shape), Part(op, kernel, shape))
        part.seconds += seconds
        part.calls += 1
        part.flops += flops
        part.bytes += traffic


def _calling_op():
    """-> the function in minillm.ops that called the kernel; None if there is none"""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals["__name__"]
        if not module.startswith(("minillm.kernels", __name__)):
            return frame.f_code.co_name if module.startswith("minillm.ops") else None
        frame = frame.f_back
    return None


def _arrays(values):
    """-> all arrays among the arguments, those in a cache included"""
    found = []
    for value in values:
        if isinstance(value, tuple):
            found += _arrays(value)
        elif isinstance(value, np.ndarray):
            found.append(value)
    return found


def profile(step, n_steps):
    """Run step() `n_steps` times -> dict for the results: seconds of a step, and its parts

    seconds: of one step;  parts: by op and kernel, the largest first;  kernels: the same by shape,
    for the roofline. All numbers are for one step.
    """
    step()
    step()
    collected = Profile()
    with kernels.observe(collected.count):
        start = time.perf_counter()
        for _ in range(n_steps):
            step()
        seconds = (time.perf_counter() - start) / n_steps
    by_shape = [_as_dict(part, n_steps) for part in collected.parts.values()]
    by_name = {}
    for part in by_shape:
        whole = by_name.setdefault(part["name"], {**part, "seconds": 0, "calls": 0, "flops": 0,
                                                  "bytes": 0})
        for quantity in ("seconds", "calls", "flops", "bytes"):
            whole[quantity] += part[quantity]
    rest = seconds - sum(part["seconds"] for part in by_shape)
    by_name["rest"] = {"name": "rest: residual sums, embedding, Python", "seconds": rest, "calls": 0,
                       "flops": 0, "bytes": 0, "is_product": False}
    largest_first = sorted(by_name.values(), key=lambda part: -part["seconds"])
    return {"seconds": seconds, "parts": largest_first, "kernels": by_shape}


def _as_dict(part, n_steps):
    name = f"{part.op}: {part.kernel} kernel" if part.op else part.kernel
    return {"name": name, "shape": list(part.shape), "seconds": part.seconds / n_steps,
            "calls": part.calls / n_steps, "flops": part.flops / n_steps,
            "bytes": part.bytes / n_steps, "is_product": part.kernel in PRODUCTS}


def _work(name, arguments, options, arrays, result):
    """-> flops, minimum of bytes to move, shape, for one call of a kernel"""
    if name == "matmul":
        A, B = arguments[:2]
        (M, K) = A.shape[-2:][::-1] if options.get("transpose_A") else A.shape[-2:]
        N = B.shape[-2] if options.get("transpose_B") else B.shape[-1]
        batch = result.size // (M * N)
        moved = A.nbytes + B.nbytes + result.nbytes * (2 if options.get("accumulate") else 1)
        return 2.0 * batch * M * N * K, moved, (batch, M, N, K)
    if name in ("fused_attention", "fused_attention_backward"):
        is_forward = name == "fused_attention"
        Q, K = arguments[:2] if is_forward else arguments[1:3]
        (B, H, T, D), S = Q.shape, K.shape[2]
        is_causal = any(getattr(argument, "causal", False) for argument in arguments)
        pairs = T * (S - T) + T * (T + 1) / 2 if is_causal else T * S
        products = 2 if is_forward else 5
        moved = sum(array.nbytes for array in arrays) + _bytes_of(result)
        return 2.0 * products * B * H * pairs * D, moved, (B, H, T, D)
    if name == "adam":  # reads w, g, m, v; writes w, m, v
        return OPERATIONS[name] * arrays[0].size, 7 * arrays[0].nbytes, arrays[0].shape
    first = arrays[0] if arrays else np.empty(0)
    moved = sum(array.nbytes for array in arrays) + _bytes_of(result)
    return OPERATIONS.get(name, 0) * first.size, moved, first.shape


def _bytes_of(result):
    """-> the bytes of the arrays in a result, without those in its cache (a NamedTuple)"""
    if isinstance(result, np.ndarray):
        return result.nbytes
    if type(result) is tuple:
        return sum(_bytes_of(part) for part in result)
    return 0
