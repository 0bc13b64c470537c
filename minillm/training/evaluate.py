"""Evaluation: how well does a model predict text that it was not trained on?"""

import math
from typing import NamedTuple

from minillm.nn.module import inference
from minillm.text.dataset import IGNORE, sequential_batches
from minillm.training.parallel.one_process import share_out


class Evaluation(NamedTuple):
    """How well a model predicts a text.

        loss           = - mean over the tokens of  ln p(token | tokens before)      nats a token
        perplexity     = e^loss          as uncertain as a choice among this many equal tokens
        bits_per_byte  = loss / ln 2 · tokens / bytes

    Loss and perplexity depend on the tokenizer: longer tokens are harder to predict. Bits per byte
    compare models with different tokenizers; they are the size of the text compressed by the model.
    """

    loss: float
    perplexity: float
    bits_per_byte: float
    n_tokens: int
    n_bytes: int


def evaluate(model, dataset, *, block_size, batch_size=16, report=None):
    """Measure `model` on a `TokenDataset`, cut into windows of `block_size` tokens -> Evaluation

    Every token except the first is predicted exactly once, from the tokens before it in its window.
    Dropout is off. report(done, total): called after each of `total` batches.
    Raises ValueError for a dataset of fewer than two tokens or an id outside the vocabulary.
    """
    batches = sequential_batches(dataset, batch_size, min(block_size, max(len(dataset) - 1, 1)))

    def measure(numbered):
        number, (inputs, targets) = numbered
        loss = model(inputs, shift_labels=targets, return_logits=False).loss.item()
        if report:
            report(number, len(batches))
        return loss, int((targets != IGNORE).sum())

    total_loss, n_tokens = 0.0, 0
    with inference(model):
        for loss, counted in share_out(measure, enumerate(batches, 1)):
            total_loss += loss * counted
            n_tokens += counted
    loss = total_loss / n_tokens
    bits_per_byte = loss / math.log(2) * n_tokens / max(dataset.n_bytes, 1)
    return Evaluation(loss, perplexity(loss), bits_per_byte, n_tokens, dataset.n_bytes)


def perplexity(loss):
    """e^loss; infinity beyond the range of floats."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
