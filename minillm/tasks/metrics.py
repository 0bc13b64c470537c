"""Metrics as functions of sums over the examples.

Each example contributes a few numbers to a metric: 1 or 0 for accuracy, (right, predicted, wanted)
for F1, matches and lengths for BLEU. The metric is a function of the sums. So the same two
functions give the value, and its interval by resampling the rows (intervals.py).
"""

from typing import Callable, NamedTuple

import numpy as np

from minillm.figures import heat_map, new_figure


class Metric(NamedTuple):
    """of_example(prediction, example) -> a sequence of k numbers;  of_sum((k,) array) -> float

    is_proportion: the mean of zeros and ones, whose interval has a formula
    lower_is_better: such as an error rate; for tables
    """

    of_example: Callable
    of_sum: Callable
    is_proportion: bool = False
    lower_is_better: bool = False

    def rows(self, predictions, examples):
        """-> float64 (n, k): what each example contributes"""
        if len(predictions) != len(examples):
            raise ValueError(f"predictions has {len(predictions)} items, wanted {len(examples)}, "
                             "one for each example")
        return np.array([self.of_example(prediction, example)
                         for prediction, example in zip(predictions, examples)], np.float64)

    def value(self, predictions, examples):
        return float(self.of_sum(self.rows(predictions, examples).sum(axis=0)))


def mean_of(score, **options):
    """-> Metric: the mean of score(prediction, example) over the examples; None leaves one out"""

    def of_example(prediction, example):
        value = score(prediction, example)
        return (0.0, 0.0) if value is None else (float(value), 1.0)

    return Metric(of_example, lambda sums: ratio(sums[0], sums[1]), **options)


def share_of(holds, **options):
    """-> Metric: the share of the examples for which holds(prediction, example); None: left out"""
    return mean_of(holds, is_proportion=True, **options)


def ratio(part, whole):
    """-> part / whole, and 0 if whole is 0, as is usual for precision and recall"""
    return part / whole if whole else 0.0


def f1(right, predicted, wanted):
    """F1 = 2 P R / (P + R) = 2 right / (predicted + wanted)    (van Rijsbergen 1979, ch. 7)

    with precision P = right / predicted and recall R = right / wanted
    """
    return ratio(2 * right, predicted + wanted)


def confusion_matrix(wanted, predicted, labels):
    """-> int64 (C, C): row: the wanted label, column: the predicted one

    A prediction that isn't among the labels is an error that no column shows.
    """
    index = {label: number for number, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), np.int64)
    for one, other in zip(wanted, predicted):
        if other in index:
            matrix[index[one], index[other]] += 1
    return matrix


def confusion_figure(wanted, predicted, labels, x_label="predicted", y_label="label"):
    """-> matplotlib Figure of the confusion matrix"""
    figure, axes = new_figure(1.6 + 0.6 * len(labels), 1.2 + 0.6 * len(labels))
    heat_map(axes, confusion_matrix(wanted, predicted, labels), rows=labels, columns=labels,
             numbers=".0f")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure


def macro_f1(matrix):
    """-> the mean of the labels' F1, each label with the same weight, from a confusion matrix

    Labels that occur neither wanted nor predicted are left out, as in scikit-learn.
    """
    right, predicted, wanted = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    scores = [f1(*counts) for counts in zip(right, predicted, wanted) if counts[1] + counts[2]]
    return ratio(sum(scores), len(scores))


def label_metrics(labels, field="label"):
    """-> {"accuracy": Metric, "macro F1": Metric} of predicted labels"""
    index = {label: number for number, label in enumerate(labels)}
    C = len(labels)

    def cell(prediction, example):  # of the confusion matrix, flattened
        row = np.zeros(C * C)
        row[C * index[example[field]] + index[prediction]] = 1
        return row

    return {
        "accuracy": share_of(lambda prediction, example: prediction == example[field]),
        "macro F1": Metric(cell, lambda sums: macro_f1(sums.reshape(C, C))),
    }
