"""The logit lens (nostalgebraist 2020): what would the model say if it ended after this block?

    p_l = softmax(unembed(x_l)),    x_l: the residual stream after block l

All blocks of a pre-norm model add to one stream, so the model's last norm and its output head can
read it anywhere. What they read in early layers is a hint, not a thought: nothing forces a block to
write in the code of the last one.
"""

from typing import NamedTuple

import numpy as np

from minillm.figures import heat_map, new_figure, plain, write_in_cells
from minillm.insight.anatomy import Anatomy
from minillm.nn.module import no_grad
from minillm.nn.trace import trace
from minillm.ops.softmax import log_softmax, softmax


class Lens(NamedTuple):
    """What the lens reads, with L + 1 rows: in front of the first block and after each one.

    ids: int64 (L + 1, B, T, k), the k likeliest tokens
    probabilities: float32 (L + 1, B, T, k), theirs
    of_final: float32 (L + 1, B, T), the probability of the token that the model says at the end
    entropy: float32 (L + 1, B, T), in nats
    """

    ids: np.ndarray
    probabilities: np.ndarray
    of_final: np.ndarray
    entropy: np.ndarray


def logit_lens(model, *inputs, k=5, **options):
    """-> Lens

    model: with `unembed`, such as a GPT2LMHeadModel or a BertForMaskedLM
    inputs, options: the arguments of its forward, for (B, T) tokens

    Raises ValueError for a model without output head.
    """
    if not hasattr(model, "unembed"):
        raise ValueError(f"model is a {type(model).__name__}, wanted one with an output head")
    anatomy = Anatomy(model)
    with no_grad():
        with trace(model, anatomy.stream_names) as t:
            logits = model(*inputs, **options).logits
        return read_rows((model.unembed(x) for x in anatomy.streams(t)), logits.argmax(axis=-1), k)


def read_rows(rows, final, k=5):
    """-> Lens

    rows: iterable of logits (B, T, V), one for each layer;  final: (B, T), what the model says
    """
    return Lens(*map(np.stack, zip(*(_read(logits, final, k) for logits in rows))))


def _read(logits, final, k):
    """logits: (B, T, V); final: (B, T) -> the parts of one row of a Lens"""
    P, _ = softmax(logits)
    k = min(k, P.shape[-1])
    ids = np.argpartition(-P, k - 1, axis=-1)[..., :k]
    p = np.take_along_axis(P, ids, axis=-1)
    order = np.argsort(-p, axis=-1, kind="stable")
    entropy = -(P * np.log(np.maximum(P, 1e-30))).sum(axis=-1)
    return (np.take_along_axis(ids, order, axis=-1), np.take_along_axis(p, order, axis=-1),
            np.take_along_axis(P, final[..., None], axis=-1)[..., 0], entropy)


def ranks(logits, ids):
    """-> int64 (..., n): how many tokens are likelier than each of `ids`; 0 is the top

    logits: (..., V);  ids: integers (..., n)
    """
    own = np.take_along_axis(logits, ids, axis=-1)
    return np.stack([(logits > own[..., i : i + 1]).sum(axis=-1) for i in range(ids.shape[-1])],
                    axis=-1)


def divergence(logits, final):
    """KL(p_L || p_l) = Σ p_L (ln p_L - ln p_l): how far a row is from what the model says, in nats

    logits, final: (..., V) -> (...)
    """
    log_q, _ = log_softmax(logits)
    log_p, _ = log_softmax(final)
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)


def plot_lens(lens, tokens, decode, row=0):
    """-> matplotlib Figure: for each layer and position the likeliest next token, colored by its
    probability

    tokens: T strings, the input;  decode: function of a list of ids -> str;  row: of the batch
    """
    ids, p = lens.ids[:, row, :, 0], lens.probabilities[:, row, :, 0]
    n_rows, T = ids.shape
    figure, axes = new_figure(1.2 + 0.75 * T, 0.9 + 0.3 * n_rows)
    names = ["embedding", *(f"block {layer}" for layer in range(n_rows - 1))]
    image = heat_map(axes, p[::-1], rows=names[-n_rows:][::-1], columns=tokens, limits=(0, 1),
                     label="probability")
    axes.set_aspect("auto")
    write_in_cells(axes, image, p[::-1], lambda row, t: plain(decode([int(ids[::-1][row, t])])),
                   fontsize=6)
    return figure
