"""Direct logit attribution: which part of the model put this token on top?

In a pre-norm model the last residual stream is a sum (Elhage et al. 2021),

    x = x_0 + Σ_l (Σ_h head_{l,h} W_O[h] + b_O) + Σ_l feed_forward_l

and a logit is linear in it once the scale of the last norm is known:

    layer norm:  logit = Σ_i ((x - mean(x)) / σ · γ + β)_i w_i + c         σ² = var(x) + eps
    RMS norm:    logit = Σ_i (x / ρ · γ)_i w_i + c                         ρ² = mean(x²) + eps

with w the token's row of the output head and c its bias. So each summand's share is what it gives
with σ (or ρ) as it is: the shares add up to the logit. "Direct", because what a head writes may also
be read by later blocks, and that isn't counted as its own.
"""

import numpy as np

from minillm.figures import COLORS, new_figure
from minillm.insight.anatomy import Anatomy
from minillm.insight.inputs import forward_inputs
from minillm.nn import RMSNorm
from minillm.nn.module import no_grad
from minillm.nn.trace import trace


def logit_contributions(model, text, token, other=None, position=-1, **options):
    """-> {part: its share of the logit of `token`}, floats that add up to the logit

    model: a pre-norm model with an output head, in eval mode; of an encoder-decoder, the decoder
    text: integers (T,), or the arguments of the forward: see `forward_inputs`
    options: other arguments of the forward
    token: an id;  other: the id of another token: the shares are then of logit - other logit
    position: whose prediction is explained, by default the last

    The parts: "embedding"; for each block "l.head h", "l.attention bias" and "l.feed_forward", in
    an encoder-decoder also "l.cross head h" and "l.cross attention bias"; and "last norm's bias"
    and "head's bias" if there are such biases.

    Raises ValueError for a model that isn't such a sum: post-norm, or without an output head.
    """
    anatomy = Anatomy(model)
    if not hasattr(model, "unembed") or not all(block.is_pre_norm for block in anatomy.blocks):
        raise ValueError(f"model is a {type(model).__name__}, wanted a pre-norm model with an output "
                         "head: in a post-norm one the residual stream isn't a sum")
    names = [name for block in anatomy.blocks for name in (*block.sublayers, block.residual)]
    names += [f"{name}.heads" for block in anatomy.blocks for _, name, _ in _attentions(block)]
    with no_grad(), trace(model, names) as t:
        model(**forward_inputs(text), **options)

    def at(name):
        return t[name][0, position].astype(np.float64)

    parts = {"embedding": anatomy.blocks[0].input(t)[0, position].astype(np.float64)}
    for block in anatomy.blocks:
        for prefix, name, attention in _attentions(block):
            output = attention.output
            heads = t[f"{name}.heads"][0, :, position].astype(np.float64)  # (H, D)
            W_O = output.weight.data.astype(np.float64).reshape(*heads.shape, -1)  # (H, D, d_model)
            for h, (head, W) in enumerate(zip(heads, W_O)):
                parts[f"{block.index}.{prefix}head {h}"] = head @ W
            if output.bias is not None:
                parts[f"{block.index}.{prefix}attention bias"] = output.bias.data.astype(np.float64)
        parts[f"{block.index}.feed_forward"] = at(block.feed_forward)
    x = at(anatomy.blocks[-1].residual)

    w, c = _row(model.get_output_embeddings(), token)
    if other is not None:
        w_other, c_other = _row(model.get_output_embeddings(), other)
        w, c = w - w_other, c - c_other
    norm = model.base_model.final_norm
    shares = {name: float(_normed(norm, part, x) @ w) for name, part in parts.items()}
    if getattr(norm, "bias", None) is not None:
        shares["last norm's bias"] = float(norm.bias.data.astype(np.float64) @ w)
    if c:
        shares["head's bias"] = float(c)
    return shares


def _attentions(block):
    """-> [(prefix of its parts, name, module)] of a block's attentions"""
    found = [("", block.attention, block.module.attention)]
    if getattr(block.module, "residual_cross", None) is not None:
        found.append(("cross ", f"{block.name}.cross_attention", block.module.cross_attention))
    return found


def _normed(norm, part, x):
    """One summand of x behind the last norm, with the scale that x has"""
    if getattr(norm, "weight", None) is None:  # there is none, or one that changes nothing
        return part
    if isinstance(norm, RMSNorm):
        return part / np.sqrt((x**2).mean() + norm.eps) * norm.weight.data
    return (part - part.mean()) / np.sqrt(x.var() + norm.eps) * norm.weight.data


def _row(head, token):
    """-> the token's row (d_model,) of the output head, and its bias"""
    bias = 0.0 if head.bias is None else float(head.bias.data[token])
    return head.weight.data[token].astype(np.float64), bias


def plot_contributions(shares, title=None, most=20):
    """-> matplotlib Figure: bars of the largest shares, the rest together"""
    order = sorted(shares, key=lambda name: -abs(shares[name]))
    shown, rest = order[:most], order[most:]
    values = [shares[name] for name in shown]
    if rest:
        shown.append(f"{len(rest)} others")
        values.append(sum(shares[name] for name in rest))
    figure, axes = new_figure(5, 0.8 + 0.2 * len(shown))
    axes.barh(range(len(shown)), values, color=[COLORS[1] if v >= 0 else COLORS[2] for v in values])
    axes.set_yticks(range(len(shown)), shown)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("share of the logit")
    if title:
        axes.set_title(title)
    return figure
