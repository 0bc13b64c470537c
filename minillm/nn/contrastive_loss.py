"""The contrastive loss of an encoder that runs twice: a siamese network with one set of weights."""

from minillm.nn.loss import Loss
from minillm.nn.per_example import n_examples
from minillm.ops.contrastive import contrastive, contrastive_backward


def contrastive_loss(encoder, queries, candidates, *, temperature=0.05, symmetric=False):
    """-> the Loss of queries that pick their partners            (minillm/ops/contrastive.py)

    encoder: a Module whose forward returns vectors (B, d), and whose backward takes their gradient
    queries, candidates: {argument of its forward: array}: n texts, and m >= n; the first n
        candidates are the partners of the queries, in order

    Inside `per_example_gradients` it raises ValueError: every text is compared with all others of
    the batch, so no example has a loss of its own.

    Each forward has its own backward; both add to the gradients of the same parameters.
    """
    if n_examples() is not None:
        raise ValueError("the contrastive loss compares the examples of a batch with each other, "
                         "wanted a loss of each example for per-example gradients")
    Q = encoder(**queries)
    Q_backward = encoder.deferred_backward()
    C = encoder(**candidates)
    C_backward = encoder.deferred_backward()
    value, cache = contrastive(Q, C, temperature, symmetric)

    def backward(dloss):
        dQ, dC = contrastive_backward(dloss, cache)
        C_backward(dC)
        Q_backward(dQ)

    return Loss(value, backward)
