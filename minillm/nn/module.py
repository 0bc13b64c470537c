"""Parameter and Module: an array with its gradient, and a layer that owns some of them.

There is no automatic differentiation here. Every layer's `forward` keeps what its `backward`
needs, and `backward` is written by hand: the lines of `forward`, differentiated, in reverse order.
"""

from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

_keeps_caches = ContextVar("keeps_caches", default=True)


@contextmanager
def no_grad():
    """Inside this context a forward keeps nothing for a backward: less memory for inference."""
    token = _keeps_caches.set(False)
    try:
        yield
    finally:
        _keeps_caches.reset(token)


class Parameter:
    """A trainable array `data` and, after a backward, its gradient `grad` (None before one)."""

    def __init__(self, data):
        self.data = data
        self.grad = None
        self._buffer = None  # memory of the last gradient, used again for the next one

    @property
    def shape(self):
        return self.data.shape

    @property
    def ndim(self):
        return self.data.ndim

    @property
    def size(self):
        return self.data.size

    def gradient_target(self):
        """-> (buffer, accumulate): where a backward writes, and whether it adds to what is there.

        The first backward after `zero_grad` overwrites; later ones (a tied weight, gradient
        accumulation) add.
        """
        accumulate = self.grad is not None
        if not accumulate:
            if self._buffer is None or self._buffer.dtype != self.data.dtype:
                self._buffer = np.empty_like(self.data, order="C")
            self.grad = self._buffer
        return self.grad, accumulate

    def add_grad(self, gradient):
        """Add `gradient`, an array of the parameter's shape, to `grad`."""
        target, accumulate = self.gradient_target()
        if accumulate:
            target += gradient
        else:
            target[...] = gradient

    def zero_grad(self):
        self.grad = None

    def __repr__(self):
        return f"Parameter(shape={self.shape}, dtype={self.data.dtype})"


class Module:
    """A layer or a model: it owns Parameters and other Modules as plain attributes."""

    training = True
    cache = None  # what the last forward kept for the backward

    def __call__(self, *inputs, **options):
        return self.forward(*inputs, **options)

    def remember(self, cache):
        """Keep `cache` for the backward of this forward (nothing is kept inside `no_grad`)."""
        self.cache = cache if _keeps_caches.get() else None

    def recall(self):
        """Hand out the cache of the last forward, once: a backward needs a forward of its own."""
        cache, self.cache = self.cache, None
        if cache is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward() needs a forward() before it, outside no_grad()"
            )
        return cache

    def named_children(self):
        """Yield (name, child) for each Module or Parameter; a list's items are named by index."""
        for name, value in vars(self).items():
            if isinstance(value, (Module, Parameter)):
                yield name, value
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, (Module, Parameter)):
                        yield f"{name}.{index}", item

    def modules(self):
        """Yield this module and every module below it."""
        yield self
        for _, child in self.named_children():
            if isinstance(child, Module):
                yield from child.modules()

    def named_parameters(self, prefix=""):
        """Yield (dotted name, Parameter); a parameter shared by two layers appears under both."""
        for name, child in self.named_children():
            if isinstance(child, Parameter):
                yield prefix + name, child
            else:
                yield from child.named_parameters(f"{prefix}{name}.")

    def parameters(self):
        """-> list of the Parameters, each once even where layers share it."""
        return list({id(parameter): parameter for _, parameter in self.named_parameters()}.values())

    def zero_grad(self):
        for parameter in self.parameters():
            parameter.zero_grad()

    def state_dict(self):
        """-> {dotted name: array}; the arrays are the parameters themselves, not copies."""
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, arrays):
        """Copy `arrays` into the parameters. ValueError names what does not fit."""
        parameters = dict(self.named_parameters())
        missing = sorted(parameters.keys() - arrays.keys())
        unexpected = sorted(arrays.keys() - parameters.keys())
        if missing or unexpected:
            raise ValueError(
                f"state dict does not fit {type(self).__name__}: "
                f"missing {missing or 'nothing'}, unexpected {unexpected or 'nothing'}"
            )
        for name, parameter in parameters.items():
            if arrays[name].shape != parameter.shape:
                raise ValueError(f"{name} has shape {arrays[name].shape}, wanted {parameter.shape}")
        for name, parameter in parameters.items():
            parameter.data[...] = arrays[name]

    def astype(self, dtype):
        """Convert every parameter to `dtype` (float64 for gradient checks) and return self."""
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.zero_grad()
        return self

    def train(self, mode=True):
        """Switch dropout on (`mode` True) or off, in this module and all below; return self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        return self.train(False)
