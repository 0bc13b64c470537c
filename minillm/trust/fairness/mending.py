"""Before and after: what a remedy does to a classifier's bias, and what it costs in quality.

A small BERT learns labels from examples in which group and label go together (biased_reviews.py,
or the user's own), once as they are, and once for each remedy:

    augment     each training text, and the same about the other group         augmentation.py
    reweight    weights that make group and label independent                  reweighting.py
    project     the finished model, without the bias subspace of its words     subspace.py

All are measured on the same test examples, in which the group says nothing about the label, and
their accuracy also on examples like those of the training. There the group is a hint, and who
doesn't use it any more is right less often: that is the price. A remedy that lowers both accuracies
with the bias has only made the model worse at everything.
"""

from typing import NamedTuple

import numpy as np

from minillm.figures import COLORS, new_figure
from minillm.models.bert import BertForSequenceClassification
from minillm.models.bert_config import BertConfig
from minillm.ops.softmax import softmax
from minillm.tasks import intervals
from minillm.tasks.base import label_fields, label_ids
from minillm.tasks.examples import ExampleBatches
from minillm.tasks.metrics import label_metrics
from minillm.text.bert_tokenizer import BertTokenizer
from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.optimizers import AdamW
from minillm.trust.fairness.augmentation import augment_examples
from minillm.trust.fairness.counterfactual import Classifier, counterfactual_gap
from minillm.trust.fairness.group_gaps import group_gaps
from minillm.trust.fairness.reweighting import reweighted
from minillm.trust.fairness.subspace import bias_subspace, neutralize
from minillm.trust.fairness.swapping import group_of, swap
from minillm.trust.fairness.vectors import word_ids
from minillm.trust.fairness.words import SWAPS, split_pairs

METHODS = ("augment", "reweight", "project")
SIZES = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4,
         "intermediate_size": 96}
VOCAB, LONGEST = 1200, 48  # tokens
BATCH, RATE, WARMUP = 32, 3e-3, 40
DIRECTIONS = 3  # of the bias subspace


class Measured(NamedTuple):
    """intervals.Score each, of one model on the test examples

    accuracy, macro_f1: the quality;  accuracy_as_trained: on examples like the training's
    gap, changed: when the groups in a text are swapped       (counterfactual.py)
    demographic_parity, equalized_odds: gaps                  (group_gaps.py)
    """

    accuracy: intervals.Score
    macro_f1: intervals.Score
    accuracy_as_trained: intervals.Score
    gap: intervals.Score
    changed: intervals.Score
    demographic_parity: intervals.Score
    equalized_odds: intervals.Score


QUALITY, BIAS = Measured._fields[:3], Measured._fields[3:]


class Mending:
    """The training that remedies are tried in.

    splits: {"train": examples, "test": examples}, each with text, label and, if there is one, group
        (else its text tells: swapping.group_of). "valid" examples, if there are any, are like the
        training's; else the test's are taken for that.
    kind: which groups, one of words.SWAPS

    Raises ValueError for examples of one label alone, or whose test has one group alone.
    """

    def __init__(self, splits, kind="gender", steps=400, seed=0, directions=DIRECTIONS):
        self.kind, self.steps, self.seed, self.directions = kind, steps, seed, directions
        self.splits = {split: [{**example, "group": example["group"] if "group" in example
                                else group_of(example["text"], kind)} for example in examples]
                       for split, examples in splits.items()}
        self.labels = sorted({example["label"] for each in splits.values() for example in each})
        if len(self.labels) < 2:
            raise ValueError(f"the examples have only the label {self.labels}, wanted two or more")
        if len({e["group"] for e in self.splits["test"]} - {None}) < 2:
            raise ValueError(f"the {len(splits['test'])} test examples are about one group of "
                             f"{kind!r} alone, wanted both")
        self.chosen = [(e["text"], other) for e in self.splits["test"]
                       if (other := swap(e["text"], kind)) != e["text"]]
        if not self.chosen:
            raise ValueError(f"none of the {len(splits['test'])} test examples has a word of "
                             f"{kind!r}, wanted some to swap")
        # One vocabulary for all, with the words of both groups: all models read the same tokens.
        texts = [e["text"] for e in augment_examples(self.splits["train"], kind)]
        self.tokenizer = BertTokenizer.train(texts, VOCAB)
        self.tokenizer.model_max_length = LONGEST

    def try_all(self, methods=METHODS, report=lambda name, done, total: None):
        """-> {"before": Measured, method: Measured, …}

        report(name, done, total): steps of the training of `name`
        """
        before = self.mended("before", report)
        found = {"before": self.measure(before)}
        for name in methods:
            if name != "project":
                found[name] = self.measure(self.mended(name, report))
        if "project" in methods:  # last: it changes the model
            found["project"] = self.measure(self._projected(before))
        return {name: found[name] for name in ("before", *methods)}

    def mended(self, name, report=lambda name, done, total: None):
        """-> the trained model "before", or with the remedy `name`, in eval mode"""
        def progress(done):
            report(name, done, self.steps)

        if name == "project":
            return self._projected(self.mended("before", report))
        examples, weights = self.splits["train"], None
        if name == "augment":
            examples = augment_examples(examples, self.kind)
        elif name == "reweight":
            weights = reweighted([e["group"] for e in examples], [e["label"] for e in examples])
        elif name != "before":
            raise ValueError(f"method is {name!r}, wanted one of {', '.join(METHODS)}")
        return self._trained(examples, weights, progress)

    def _projected(self, model):
        """-> the model without `directions` directions, or fewer if it has fewer pairs of words"""
        pairs = defining_sets(model.get_input_embeddings().weight.data, self.tokenizer, self.kind)
        return project(model, self.tokenizer, self.kind, max(1, min(self.directions, len(pairs))))

    def _trained(self, examples, weights, progress):
        """The loss is  Σ_i w_i L_i / B  over a batch; that of one example has the gradient
        p_i - y_i at its logits (ops/cross_entropy.py):

            dlogits_i = w_i (p_i - y_i) / B
        """
        weights = [1.0] * len(examples) if weights is None else weights
        examples = [{**e, "weight": w} for e, w in zip(examples, weights)]
        config = BertConfig(vocab_size=len(self.tokenizer), max_position_embeddings=LONGEST,
                            initializer_range=0.1, **SIZES)
        config = config.replace(**label_fields(self.labels))
        model = BertForSequenceClassification(config, seed=self.seed).train()
        optimizer = AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
        batches = ExampleBatches(examples, BATCH, self.seed)
        for step in range(self.steps):
            batch = next(batches)
            P, _ = softmax(model(**self._arrays(e["text"] for e in batch)).logits)
            Y = np.eye(len(self.labels))[label_ids(self.labels, [e["label"] for e in batch])]
            w = np.array([e["weight"] for e in batch])[:, None]
            optimizer.zero_grad()
            model.backward((w * (P - Y) / len(batch)).astype(np.float32))
            optimizer.lr = RATE * min(1, (step + 1) / WARMUP) * (1 - step / self.steps)
            optimizer.step(grad_scale=clip_factor(grad_norm(model.parameters()), 1.0))
            progress(step + 1)
        return model.eval()

    def _arrays(self, texts):
        return self.tokenizer(list(texts), padding=True, truncation=True, max_length=LONGEST,
                              return_tensors="np")

    def measure(self, model):
        """-> Measured of a model with these labels, on the test examples"""
        classifier, test = Classifier(model, self.tokenizer, self.labels), self.splits["test"]

        def labels(examples):
            return [self.labels[c] for c in classifier([e["text"] for e in examples]).labels]

        predicted, like = labels(test), self.splits.get("valid") or test
        metrics = label_metrics(self.labels)
        scores = [*(intervals.score(metric, predicted, test) for metric in metrics.values()),
                  intervals.score(metrics["accuracy"], labels(like), like)]
        gap = counterfactual_gap(*(classifier([pair[side] for pair in self.chosen])
                                   for side in (0, 1)))
        of_groups = [(p, e["label"], e["group"], e.get("unit", number))
                     for number, (p, e) in enumerate(zip(predicted, test))
                     if e["group"] is not None]
        gaps = group_gaps(*zip(*of_groups))
        return Measured(*scores, gap.gap, gap.changed, gaps.demographic_parity, gaps.equalized_odds)


def project(model, tokenizer, kind="gender", k=DIRECTIONS):
    """Take the bias subspace out of a model's input embeddings, in place -> the model

    The defining sets are the pairs of words.SWAPS whose two words the tokenizer has as one token
    each. All rows of the table are neutralized, those of the group's words too: in a classifier
    that shouldn't know the group they have no right to it.

    Raises ValueError for fewer than k pairs.
    """
    table = model.get_input_embeddings().weight.data
    sets = defining_sets(table, tokenizer, kind)
    if len(sets) < k:
        raise ValueError(f"the tokenizer has {len(sets)} pairs of words of {kind!r} as one token "
                         f"each, wanted at least {k}, the directions of the subspace")
    table[:] = neutralize(table.astype(np.float64), bias_subspace(sets, k))
    return model


def defining_sets(table, tokenizer, kind):
    """-> list of float64 (2, d): the embeddings of pairs of words, each word one token"""
    pairs = [pair for language in ("en", "zh") for pair in split_pairs(SWAPS[kind][language])]
    known = word_ids(tokenizer, {word for pair in pairs for word in pair})
    rows = [[known.get(word, ()) for word in pair] for pair in pairs]
    return [table[[one[0], other[0]]].astype(np.float64) for one, other in rows
            if len(one) == len(other) == 1 and one != other]


QUALITIES = {"accuracy": "test: the group says nothing", "accuracy_as_trained": "like the training"}


def plot(found, bias="gap", without=0.0, qualities=QUALITIES, label="counterfactual gap"):
    """found: what `try_all` returns -> matplotlib Figure: bias against quality, a point a model

    bias, qualities: names of fields, of `qualities` with titles;  without: the bias of a model
    that has none, where a line is;  label: of the axis
    """
    figure, all_axes = new_figure(7, 3, columns=2, sharex=True, sharey=True)
    for axes, (quality, title) in zip(all_axes, qualities.items()):
        axes.axvline(without, color=COLORS[0], linewidth=0.8, linestyle=":")
        for (name, measured), color, marker in zip(found.items(), COLORS, "osD^v"):
            x, y = getattr(measured, bias), getattr(measured, quality)
            axes.errorbar(x.value, y.value, [[max(0, y.value - y.low)], [max(0, y.high - y.value)]],
                          [[max(0, x.value - x.low)], [max(0, x.high - x.value)]],
                          color=color, marker=marker, linestyle="none", capsize=2, label=name)
        axes.set_title(title)
        axes.set_xlabel(f"{label} (dotted: without bias)")
    all_axes[0].set_ylabel(next(iter(qualities)).replace("_", " "))
    all_axes[0].legend()
    return figure
