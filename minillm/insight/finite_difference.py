"""A finite difference of any number of a run: change it a little, see what the loss does.

    D(ε) = (L(v + ε) - L(v - ε)) / 2ε = L' + ε² L''' / 6 + …
    (4 D(ε) - D(2ε)) / 3              = L' + O(ε⁴)              (Richardson's extrapolation)

The model runs anew, and at the moment when the number has been computed, it is replaced; everything
after it is computed from the changed number. So every named number can be asked, not only those
that a layer shows to a trace. All runs are in float64, on a copy of the model.
"""

import copy
import sys
from typing import NamedTuple

import numpy as np

from minillm.insight.objective import text_loss
from minillm.insight.recording import BACKWARD, TRACED, Tracer, evaluated, has_backward, record
from minillm.insight.subject import Subject
from minillm.insight.twins import Twins
from minillm.kernels import use
from minillm.nn.module import no_grad
from minillm.nn.trace import trace


class Difference(NamedTuple):
    """The derivative of the loss with respect to one number.

    analytic: by the backward, nan if it never computes it;  numeric: by the finite difference
    central: D(ε);  losses: L(v - ε), L(v + ε);  value: v
    """

    analytic: float
    numeric: float
    central: float
    losses: tuple
    value: float

    @property
    def relative_error(self):
        """-> |analytic - numeric| over the larger of the two"""
        largest = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / largest if largest else 0.0


class Differences:
    """Finite differences of a text's run.

    subject: a Subject, which isn't changed;  text: what it reads
    recording: the run in float64, whose values can be asked
    """

    def __init__(self, subject, text, objective=None):
        if not has_backward(subject.model):
            raise ValueError("the model's weights are stored in few bits, which can't change a "
                             "little, wanted plain ones")
        with evaluated(subject.model):
            model = copy.deepcopy(subject.model).astype(np.float64)
        self._subject = Subject(model, subject.tokenizer, subject.name)
        self.recording = record(self._subject, text, objective=objective)
        self._objective = self.recording.objective
        self.twins = Twins(self.recording)

    def difference(self, path, index, eps=1e-4):
        """-> Difference of the number values[path].array[index]

        eps: of a number of size 1; larger numbers change by as much more
        Raises KeyError for an unknown path, IndexError for a wrong index, and ValueError for a
        value that can't be changed.
        """
        value = self.recording.values[path]
        index = tuple(index)
        if value.array.dtype.kind != "f":
            raise ValueError(f"{path} holds {value.array.dtype} numbers, which can't change a "
                             "little")
        if value.maker is not None and value.maker.id.startswith(BACKWARD):
            raise ValueError(f"{path} belongs to the backward: the loss is computed before it")
        if value.array.dtype != np.float64:
            raise ValueError(f"{path} is a table that the model keeps in {value.array.dtype}, so a "
                             "small change would be rounded")
        number = float(value.array[index])
        if not np.isfinite(number):
            raise ValueError(f"the number is {number:g}, which can't change a little")
        eps = eps * max(1.0, abs(number))
        gradient = self.twins.gradient(value)
        losses = {step: self._loss(value, index, step * eps) for step in (-2, -1, 1, 2)}
        central = (losses[1] - losses[-1]) / (2 * eps)
        wide = (losses[2] - losses[-2]) / (4 * eps)
        return Difference(float("nan") if gradient is None else float(gradient[index]),
                          (4 * central - wide) / 3, central, (losses[-1], losses[1]), number)

    def _loss(self, value, index, change):
        """-> the loss of a run in which the number is larger by `change`"""
        model = self._subject.model
        if value.parameter is not None:
            data = dict(model.named_parameters())[value.parameter].data
            before = data[index]
            data[index] += change
            try:
                return self._run(None)
            finally:
                data[index] = before
        return self._run(Change(model, value, index, change))

    def _run(self, change):
        model, asked = self._subject.model, self._objective
        with use("numpy"), no_grad(), evaluated(model), trace(model, TRACED):
            if change is None:
                return float(text_loss(model, asked.inputs, asked.targets)[0])
            with change.tracing(text_loss):
                loss, _ = text_loss(model, asked.inputs, asked.targets)
            change.undo()
        if not change.is_done:
            raise ValueError(f"{change.value.path} is memory that can't be written to, wanted a "
                             "value that can change")
        return float(loss)


class Change(Tracer):
    """Repeats a recording's events, and changes one number after the event when it was there."""

    def __init__(self, model, value, index, change):
        super().__init__(model)
        self.value, self._index, self._change = value, index, change
        self.is_done = False
        self._undo = None

    def trace(self, frame, event, argument):
        code = frame.f_code
        if self.is_done or not self.is_watched(code):
            return None
        value = self.value
        if (value.is_argument and self.event == value.born and value.maker.code is code
                and value.maker.born == self.event):
            self._replace(frame, argument)
        return self._trace_event

    def _trace_event(self, frame, event, argument):
        if event in ("line", "return") and not self.is_done:
            self.event += 1
            if self.event == self.value.born and not self.value.is_argument:
                self._replace(frame, argument)
        return self._trace_event

    def _replace(self, frame, returned):
        sys.settrace(None)
        if frame.f_code is not self.value.maker.code:
            return  # the run isn't the same, so this isn't the moment
        self.is_done = True
        name, statement = self.value.variable, self.value.statement
        is_shared = statement is not None and name in statement.written  # S += bias: by the caller
        if not is_shared and isinstance(frame.f_locals.get(name), np.ndarray):
            array = frame.f_locals[name].copy(order="K")
            array[self._index] += self._change
            frame.f_locals[name] = array  # Python writes it back to the variable
            return
        array = _part(returned if name is None else frame.f_locals, self.value.name)
        if array is None or not array.flags.writeable:
            self.is_done = False
            return
        self._undo = array, float(array[self._index])  # a module may keep this array
        array[self._index] += self._change

    def undo(self):
        if self._undo is not None:
            self._undo[0][self._index] = self._undo[1]


def _part(value, name):
    """-> the array that is called "returned[0]" or "caches[0].lse" """
    for part in name.replace("[", ".").replace("]", "").split("."):
        if part == "returned":
            continue
        if value is None or isinstance(value, np.ndarray):
            break
        if part.isdecimal():
            value = value[int(part)]
        else:
            value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return value if isinstance(value, np.ndarray) else None
