"""The tuned lens (Belrose et al. 2023): a logit lens that has learned each layer's own code.

    p_l = softmax(unembed(x_l + x_l A_l + b_l))

A translator A_l, b_l for each layer is trained so that p_l is close to what the model says at the
end, in the mean of KL(p || p_l). A_l and b_l start at zero: at first it is the logit lens.
"""

import numpy as np

from minillm.insight.probes import residual_streams
from minillm.nn import Linear
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax
from minillm.training.optimizers import Adam


class TunedLens:
    """translators: one Linear (d_model, d_model) for each residual stream but the last"""

    def __init__(self, model, stack=None):
        if not hasattr(model, "unembed"):
            raise ValueError(f"model is a {type(model).__name__}, wanted one with an output head")
        self.model, self.stack = model, stack
        self.translators = []

    def fit(self, batches, steps=200, batch_size=256, lr=1e-3, seed=0, report=None):
        """Train the translators on the tokens of the batches; return the losses, a list for each
        layer

        batches: list of integers (B, T);  report(done, total): called after each step
        """
        *streams, last = residual_streams(self.model, batches, self.stack)
        d = last.shape[1]
        rng = np.random.default_rng(seed)
        losses = []
        for layer, X in enumerate(streams):
            translator = Linear(d, d, rng=rng, std=0.0)
            optimizer = Adam(translator.parameters(), lr=lr)
            history = []
            for step in range(steps):
                rows = rng.integers(len(X), size=batch_size)
                optimizer.zero_grad()
                history.append(self._step(translator, X[rows], last[rows]))
                optimizer.step()
                if report is not None:
                    report(layer * steps + step + 1, len(streams) * steps)
            self.translators.append(translator)
            losses.append(history)
        return losses

    # KL(p || q) = Σ p (ln p - ln q), so  dKL/dlogits_q = q - p, as for cross-entropy with the
    # targets p: ops/cross_entropy.py
    def _step(self, translator, x, last):
        model = self.model
        with no_grad():
            p, _ = softmax(model.unembed(last))
        y = x + translator(x)
        logits, backward = _unembed(model, y)
        q, _ = softmax(logits)
        kl = float((p * (np.log(p + 1e-20) - np.log(q + 1e-20))).sum(axis=-1).mean())
        translator.backward(backward((q - p) / len(x)))
        return kl

    def logits(self, streams):
        """streams: as from `residual_streams` -> list of (N, V), the last one the model's own"""
        with no_grad():
            translated = [x + translator(x) for x, translator in zip(streams, self.translators)]
            return [self.model.unembed(x) for x in (*translated, streams[-1])]


def _unembed(model, y):
    """-> logits, and the function dlogits -> dy. The model's own parameters get no gradient."""
    frozen = [parameter for parameter in model.parameters() if parameter.trainable]
    for parameter in frozen:
        parameter.trainable = False
    norm, head = model.base_model.final_norm, model.get_output_embeddings()
    logits = head(norm(y))

    def backward(dlogits):
        dy = norm.backward(head.backward(dlogits))
        for parameter in frozen:
            parameter.trainable = True
        return dy

    return logits, backward
