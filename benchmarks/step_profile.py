"""The time of a step by op: a clock around every kernel, for a few steps.

`kernels.observe` reports each call. A call belongs to the function of minillm.ops that made it, if
that isn't the kernel itself. Time outside of kernels is the rest.
"""

import sys
import time
from dataclasses import dataclass

from minillm import kernels
from minillm.kernels.work import PRODUCTS, work


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
        flops, traffic, shape = work(kernel, arguments, options, result)
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
