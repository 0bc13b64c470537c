"""What is stepped through: a text runs through a model, and, with `backward`, learns from it."""

from dataclasses import dataclass

import numpy as np

from minillm.course.stepper.recording import Recording, record
from minillm.course.stepper.snapshots import Keeper
from minillm.kernels import use
from minillm.ops.softmax import softmax


def predict(model, ids):
    """ids: (1, T) -> probabilities (V,): which token comes after the text"""
    logits = model(ids).logits  # (1, T, V): at each position a score for each token
    last = logits[0, -1]
    probabilities, _ = softmax(last)
    return probabilities


def learn(model, ids):
    """ids: (1, T) -> the loss of predicting each token from those before it, its gradients"""
    model.zero_grad()
    loss = model(ids, labels=ids).loss
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return loss, gradients


@dataclass
class Session:
    """A recording, and what its arrays are about."""

    recording: Recording
    text: str
    model_name: str
    kernels: str  # "numpy" or "c"
    backward: bool
    tokens: list  # T strings: what stands at each position
    vocabulary: list  # V strings
    widths: set  # the sizes that other axes than those of the tokens have

    @property
    def start(self):
        """The index of the first step to show: with `backward`, `loss.backward()`"""
        root = self.recording.root
        if not self.backward:
            return 0
        return next(step.index for step in root.steps
                    if root.function.text(step.statement) == "loss.backward()")


def record_text(model, tokenizer, text, *, model_name="", kernels="numpy", backward=False):
    """Run `text` through the model and record every step -> Session

    kernels: "numpy" records the formulas line by line; "c" records each call of the C library as
        one step
    Raises ValueError for an empty text, one that is too long, a quantized model, and, with
    `backward`, a text of one token.
    """
    ids = np.array([tokenizer.encode(text)], np.int64)
    _require_length(ids.shape[1], model.max_positions, backward)
    weights = [parameter.data for parameter in model.parameters()]
    if not all(isinstance(array, np.ndarray) for array in weights):
        raise ValueError("the model is quantized, wanted one with plain weights to step through")
    paths = {id(module): path for path, module in model.named_modules()}
    keeper = Keeper(paths, weights)
    model.eval()
    with use(kernels):
        recording = record(learn if backward else predict, (model, ids), keeper, paths)
    vocabulary = [token_label(tokenizer, id) for id in range(model.config.vocab_size)]
    widths = {size for array in weights for size in array.shape}
    widths |= {module.head_dim for module in model.modules() if hasattr(module, "head_dim")}
    return Session(recording, text, model_name, kernels, backward,
                   [vocabulary[id] for id in ids[0]], vocabulary, widths)


def _require_length(n_tokens, limit, backward):
    if n_tokens == 0:
        raise ValueError("the text is empty, wanted some text to run through the model")
    if limit is not None and n_tokens > limit:
        raise ValueError(f"the text has {n_tokens} tokens, wanted at most {limit}, the model's "
                         "number of positions")
    if backward and n_tokens == 1:
        raise ValueError("the text has 1 token, wanted at least 2 for the backward: the loss "
                         "predicts each token from those before it")


def token_label(tokenizer, id):
    """-> a token on one line: "·class" for " class", "\\\\n", "\\\\xe4" for a lone byte"""
    try:
        text = tokenizer.token_bytes(id).decode("utf-8", errors="backslashreplace")
    except (KeyError, IndexError, ValueError):  # the model has more rows than there are tokens
        return f"#{id}"
    if text.startswith(" "):
        text = "·" + text[1:]
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
