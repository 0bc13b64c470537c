"""The backward as a twin of the forward: which calls belong together, whose gradient is what.

A backward takes the gradient of what its forward returned, and returns those of what the forward
was given. So the gradient of a value is, in this order,

    the argument of the backward of a call that returned the value,
    the variable d<name> in the backward of the call in which the value has that name,
    the sum of what the backwards of all calls that read the value have computed for it.

Where a hand-derived backward never computes a gradient, such as that of layer norm's `mean`, which
the derivation eliminates, there is none; a finite difference says it.
"""

from collections import defaultdict

import numpy as np

from minillm.insight.recording import BACKWARD


class Twins:
    """The gradients of a recording's values.

    recording: with a backward; its calls get their `twin`
    """

    def __init__(self, recording):
        self._recording = recording
        forward, backward = [], []
        for call in recording.calls.values():
            (backward if call.id.startswith(BACKWARD) else forward).append(call)
        _match(forward, backward)
        self._outputs = {}  # Value -> Value, its gradient
        self._locals = {}
        self._readers = defaultdict(list)  # Value -> calls that it is an argument of
        self._computed_with = defaultdict(set)  # Value -> calls whose own statements read it
        self._found = {}
        passed = {}
        for call in forward:
            for value in call.arguments.values():
                self._readers[value].append(call)
            if call.twin is not None:
                self._learn(call, call.twin, passed)
        self._outputs = {**passed, **self._outputs}
        for call in forward:
            self._learn_reads(call)

    def gradient(self, value):
        """-> array of the gradient of the loss with respect to a value of the forward, or None"""
        if value.parameter is not None:
            return self._recording.gradients.get(value.parameter)
        if value.is_unwritten:
            return None
        if value not in self._found:
            self._found[value] = None  # while it is searched for
            self._found[value] = self._search(value)
        return self._found[value]

    def value_of_gradient(self, value):
        """-> the Value of the backward that is the gradient, if there is one"""
        return self._outputs.get(value) or self._locals.get(value)

    def _search(self, value):
        known = self.value_of_gradient(value)
        if known is not None:
            return known.array
        same = self._reshaped(value)
        if same is not None:
            return same
        parts = []
        for call in self._shallow(self._readers[value]):
            part = self._part(call, value)
            if part is None:
                return None
            parts.append(part)
        if not parts or self._computed_with[value] - _below(self._readers[value]):
            return None
        return sum(parts[1:], start=parts[0])

    def _reshaped(self, value):
        """-> the gradient of a later value that is the same memory in another shape, or None"""
        for other, gradient in self._outputs.items():
            if (other.address == value.address and other.array.size == value.array.size
                    and other.is_contiguous and value.is_contiguous
                    and other.born >= value.born and not value.is_argument
                    and np.array_equal(other.array.ravel(), value.array.ravel())):
                return gradient.array.reshape(value.array.shape)
        return None

    def _part(self, call, value):
        """-> what the backward of a call computes as the gradient of its argument"""
        names = [name for name, each in call.arguments.items() if each is value]
        if call.twin is not None and len(names) == 1:
            found = _gradients_of(call.twin).get("d" + names[0])
            if found is not None and found.array.shape == value.array.shape:
                return found.array
        if call in self._computed_with[value]:
            return None
        inner = [each for each in self._readers[value] if call in each.callers]
        parts = [self._part(each, value) for each in self._shallow(inner)]
        if not parts or any(part is None for part in parts):
            return None
        return sum(parts[1:], start=parts[0])

    def _shallow(self, calls):
        """-> those of the calls that aren't inside another one of them"""
        return [call for call in calls if not any(other in call.callers for other in calls)]

    def _learn(self, call, twin, passed):
        given = [value for name, value in twin.arguments.items()
                 if "." not in name and not name.startswith(("out", "grads", "cache", "dW["))]
        for value, gradient in zip(call.outputs.values(), given):
            if value.array.shape == gradient.array.shape and value.array.dtype.kind == "f":
                if value in call.arguments.values():  # dropout in eval mode passes it on
                    passed.setdefault(value, gradient)
                else:  # the outermost call comes first: inside, an embedding masks its padding
                    self._outputs.setdefault(value, gradient)
        arguments = set(call.arguments.values())
        made = defaultdict(list)
        for step in call.steps:
            for name, value in step.made.items():
                if value not in arguments and value not in made[name]:
                    made[name].append(value)
        gradients = _gradients_of(twin)
        changed = {name for step in twin.steps for name in step.statement.written}  # dh *= scale
        for name, values in made.items():
            gradient = None if "d" + name in changed else gradients.get("d" + name)
            fresh = [value for value in values if value.maker is call or len(values) == 1]
            if gradient is not None and len(fresh) == 1:
                if fresh[0].array.shape == gradient.array.shape:
                    self._locals.setdefault(fresh[0], gradient)

    def _learn_reads(self, call):
        for step in call.steps:
            for name in step.statement.direct:
                if name in step.reads and (step.made or step.calls or call.outputs):
                    self._computed_with[step.reads[name]].add(call)


def _below(calls):
    """-> the calls and all calls inside them"""
    found = set()
    todo = list(calls)
    while todo:
        call = todo.pop()
        found.add(call)
        todo += call.calls
    return found


def _gradients_of(call):
    """-> {name: last Value} of the variables of a backward that depend on its gradients

    Not every d… is a gradient: in gelu_tanh_backward, `du` is du/dx.
    """
    found = {name: value for name, value in call.arguments.items() if name[0] == "d"}
    for step in call.steps:
        if any(name in found for name in step.statement.names) or step.calls:
            found.update(step.made)
    return found


def _match(forward, backward):
    """Set the twin of each call: by the module, by the cache, by the name in the caller's twin."""
    modules, caches = defaultdict(list), {}
    for call in forward:
        if call.module is not None:
            modules[_key(call, call.name)].append(call)
        for cache in call.caches:
            caches.setdefault((id(cache), call.name), call)
    for call in backward:
        name = "forward" if call.name == "backward" else call.name.removesuffix("_backward")
        if name == call.name:
            continue
        twin = None
        if call.module is not None and modules[_key(call, name)]:
            twin = modules[_key(call, name)].pop()
        for cache in call.caches:
            twin = twin or caches.get((id(cache), name))
        if twin is None and call.parent is not None and call.parent.twin is not None:
            twin = next((each for each in call.parent.twin.calls
                         if each.name == name and each.twin is None), None)
        if twin is not None and twin.twin is None:
            call.twin, twin.twin = twin, call
    roots = [next((call for call in calls if call.parent is None), None)
             for calls in (forward, backward)]
    if all(roots):
        roots[0].twin, roots[1].twin = roots[1], roots[0]


def _key(call, name):
    return id(call.module), call.function.name.rpartition(".")[0], name


def norm(array):
    """-> the Euclidean norm of the finite numbers of an array, as a float"""
    flat = array.reshape(-1)
    with np.errstate(all="ignore"):
        square = float(np.dot(flat, flat)) if flat.dtype.kind == "f" else float(
            np.square(flat.astype(np.float64)).sum())
        if not np.isfinite(square):
            finite = flat[np.isfinite(flat)].astype(np.float64)
            square = float(finite @ finite)
    return square**0.5
