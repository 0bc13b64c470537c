"""The trace: see every value inside a model and its gradient, and replace values.

    with trace(model) as t:
        model(ids, labels=ids).loss.backward()
    t["transformer.h.3"]                    # the output of a module
    t["transformer.h.3.attention.weights"]  # what a layer passes to tap("weights", …)
    t.grad["transformer.h.3"]               # the gradient of the loss with respect to it

    with trace(model) as t:
        t.patch("transformer.h.3.attention.head_2", 0)             # a number, an array,
        t.patch("transformer.h.0.feed_forward", lambda x: 2 * x)   # or a function of the value
        logits = model(ids).logits

A layer calls `x = self.tap("name", x)` in its forward where there is a value to show, and
`dx = self.tap_gradient("name", dx)` in its backward. Without a trace both return their argument.

A patched value doesn't depend on the value that it replaces, so the gradient that flows back from
it is 0.
"""

import difflib
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase

import numpy as np

_active = ContextVar("active_traces", default=())


def active_traces():
    """-> tuple of the traces whose `with` block is running, the outermost first"""
    return _active.get()


@contextmanager
def no_traces():
    """Inside this context no trace sees or patches anything."""
    token = _active.set(())
    try:
        yield
    finally:
        _active.reset(token)


class trace:
    """A context manager that records what a model computes, and patches it.

    model: a Module
    names: what to record, a list of names or patterns such as "h.*.attention.weights"; None records
        everything. Attention weights are computed only if they are recorded or patched: the
        streaming kernel never holds them.

    trace[name] -> array, the last one if the module ran several times; trace.all(name) -> list.
    The arrays are not copies: don't write into them.
    """

    def __init__(self, model, names=None):
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._patterns = [names] if isinstance(names, str) else names
        self._patches = {}
        self._reached = set()  # the names of all values computed so far
        self._values = {}
        self._gradients = {}
        self.grad = _Gradients(self._gradients)

    def __enter__(self):
        self._token = _active.set((*_active.get(), self))
        return self

    def __exit__(self, kind, error, traceback):
        _active.reset(self._token)
        unused = self._patches.keys() - self._reached
        if kind is None and self._reached and unused:
            raise KeyError(_unknown(min(unused), self._reached))

    def patch(self, name, value):
        """From now on, replace the value `name` by `value`.

        value: a number, an array that broadcasts to the shape, or a function of the computed value
        The forward raises ValueError if the shape doesn't match. The `with` block raises KeyError
        at its end if no value of this name was computed.
        """
        self._patches[name] = value

    def __getitem__(self, name):
        return self.all(name)[-1]

    def all(self, name):
        """-> list of the values of `name`, one for each time that its module ran"""
        if name not in self._values:
            raise KeyError(_unknown(name, self._values))
        return self._values[name]

    def __contains__(self, name):
        return name in self._values

    def names(self):
        """-> list of the names of all recorded values, in the order of computation"""
        return list(self._values)

    # ---- called by Module

    def wants(self, module, name):
        """-> whether the value that `module` shows as `name` is to be recorded or patched"""
        full = self._full_name(module, name)
        return full is not None and (full in self._patches or self._records(full))

    def value(self, module, name, x):
        """Record x, and patch it if asked -> x or its replacement, whether it was replaced"""
        full = self._full_name(module, name)
        if full is None or not isinstance(x, np.ndarray):
            return x, False
        self._reached.add(full)
        patched = full in self._patches
        if patched:
            x = _replacement(full, self._patches[full], x)
        if self._records(full):
            self._values.setdefault(full, []).append(x)
        return x, patched

    def gradient(self, module, name, dx):
        full = self._full_name(module, name)
        if full is not None and self._records(full):
            self._gradients[full] = dx

    def _full_name(self, module, name):
        path = self._paths.get(id(module))
        if path is None:
            return None
        return f"{path}.{name}" if path and name else path or name

    def _records(self, full):
        return self._patterns is None or any(fnmatchcase(full, each) for each in self._patterns)


class _Gradients:
    """grad[name] -> the gradient of the loss with respect to the value of that name"""

    def __init__(self, gradients):
        self._gradients = gradients

    def __getitem__(self, name):
        if name not in self._gradients:
            raise KeyError(_unknown(name, self._gradients))
        return self._gradients[name]

    def __contains__(self, name):
        return name in self._gradients


def _replacement(name, patch, x):
    value = np.asarray(patch(x) if callable(patch) else patch)
    try:
        return np.array(np.broadcast_to(value, x.shape), x.dtype)
    except ValueError:
        raise ValueError(f"the patch of {name} has shape {value.shape}, wanted {x.shape}") from None


def _unknown(name, known):
    close = difflib.get_close_matches(name, known, 3)
    hint = f"; similar names: {', '.join(close)}" if close else ""
    return f"no value named {name!r} was computed{hint}"
