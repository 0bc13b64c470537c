"""Tagging spans of text: names in sentences, findings in notes      (Devlin et al. 2018, figure 4d)

    [CLS] Mi ##ra lives in Oslo [SEP]  ->  BERT  ->  logits (T, tags)
                                       ->  [[0, 4, "PER"], [14, 18, "LOC"]]

Spans become BIO tags of words (span_f1.py), tags become labels of pieces (tagger.py), and back. The
loss is the mean cross-entropy over the words.
"""

import functools
from collections import Counter, defaultdict

import numpy as np

from minillm.checks import shown
from minillm.figures import COLORS, heat_map, new_figure
from minillm.files import expand
from minillm.tasks import bio_files
from minillm.tasks.base import SupervisedTask, label_fields, labels_of
from minillm.tasks.data import clinical, entities
from minillm.tasks.metrics import Metric, confusion_matrix, f1, ratio
from minillm.tasks.negation import is_negated
from minillm.tasks.span_f1 import OUTSIDE, bio_entities, bio_tags, count
from minillm.tasks.tagger import batch_of, find_all_entities, rows_of, words_of
from minillm.tasks.word_dropout import DisguisedBatches, Disguise, kind_of
from minillm.text.bert_tokenizer import BertTokenizer


class SpanTagging(SupervisedTask):
    """Examples {"text": …, "spans": [[start, end, label], …]}, in characters; a prediction is a
    list of [start, end, label, probability]. The user's files are JSONL, or tagged words."""

    head = "token_classification"
    fields = {"text": str, "spans": list}
    word_dropout = 0.3  # the share of the words that training replaces: see word_dropout.py

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._rows = {}  # text -> its words, its rows: each text is tokenized once

    @classmethod
    def read(cls, path):
        path = expand(path)
        examples = (bio_files.read_bio(path) if path.suffix.lower() in bio_files.SUFFIXES
                    else super().read(path))
        for number, example in enumerate(examples, 1):
            try:
                if not words_of(example["text"]):
                    raise ValueError(f"the text is {shown(example['text'])}, wanted words")
                word_spans(example["text"], example["spans"])
            except ValueError as error:
                raise ValueError(f"{path}, example {number}: {error}") from None
        return examples

    @classmethod
    def texts(cls, examples):
        return (example["text"] for example in examples)

    @classmethod
    def new_tokenizer(cls, examples, vocab_size, report):
        """Cased: a capital letter says much about a name."""
        return BertTokenizer.train(cls.texts(examples), vocab_size, do_lower_case=False,
                                   progress=report)

    @classmethod
    def configure(cls, config, tokenizer, splits):
        labels = sorted({label for examples in splits.values() for example in examples
                         for _, _, label in example["spans"]})
        if not labels:
            raise ValueError("the examples have no span, wanted at least one")
        return config.replace(**label_fields(bio_labels(labels)))

    def batches(self, settings):
        """A new model trains on disguised words; a pretrained one knows words, and gets them."""
        if settings.model is not None:
            return super().batches(settings)
        return DisguisedBatches(self.examples("train"), settings.batch_size, settings.seed)

    def encode(self, examples, config):
        """With the field "disguise", which training examples have, words are replaced."""
        index = {tag: number for number, tag in enumerate(labels_of(config))}
        rows, tag_ids = [], []
        for example in examples:
            words, its_rows = self._rows_of(example["text"])
            tags = bio_tags(word_spans(example["text"], example["spans"], words), len(words))
            if "disguise" in example:
                its_rows = self._disguised(example, words, its_rows)
            rows += its_rows
            tag_ids += [[index[tags[word]] for word in row.words] for row in its_rows]
        return batch_of(rows, self.tokenizer, tag_ids)

    def _disguised(self, example, words, rows):
        rng, kinds = np.random.default_rng(example["disguise"]), _kinds(example["text"], words)
        return [self.disguise(row, kinds, rng, self.max_length - len(row.ids)) for row in rows]

    @functools.cached_property
    def disguise(self):
        """Replaces words by new ones: made from the words of the training texts."""
        return Disguise(self._known, self.tokenizer, self.word_dropout)

    def _rows_of(self, text):
        if text not in self._rows:
            words = words_of(text)
            self._rows[text] = words, rows_of(text, words, self.tokenizer, self.max_length)
        return self._rows[text]

    def predict_batch(self, model, examples):
        found = find_all_entities(model, self.tokenizer, [example["text"] for example in examples],
                                  self.max_length)
        return [[[*entity[:3], round(entity.probability, 4)] for entity in group]
                for group in found]

    def metrics(self, model):
        return {**span_metrics(kinds_of(labels_of(model.config))),
                "recall of new words": Metric(self._new_found, lambda sums: ratio(*sums))}

    def _new_found(self, prediction, example):
        """-> (found, all): of the entities with a word that no training text has"""
        new = [span for span in example["spans"]
               if any(example["text"][slice(*word)] not in self._known
                      for word in words_in(example["text"], span))]
        return count(prediction, new)[::2]

    @functools.cached_property
    def _known(self):
        """The words of all training texts"""
        return {example["text"][start:end] for example in self.examples("train")
                for start, end in words_of(example["text"])}

    def baselines(self):
        return {"most frequent tag": most_frequent_tag}

    def pictures(self, model, examples, predictions):
        kinds = kinds_of(labels_of(model.config))
        baseline = most_frequent_tag(self.examples("train"))(examples)
        return {"f1_of_types.png": draw_f1_of_types(kinds, examples, predictions, baseline),
                "confusion.png": draw_confusion(kinds, examples, predictions)}

    def show(self, example, prediction):
        return bracketed(example["text"], prediction)


# ---- spans, words and tags

def _kinds(text, words):
    return [kind_of(text[start:end]) for start, end in words]



def bio_labels(kinds):
    """-> ["O", "B-LOC", "I-LOC", …]"""
    return [OUTSIDE, *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI")]


def kinds_of(tags):
    """-> the types of entities that BIO tags name, in order"""
    return list(dict.fromkeys(tag.partition("-")[2] for tag in tags if tag != OUTSIDE))


def word_spans(text, spans, words=None):
    """-> list of (first word, end, label) of spans in characters: the words that each one touches

    Raises ValueError for anything but [start, end, label] within the text, for a span without a
    word, and for two spans that touch the same word.
    """
    words = words_of(text) if words is None else words
    starts, ends = ([word[side] for word in words] for side in (0, 1))
    found = []
    for span in sorted(map(_checked, spans)):
        start, end, label = span
        if not 0 <= start < end <= len(text):
            raise ValueError(f"a span is {shown(list(span))}, wanted 0 ≤ start < end ≤ "
                             f"{len(text)}, the length of the text")
        first, last = np.searchsorted(ends, start, "right"), np.searchsorted(starts, end, "left")
        if first >= last:
            raise ValueError(f"the span {shown(list(span))} has no word: {shown(text[start:end])}")
        if found and first < found[-1][1]:
            raise ValueError(f"the span {shown(list(span))} shares a word with the one before it")
        found.append((int(first), int(last), label))
    return found


def words_in(text, span):
    """-> (start, end) of the words that a span touches"""
    return [word for word in words_of(text) if word[0] < span[1] and span[0] < word[1]]


def _checked(span):
    is_span = (isinstance(span, (list, tuple)) and len(span) == 3
               and all(type(place) is int for place in span[:2]) and isinstance(span[2], str))
    if not is_span or not span[2].strip():
        raise ValueError(f"a span is {shown(span)}, wanted [start, end, \"LABEL\"]")
    return tuple(span)


def tags_of(example, spans=None):
    """-> words (as str) and BIO tags of an example, or of other spans of its text"""
    text = example["text"]
    words = words_of(text)
    spans = example["spans"] if spans is None else [span[:3] for span in spans]
    return ([text[start:end] for start, end in words],
            bio_tags(word_spans(text, spans, words), len(words)))


def bracketed(text, spans):
    """-> the text with its spans in brackets: "[Mira PER] lives in [Oslo LOC]." """
    shown_text, done = "", 0
    for start, end, label, *_ in sorted(map(tuple, spans)):
        shown_text += f"{text[done:start]}[{text[start:end]} {label}]"
        done = end
    return shown_text + text[done:]


# ---- the baseline

def most_frequent_tag(train):
    """Each word has the tag that it has most often in the training examples; a new word has O."""
    counts = defaultdict(Counter)
    for example in train:
        for word, tag in zip(*tags_of(example)):
            counts[word][tag] += 1
    usual = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}

    def predict(examples):
        predictions = []
        for example in examples:
            words = words_of(example["text"])
            tags = [usual.get(example["text"][start:end], OUTSIDE) for start, end in words]
            predictions.append([[words[first][0], words[end - 1][1], kind]
                                for first, end, kind in bio_entities(tags)])
        return predictions

    return predict


# ---- metrics and pictures

def span_metrics(kinds):
    """-> {"entity F1": Metric, …}: micro, precision, recall, macro, and F1 of each type"""

    def of_example(prediction, example):  # (correct, predicted, true) of each type
        return np.ravel([count(_only(kind, prediction), _only(kind, example["spans"]))
                         for kind in kinds])

    def metric(of_counts):
        return Metric(of_example, lambda sums: of_counts(sums.reshape(len(kinds), 3)))

    return {
        "entity F1": metric(lambda counts: f1(*counts.sum(axis=0))),
        "precision": metric(lambda counts: ratio(*counts.sum(axis=0)[[0, 1]])),
        "recall": metric(lambda counts: ratio(*counts.sum(axis=0)[[0, 2]])),
        "macro F1": metric(lambda counts: float(np.mean([f1(*row) for row in counts]))),
        **{f"F1 of {kind}": metric(lambda counts, row=row: f1(*counts[row]))
           for row, kind in enumerate(kinds)},
    }


def _only(kind, spans):
    return [span for span in spans if span[2] == kind]


def draw_f1_of_types(kinds, examples, predictions, baseline):
    """-> Figure: for each type the F1 of the model and of the most frequent tag"""
    figure, axes = new_figure(1.5 + 0.9 * len(kinds), 2.6)
    metrics = span_metrics(kinds)
    names, x = ["entity F1", *(f"F1 of {kind}" for kind in kinds)], np.arange(len(kinds) + 1)
    for shift, color, label, guesses in ((-0.2, COLORS[1], "model", predictions),
                                         (0.2, COLORS[4], "most frequent tag", baseline)):
        values = [metrics[name].value(guesses, examples) for name in names]
        bars = axes.bar(x + shift, values, 0.4, color=color, label=label)
        axes.bar_label(bars, fmt="%.2f", fontsize=7)
    axes.set_xticks(x, ["all", *kinds])
    axes.set(ylabel="F1", ylim=(0, 1.1))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)
    return figure


def draw_confusion(kinds, examples, predictions):
    """-> Figure: the share of the words of each type that were tagged as each type"""
    labels, true, predicted = [*kinds, OUTSIDE], [], []
    for example, prediction in zip(examples, predictions):
        for side, spans in ((true, example["spans"]), (predicted, prediction)):
            side += [tag.partition("-")[2] or OUTSIDE for tag in tags_of(example, spans)[1]]
    matrix = confusion_matrix(true, predicted, labels)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axes = new_figure(1.6 + 0.6 * len(labels), 1.2 + 0.6 * len(labels))
    heat_map(axes, shares, rows=labels, columns=labels, numbers=".2f", limits=(0, 1))
    axes.set(xlabel="tagged as", ylabel="word of", title="share of the words")
    return figure


# ---- the tasks

# What a word is depends on the words beside it, wherever that is in the text. A model that sees
# distances learns this from a fraction of the examples that one with a table of positions needs.
DEFAULTS = {"position_embedding": "rotary", "n_layer": 2, "n_head": 4, "n_embd": 96,
            "batch_size": 32, "lr": 2e-3, "warmup": 50, "eval_every": 200}


class Entities(SpanTagging):
    """Persons, places, organizations and dates."""

    name = "entities"
    generate = staticmethod(entities.generate)
    generated = entities.WHAT
    defaults = {**DEFAULTS, "vocab_size": 1500, "block_size": 64, "steps": 1000}
    n_examples = 6000


class Clinical(SpanTagging):
    """Findings, present and absent, drugs and doses, in invented notes. No medical device."""

    name = "clinical"
    generate = staticmethod(clinical.generate)
    generated = clinical.WHAT
    defaults = {**DEFAULTS, "vocab_size": 1000, "block_size": 96, "steps": 1000}
    n_examples = 6000

    def metrics(self, model):
        return {**super().metrics(model),
                "negation accuracy": Metric(negations_right, lambda sums: ratio(*sums))}

    def baselines(self):
        return {**super().baselines(), "negation rule, given the spans": negation_rule}


NEGATABLE = ("FINDING", "ABSENT")


def negations_right(prediction, example):
    """-> (right, all): of the findings that are present or absent, those that were called so

    A finding counts as what the prediction that overlaps it most calls it; an overlooked one is
    wrong.
    """
    wanted = [span for span in example["spans"] if span[2] in NEGATABLE]
    return sum(_called(span, prediction) == span[2] for span in wanted), len(wanted)


def _called(span, prediction):
    overlap, label = max(((min(span[1], other[1]) - max(span[0], other[0]), other[2])
                          for other in prediction), default=(0, None))
    return label if overlap > 0 else None


def negation_rule(train):
    """The rule of negation.py, told where the findings are: it only decides which are absent."""

    def predict(examples):
        return [list(_ruled(example)) for example in examples]

    return predict


def _ruled(example):
    places = words_of(example["text"])
    words = [example["text"][start:end] for start, end in places]
    findings = [span for span in example["spans"] if span[2] in NEGATABLE]
    in_words = word_spans(example["text"], findings, places)
    for span, (first, end, _) in zip(sorted(findings), in_words):
        yield [*span[:2], "ABSENT" if is_negated(words, first, end) else "FINDING"]
