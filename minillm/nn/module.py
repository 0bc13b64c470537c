"""Parameter and Module: an array with its gradient, and a layer that owns parameters.

There is no automatic differentiation here. A layer's `forward` keeps what its `backward` needs, and
`backward` is written by hand: the lines of `forward`, differentiated, in reverse order.

    y = layer(x)                 # runs layer.forward(x)
    dx = layer.backward(dy)      # adds to every Parameter's .grad, returns the input's gradient

A layer may run several times before its backwards. Each call from outside is a `Pass` with separate
caches, and the backwards come in reverse order, the last call first.
"""

import weakref
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps

import numpy as np

from minillm.nn.trace import active_traces

_current_pass = ContextVar("current_pass", default=None)  # None outside every module
_after_backward = []  # functions that each module's backward calls at its end


def no_grad():
    """Inside this context a forward keeps no caches, which saves memory in inference."""
    return _NOTHING.running()


def no_grad_if(condition):
    """`no_grad()` if the condition holds, otherwise a context that changes nothing"""
    return no_grad() if condition else nullcontext()


def keeps_caches():
    """-> inside a forward, whether a backward may follow: False inside `no_grad()`"""
    return _current_pass.get() is None or _current_pass.get().keeps_caches


@contextmanager
def inference(model):
    """A context without dropout and without caches for a backward; restores the model's mode."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with no_grad():
            yield
    finally:
        if was_training:
            model.train()


@contextmanager
def after_backward(function):
    """A context in which every module calls function() at the end of its backward, the innermost
    first: what was written to the gradients of its own parameters is complete by then.
    """
    _after_backward.append(function)
    try:
        yield
    finally:
        _after_backward.remove(function)


@contextmanager
def without_gradients(model):
    """A context in which the parameters get no gradients, so that a backward costs less. Traces and
    vectors that are inputs get theirs.
    """
    learning = [parameter for parameter in model.parameters() if parameter.trainable]
    for parameter in learning:
        parameter.trainable = False
    try:
        yield
    finally:
        for parameter in learning:
            parameter.trainable = True


class Parameter:
    """An array `data` and its gradient `grad`, which is None until a backward computes it.

    trainable: False freezes the parameter: backwards compute no gradient for it
    log: inside `per_example_gradients`, where a backward writes down the factors of the gradient in
        place of the gradient (per_example.py); else None
    """

    def __init__(self, data, trainable=True):
        self.data = data
        self.grad = None
        self.trainable = trainable
        self.log = None
        self.writes = 0
        self._buffer = None  # the memory of the last gradient, reused for the next one

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
        """-> (buffer, accumulate): the array for a backward to write to, and whether to add to it

        The first backward after `zero_grad` overwrites the buffer; later ones (tied weights,
        gradient accumulation) add to it.
        """
        if self.log is not None:
            self.log.refuse()
        accumulate = self.grad is not None
        if not accumulate:
            if self._buffer is None or self._buffer.dtype != self.data.dtype:
                self._buffer = np.empty_like(self.data, order="C")
            self.grad = self._buffer
        self.writes += 1
        return self.grad, accumulate

    def write_next_to(self, buffer):
        """Let the next gradient be written to `buffer`, of the shape and dtype of `data`; None: to
        new memory -> the memory of the last one, or None
        """
        last, self._buffer = self._buffer, buffer
        return last

    def add_grad(self, gradient):
        """Add `gradient`, an array of the parameter's shape, to `grad`, unless it is frozen."""
        if not self.trainable:
            return
        target, accumulate = self.gradient_target()
        if accumulate:
            target += gradient
        else:
            target[...] = gradient

    def zero_grad(self):
        self.grad = None
        self.writes = 0

    def __repr__(self):
        return f"Parameter(shape={self.shape}, dtype={self.data.dtype})"


class Pass:
    """One call of a module from outside, with the caches of all modules that ran in it.

    Without a reference to any array of the result, the caller can't compute a loss from it, so no
    backward can follow and the caches can be freed. To find out, `track_arrays` returns views of
    the result and tracks them with weak references. Such a view lives as long as any view derived
    from it.
    """

    keeps_caches = True

    def __init__(self, owner=None):
        self.owner = owner  # the module that was called
        self.caches = {}  # module -> list of caches, one for each time that it ran
        self.traces = active_traces()
        self.blocked = set()  # (module, name) of patched values: they stop the gradient
        self._tracked = []  # weak references to what the caller received

    def is_in_use(self):
        """-> whether the caller still holds a part of the result"""
        return any(reference() is not None for reference in self._tracked)

    def track(self, thing):
        self._tracked.append(weakref.ref(thing))
        return thing

    def track_arrays(self, result):
        """-> `result`, an array, a tuple or a dataclass of arrays, with each array tracked"""
        if isinstance(result, np.ndarray):
            return self.track(np.asarray(_Exporter(result)))
        if isinstance(result, tuple):
            return tuple(map(self.track_arrays, result))
        if hasattr(result, "__dataclass_fields__"):
            for name, value in vars(result).items():
                if isinstance(value, (np.ndarray, tuple)):
                    setattr(result, name, self.track_arrays(value))
        return result

    @contextmanager
    def running(self):
        """Inside the block, forwards keep their caches in this Pass, and backwards read them."""
        token = _current_pass.set(self)
        try:
            yield
        finally:
            _current_pass.reset(token)


class _Exporter:
    """np.asarray of an _Exporter is a new array over the same memory that only the caller holds.

    All views that the caller makes of it refer to it as their base, which keeps it alive. (A plain
    `array.view()` doesn't serve: NumPy lets views of views refer to the original array instead.)
    """

    def __init__(self, array):
        self.array = array
        self.__array_interface__ = array.__array_interface__


class _NoPass(Pass):
    """The Pass of everything inside `no_grad()`: it keeps no caches."""

    keeps_caches = False


_NOTHING = _NoPass()


def for_one_pass(backward):
    """Wrap a module's `backward`: called from outside, it runs for the newest Pass and ends it."""

    @wraps(backward)
    def run(self, *gradients):
        this = _current_pass.get()
        if this is not None and this.keeps_caches:  # called by a module around this one
            dx = backward(self, *(self.tap_gradients(gradients) if this.traces else gradients))
            for function in _after_backward:
                function()
            return dx
        newest = self._passes[-1] if self._passes else Pass()
        with newest.running():
            dx = backward(self, *self.tap_gradients(gradients))
            for function in _after_backward:
                function()
        if newest.owner is self:  # the remaining caches belong to frozen layers
            newest.caches.clear()
        self._passes = [each for each in self._passes if each.caches]
        return dx

    return run


class Module:
    """A layer or a model: it owns Parameters and other Modules as plain attributes.

    An attribute whose name starts with an underscore is only a reference and not owned.
    """

    training = True
    _passes = ()  # the Passes that may still have a backward, oldest first

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if "backward" in vars(cls):
            cls.backward = for_one_pass(cls.backward)

    def __call__(self, *inputs, **options):
        this = _current_pass.get()
        if this is not None:  # called by a module around this one, or inside no_grad()
            if this.keeps_caches and (not self._passes or self._passes[-1] is not this):
                self._join(this)
            return self.tap("", self.forward(*inputs, **options))
        for older in self._passes[:-1]:  # always keep the newest
            if older.owner is self and not older.is_in_use():
                older.caches.clear()
        this = Pass(self)
        self._join(this)
        with this.running():
            y = self.tap("", self.forward(*inputs, **options))
        return this.track_arrays(y)

    def _join(self, this):
        """Note that this module takes part in the Pass `this`, once."""
        self._passes = [each for each in self._passes if each.caches] + [this]

    def remember(self, cache):
        """Keep `cache` for the backward of this forward, unless inside `no_grad`."""
        this = _current_pass.get()
        if this is None:
            name = type(self).__name__
            raise RuntimeError(f"{name}.forward() was called directly, wanted a call of the {name}")
        if this.keeps_caches:
            this.caches.setdefault(self, []).append(cache)

    def recall(self):
        """Remove and return the cache of the last forward that has had no backward yet."""
        caches = _current_pass.get().caches
        if self not in caches:
            raise RuntimeError(
                f"{type(self).__name__}.backward() needs a forward() before it, outside no_grad(). "
                "Each forward has one backward, and all but the last two lose theirs when their "
                "results are deleted"
            )
        cache = caches[self].pop()
        if not caches[self]:
            del caches[self]
        return cache

    def deferred_backward(self):
        """-> a function that runs `backward` for the current forward, or else the last one

        Call it once, at any time: several such functions may be called in any order.
        """
        this = _current_pass.get() or (self._passes[-1] if self._passes else _NOTHING)
        if not this.keeps_caches:
            return _no_backward

        def run(*gradients):
            if not this.caches:
                raise RuntimeError("the backward of this forward was called already")
            with this.running():
                dx = self.backward(*gradients)
            this.caches.clear()
            return dx

        return this.track(run)

    # ---- traces: minillm/nn/trace.py

    def tap(self, name, x):
        """Show x to the traces -> x, or its replacement. `name` is "" for the module's output."""
        for trace in active_traces():
            x, patched = trace.value(self, name, x)
            if patched and _current_pass.get() is not None:
                _current_pass.get().blocked.add((self, name))
        return x

    def tap_gradient(self, name, dx):
        """Show the gradient of what `tap(name)` returned -> dx, or 0 if the value was patched."""
        this = _current_pass.get()
        if this.traces:
            if (self, name) in this.blocked:
                dx = np.zeros_like(dx)
            for trace in this.traces:
                trace.gradient(self, name, dx)
        return dx

    def tap_gradients(self, gradients):
        """`tap_gradient` for the gradient of the module's output, the argument of `backward`."""
        if _current_pass.get().traces and len(gradients) == 1:
            return (self.tap_gradient("", gradients[0]),)
        return gradients

    def has_traces(self):
        """-> inside a backward, whether its forward ran inside a trace"""
        return bool(_current_pass.get().traces)

    def is_traced(self, name):
        """-> whether a trace records or patches the value that `tap(name)` would show"""
        return any(trace.wants(self, name) for trace in active_traces())

    # ---- children and parameters

    def named_children(self):
        """Yield (name, child) for each Module or Parameter; a list's items are named by index."""
        for name, value in vars(self).items():
            if name.startswith("_"):
                continue
            if isinstance(value, (Module, Parameter)):
                yield name, value
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, (Module, Parameter)):
                        yield f"{name}.{index}", item

    def named_modules(self, prefix=""):
        """Yield (dotted name, module) for this module, "", and every module below it."""
        yield prefix, self
        for name, child in self.named_children():
            if isinstance(child, Module):
                yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self):
        """Yield this module and every module below it."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(self):
        """Yield (dotted name, Parameter); a shared Parameter only once, under its first name."""
        seen = set()
        for name, parameter in self._all_parameters(""):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def _all_parameters(self, prefix):
        for name, child in self.named_children():
            if isinstance(child, Parameter):
                yield prefix + name, child
            else:
                yield from child._all_parameters(f"{prefix}{name}.")

    def parameters(self):
        """-> list of the Parameters; a shared one only once"""
        return [parameter for _, parameter in self.named_parameters()]

    def freeze(self, frozen=True):
        """Freeze all parameters of this module (or make them trainable again); return self."""
        for parameter in self.parameters():
            parameter.trainable = not frozen
            parameter.zero_grad()
        return self

    def is_frozen(self):
        """-> whether the module has no trainable parameter"""
        return not any(parameter.trainable for _, parameter in self.named_parameters())

    def zero_grad(self):
        for parameter in self.parameters():
            parameter.zero_grad()

    def state_dict(self):
        """-> {dotted name: array}; the arrays are the parameters themselves, not copies."""
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, arrays):
        """Copy `arrays`, {dotted name: array}, into the parameters.

        Raises ValueError that names missing and unexpected names, or a wrong shape.
        """
        parameters = dict(self.named_parameters())
        missing = sorted(parameters.keys() - arrays.keys())
        unexpected = sorted(arrays.keys() - parameters.keys())
        if missing or unexpected:
            raise ValueError(
                f"state dict doesn't match {type(self).__name__}: "
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
        """Switch dropout on (`mode` True) or off in this module and all below it; return self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        return self.train(False)


def frozen_prefix(modules):
    """-> how many modules at the start of the list are frozen"""
    return next((i for i, module in enumerate(modules) if not module.is_frozen()), len(modules))


def generators(model):
    """-> list of the NumPy Generators that the modules of `model` hold, each once, in order"""
    found = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, np.random.Generator):
                found[id(value)] = value
    return list(found.values())


def _no_backward(*gradients):
    raise RuntimeError("this forward has no backward: it ran inside no_grad()")
