"""Training on the page: a copy of a model takes steps, and takes them back, bit for bit.

    practice = Practice(subject)
    state = practice.step(lesson_of(subject, "The cat sat"), optimizer="AdamW", lr=1e-3)
    state.after.loss - state.before.loss            what the step has changed …
    state.predicted                                 … and what the gradient promised
    practice.undo()

The step is that of the training loop: the model's loss, its hand-written backward, clipping by the
norm of all gradients, an optimizer of minillm/training/optimizers.py. Dropout is off, so that the
same step always has the same result and the losses before and after can be compared.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from minillm.checks import require_memory
from minillm.insight.lesson import Lesson
from minillm.insight.subject import Subject
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax
from minillm.ops.sum_of_squares import sum_of_squares
from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.optimizers import SGD, Adam, AdamW

OPTIMIZERS = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW}
LIMIT = 512 * 2**20  # bytes of the states to go back to


class Measured(NamedTuple):
    """What a model says to a Lesson.

    loss: float;  losses: (R,), its terms, nan where nothing is asked
    P: (R, C), the probability of each token or label; None where the outputs are numbers
    """

    loss: float
    losses: np.ndarray
    P: np.ndarray | None


@dataclass
class State:
    """The model after `number` steps, and how the last of them came about.

    weights: list of arrays, one for each of the model's parameters, in their order
    moments: the optimizer's state_dict after the step; {} before the first step
    gradients: list of arrays, or None for a parameter that the loss doesn't depend on
    options: optimizer, lr, weight_decay, clip;  is_fresh: the optimizer started at this step
    norm, grad_scale: the norm of all gradients, and the factor that clipping put before them
    predicted: g · Δw, the change of the loss to first order, float64
    """

    number: int
    weights: list
    moments: dict
    gradients: list = field(default_factory=list)
    lesson: Lesson | None = None
    options: dict = field(default_factory=dict)
    is_fresh: bool = True
    before: Measured | None = None
    after: Measured | None = None
    norm: float = 0.0
    grad_scale: float = 1.0
    predicted: float = 0.0
    rows: list | None = None  # of `Practice.rows`, once somebody has asked

    @property
    def n_bytes(self):
        arrays = [*self.weights, *self.moments.values(), *self.gradients]
        arrays += [x for measured in (self.before, self.after) if measured for x in measured[1:]]
        return sum(x.nbytes for x in arrays if isinstance(x, np.ndarray))


class Practice:
    """A copy of `origin`'s model, the optimizer that trains it, and the states to go back to.

    origin: a Subject, which stays as it is;  limit: of the states' bytes; the oldest are forgotten
    subject: a Subject of the copy; before the first step `origin`
    states: list of State;  now: the index of the current one
    curve: list of (loss before, loss after) of all steps up to the newest one, kept or not
    """

    def __init__(self, origin, limit=LIMIT):
        self.origin, self.limit = origin, limit
        self.subject, self.model = origin, origin.model
        self.optimizer = None
        # Nobody changes the origin's weights, so the state before the first step needs no copy.
        weights = [*origin.model.state_dict().values()]
        self.states, self.now, self.curve = [State(0, weights, {})], 0, []

    @property
    def state(self):
        return self.states[self.now]

    @property
    def previous(self):
        """The State before the last step; None if there is none, or if it is forgotten"""
        return self.states[self.now - 1] if self.now else None

    def step(self, lesson, optimizer="AdamW", lr=1e-3, weight_decay=0.0, clip=0.0):
        """Take one step on a Lesson -> the new State; forget what could be redone

        optimizer: "SGD", "Adam" or "AdamW"; another one than before starts with moments of 0
        clip: the maximum norm of all gradients together; 0 doesn't clip

        Raises ValueError, with the model as it was, for options out of range, and if the gradient
        or a new weight isn't finite; MemoryError for a model that this machine can't hold twice.
        """
        options = {"optimizer": optimizer, "lr": lr, "weight_decay": weight_decay, "clip": clip}
        self._begin()
        is_fresh = self._prepare(**options)
        model, before = self.model, self.state
        output = model(**lesson.inputs)
        measured = _measured(lesson, output)
        model.zero_grad()
        output.loss.backward()
        norm = grad_norm(self.optimizer.parameters)
        if not math.isfinite(norm):
            self._restore(before)
            raise ValueError(f"the norm of the gradient is {norm}, wanted a finite number")
        scale = clip_factor(norm, clip) if clip else 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            self.optimizer.step(grad_scale=scale)
        if not all(np.isfinite(parameter.data).all() for parameter in model.parameters()):
            self._restore(before)
            raise ValueError(f"lr is {lr}, wanted a smaller one: after this step a weight isn't a "
                             "finite number")
        state = State(
            before.number + 1, self._copied_weights(), _copied(self.optimizer.state_dict()),
            [None if p.grad is None else p.grad.copy() for p in model.parameters()], lesson,
            options, is_fresh, measured, measure(model, lesson), norm, scale)
        state.predicted = sum(
            float(np.vdot(g.astype(np.float64), new.astype(np.float64) - old))
            for g, old, new in zip(state.gradients, before.weights, state.weights)
            if g is not None)
        self._keep(state)
        return state

    def undo(self):
        """Go back by one step; ValueError if the state before it isn't kept"""
        if not self.now:
            raise ValueError("there is no step to undo" if not self.state.number else
                             "the states before this one are forgotten, wanted a reset")
        self._go(self.now - 1)

    def redo(self):
        """Take back an `undo`; ValueError if there was none"""
        if self.now + 1 == len(self.states):
            raise ValueError("there is no step to redo")
        self._go(self.now + 1)

    def _go(self, now):
        self.now = now
        self._restore(self.state)

    def _begin(self):
        """Make the copy, before the first step."""
        if self.model is self.origin.model:
            n_bytes = sum(array.nbytes for array in self.state.weights)
            require_memory("the copy of the model, its gradients and moments", 8 * n_bytes)
            self.model = copy_of(self.origin.model)
            self.subject = Subject(self.model, self.origin.tokenizer, self.origin.name)

    def _prepare(self, optimizer, lr, weight_decay, clip):
        """Make the optimizer what the options say -> whether it is a new one"""
        if optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer is {optimizer!r}, wanted one of {', '.join(OPTIMIZERS)}")
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("clip", clip)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}, wanted a finite number of at least 0")
        cls, is_fresh = OPTIMIZERS[optimizer], type(self.optimizer) is not OPTIMIZERS[optimizer]
        if is_fresh:
            self.optimizer = cls(self.model.parameters(), lr=lr)
        self.optimizer.lr, self.optimizer.weight_decay = lr, weight_decay
        return is_fresh

    def _keep(self, state):
        del self.states[self.now + 1 :]
        del self.curve[state.number - 1 :]
        self.states.append(state)
        self.curve.append((state.before.loss, state.after.loss))
        self.now += 1
        while self.n_bytes > self.limit and self.now > 0:
            del self.states[0]
            self.now -= 1

    @property
    def n_bytes(self):
        """The memory of the kept states; their lessons are small."""
        return sum(state.n_bytes for state in self.states)

    def _restore(self, state):
        for parameter, array in zip(self.model.parameters(), state.weights):
            parameter.data[...] = array
            parameter.zero_grad()
        self.optimizer = None
        if state.moments:
            options = state.options
            self.optimizer = OPTIMIZERS[options["optimizer"]](
                self.model.parameters(), lr=options["lr"], weight_decay=options["weight_decay"])
            self.optimizer.load_state_dict(state.moments)

    def _copied_weights(self):
        return [parameter.data.copy() for parameter in self.model.parameters()]

    # ---- what a step did to the parameters

    def rows(self):
        """-> list of dicts, one for each parameter, about the last step: the norms of what its
        update consists of (see `moments_of`)

        update: ‖w_after - w_before‖, relative: as a share of ‖w_before‖; None for what isn't known
        """
        if self.state.rows is None:
            self.state.rows = self._rows()
        return self.state.rows

    def _rows(self):
        state, previous = self.state, self.previous
        found = []
        for index, (name, parameter) in enumerate(self.model.named_parameters()):
            row = {"name": name, "shape": list(parameter.shape), "size": parameter.size,
                   "weight": _norm(state.weights[index]), "gradient": None, "m": None, "v": None,
                   "m_hat": None, "v_hat": None, "update": None, "relative": None}
            if state.gradients and state.gradients[index] is not None:
                row["gradient"] = _norm(state.gradients[index])
            moments = self.moments_of(index)
            if moments:
                t, (beta1, beta2) = moments["t"], moments["betas"]
                row["m"], row["v"] = _norm(moments["m"]), _norm(np.sqrt(moments["v"]))
                row["m_hat"] = row["m"] / (1 - beta1**t)
                row["v_hat"] = row["v"] / math.sqrt(1 - beta2**t)
            if previous is not None:
                row["update"] = _norm(state.weights[index] - previous.weights[index])
                old = _norm(previous.weights[index])
                row["relative"] = row["update"] / old if old else None
            found.append(row)
        return found

    def moments_of(self, index):
        """-> {"t", "betas", "eps", "m", "v"} of Adam after the last step; {} without Adam"""
        state = self.state
        if not isinstance(self.optimizer, Adam) or f"m.{index}" not in state.moments:
            return {}
        return {"t": state.moments["t"], "betas": list(self.optimizer.betas),
                "eps": self.optimizer.eps, "m": state.moments[f"m.{index}"],
                "v": state.moments[f"v.{index}"]}

    def decay_of(self, index):
        """-> (L2 penalty, decoupled decay) of a parameter in the last step: see ops/adam.py"""
        decay = self.state.options.get("weight_decay", 0.0)
        if self.state.options.get("optimizer") != "AdamW":
            return decay, 0.0
        return 0.0, decay if self.state.weights[index].ndim >= 2 else 0.0

    def index_of(self, name):
        """-> the number of the parameter `name`; ValueError if there is none"""
        names = [each for each, _ in self.model.named_parameters()]
        if name not in names:
            raise ValueError(f"parameter is {name!r:.80}, wanted one of {', '.join(names)}")
        return names.index(name)


def copy_of(model):
    """-> a model of the same class with the same weights and arrays of its own, in eval mode"""
    weights = model.state_dict()
    copy = type(model)(model.config.replace(), draw_weights=False)
    dtype = next(iter(weights.values())).dtype
    if any(parameter.data.dtype != dtype for parameter in copy.parameters()):
        copy.astype(dtype)
    copy.load_state_dict(weights)
    return copy.eval()


def measure(model, lesson):
    """-> Measured"""
    with no_grad():
        return _measured(lesson, model(**lesson.inputs))


def _measured(lesson, output):
    P = None if lesson.kind == "number" else softmax(np.ascontiguousarray(lesson.scores(output)))[0]
    return Measured(output.loss.item(), lesson.losses(output), P)


def _copied(state):
    return {name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in state.items()}


def _norm(x):
    return math.sqrt(sum_of_squares(np.ascontiguousarray(x)))
