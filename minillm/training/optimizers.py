"""Optimizers: from gradients to new weights. A step changes the weights in place."""

import numpy as np

from minillm.nn.module import Parameter
from minillm.ops.adam import adam_all


class Optimizer:
    """The base of all optimizers: the list of parameters, the learning rate and the state.

    parameters: iterable of Parameter (`model.parameters()`), each only once; or groups of them with
        options of their own, {"params": Parameters, "lr": …, "weight_decay": …}, as in PyTorch.
        "lr_scale" in place of "lr" is the group's share of the learning rate.
    lr: the learning rate η, which a schedule may change before every step. The rates of groups
        change in proportion.

    A step skips parameters whose `grad` is None. Raises TypeError for anything but Parameters,
    ValueError for none, for a duplicate (which a step would update twice) and for numbers out of
    range.
    """

    moments = ()  # names of the attributes that hold an array, or None, for each parameter

    def __init__(self, parameters, lr, weight_decay=0.0):
        self.parameters, self.lr_scales, self.weight_decays = [], [], []
        parameters = list(parameters)
        grouped = any(isinstance(item, dict) for item in parameters)
        for group in parameters if grouped else [{"params": parameters}]:
            members, scale, decay = _group(group, lr)
            self.parameters += members
            self.lr_scales += [scale] * len(members)
            self.weight_decays += [decay] * len(members)  # None: self.weight_decay
        if not self.parameters:
            raise ValueError("parameters is empty: there is nothing to optimize")
        for parameter in self.parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(
                    f"parameters contains a {type(parameter).__name__}, wanted Parameters"
                )
        if len({id(parameter) for parameter in self.parameters}) < len(self.parameters):
            raise ValueError("parameters contains the same Parameter twice")
        self.lr = not_negative("lr", lr)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.t = 0  # the number of steps taken
        for name in self.moments:
            zeros = [np.zeros_like(parameter.data) for parameter in self.parameters]
            setattr(self, name, zeros)

    def step(self, grad_scale=1.0):
        """Update every parameter that has a gradient.

        grad_scale: scales every gradient, g ← grad_scale g. Less than 1 clips them (clipping.py)
        without another pass over memory.
        """
        self.t += 1
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                self.update(index, parameter.data, parameter.grad, grad_scale)

    def update(self, index, w, g, grad_scale):
        """Change the weights `w` of parameter number `index` in place, given their gradient `g`."""
        raise NotImplementedError

    def lr_of(self, index):
        """-> the learning rate of parameter number `index`"""
        return self.lr * self.lr_scales[index]

    def weight_decay_of(self, index):
        decay = self.weight_decays[index]
        return self.weight_decay if decay is None else decay

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.zero_grad()

    def state_dict(self):
        """-> {"t": steps taken, "lr": float, "m.0": array, …}; the arrays are not copies."""
        state = {"t": self.t, "lr": self.lr}
        for name in self.moments:
            for index, array in enumerate(getattr(self, name)):
                if array is not None:
                    state[f"{name}.{index}"] = array
        return state

    def load_state_dict(self, state):
        """Restore a `state_dict()`. Raises ValueError if it belongs to other parameters."""
        mine = self.state_dict()
        if mine.keys() != state.keys():
            wrong = sorted(mine.keys() ^ state.keys())
            raise ValueError(f"state does not fit {type(self).__name__}: check {wrong[:4]}")
        for name, value in mine.items():
            if np.shape(value) != np.shape(state[name]):
                raise ValueError(
                    f"state[{name!r}] has shape {np.shape(state[name])}, wanted {np.shape(value)}"
                )
        for name, value in mine.items():
            if isinstance(value, np.ndarray):
                value[...] = state[name]
        self.t, self.lr = int(state["t"]), float(state["lr"])


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum (Sutskever et al. 2013, sec. 2).

        g ← g + λ w                      weight decay λ: the gradient of loss + λ/2 ‖w‖²
        v ← μ v + g                      momentum μ: a running sum of past gradients
        w ← w - η v                      or, with Nesterov's look-ahead,  w ← w - η (g + μ v)
    """

    moments = ("v",)

    def __init__(self, parameters, lr=1e-3, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(parameters, lr, weight_decay)
        self.momentum = not_negative("momentum", momentum)
        self.nesterov = nesterov
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs a momentum > 0, got momentum=0")

    def update(self, index, w, g, grad_scale):
        v = self.v[index]
        if grad_scale != 1:
            g = g * grad_scale
        if self.weight_decay_of(index):
            g = g + self.weight_decay_of(index) * w
        v *= self.momentum
        v += g
        w -= self.lr_of(index) * (g + self.momentum * v if self.nesterov else v)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1).

        m ← β₁ m + (1 - β₁) g            the mean of recent gradients
        v ← β₂ v + (1 - β₂) g²           the mean of their squares
        m̂ = m / (1 - β₁ᵗ)                both means start from zero: without this correction
        v̂ = v / (1 - β₂ᵗ)                the first steps would be too small
        w ← w - η m̂ / (√v̂ + ε)

    `weight_decay` λ is an L2 penalty here: λ w is added to g, and then divided by √v̂ like the rest
    of the gradient. AdamW avoids that.
    """

    moments = ("m", "v")

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr, weight_decay)
        self.betas = tuple(betas)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {betas}, wanted two numbers from 0 up to, not including, 1")
        self.eps = not_negative("eps", eps)

    _parts = None  # inside `step`, what `adam` is to update

    def step(self, grad_scale=1.0):
        """Update every parameter that has a gradient: all of them in one call of the kernel."""
        self._parts = []
        try:
            super().step(grad_scale)
            adam_all(self._parts, self.t, *self.betas, self.eps, grad_scale)
        finally:
            self._parts = None

    def update(self, index, w, g, grad_scale):
        self.adam(index, w, g, grad_scale, self.weight_decay_of(index), 0.0)

    def adam(self, index, w, g, grad_scale, l2, decay):
        """Compute all of the above in one pass over memory, whose bandwidth limits the speed."""
        part = w, g, self.m[index], self.v[index], self.lr_of(index), l2, decay
        if self._parts is not None:
            self._parts.append(part)
        else:
            adam_all([part], self.t, *self.betas, self.eps, grad_scale)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2).

        w ← w - η λ w                    the decay acts on the weights themselves …
        w ← w - η m̂ / (√v̂ + ε)           … and leaves g, m and v alone

    Only matrices decay. Vectors (biases and the weights of norms) don't: pulling the weight of a
    layer norm towards zero makes its output smaller, but the model no simpler.
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(self, index, w, g, grad_scale):
        decay = self.weight_decay_of(index) if w.ndim >= 2 else 0.0
        self.adam(index, w, g, grad_scale, 0.0, decay)


def _group(group, lr):
    """-> (list of Parameters, share of the learning rate, weight decay or None) of a group"""
    if not isinstance(group, dict):
        raise TypeError(f"parameters contains a {type(group).__name__} beside groups, wanted groups "
                        "only")
    unknown = group.keys() - {"params", "lr", "lr_scale", "weight_decay"}
    if unknown or "params" not in group or {"lr", "lr_scale"} <= group.keys():
        raise ValueError(f"a group of parameters has {sorted(group)}, wanted 'params', and of "
                         "'lr' or 'lr_scale', 'weight_decay' those that differ")
    members = group["params"]
    members = [members] if isinstance(members, Parameter) else list(members)
    scale = not_negative("lr_scale", group.get("lr_scale", 1.0))
    if "lr" in group:
        if not lr > 0:
            raise ValueError(f"lr is {lr}, wanted a number > 0 beside groups with their own rates")
        scale = not_negative("lr of a group", group["lr"]) / lr
    decay = group.get("weight_decay")
    return members, scale, None if decay is None else not_negative("weight_decay", decay)


def not_negative(name, value):
    if not value >= 0:  # also refuses NaN
        raise ValueError(f"{name} is {value}, wanted a number >= 0")
    return value
