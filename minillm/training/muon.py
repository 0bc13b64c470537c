"""Muon: momentum, made orthogonal. The optimizer for the matrices inside a network."""

import numpy as np

from minillm.models.layer_order import EMBEDDINGS, HEAD, layer_order, learning_rate_groups
from minillm.nn import CrossAttention, Linear, SelfAttention
from minillm.ops.orthogonalize import STEPS, orthogonalize
from minillm.training.optimizers import AdamW, not_negative

# The root mean square of the numbers in AdamW's steps, in units of the learning rate, as Liu et al.
# 2025 measured it in trainings (section 2.2).
ADAMW_RMS = 0.2


class Muon(AdamW):
    """Muon for matrices inside the network (Jordan et al. 2024), AdamW for all other parameters.

        m ← μ m + g                                     momentum
        u = g + μ m                                     Nesterov's look-ahead
        O = orthogonalize(u)                            U Vᵀ of u = U S Vᵀ: ops/orthogonalize.py
        w ← w - η λ w - η 0.2 √max(d_in, d_out) O

    The gradient of a linear map is a sum of products x dyᵀ, and a few directions of x and dy
    dominate it. Muon moves all directions equally far: of all updates whose largest singular value
    is at most 1, O lowers the linearized loss the most, ⟨u, O⟩ = Σ S (Bernstein and Newhouse 2024).

    O has min(d_in, d_out) singular values of 1, so its numbers have the root mean square
    1 / √max(d_in, d_out). The scale makes it 0.2, as large as AdamW's steps, so both parts share η
    and λ (Liu et al. 2025, "Muon is Scalable for LLM Training", eq. 4).

    parameters: groups, as of any Optimizer. A group with "matrices": True is Muon's. Its "columns",
        {id of a Parameter: widths}, says which Parameters are several maps side by side, as W_Q, W_K
        and W_V are: each is orthogonalized on its own. See `muon_groups`.
    momentum: μ;  steps: of Newton–Schulz;  for the others see AdamW

    Of Muon's parameters only `m` is kept: half of AdamW's memory.
    """

    def __init__(self, parameters, lr=1e-3, momentum=0.95, betas=(0.9, 0.95), eps=1e-8,
                 weight_decay=0.1, steps=STEPS):
        groups, self.columns = [], {}
        for group in parameters:
            is_matrices, columns = group.get("matrices", False), group.get("columns", {})
            groups.append({name: value for name, value in group.items()
                           if name not in ("matrices", "columns")})
            if is_matrices:
                for parameter in group["params"]:
                    widths = columns.get(id(parameter))
                    self.columns[id(parameter)] = column_parts(parameter, widths)
        super().__init__(groups, lr, betas, eps, weight_decay)
        self.momentum = not_negative("momentum", momentum)
        self.steps = steps
        for index in range(len(self.parameters)):
            if self.is_matrix(index):
                self.v[index] = None

    def is_matrix(self, index):
        """-> whether Muon updates parameter number `index`, not AdamW"""
        return id(self.parameters[index]) in self.columns

    def update(self, index, w, g, grad_scale):
        if not self.is_matrix(index):
            return super().update(index, w, g, grad_scale)
        m, lr = self.m[index], self.lr_of(index)
        g = g if grad_scale == 1 else grad_scale * g
        m *= self.momentum
        m += g
        u = g + self.momentum * m
        w *= 1 - lr * self.weight_decay_of(index)
        for part in self.columns[id(self.parameters[index])]:
            # One matrix at a time: all its products stay in the cache.
            O = orthogonalize(u[:, part], self.steps)
            w[:, part] -= lr * ADAMW_RMS * max(O.shape) ** 0.5 * O


def column_parts(parameter, widths=None):
    """-> the slice of columns of each map of a Parameter (d_in, d_out); widths None: there is one

    Raises ValueError for a Parameter that isn't a matrix, and for widths of another sum than d_out.
    """
    if len(parameter.shape) != 2:
        raise ValueError(f"a group of matrices has a Parameter of shape {parameter.shape}, wanted "
                         "(d_in, d_out)")
    widths = parameter.shape[1:] if widths is None else widths
    if sum(widths) != parameter.shape[1]:
        raise ValueError(f"columns is {list(widths)}, wanted widths whose sum is "
                         f"{parameter.shape[1]}")
    ends = np.cumsum(widths).tolist()
    return [slice(end - width, end) for end, width in zip(ends, widths)]


def inner_matrices(model):
    """-> list of the matrices of the blocks of `model`, Parameters"""
    return [parameter for name, parameters in layer_order(model).items()
            if name not in (EMBEDDINGS, HEAD) for parameter in parameters
            if len(parameter.shape) == 2]


def muon_groups(model, groups):
    """-> `groups` of the parameters of `model`, as `learning_rate_groups` makes them, for Muon

    The matrices of the blocks are Muon's. Embeddings, heads and vectors stay AdamW's: a token's
    embedding and the scores of one token are vectors too, although they stand in a table.
    """
    inside = set(map(id, inner_matrices(model)))
    columns = {}
    for module in model.modules():
        # With LoRA, `qkv` isn't a Linear: what learns is the factors of its update.
        if isinstance(module, SelfAttention) and isinstance(module.qkv, Linear):
            widths = [heads * module.head_dim
                      for heads in (module.n_heads, module.n_kv_heads, module.n_kv_heads)]
            columns[id(module.qkv.weight)] = widths
        elif isinstance(module, CrossAttention) and isinstance(module.key_value, Linear):
            columns[id(module.key_value.weight)] = [module.n_kv_heads * module.head_dim] * 2
    found = []
    for group in groups:
        matrices = [each for each in group["params"] if id(each) in inside]
        others = [each for each in group["params"] if id(each) not in inside]
        if matrices:
            found.append({**group, "params": matrices, "matrices": True, "columns": columns})
        if others:
            found.append({**group, "params": others})
    return found


def muon_shapes(model):
    """-> list of the shapes (d_in, d_out) that Muon orthogonalizes if all of `model` learns"""
    return [(parameter.shape[0], part.stop - part.start)
            for group in muon_groups(model, [{"params": inner_matrices(model)}])
            for parameter in group["params"]
            for part in column_parts(parameter, group["columns"].get(id(parameter)))]


def optimizer_groups(model, settings):
    """-> the groups of the parameters of `model` that learn, for `make_optimizer`"""
    groups = learning_rate_groups(model, settings.layer_lr_decay)
    return muon_groups(model, groups) if settings.optimizer == "muon" else groups


def make_optimizer(groups, settings):
    """-> the optimizer of `settings` for groups of `optimizer_groups`, or for some of them"""
    options = {"lr": settings.lr, "betas": (0.9, 0.95), "weight_decay": settings.weight_decay}
    if settings.optimizer == "muon":
        return Muon(groups, steps=settings.muon_steps, **options)
    return AdamW(groups, **options)
