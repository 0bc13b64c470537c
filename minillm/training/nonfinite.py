"""Diagnosis of a loss that is nan or inf: which layer went wrong first?"""

import numpy as np

from minillm.nn.module import inference
from minillm.nn.trace import trace


def find_nonfinite(model, forward):
    """-> a line that names the first parameter or layer of `model` with a nan or inf.

    forward: a function that runs the model again, such as lambda: model(inputs). Parameters come
    first: a bad weight explains a bad output. Then the forward runs without dropout, and the first
    module that returns something non-finite is named: inner modules return before outer ones.
    """
    broken = find_nonfinite_parameter(model)
    if broken:
        return broken
    with _Watch(model) as watch, inference(model), np.errstate(all="ignore"):
        forward()
    return watch.found or "all layers are finite without dropout: only the loss itself is not"


class _Watch(trace):
    """A trace that keeps only the name of the first value that isn't finite."""

    found = None

    def wants(self, module, name):
        return False  # attention needn't compute its weights for this

    def value(self, module, name, x):
        if self.found is None:
            full = self._full_name(module, name) or type(module).__name__
            for part, array in _arrays(full, x):
                if not np.isfinite(array).all():
                    self.found = f"the first layer whose output contains {_which(array)} is {part}"
                    break
        return x, False


def _arrays(name, output):
    """Yield (name, array) for the arrays in a result: an array, a tuple, named outputs."""
    if isinstance(output, np.ndarray) and np.issubdtype(output.dtype, np.floating):
        yield name, output
    elif isinstance(output, (tuple, list)):
        for item in output:
            yield from _arrays(name, item)
    elif hasattr(output, "items"):
        for key, item in output.items():
            yield from _arrays(f"{name} ({key})", item)


def find_nonfinite_parameter(model):
    """-> a line that names the first parameter with a nan or inf; None if there is none"""
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.data).all():
            return f"the parameter {name} contains {_which(parameter.data)}"
    return None


def find_nonfinite_gradient(model):
    """-> a line that names the parameter whose gradient went wrong first.

    The backward runs from the last layer to the first, so the first to go wrong is the last in
    the order of the parameters.
    """
    for name, parameter in reversed(list(model.named_parameters())):
        if parameter.grad is not None and not np.isfinite(parameter.grad).all():
            what = _which(parameter.grad)
            return f"the loss is finite, but the gradient of {name} contains {what}"
    return "every gradient is finite, but their norm is not"


def _which(array):
    return "nan" if np.isnan(array).any() else "inf"
