"""When the loss is not a number: which layer went wrong first?"""

from contextlib import contextmanager

import numpy as np

from minillm.nn.module import no_grad


def find_nonfinite(model, forward):
    """-> a line that names the first parameter or layer of `model` with a nan or inf.

    forward: a function that runs the model again, such as lambda: model(inputs). Parameters are
    looked at first: a bad weight explains a bad output. Then the forward runs, without dropout, and
    the first module to return something that isn't finite is the one: those inside a module return
    before it does.
    """
    broken = find_nonfinite_parameter(model)
    if broken:
        return broken
    was_training = model.training
    model.eval()
    with _watched(model) as found, no_grad(), np.errstate(all="ignore"):
        forward()
    model.train(was_training)
    if found:
        name, array = found[0]
        return f"the first layer whose output contains {_which(array)} is {name}"
    return "all layers are finite without dropout: only the loss itself is not"


@contextmanager
def _watched(model):
    """Give a list that collects (name, array) of each output that isn't finite, in their order."""
    found = []
    watched = dict(_named_modules(model))
    for name, module in watched.items():
        # An attribute of the object hides the method of its class.
        module.forward = _reporting(module.forward, name or type(module).__name__, found)
    try:
        yield found
    finally:
        for module in watched.values():
            del module.forward


def _reporting(forward, name, found):
    def watched_forward(*inputs, **options):
        output = forward(*inputs, **options)
        found.extend((part, array) for part, array in _arrays(name, output)
                     if not np.isfinite(array).all())
        return output

    return watched_forward


def _arrays(name, output):
    """Yield (name, array) of what a forward returned: an array, a tuple of them, named outputs."""
    if isinstance(output, np.ndarray) and np.issubdtype(output.dtype, np.floating):
        yield name, output
    elif isinstance(output, (tuple, list)):
        for item in output:
            yield from _arrays(name, item)
    elif hasattr(output, "items"):
        for key, item in output.items():
            yield from _arrays(f"{name} ({key})", item)


def _named_modules(module, name=""):
    """Yield (dotted name, module) for a module and all below it; a shared one only once."""
    seen = set()

    def walk(module, name):
        if id(module) not in seen:
            seen.add(id(module))
            yield name, module
            for child_name, child in module.named_children():
                if hasattr(child, "named_children"):
                    yield from walk(child, f"{name}.{child_name}" if name else child_name)

    return walk(module, name)


def find_nonfinite_parameter(model):
    """-> a line that names the first parameter with a nan or inf, or None"""
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
