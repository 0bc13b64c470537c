"""Attention on a few words, step by step: every matrix, its formula, and one entry by hand.

    example = words_example(["I", "like", "apple"])
    for step in forward_steps(example) + backward_steps(example):
        print(step.formula, step.panels[0].matrix)

The numbers come from minillm.ops, so what is shown is what a model computes. A step is data;
worked_example_terminal.py and worked_example_export.py draw it.
"""

from typing import NamedTuple

import numpy as np

from minillm.ops.attention import (
    AttentionBias,
    add_bias,
    attention,
    attention_weights,
    attention_weights_backward,
    weighted_values,
    weighted_values_backward,
)
from minillm.ops.linear import linear, linear_backward
from minillm.ops.matmul import matmul
from minillm.ops.softmax import softmax, softmax_backward

MAX_CHECKED = 20_000  # numbers whose finite differences are computed, one after the other


class Example(NamedTuple):
    """What is computed.

    queries, keys: the words of the rows of Q, and of K and V
    inputs: {name: float64 array}. Either X (T, d), and Q = K = V = X; or X with W_Q, W_K, W_V and
        W_O, all (d, d); or Q (1, 1, Tq, d), K and V (1, 1, Tk, d)
    heads:  H; a head has D = d / H columns
    """

    queries: list
    keys: list
    inputs: dict
    heads: int = 1
    bias: AttentionBias = AttentionBias()

    @property
    def is_projected(self):
        return "W_Q" in self.inputs

    @property
    def width(self):
        return self.inputs["X" if "X" in self.inputs else "Q"].shape[-1]

    @property
    def head_width(self):
        return self.width // self.heads


class Panel(NamedTuple):
    """A matrix with labels. `totals` are the sums of its rows, where they matter."""

    caption: str
    matrix: np.ndarray  # (rows, columns)
    rows: list
    columns: list
    totals: np.ndarray | None = None


class Step(NamedTuple):
    """One formula and its result: one panel, or several (heads; a gradient and its check)."""

    title: str
    formula: str
    latex: str
    panels: list
    pencil: str = ""  # one entry by hand
    note: str = ""
    largest_difference: float | None = None  # of a gradient: from the finite differences


# ------------------------------------------------------------------ the computation


def split_heads(X, H):
    """(T, d) -> (1, H, T, d / H): a head is a group of neighboring columns"""
    return X.reshape(1, len(X), H, -1).transpose(0, 2, 1, 3)


def merge_heads(X):
    """(1, H, T, D) -> (T, H D)"""
    return X[0].transpose(1, 0, 2).reshape(X.shape[2], -1)


def forward(example, **given):
    """-> {name: array} of everything up to the loss L = ½ Σ y², y the last result

    Q, K, V, S, P and out have four axes, (1, H, T, ...). What is in `given` replaces what would be
    computed: forward(example, P=other)["L"] is the loss with other weights.
    """
    v = {**example.inputs, **given}
    for name in ("Q", "K", "V"):
        if name not in v:
            x = linear(v["X"], v[f"W_{name}"])[0] if example.is_projected else v["X"]
            v[name] = split_heads(x, example.heads)
    if "S" in given:
        v.setdefault("P", softmax(v["S"])[0])
    v["dots"] = matmul(v["Q"], v["K"], transpose_B=True)
    v["scaled"] = v["dots"] / np.sqrt(example.head_width)
    if "S" not in v:
        v["S"] = v["scaled"].copy()
        add_bias(v["S"], example.bias)
    if "P" not in v:
        v["P"], _ = attention_weights(v["Q"], v["K"], bias=example.bias)
    if "out" not in v:
        v["out"], _ = weighted_values(v["P"], v["V"])
    y = v["out"]
    if example.is_projected:
        v.setdefault("C", merge_heads(v["out"]))
        if "Y" not in v:
            v["Y"], _ = linear(v["C"], v["W_O"])
        y = v["Y"]
    v["L"] = 0.5 * np.sum(y * y)
    return v


def backward(example):
    """-> {name: dL/dname}, in the order in which the gradients are computed"""
    v, g = forward(example), {}
    out, _, cache = attention(v["Q"], v["K"], v["V"], bias=example.bias)
    if example.is_projected:
        _, cache_O = linear(v["C"], v["W_O"])
        g["Y"] = v["Y"]
        g["C"], g["W_O"], _ = linear_backward(g["Y"], cache_O)
        g["out"] = split_heads(g["C"], example.heads)
    else:
        g["out"] = out
    g["P"], g["V"] = weighted_values_backward(g["out"], cache.values)
    g["S"] = softmax_backward(g["P"], cache.weights.softmax)
    g["Q"], g["K"], _ = attention_weights_backward(g["P"], cache.weights)
    if example.is_projected:
        g["X"] = np.zeros_like(v["X"])
        for name in ("Q", "K", "V"):
            _, cache_of_name = linear(v["X"], v[f"W_{name}"])
            dX, g[f"W_{name}"], _ = linear_backward(merge_heads(g[name]), cache_of_name)
            g["X"] += dX
    elif "X" in v:
        g["X"] = merge_heads(g["Q"]) + merge_heads(g["K"]) + merge_heads(g["V"])
    return g


def differences(example, name):
    """-> dL/dname by central differences: each number moves by ±h, and the loss is computed anew"""
    value = forward(example)[name].copy()
    slopes = np.zeros_like(value)
    for index, x in np.ndenumerate(value):
        h = 1e-5 * max(1.0, abs(x)) if np.isfinite(x) else 1.0
        losses = []
        for moved in (x + h, x - h):
            value[index] = moved
            losses.append(forward(example, **{name: value})["L"])
        value[index] = x
        slopes[index] = (losses[0] - losses[1]) / (2 * h)
    return slopes


# ------------------------------------------------------------------ the forward as steps


def forward_steps(example):
    """-> list of Step, from the words' vectors to the output"""
    v, D = forward(example), example.head_width
    steps = list(_input_steps(example, v))
    Q, K, V = (v[name][0, 0] for name in ("Q", "K", "V"))
    i, j = _entry(v)
    query, key = example.queries[i], example.keys[j]
    of_heads = "each query with each key" + _in_each(example)
    steps.append(Step(
        "Dot products", "Q Kᵀ", r"Q K^{\top}", _scores(example, v["dots"]),
        f"{query} · {key} = {_sum_of_products(Q[i], K[j])} = {_short(v['dots'][0, 0, i, j])}",
        f"One number for {of_heads}: how well they match."))
    steps.append(Step(
        "Scaled scores", f"S = Q Kᵀ / √{D}", rf"S = \frac{{Q K^{{\top}}}}{{\sqrt{{{D}}}}}",
        _scores(example, v["scaled"]),
        f"{_short(v['dots'][0, 0, i, j])} / √{D} = {_short(v['dots'][0, 0, i, j])} / "
        f"{_short(np.sqrt(D))} = {_short(v['scaled'][0, 0, i, j])}",
        "A dot product of d random numbers grows like √d; dividing takes that out."))
    if example.bias.causal or example.bias.key_mask is not None:
        steps.append(Step(
            "Masked scores", *_mask_formula(example.bias), _scores(example, v["S"]),
            note="A score of −∞ becomes a weight of 0."))
    largest = v["S"].max(axis=-1, keepdims=True)
    largest[largest == -np.inf] = 0
    E = np.exp(v["S"] - largest)
    visible = np.flatnonzero(np.isfinite(v["S"][0, 0, i]))
    j = int(visible[0]) if visible.size else j
    sees_keys = np.isfinite(v["S"]).any(axis=-1).all()
    S_ij, top = v["S"][0, 0, i, j], largest[0, 0, i, 0]
    total = E[0, 0, i].sum()
    steps.append(Step(
        "Exponentials", "E = exp(S − row maximum)", r"E = \exp(S - \text{row maximum})",
        _scores(example, E, totals=True),
        f"exp({_short(S_ij)} − {_signed(top)}) = exp({_short(S_ij - top)}) = "
        f"{_short(E[0, 0, i, j])}" if visible.size else "",
        "Every number becomes positive. Subtracting the maximum changes no weight."))
    steps.append(Step(
        "Weights", "P = E / row sum = softmax(S)",
        r"P = \frac{E}{\text{row sum}} = \mathrm{softmax}(S)",
        _scores(example, v["P"], totals=True),
        f"{_short(E[0, 0, i, j])} / {_short(total)} = {_short(v['P'][0, 0, i, j])}"
        if visible.size else "",
        "Each row says how much of each word its query takes: shares that sum to 1." if sees_keys
        else "A query that sees no key gets weights 0. Every other row sums to 1."))
    steps.append(Step(
        "Output", "out = P V", r"\mathrm{out} = P V", _panels(example, v["out"]),
        f"out[{query}, 1] = {_sum_of_products(v['P'][0, 0, i], V[:, 0])} = "
        f"{_short(v['out'][0, 0, i, 0])}",
        "Each row is a weighted average of the rows of V, so every number stays between the "
        "smallest and the largest of its column of V." if sees_keys else ""))
    if example.is_projected:
        d = _numbers(example.width)
        steps.append(Step(
            "Heads side by side", "C = [out of head 1, …, out of head h]",
            r"C = [\mathrm{out}_1, \ldots, \mathrm{out}_h]",
            [Panel("C", v["C"], example.queries, d)]))
        steps.append(Step(
            "Output projection", "Y = C W_O", r"Y = C W_O",
            [Panel("W_O", v["W_O"], d, d), Panel("Y", v["Y"], example.queries, d)],
            f"Y[{query}, 1] = {_sum_of_products(v['C'][i], v['W_O'][:, 0])} = "
            f"{_short(v['Y'][i, 0])}",
            "W_O mixes what the heads have found."))
    return steps


def _input_steps(example, v):
    d = _numbers(example.width)
    if "X" not in v:
        yield Step("Queries, keys and values", "Q, K, V", "Q, K, V", [
            Panel(name, v[name][0, 0], labels, d)
            for name, labels in (("Q", example.queries), ("K", example.keys), ("V", example.keys))])
        return
    projected = example.is_projected
    yield Step(
        "The words as vectors", "X" if projected else "Q = K = V = X",
        "X" if projected else "Q = K = V = X", [Panel("X", v["X"], example.queries, d)],
        note="" if projected else "Each word is query, key and value at once.")
    if projected:
        for name, title, one in (("Q", "Queries", "query"), ("K", "Keys", "key"),
                                 ("V", "Values", "value")):
            W = v[f"W_{name}"]
            split = f", split into {example.heads} heads" if example.heads > 1 else ""
            yield Step(
                title, f"{name} = X W_{name}", f"{name} = X W_{name}",
                [Panel(f"W_{name}", W, d, d), *_panels(example, v[name], name)],
                f"{name}[{example.queries[0]}, 1] = {_sum_of_products(v['X'][0], W[:, 0])} = "
                f"{_short(v[name][0, 0, 0, 0])}",
                f"A learned matrix turns each word into its {one}{split}."
                + (" Here it is random." if name == "Q" else ""))


def _mask_formula(bias):
    if bias.key_mask is None:
        return "S_ij = −∞ for keys j > i", r"S_{ij} = -\infty \text{ for } j > i"
    if bias.causal:
        return ("S_ij = −∞ for keys j > i and masked keys",
                r"S_{ij} = -\infty \text{ for } j > i \text{ and masked } j")
    return "S_ij = −∞ for masked keys j", r"S_{ij} = -\infty \text{ for masked } j"


# ------------------------------------------------------------------ the backward as steps

# name -> (title, formula, LaTeX); √D is filled in
_GRADIENTS = {
    "Y": ("Gradient of the result", "L = ½ Σ Y²,  dY = Y", r"L = \tfrac12 \sum Y^2, \quad dY = Y"),
    "C": ("Gradient of the heads' outputs", "dC = dY W_Oᵀ", r"dC = dY W_O^{\top}"),
    "W_O": ("Gradient of the output projection", "dW_O = Cᵀ dY", r"dW_O = C^{\top} dY"),
    "out": ("Gradient of the output", "L = ½ Σ out²,  dout = out",
            r"L = \tfrac12 \sum \mathrm{out}^2, \quad d\mathrm{out} = \mathrm{out}"),
    "V": ("Gradient of the values", "dV = Pᵀ dout", r"dV = P^{\top} d\mathrm{out}"),
    "P": ("Gradient of the weights", "dP = dout Vᵀ", r"dP = d\mathrm{out} V^{\top}"),
    "S": ("Gradient of the scores", "dS_ij = P_ij (dP_ij − Σ_k P_ik dP_ik)",
          r"dS_{ij} = P_{ij} \left(dP_{ij} - \sum_k P_{ik} dP_{ik}\right)"),
    "Q": ("Gradient of the queries", "dQ = dS K / √{D}", r"dQ = \frac{{dS K}}{{\sqrt{{{D}}}}}"),
    "K": ("Gradient of the keys", "dK = dSᵀ Q / √{D}",
          r"dK = \frac{{dS^{{\top}} Q}}{{\sqrt{{{D}}}}}"),
    "W_Q": ("Gradient of the query projection", "dW_Q = Xᵀ dQ", r"dW_Q = X^{\top} dQ"),
    "W_K": ("Gradient of the key projection", "dW_K = Xᵀ dK", r"dW_K = X^{\top} dK"),
    "W_V": ("Gradient of the value projection", "dW_V = Xᵀ dV", r"dW_V = X^{\top} dV"),
    "X": ("Gradient of the words' vectors", "dX = dQ + dK + dV", "dX = dQ + dK + dV"),
}
_PROJECTED_X = ("Gradient of the words' vectors", "dX = dQ W_Qᵀ + dK W_Kᵀ + dV W_Vᵀ",
                r"dX = dQ W_Q^{\top} + dK W_K^{\top} + dV W_V^{\top}")
_NOTES = {
    "P": "The check moves one weight alone, so here its row need not sum to 1.",
    "S": "Each row sums to 0: the same number added to all scores of a query changes nothing.",
    "X": "X is read three times, as query, key and value; the gradients add up.",
}


def backward_steps(example):
    """-> list of Step: each gradient of L, beside its central differences

    Raises ValueError if these would take too long.
    """
    v, g = forward(example), backward(example)
    order = [name for name in ("Y", "W_O", "C", "out", "V", "P", "S", "Q", "K", "W_Q", "W_K", "W_V",
                               "X") if name in g and not (name == "out" and "C" in g)]
    count = sum(g[name].size for name in order)
    if count > MAX_CHECKED:
        raise ValueError(f"the gradients have {count:,} numbers, each checked by differences, "
                         f"wanted at most {MAX_CHECKED:,}: take fewer words or a smaller d")
    steps = []
    for name in order:
        title, formula, latex = (_PROJECTED_X if name == "X" and example.is_projected
                                 else _GRADIENTS[name])
        if name in ("Q", "K"):
            formula, latex = (text.format(D=example.head_width) for text in (formula, latex))
        check = differences(example, name)
        panels = [panel for pair in zip(_gradient_panels(example, name, g[name], f"d{name}"),
                                        _gradient_panels(example, name, check, "differences"))
                  for panel in pair]
        note = _NOTES.get(name, "")
        if name in ("Y", "out"):
            note = f"Some loss is needed to begin with: this one is {_short(v['L'])}."
        steps.append(Step(title, formula, latex, panels, _gradient_pencil(example, v, g, name),
                          note, float(np.abs(g[name] - check).max(initial=0))))
    return steps


def _gradient_panels(example, name, values, caption):
    d = _numbers(example.width)
    if values.ndim == 4:
        rows = example.keys if name in ("K", "V") else example.queries
        return _panels(example, values, caption, rows, of_keys=name in ("P", "S"))
    return [Panel(caption, values, d if name.startswith("W_") else example.queries, d)]


def _gradient_pencil(example, v, g, name):
    """-> one entry of a gradient by hand, in the first head"""
    i, j = _entry(v)
    query, key = example.queries[i], example.keys[j]
    grad, value = ({name: array[0, 0] if array.ndim == 4 else array for name, array in all.items()
                    if name != "L"} for all in (g, v))
    root = f"√{example.head_width}"
    if name == "V":
        terms = _sum_of_products(value["P"][:, j], grad["out"][:, 0])
        return f"dV[{key}, 1] = {terms} = {_short(grad['V'][j, 0])}"
    if name == "P":
        terms = _sum_of_products(grad["out"][i], value["V"][j])
        return f"dP[{query}, {key}] = {terms} = {_short(grad['P'][i, j])}"
    if name == "S":
        P, dP = value["P"][i], grad["P"][i]
        return (f"Σ_k P_ik dP_ik = {_sum_of_products(P, dP)} = {_short(P @ dP)}\n"
                f"dS[{query}, {key}] = {_short(P[j])} × ({_short(dP[j])} − {_signed(P @ dP)}) = "
                f"{_short(grad['S'][i, j])}")
    if name == "Q":
        terms = _sum_of_products(grad["S"][i], value["K"][:, 0])
        return f"dQ[{query}, 1] = ({terms}) / {root} = {_short(grad['Q'][i, 0])}"
    if name == "K":
        terms = _sum_of_products(grad["S"][:, j], value["Q"][:, 0])
        return f"dK[{key}, 1] = ({terms}) / {root} = {_short(grad['K'][j, 0])}"
    if name == "X":
        parts = [grad[part][i, 0] for part in "QKV"]
        if example.is_projected:
            parts = [merge_heads(g[part])[i] @ v[f"W_{part}"][0] for part in "QKV"]
        return (f"dX[{query}, 1] = {' + '.join(map(_signed, parts))} = "
                f"{_short(grad['X'][i, 0])}")
    if name == "C":
        terms = _sum_of_products(grad["Y"][i], value["W_O"][0])
        return f"dC[{query}, 1] = {terms} = {_short(grad['C'][i, 0])}"
    if name.startswith("W_"):
        inputs, outputs = (("C", grad["Y"]) if name == "W_O" else ("X", grad[name[-1]]))
        terms = _sum_of_products(value[inputs][:, 0], outputs[:, 0])
        return f"d{name}[1, 1] = {terms} = {_short(grad[name][0, 0])}"
    return ""


def _entry(v):
    """-> i, j: the query and key whose numbers are computed by hand, (first, last) if possible

    If the first query sees only one key, as under a causal mask, it is the last query's.
    """
    sees = np.isfinite(v["S"][0, 0])
    i = 0 if sees[0].sum() > 1 else len(sees) - 1
    return i, int(np.flatnonzero(sees[i])[-1]) if sees[i].any() else sees.shape[1] - 1


# ------------------------------------------------------------------ pieces


def _panels(example, values, caption="", rows=None, of_keys=False, totals=False):
    """-> a Panel for each head of `values` (1, H, rows, columns)

    of_keys: the columns are keys, not columns of the head
    """
    H, D = example.heads, example.head_width
    panels = []
    for h, matrix in enumerate(values[0]):
        head = f"head {h + 1}" if H > 1 else ""
        panels.append(Panel(", ".join(filter(None, (caption, head))), matrix,
                            rows or example.queries,
                            example.keys if of_keys else _numbers(D, h * D),
                            matrix.sum(axis=-1) if totals else None))
    return panels


def _scores(example, values, totals=False):
    """-> a Panel for each head of `values` (1, H, queries, keys)"""
    return _panels(example, values, of_keys=True, totals=totals)


def _numbers(n, start=0):
    return [str(start + i + 1) for i in range(n)]


def _in_each(example):
    return " of its head" if example.heads > 1 else ""


def _short(x):
    """-> a number with up to four digits, with a true minus sign"""
    text = f"{x:.4g}"
    if text == "-inf":
        return "−∞"
    return text.replace("-", "−").replace("e+0", "e").replace("e−0", "e−")


def _signed(x):
    """-> as _short, a negative number in parentheses, to stand behind an operator"""
    return f"({_short(x)})" if x < 0 else _short(x)


def _sum_of_products(a, b):
    """-> "0.1×0.9 + 0.2×1 + … + 1×1.8" """
    terms = [f"{_signed(x)}×{_signed(y)}" for x, y in zip(a, b)]
    return " + ".join(terms if len(terms) <= 4 else [*terms[:2], "…", terms[-1]])
