"""Which heads matter? By the gradient, and by switching each one off.

    by gradient:  I_h = mean over the texts of |Σ head_h · ∂L/∂head_h|   (Michel et al. 2019, eq. 2)
    by ablation:  the loss without the head - the loss               (ablation.py: three ways)

The first costs one backward for all heads. It is a linear guess at the second, which is the truth
and costs a forward for each head.
"""

import numpy as np

from minillm.figures import heat_map, new_figure
from minillm.insight.ablation import replaced, replacements
from minillm.insight.anatomy import Anatomy
from minillm.nn.module import no_grad
from minillm.nn.trace import trace


def importance_by_gradient(model, loss, stack=None):
    """-> float64 (L, H)

    loss: function without arguments that runs the model and returns its Loss, such as
        lambda: model(ids, labels=ids).loss
    """
    anatomy = Anatomy(model, stack)
    model.zero_grad()
    with trace(model, [block.heads for block in anatomy.blocks]) as t:
        loss().backward()
    model.zero_grad()
    return np.array([_per_head(t[block.heads], t.grad[block.heads]) for block in anatomy.blocks])


def _per_head(heads, dheads):
    """heads, dheads: (B, H, T, D) -> (H,)

    A batch's loss is a mean over its texts, so each text's own gradient is B times its part.
    """
    products = (heads.astype(np.float64) * dheads).sum(axis=(2, 3)) * len(heads)
    return np.abs(products).mean(axis=0)


def importance_by_ablation(model, loss, kind="zero", references=None, *, stack=None, report=None,
                           **options):
    """-> float64 (L, H): how much the loss rises without each head

    loss: see `importance_by_gradient`
    kind, references, options: what takes the place of a head's result: see `ablation.replacements`
    report(done, total): called after each head
    """
    anatomy = Anatomy(model, stack)
    heads = {block.head(h): (block.index, h) for block, h in anatomy.heads()}
    changes = replacements(model, list(heads), kind, references, **options)
    found = np.zeros((len(anatomy), max(block.n_heads for block in anatomy.blocks)))
    with no_grad():
        whole = loss().item()
        for done, (name, place) in enumerate(heads.items(), 1):
            with replaced(model, {name: changes[name]}):
                found[place] = loss().item() - whole
            if report is not None:
                report(done, len(heads))
    return found


def plot_importance(by_gradient, by_ablation):
    """-> matplotlib Figure: both side by side, and each head as a point of one over the other"""
    figure, axes = new_figure(9, 3, columns=3)
    names = [f"head {h}" for h in range(by_gradient.shape[1])]
    layers = [f"layer {layer}" for layer in range(len(by_gradient))]
    for panel, values, title in ((axes[0], by_gradient, "by gradient"),
                                 (axes[1], by_ablation, "by ablation")):
        heat_map(panel, values, rows=layers, columns=names, numbers=".3f", title=title)
    axes[2].plot(by_gradient.ravel(), by_ablation.ravel(), "o")
    axes[2].set_xlabel("by gradient")
    axes[2].set_ylabel("by ablation")
    correlation = np.corrcoef(by_gradient.ravel(), by_ablation.ravel())[0, 1]
    axes[2].set_title(f"correlation {correlation:.2f}")
    return figure
