"""When the loss is not a number: which layer went wrong first?"""

import numpy as np

from minillm.nn.module import no_grad


def find_nonfinite(model, inputs):
    """-> a line that names the first parameter or layer of a GPT-2 `model` with a nan or inf.

    Parameters are looked at first: a bad weight explains a bad output. Then the forward runs again
    on `inputs` (B, T), and what flows from block to block is looked at in its order.
    """
    broken = find_nonfinite_parameter(model)
    if broken:
        return broken
    model.eval()
    with no_grad(), np.errstate(all="ignore"):
        output = model(inputs, output_hidden_states=True)
    names = ["the embeddings", *(f"block {i} (h.{i})" for i in range(len(output.hidden_states)))]
    names[len(output.hidden_states) - 1] = "the last block or ln_f"
    for name, state in zip(names, output.hidden_states):
        if not np.isfinite(state).all():
            return f"the first layer whose output contains {_which(state)} is {name}"
    if not np.isfinite(output.logits).all():
        return f"all layers are finite, but the logits (lm_head) contain {_which(output.logits)}"
    return "all layers and the logits are finite without dropout: only the loss itself is not"


def find_nonfinite_parameter(model):
    """-> a line that names the first parameter with a nan or inf, or None"""
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.data).all():
            return f"the parameter {name} contains {_which(parameter.data)}"
    return None


def find_nonfinite_gradient(model):
    """-> a line that names the parameter whose gradient went wrong first.

    The backward runs from the last layer to the first, so the first to go wrong is the last in
    the order of the parameters.
    """
    for name, parameter in reversed(list(model.named_parameters())):
        if parameter.grad is not None and not np.isfinite(parameter.grad).all():
            what = _which(parameter.grad)
            return f"the loss is finite, but the gradient of {name} contains {what}"
    return "every gradient is finite, but their norm is not"


def _which(array):
    return "nan" if np.isnan(array).any() else "inf"
