"""The tuned lens (Belrose et al. 2023): a logit lens that has learned each layer's own code.

    p_l = softmax(unembed(x_l + x_l A_l + b_l))

A translator A_l, b_l for each layer is trained so that p_l is close to what the model says at the
end, in the mean of KL(p || p_l). A_l and b_l start at zero: at first it is the logit lens.
"""

import numpy as np

from minillm.figures import COLORS, new_figure
from minillm.insight.anatomy import Anatomy
from minillm.insight.lens import divergence
from minillm.insight.saved import read_shapes
from minillm.insight.streams import residual_streams
from minillm.models.safetensors_file import write_safetensors
from minillm.nn import Linear
from minillm.nn.module import no_grad, without_gradients
from minillm.ops.softmax import softmax
from minillm.training.optimizers import Adam

ROWS = 128  # tokens whose logits are in memory at a time


class TunedLens:
    """translators: one Linear (d_model, d_model) for each residual stream but the last

    model: with `unembed` and `unembed_backward`, in eval mode: a decoder, a BERT that fills in
        masks, or an encoder-decoder, whose decoder is read

    Raises ValueError for a model without output head.
    """

    def __init__(self, model):
        if not hasattr(model, "unembed"):
            raise ValueError(f"model is a {type(model).__name__}, wanted one with an output head")
        self.model = model
        self.translators = []

    def fit(self, batches, steps=200, batch_size=256, lr=1e-3, seed=0, report=None):
        """Train the translators on the tokens of the batches; return the losses, a list for each
        layer

        batches: list of integers (B, T), or of the forward's arguments
        report(done, total): called after each step
        """
        return self.fit_streams(residual_streams(self.model, batches), steps, batch_size, lr, seed,
                                report)

    def fit_streams(self, streams, steps=200, batch_size=256, lr=1e-3, seed=0, report=None):
        """As `fit`, on streams: list of (N, d_model), as from `residual_streams`"""
        *streams, last = streams
        d = last.shape[1]
        rng = np.random.default_rng(seed)
        self.translators = [Linear(d, d, rng=rng, std=0.0) for _ in streams]
        optimizers = [Adam(translator.parameters(), lr=lr) for translator in self.translators]
        losses = [[] for _ in streams]
        for step in range(steps):
            rows = rng.integers(len(last), size=batch_size)
            with no_grad():
                final = self.model.unembed(last[rows])  # the same for all layers
            for X, translator, optimizer, history in zip(streams, self.translators, optimizers,
                                                         losses):
                optimizer.zero_grad()
                history.append(self._step(translator, X[rows], final))
                optimizer.step()
                if report is not None:
                    report(sum(map(len, losses)), steps * len(streams))
        return losses

    # KL(p || q) = Σ p (ln p - ln q), so  dKL/dlogits_q = q - p, as for cross-entropy with the
    # targets p: ops/cross_entropy.py
    def _step(self, translator, x, final):
        """x: (n, d_model);  final: (n, V), the model's logits -> the mean KL; fills the .grad"""
        y = x + translator(x)
        with without_gradients(self.model):
            logits = self.model.unembed(y)
            (q, _), (p, _) = softmax(logits), softmax(final)
            translator.backward(self.model.unembed_backward((q - p) / len(x)))
        return float(divergence(logits, final).mean())

    def logits(self, streams):
        """streams: list of (..., d_model), as from `residual_streams`

        -> list of (..., V), the last one the model's own
        """
        with no_grad():
            translated = [x + translator(x) for x, translator in zip(streams, self.translators)]
            return [self.model.unembed(x) for x in (*translated, streams[-1])]

    def divergences(self, streams):
        """-> float64 (2, L + 1): the mean KL to what the model says at the end, in nats, of the
        logit lens and of this one, after each layer

        streams: list of (N, d_model), as from `residual_streams`; better not those of the training
        """
        total, N = np.zeros((2, len(streams))), len(streams[-1])
        for start in range(0, N, ROWS):
            part = [X[start : start + ROWS] for X in streams]
            with no_grad():
                plain = [self.model.unembed(x) for x in part]
            for row, logits in enumerate((plain, self.logits(part))):
                total[row] += [divergence(each, plain[-1]).sum(dtype=np.float64) for each in logits]
        return total / N

    # ---- files

    def save(self, path):
        """Write the translators as a safetensors file: "0.weight" (d, d), "0.bias" (d,), …"""
        write_safetensors(path, {name: parameter.data for name, parameter in self._named()})

    def load(self, path):
        """Read what `save` wrote -> self; ValueError for a file that doesn't fit the model"""
        anatomy, d = Anatomy(self.model), self.model.config.hidden_size
        self.translators = [Linear(d, d, rng=None, std=0.0) for _ in anatomy.stream_labels[:-1]]
        arrays = read_shapes(path, {name: parameter.shape for name, parameter in self._named()})
        for name, parameter in self._named():
            parameter.data = arrays[name]
        return self

    def _named(self):
        """-> list of (name, Parameter)"""
        return [(f"{layer}.{name}", parameter)
                for layer, translator in enumerate(self.translators)
                for name, parameter in translator.named_parameters()]


def plot_divergences(divergences, layers):
    """-> matplotlib Figure: how far both lenses are from what the model says, layer by layer

    divergences: (2, n), as from `TunedLens.divergences`;  layers: n names
    """
    figure, axes = new_figure(max(4, 0.5 * len(layers)), 3)
    for values, name, color in zip(divergences, ("logit lens", "tuned lens"), COLORS[1:]):
        axes.plot(values, marker="o", color=color, label=name)
    axes.set_xticks(range(len(layers)), layers, rotation=45, ha="right")
    axes.set_ylabel("KL to the model's answer (nats)")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure
