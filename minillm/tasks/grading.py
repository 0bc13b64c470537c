"""Short-answer grading: compare a student's answer with the key and grade it, 0, 1, …

    [CLS] question key [SEP] answer [SEP]  ->  BERT  ->  logits (grades,)  ->  "1"

A pair of texts is classified                                   (Devlin et al. 2018, figure 4a). The
model is any with the head "sequence_classification"; its loss is the cross-entropy of the grades.

A new model is also told, by token types, which words of the answer stand in the key, which words of
the key the answer has, and which the question gave; words are equal if their stems are
(shared_words.py). How grades follow from that it learns. Which word of the answer decided is found
by erasure (Li et al. 2016, "Understanding Neural Networks through Representation Erasure"): grade
the answer again without each of its words.

In the full run, on questions, things and phrasings that training lacks, the model reaches an
accuracy of 0.69 and a kappa of 0.66, the bag of words 0.61 and 0.61. Much of this comes from
comparing stems: a bag of words that counts shared stems, trained on real facts only, reaches 0.65
and 0.68. So the model is right more often, but not better by kappa than a bag of words with the
same comparison. Many of its errors are paraphrases that share few words with the key, or none.
"""

from collections import Counter

import numpy as np

from minillm.checks import shown
from minillm.figures import COLORS, new_figure
from minillm.files import expand
from minillm.ops.softmax import softmax
from minillm.tasks.base import SupervisedTask, label_fields, label_ids, labels_of
from minillm.tasks.data import grading as generated_answers
from minillm.tasks.examples import read_examples
from minillm.tasks.kappa import kappa_metric
from minillm.tasks.logistic_regression import LogisticRegression
from minillm.tasks.metrics import confusion_figure, share_of
from minillm.tasks.shared_words import (
    N_COMPARED,
    n_token_types,
    with_compared_words,
    with_more_types,
    words,
)

AT_ONCE = 64  # rows in a batch, those of shortened answers too
OF_KEY = (0, 3)  # the token types of question and key
KEPT = 50_000  # texts whose tokens are kept in memory


class Grading(SupervisedTask):
    """Examples {"question", "key", "answer", "grade"}, the grade a whole number, as text.

    A prediction: {"grade": "1"; "probability": of this grade; "expected": Σ grade × probability;
    "effects": [[word, expected grade minus that without the word], …], in the answer's order}
    """

    name = "grading"
    head = "sequence_classification"
    fields = {"question": str, "key": str, "answer": str, "grade": str}
    question = ("question", "key", "answer")
    generated = generated_answers.WHAT
    n_examples = 10_000
    n_watched = 300
    kept_by = "accuracy"
    defaults = {"vocab_size": 1200, "n_layer": 2, "n_head": 4, "n_embd": 64, "block_size": 96,
                "steps": 900, "batch_size": 32, "lr": 2e-3, "warmup": 100, "eval_every": 300,
                "checkpoint_every": 300, "dropout": 0.05, "position_embedding": "rotary"}

    def __init__(self, folder, settings, model_folder=None):
        super().__init__(folder, settings, model_folder)
        self._kept = {}  # the rows of the texts so far

    generate = staticmethod(generated_answers.generate)

    @classmethod
    def read(cls, path):
        is_tsv = expand(path).suffix.lower() == ".tsv"
        examples = read_examples(path, cls.fields if is_tsv else {**cls.fields,
                                                                  "grade": str | int})
        for number, example in enumerate(examples, 1):
            example["grade"] = str(example["grade"]).strip()
            if not example["grade"].isdecimal():
                raise ValueError(f"{path}: example {number}: grade is {shown(example['grade'])}, "
                                 "wanted a whole number, 0 or more")
        return examples

    @classmethod
    def texts(cls, examples):
        return (example[name] for example in examples for name in cls.question)

    @classmethod
    def configure(cls, config, tokenizer, splits):
        grades = sorted({example["grade"] for found in splits.values() for example in found},
                        key=int)
        if len(grades) < 2:
            raise ValueError(f"all examples have the grade {grades[0]}, wanted two grades or more")
        return config.replace(**label_fields(grades))

    @classmethod
    def prepare(cls, folder, settings, report):
        prepared = super().prepare(folder, settings, report)
        return with_more_types(prepared, settings, N_COMPARED)

    # ---- from texts to grades

    def row(self, example, n_types):
        """-> {"input_ids", "token_type_ids", "attention_mask", "offset_mapping"}: lists of T, for
        one example; kept for the next epoch

        n_types: the model's token types: with five, they tell which words key and answer share
        """
        texts = tuple(example[name] for name in self.question)
        if (*texts, n_types) not in self._kept:
            row = dict(self.tokenizer(" ".join(texts[:2]), texts[2], truncation=True,
                                      max_length=self.max_length, return_offsets_mapping=True,
                                      return_token_type_ids=True))
            row = _compared(row, *texts, n_types)
            if len(self._kept) >= KEPT:
                return row
            self._kept[(*texts, n_types)] = row
        return self._kept[(*texts, n_types)]

    def rows(self, examples, config):
        return [self.row(example, n_token_types(config)) for example in examples]

    def padded(self, rows):
        """-> {argument of the model: array (B, T)}"""
        arrays = dict(self.tokenizer.pad(rows, padding_side="right", return_tensors="np"))
        del arrays["offset_mapping"]
        return arrays

    def encode(self, examples, config):
        labels = label_ids(labels_of(config), [example["grade"] for example in examples], "grade")
        return {**self.padded(self.rows(examples, config)), "labels": labels}

    def predict_batch(self, model, examples):
        rows = self.rows(examples, model.config)
        shorter = [_without(row, example, start, end, n_token_types(model.config))
                   for row, example in zip(rows, examples)
                   for _, start, end in words(example["answer"])]
        P, grades = self._probabilities(model, rows), labels_of(model.config)
        values = np.array([float(grade) for grade in grades])
        expected, rest = P @ values, iter(self._probabilities(model, shorter) @ values)
        return [{"grade": grades[p.argmax()], "probability": round(float(p.max()), 4),
                 "expected": round(float(mean), 4),
                 "effects": [[example["answer"][start:end], round(float(mean - next(rest)), 4)]
                             for _, start, end in words(example["answer"])]}
                for p, mean, example in zip(P, expected, examples)]

    def _probabilities(self, model, rows):
        """-> (rows, grades)"""
        found = [np.zeros((0, model.config.num_labels))]
        for begin in range(0, len(rows), AT_ONCE):
            logits = model(**self.padded(rows[begin : begin + AT_ONCE])).logits
            found.append(softmax(logits.astype(np.float64))[0])
        return np.concatenate(found)

    # ---- measuring

    def metrics(self, model):
        return {
            "quadratic kappa": kappa_metric(labels_of(model.config),
                                            wanted=lambda example: example["grade"],
                                            predicted=lambda prediction: prediction["grade"]),
            "accuracy": share_of(lambda prediction, example:
                                 prediction["grade"] == example["grade"]),
        }

    def baselines(self):
        return {"majority": _majority, "word overlap": _WordOverlap, "bag of words": _bag_of_words}

    def pictures(self, model, examples, predictions):
        grades = labels_of(model.config)
        found = {"confusion.png": confusion_figure(
            [example["grade"] for example in examples],
            [prediction["grade"] for prediction in predictions], grades,
            "grade by the model", "grade by the key")}
        for example, prediction in zip(examples, predictions):
            if prediction["grade"] == example["grade"] and len(prediction["effects"]) > 5:
                found["words.png"] = _effects_figure(example, prediction)
                break
        return found

    def show(self, example, prediction):
        text = f"grade {prediction['grade']}  {prediction['probability']:.1%}"
        if prediction["effects"]:
            word, effect = max(prediction["effects"], key=lambda pair: abs(pair[1]))
            text += f"; decided by {word!r}: without it {prediction['expected'] - effect:.1f}" \
                    f" instead of {prediction['expected']:.1f}"
        return text


def _compared(row, question, key, answer, n_types):
    """-> the row with the token types of a model that has `n_types`"""
    if n_types < N_COMPARED:
        return row
    return {**row, "token_type_ids": with_compared_words(
        np.array(row["token_type_ids"]), np.array(row["offset_mapping"]), question, key,
        answer).tolist()}


def _without(row, example, start, end, n_types):
    """-> the row without the tokens of the answer's characters from `start` to `end`"""
    is_answer = [kind not in OF_KEY for kind in row["token_type_ids"]]
    kept = [index for index, (inside, (first, last)) in enumerate(zip(is_answer,
                                                                     row["offset_mapping"]))
            if not inside or not start <= first < last <= end]
    answer = example["answer"]
    answer = answer[:start] + " " * (end - start) + answer[end:]  # the other words stay in place
    row = {name: [column[index] for index in kept] for name, column in row.items()}
    row["token_type_ids"] = [int(is_answer[index]) for index in kept]
    return _compared(row, example["question"], example["key"], answer, n_types)


# ---- baselines


def _majority(train):
    """The most frequent grade of the training examples, for every answer."""
    grade, _ = Counter(example["grade"] for example in train).most_common(1)[0]
    return lambda examples: [{"grade": grade}] * len(examples)


def _overlap(example):
    """-> the share of the key's words that the answer has"""
    key = {word for word, _, _ in words(example["key"])}
    answer = {word for word, _, _ in words(example["answer"])}
    return len(key & answer) / max(len(key), 1)


class _WordOverlap:
    """More of the key's words, a higher grade; the limits between grades fit the training best."""

    def __init__(self, train):
        self.grades = sorted({example["grade"] for example in train}, key=int)
        overlaps = np.array([_overlap(example) for example in train])
        wanted = np.array([self.grades.index(example["grade"]) for example in train])
        self.limits = []
        for grade in range(1, len(self.grades)):
            candidates = np.unique(overlaps)
            right = [np.mean((overlaps >= limit) == (wanted >= grade)) for limit in candidates]
            self.limits.append(candidates[int(np.argmax(right))])

    def __call__(self, examples):
        return [{"grade": self.grades[sum(_overlap(example) >= limit for limit in self.limits)]}
                for example in examples]


def _bag_of_words(train):
    """Logistic regression on the words of the answer and its overlap with the key, in tenths."""
    def texts(examples):
        return [f"{example['answer']} overlap{10 * _overlap(example):.0f}" for example in examples]

    model = LogisticRegression(texts(train), [example["grade"] for example in train])
    return lambda examples: [{"grade": grade} for grade in model.predict(texts(examples))]


# ---- pictures


def _effects_figure(example, prediction):
    """What each word of one answer adds to the expected grade, or takes from it"""
    names, effects = zip(*prediction["effects"])
    figure, axes = new_figure(5.5, 0.9 + 0.19 * len(names))
    axes.barh(range(len(names)), effects, color=[COLORS[1] if e >= 0 else COLORS[2]
                                                 for e in effects])
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("expected grade minus that without the word")
    axes.set_title(f"key: {example['key']}", wrap=True)
    return figure
