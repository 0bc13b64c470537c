"""Metrics, their intervals and the bag-of-words baseline."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.tasks.intervals import Z, bootstrap, score, wilson
from minillm.tasks.logistic_regression import LogisticRegression, words
from minillm.tasks.metrics import (
    Metric,
    confusion_matrix,
    f1,
    label_metrics,
    macro_f1,
    mean_of,
    share_of,
)

LABELS = ("a", "b", "c")
label = st.sampled_from(LABELS)
pairs = st.lists(st.tuples(label, label), min_size=1, max_size=40)


@given(pairs)
def test_accuracy_and_macro_f1_by_their_definitions(pairs):
    wanted, predicted = zip(*pairs)
    metrics = label_metrics(LABELS)
    examples = [{"label": each} for each in wanted]
    assert metrics["accuracy"].value(predicted, examples) == pytest.approx(
        np.mean([one == other for one, other in pairs]))
    scores = []
    for each in set(wanted) | set(predicted):
        hits = sum(one == other == each for one, other in pairs)
        precision = hits / max(predicted.count(each), 1)
        recall = hits / max(wanted.count(each), 1)
        scores.append(2 * precision * recall / (precision + recall) if hits else 0)
        assert f1(hits, predicted.count(each), wanted.count(each)) == pytest.approx(scores[-1])
    assert metrics["macro F1"].value(predicted, examples) == pytest.approx(np.mean(scores))


@given(pairs, st.permutations(range(3)))
def test_the_names_of_labels_mean_nothing(pairs, order):
    wanted, predicted = zip(*pairs)
    matrix = confusion_matrix(wanted, predicted, LABELS)
    assert matrix.sum() == len(pairs)
    assert macro_f1(matrix) == pytest.approx(macro_f1(matrix[np.ix_(order, order)]))


@given(st.integers(1, 400), st.data())
def test_wilson_solves_its_equation(n, data):
    right = data.draw(st.integers(0, n))
    for p in wilson(right, n):
        assert 0 <= p <= 1
        assert abs(right / n - p) == pytest.approx(Z * np.sqrt(p * (1 - p) / n), abs=1e-7)
    assert wilson(100, 100)[0] == pytest.approx(0.963, abs=5e-4)


def test_the_bootstrap_covers_the_true_mean_about_19_times_in_20():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        rows = np.c_[rng.exponential(size=60), np.ones(60)]
        low, high = bootstrap(rows, lambda sums: sums[0] / sums[1], seed=trial)
        covered += low <= 1 <= high
    assert 175 <= covered <= 199


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=30))
@settings(max_examples=30)
def test_an_interval_is_that_of_resampled_examples(values):
    metric = mean_of(lambda prediction, example: prediction)
    found = score(metric, values, [{}] * len(values))
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found.value == pytest.approx(np.mean(values))


def test_left_out_examples_and_wrong_lengths():
    metric = share_of(lambda prediction, example: None if prediction == 0 else prediction == 1)
    assert metric.value([0, 1, 2], [{}] * 3) == 0.5
    assert metric.value([0], [{}]) == 0
    with pytest.raises(ValueError, match="predictions has 1 items, wanted 2"):
        metric.value([0], [{}] * 2)
    with pytest.raises(ValueError, match="examples is empty"):
        score(metric, [], [])
    assert Metric(lambda *_: (1,), lambda sums: sums[0]).value([0, 0], [{}, {}]) == 2


def test_logistic_regression_is_at_its_minimum():
    """The gradient of mean cross-entropy + λ/2 ‖W‖² is zero: compare with finite differences."""
    texts = ["a b", "a c", "b c d", "d", "e a", "c"] * 2
    labels = ["x", "y", "x", "z", "z", "y"] * 2
    model = LogisticRegression(texts, labels, decay=0.05, steps=2000)
    X, targets = model._bags(texts), [model.labels.index(label) for label in labels]

    def loss(W, b):
        logits = X @ W + b
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -log_p[np.arange(len(X)), targets].mean() + 0.025 * (W**2).sum()

    rng = np.random.default_rng(0)
    for _ in range(20):
        dW, db = rng.normal(size=model.W.shape), rng.normal(size=model.b.shape)
        slope = (loss(model.W + 1e-4 * dW, model.b + 1e-4 * db)
                 - loss(model.W - 1e-4 * dW, model.b - 1e-4 * db)) / 2e-4
        assert abs(slope) < 1e-4
    assert model.predict(["d d", "unknown"])[0] == "z"
    assert model.predict(texts) == labels


def test_words():
    assert words("Don't 喜欢 it!") == ["don't", "喜", "欢", "it", "!"]
