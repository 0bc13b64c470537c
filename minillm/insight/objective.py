"""The number whose gradients a model is looked at with: a loss that every kind of model has."""

from dataclasses import dataclass

import numpy as np

from minillm.insight.lesson import lesson_of
from minillm.nn.module import no_grad
from minillm.ops.cross_entropy import cross_entropy, cross_entropy_backward
from minillm.ops.mean_squared_error import mean_squared_error, mean_squared_error_backward

OUTPUTS = (("start_logits", "end_logits"), ("prediction_logits", "seq_relationship_logits"),
           ("logits",), ("last_hidden_state",))
LABELS = ("labels", "start_positions", "end_positions")


@dataclass(frozen=True)
class Objective:
    """The mean cross-entropy of some outputs of a model, or the mean square of its vectors.

    inputs: the arguments of the model's forward, without labels
    targets: list of arrays, one for each output: integers, -100 where nothing is asked; or floats,
        which numbers are compared with
    kind: that of the Lesson; or "likeliest" (the logits of anything else, and what is the largest
        among them), "coordinate" (the same of a text's vector), "vectors" (of a model without head)
    tokens: strings, what the model reads
    """

    inputs: dict
    targets: list
    kind: str
    tokens: list | None = None


def objective_of(subject, text):
    """-> the Objective of a text: the loss that training has, and where there is none, another"""
    try:
        return _as_lesson(lesson_of(subject, text))
    except (ValueError, TypeError):  # no loss, or one that needs more than a text, or labels that
        # the forward of an architecture of one's own doesn't take
        reading = subject.read(text)
    inputs = reading.inputs
    with no_grad():
        outputs = outputs_of(subject.model, inputs)
    if subject.says is None:
        targets, kind = [np.zeros_like(outputs[0])], "vectors"
    else:
        targets = [logits.argmax(axis=-1) for logits in outputs]
        kind = "coordinate" if subject.says == "vector" else "likeliest"
    return Objective(inputs, targets, kind, reading.tokens)


def _as_lesson(lesson):
    inputs = {name: value for name, value in lesson.inputs.items() if name not in LABELS}
    targets = np.where(lesson.targets < 0, -100, lesson.targets)
    if lesson.kind == "span":
        return Objective(inputs, [targets[:1], targets[1:]], lesson.kind)
    if lesson.kind == "number":
        return Objective(inputs, [lesson.inputs["labels"]], lesson.kind)
    if lesson.kind == "label":
        return Objective(inputs, [targets], lesson.kind)
    return Objective(inputs, [targets[None]], lesson.kind, lesson.rows)


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
    """-> the mean of the outputs' losses: a float; the cache of each"""
    losses, caches = [], []
    for logits, target in zip(outputs_of(model, inputs), targets):
        if target.dtype.kind == "f":
            loss, cache = mean_squared_error(logits, target.astype(logits.dtype))
        else:
            loss, cache = cross_entropy(logits, target)
        losses.append(loss)
        caches.append(cache)
    return sum(losses) / len(losses), caches


def text_loss_backward(model, caches):
    """Run the model's backward. Each of n losses has the gradient dloss = 1 / n."""
    gradients = []
    for cache in caches:
        backward = (cross_entropy_backward if hasattr(cache, "logits")
                    else mean_squared_error_backward)
        gradients.append(backward(1 / len(caches), cache))
    model.backward(*gradients)
