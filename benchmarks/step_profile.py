"""Where a step's time goes: a clock around every op and every kernel, put there for a few steps.

`minillm` itself has no hooks for this. The functions are replaced by timed ones wherever a module
of minillm refers to them, and put back afterwards. An op's time is its own: without that of the
kernels which it calls.
"""

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from minillm import kernels, ops
from minillm.kernels import numpy_kernels
from minillm.training import clipping, optimizers

ATTENTION = ("fused_attention", "fused_attention_backward")
PRODUCTS = ("matmul", *ATTENTION)

# About how many operations an op does for each number of its first argument. Exponentials and
# divisions count as one, as everywhere; only the roofline uses this.
OPERATIONS = {
    "add": 1, "layer_norm": 8, "layer_norm_backward": 12, "gelu_tanh": 12, "gelu": 12,
    "gelu_tanh_backward": 20, "gelu_backward": 20, "cross_entropy": 4, "cross_entropy_backward": 3,
    "embedding": 1, "embedding_backward": 1, "softmax": 4, "softmax_backward": 4, "adam": 12,
    "sum_of_squares": 2,
}


@dataclass
class Part:
    """What is known about one kind of call: `op` is None for a kernel called by no op."""

    op: str | None
    kernel: str | None
    shape: tuple
    seconds: float = 0.0
    calls: int = 0
    flops: float = 0.0
    bytes: float = 0.0


class Profile:
    """Collects Parts. `stack` holds the running calls, each with the time its callees took."""

    def __init__(self):
        self.parts = {}
        self.stack = []

    def timed(self, function, name, is_kernel):
        """-> `function` with a clock around it"""

        def call(*arguments, **options):
            op = None if is_kernel else name
            if is_kernel and self.stack:
                op = self.stack[-1][0]
            frame = [name, 0.0]
            self.stack.append(frame)
            start = time.perf_counter()
            try:
                result = function(*arguments, **options)
            finally:
                seconds = time.perf_counter() - start
                self.stack.pop()
                if self.stack:
                    self.stack[-1][1] += seconds
            self.count(op, name if is_kernel else None, seconds - frame[1], arguments, options,
                       result)
            return result

        return call

    def count(self, op, kernel, seconds, arguments, options, result):
        arrays = [a for a in (*arguments, *options.values()) if isinstance(a, np.ndarray)]
        flops, traffic, shape = _work(kernel or op, arguments, options, arrays, result)
        if kernel == "matmul" and shape[1] == 1:  # the gradient of a bias: the memory limits it
            kernel = "vector @ matrix"
        part = self.parts.setdefault((op, kernel, shape), Part(op, kernel, shape))
        part.seconds += seconds
        part.calls += 1
        part.flops += flops
        part.bytes += traffic


def profile(step, n_steps):
    """Run step() `n_steps` times -> dict for the results: seconds of a step, and its parts

    seconds: of one step;  parts: by op and kernel, the largest first;  kernels: the same by shape,
    for the roofline. All numbers are for one step.
    """
    step()
    step()
    collected = Profile()
    with _clocks(collected):
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
    by_name["rest"] = {"name": "rest: residual sums, reshapes, Python", "seconds": rest, "calls": 0,
                       "flops": 0, "bytes": 0, "is_product": False}
    largest_first = sorted(by_name.values(), key=lambda part: -part["seconds"])
    return {"seconds": seconds, "parts": largest_first, "kernels": by_shape}


def _as_dict(part, n_steps):
    name = part.op or part.kernel
    if part.kernel and part.op:
        name = f"{part.op}: {part.kernel} kernel"
    return {"name": name, "shape": list(part.shape), "seconds": part.seconds / n_steps,
            "calls": part.calls / n_steps, "flops": part.flops / n_steps,
            "bytes": part.bytes / n_steps, "is_product": part.kernel in PRODUCTS}


@contextmanager
def _clocks(collected):
    """Put the clocks into place; afterwards everything is as it was."""
    replaced = []

    def replace(owner, name, new):
        replaced.append((owner, name, getattr(owner, name)))
        setattr(owner, name, new)

    for name in _kernel_names():
        replace(kernels, name, collected.timed(getattr(kernels, name), name, is_kernel=True))
    op_of_attention = sys.modules["minillm.ops.attention"]
    for name in ATTENTION:
        function = getattr(op_of_attention, name)
        replace(op_of_attention, name, collected.timed(function, name, is_kernel=True))
    for name, function in _timed_ops().items():
        timed = collected.timed(function, name, is_kernel=False)
        for module_name, module in list(sys.modules.items()):
            if module_name.split(".")[0] in ("minillm", "benchmarks"):
                for attribute, value in list(vars(module).items()):
                    if value is function:
                        replace(module, attribute, timed)
    step = optimizers.Optimizer.step
    replace(optimizers.Optimizer, "step", collected.timed(step, "AdamW.step", is_kernel=False))
    try:
        yield
    finally:
        for owner, name, original in reversed(replaced):
            setattr(owner, name, original)


def _kernel_names():
    """The functions that every implementation of the kernels has."""
    return [name for name, value in vars(kernels).items()
            if callable(value) and not name.startswith("_")
            and callable(getattr(numpy_kernels, name, None))]


def _timed_ops():
    found = {name: getattr(ops, name) for name in ops.__all__}
    found["grad_norm"] = clipping.grad_norm
    return found


def _work(name, arguments, options, arrays, result):
    """-> flops, bytes that must at least be moved, shape. For a kernel of either kind."""
    if name == "matmul":
        A, B = arguments[:2]
        (M, K) = A.shape[-2:][::-1] if options.get("transpose_A") else A.shape[-2:]
        N = B.shape[-2] if options.get("transpose_B") else B.shape[-1]
        batch = result.size // (M * N)
        moved = A.nbytes + B.nbytes + result.nbytes * (2 if options.get("accumulate") else 1)
        return 2.0 * batch * M * N * K, moved, (batch, M, N, K)
    if name in ATTENTION:
        forward = name == "fused_attention"
        Q, K = arguments[:2] if forward else arguments[1:3]
        causal = arguments[3 if forward else 6].causal
        (B, H, T, D), S = Q.shape, K.shape[2]
        pairs = T * (S - T) + T * (T + 1) / 2 if causal else T * S
        products = 2 if forward else 5
        moved = sum(array.nbytes for array in arrays) + _bytes_of(result)
        return 2.0 * products * B * H * pairs * D, moved, (B, H, T, D)
    if name == "adam":  # reads w, g, m, v; writes w, m, v
        return OPERATIONS[name] * arrays[0].size, 7 * arrays[0].nbytes, arrays[0].shape
    first = arrays[0] if arrays else np.empty(0)
    if name.startswith(("linear", "streaming_attention")):  # only call kernels
        return 0.0, 0.0, first.shape
    moved = sum(array.nbytes for array in arrays) + _bytes_of(result)
    return OPERATIONS.get(name, 0) * first.size, moved, first.shape


def _bytes_of(result):
    """The bytes of the arrays in a result. A cache (a NamedTuple) isn't counted."""
    if isinstance(result, np.ndarray):
        return result.nbytes
    if type(result) is tuple:
        return sum(_bytes_of(part) for part in result)
    return 0
