"""The residual streams of many texts: what probes, the tuned lens and autoencoders learn from."""

import numpy as np

from minillm.checks import require_memory
from minillm.insight.anatomy import Anatomy
from minillm.insight.inputs import forward_inputs
from minillm.nn.module import no_grad
from minillm.nn.trace import trace


def residual_streams(model, batches, stack=None, layers=None, report=None):
    """-> list of float32 (N, d_model), one for each block, and in front of the first the embedding
    of a pre-norm model: all tokens of all batches one below the other

    batches: iterable of integers (B, T), or of dicts of the forward's arguments
    stack: see `Anatomy`;  layers: the numbers of those streams that are wanted; None: all
    report(done, total): called after each batch
    """
    anatomy, batches, found = Anatomy(model, stack), list(batches), None
    for done, batch in enumerate(batches, 1):
        with trace(model, anatomy.stream_names) as t, no_grad():
            model(**forward_inputs(batch))
        rows = anatomy.streams(t)
        rows = [rows[layer] for layer in (range(len(rows)) if layers is None else layers)]
        if found is None:
            size = len(batches) * sum(x.nbytes for x in rows)
            require_memory("the vectors of all tokens", size)
            found = [[] for _ in rows]
        for parts, x in zip(found, rows):
            parts.append(x.reshape(-1, x.shape[-1]))
        if report is not None:
            report(done, len(batches))
    return [np.concatenate(parts) for parts in found]
