"""A walk through a recording: next, into, out, continue to, back.

    next    the next step of this function, or of one that called it
    into    the next step of all: the first one of a function that this statement calls
    out     the next step of a function that called this one
"""

import re


class Walk:
    """A place in a recording, `step`, and the way that led there."""

    def __init__(self, recording, start=0):
        self.recording = recording
        self._steps = recording.steps
        self._way = []
        self.step = self._steps[start]

    @property
    def is_at_end(self):
        return self.step is self._steps[-1]

    def next(self):
        callers = self.step.call.callers()
        if self.step.is_return:
            callers = callers[:-1]
        return self._go_to_first(lambda step: step.call in callers)

    def into(self):
        return self._go_to_first(lambda step: True)

    def out(self):
        callers = self.step.call.callers()[:-1]
        return self._go_to_first(lambda step: step.call in callers)

    def back(self):
        """Undo the last move. At the start of the way go one step back."""
        if self._way:
            self.step = self._way.pop()
            return True
        if self.step.index:
            self.step = self._steps[self.step.index - 1]
            return True
        return False

    def start(self):
        return self._go(self._steps[0])

    def end(self):
        return self._go(self._steps[-1])

    def continue_to(self, where):
        """Go to the next call of a layer ("2") or of a function or module ("softmax")

        Looks from here to the end, and then from the start. -> whether there is such a call
        """
        here = self.step.index
        for step in [*self._steps[here + 1 :], *self._steps[: here + 1]]:
            if step is step.call.steps[0] and _is_call_of(step.call, where):
                return self._go(step)
        return False

    def _go_to_first(self, wanted):
        for step in self._steps[self.step.index + 1 :]:
            if wanted(step):
                return self._go(step)
        return False

    def _go(self, step):
        if step is self.step:
            return False
        self._way.append(self.step)
        self.step = step
        return True


def layer_of(call):
    """-> N if the call is that of block N of the model, else None: "transformer.h.3" -> 3"""
    match = re.fullmatch(r"(?:[^.\d]+\.)*(\d+)", call.path)
    return int(match[1]) if match else None


def n_layers(recording):
    """-> the number of blocks that ran"""
    return 1 + max((layer for step in recording.steps
                    if (layer := layer_of(step.call)) is not None), default=-1)


def _is_call_of(call, where):
    if where.isdecimal():
        return layer_of(call) == int(where)
    names = (call.function.short_name, call.name, call.path)
    return where in names or call.path.endswith(f".{where}")
