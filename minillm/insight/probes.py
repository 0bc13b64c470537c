"""Linear probes: is a property written in the residual stream, where a linear map finds it?

    p(label) = softmax(x_l W + b),    x_l: a token's vector after block l

A probe with high accuracy may have learned the property itself, from any vectors that tell words
apart. So it gets a control task: the same number of labels, but drawn at random for each word. What
counts is the selectivity, accuracy - accuracy of the control (Hewitt and Liang 2019, section 3).
"""

from typing import NamedTuple

import numpy as np

from minillm.figures import COLORS, new_figure
from minillm.insight.streams import residual_streams
from minillm.tasks.logistic_regression import fit_softmax

STEPS = 200  # of a probe's training


class Probe(NamedTuple):
    """The result of one layer's probe: shares of right labels on words that it didn't learn from"""

    accuracy: float
    control: float
    majority: float

    @property
    def selectivity(self):
        return self.accuracy - self.control


def probe(X, labels, words, *, decay=1e-2, seed=0, held_out=0.3):
    """Train a linear probe and its control -> Probe

    X: (N, d_model), one layer's vectors of N tokens
    labels: integers (N,);  words: integers (N,), such as the ids: the control draws a label for
        each word. Tokens are held out by occurrence, so that the control can be learned.
    """
    labels, words = np.asarray(labels), np.asarray(words)
    rng = np.random.default_rng(seed)
    n_labels = int(labels.max()) + 1
    shares = np.bincount(labels, minlength=n_labels) / len(labels)
    random_label = rng.choice(n_labels, size=int(words.max()) + 1, p=shares)
    order = rng.permutation(len(X))
    test, train = np.split(order, [max(1, int(held_out * len(X)))])
    X = (X - X[train].mean(axis=0)) / (X[train].std(axis=0) + 1e-6)

    def accuracy(targets):
        W, b = fit_softmax(X[train], targets[train], n_labels, decay, STEPS)
        return float(((X[test] @ W + b).argmax(axis=1) == targets[test]).mean())

    majority = float((labels[test] == shares.argmax()).mean())
    return Probe(accuracy(labels), accuracy(random_label[words]), majority)


def probe_streams(streams, labels, words, *, report=None, **options):
    """-> list of Probe, one for each of the streams

    streams: list of (N, d_model), as from `residual_streams`
    labels: integers (N,), -100 for tokens to leave out;  words: integers (N,), the tokens' ids
    report(done, total): called after each stream;  options: see `probe`

    Raises ValueError for fewer labels than tokens, and for labels that are all the same.
    """
    labels, words = np.asarray(labels), np.asarray(words)
    if len(labels) != len(words):
        raise ValueError(f"labels has {len(labels)} tokens, wanted {len(words)}, as many as "
                         "batches")
    kept = labels >= 0
    found = np.unique(labels[kept])
    if len(found) < 2:
        raise ValueError(f"labels has {len(found)} different labels, wanted two or more: there is "
                         "nothing to tell apart")
    probes = []
    for X in streams:
        probes.append(probe(X[kept], labels[kept], words[kept], **options))
        if report is not None:
            report(len(probes), len(streams))
    return probes


def probe_layers(model, batches, labels, stack=None, **options):
    """-> list of Probe, one for each residual stream of `residual_streams`

    batches: list of integers (B, T);  labels: list of integers (B, T), -100 for tokens to leave out
    """
    words = np.concatenate([np.ravel(ids) for ids in batches])
    labels = np.concatenate([np.ravel(each) for each in labels])
    return probe_streams(residual_streams(model, batches, stack), labels, words, **options)


def plot_probes(probes, layers=None):
    """-> matplotlib Figure: accuracy, control and majority over the layers

    layers: their names
    """
    figure, axes = new_figure(5, 3)
    for name, color in (("accuracy", COLORS[1]), ("control", COLORS[2]), ("majority", "#888888")):
        axes.plot([getattr(each, name) for each in probes], marker="o", color=color, label=name)
    if layers is None:
        axes.set_xlabel("layer")
    else:
        axes.set_xticks(range(len(probes)), layers, rotation=45, ha="right")
    axes.set_ylabel("share of right labels")
    axes.set_ylim(0, 1.02)
    axes.legend()
    return figure
