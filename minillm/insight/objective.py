"""The number whose gradients a model is looked at with: a loss that every kind of model has."""

from dataclasses import dataclass

import numpy as np

from minillm.generation import GenerationMixin
from minillm.nn.module import no_grad
from minillm.ops.cross_entropy import cross_entropy, cross_entropy_backward
from minillm.ops.mean_squared_error import mean_squared_error, mean_squared_error_backward

OUTPUTS = (("start_logits", "end_logits"), ("prediction_logits", "seq_relationship_logits"),
           ("logits",), ("last_hidden_state",))


@dataclass(frozen=True)
class Objective:
    """The cross-entropy of some outputs of a model; without a head, the mean square of its vectors.

    inputs: the arguments of the model's forward
    targets: list of integer arrays, one for each output; -100 where nothing is asked. Floats are
        what vectors are compared with.
    kind: "next token", "masked token", "class", "class of each token", "span",
        "coordinate" (of a text's vector) or "vectors"
    """

    inputs: dict
    targets: list
    kind: str


def objective_of(subject, reading):
    """-> the Objective of a text

    A model that generates: each next token of what it reads, an encoder-decoder's decoder too.
    A masked one and a classifier: what it finds likeliest itself, so the loss says how sure it is.
    """
    model, inputs = subject.model, dict(reading.inputs)
    with no_grad():
        outputs = outputs_of(model, inputs)
    if subject.says is None:
        return Objective(inputs, [np.zeros_like(outputs[0])], "vectors")
    best = [logits.argmax(axis=-1) for logits in outputs]
    if isinstance(model, GenerationMixin):
        targets = best[0].copy()  # the last token has no successor: the model's own choice,
        targets[:, :-1] = reading.ids[None, 1:]
        if len(reading.ids) > 1 and not subject.is_encoder_decoder:
            targets[:, -1] = -100  # unless the others are enough
        return Objective(inputs, [targets], "next token")
    if getattr(model, "has_lm_head", False):
        targets = np.full(best[0].shape, -100)
        targets[:, reading.position] = best[0][:, reading.position]
        return Objective(inputs, [targets, *best[1:]], "masked token")
    if len(best) > 1:
        return Objective(inputs, best, "span")
    if subject.says == "vector":
        return Objective(inputs, best, "coordinate")  # how much the largest one stands out
    return Objective(inputs, best, "class" if best[0].ndim == 1 else "class of each token")


def outputs_of(model, inputs):
    """-> list of the arrays that a model returns and whose gradients its `backward` takes: the
    logits, or without a head the vectors
    """
    (_, ids), *others = inputs.items()  # the first argument has another name in some programs
    output = model(ids, **dict(others))
    if isinstance(output, np.ndarray):
        return [output]
    for names in OUTPUTS:
        arrays = [getattr(output, name, None) for name in names]
        if arrays[0] is not None:
            return [array for array in arrays if array is not None]
    raise ValueError(f"the model is a {type(model).__name__} that returns none of "
                     f"{', '.join(names[0] for names in OUTPUTS)}")


def text_loss(model, inputs, targets):
    """-> the sum of the outputs' losses: a float; the cache of each"""
    losses, caches = [], []
    for logits, target in zip(outputs_of(model, inputs), targets):
        if target.dtype.kind == "f":
            loss, cache = mean_squared_error(logits, target.astype(logits.dtype))
        else:
            loss, cache = cross_entropy(logits, target)
        losses.append(loss)
        caches.append(cache)
    return sum(losses), caches


def text_loss_backward(model, caches):
    """Run the model's backward; dloss = 1"""
    gradients = []
    for cache in caches:
        backward = (cross_entropy_backward if hasattr(cache, "logits")
                    else mean_squared_error_backward)
        dlogits = backward(1.0, cache)
        gradients.append(dlogits)
    model.backward(*gradients)
