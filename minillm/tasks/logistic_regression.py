"""The baseline of text classification: a bag of words and logistic regression.

    x_w = 1 if word w is in the text, else 0
    p = softmax(x W + b)                                        (Jurafsky and Martin, ch. 5)

It sees which words a text has, but not their order. A transformer that isn't better has learned
nothing that needs one.
"""

import numpy as np
import regex

from minillm.ops.softmax import softmax

_WORD = regex.compile(r"\p{Han}|[\p{L}\p{N}]+(?:['’]\p{L}+)*|[^\s\p{L}\p{N}]")


def words(text):
    """-> list of the words, lower case; each Chinese character and punctuation mark is one"""
    return _WORD.findall(text.lower())


class LogisticRegression:
    """Softmax regression on the set of words of a text, with an L2 penalty.

    texts, labels: lists of str;  decay: λ of the penalty λ/2 ‖W‖², which keeps the weights of
    rare words small.
    """

    def __init__(self, texts, labels, decay=1e-3, steps=200):
        self.labels = sorted(set(labels))
        self.index = {}
        for text in texts:
            for word in words(text):
                self.index.setdefault(word, len(self.index))
        X = self._bags(texts)
        numbers = [self.labels.index(label) for label in labels]
        self.W, self.b = fit_softmax(X, numbers, len(self.labels), decay, steps)

    def _bags(self, texts):
        """-> (n, V): 1 for each known word in a text"""
        X = np.zeros((len(texts), len(self.index)))
        for row, text in zip(X, texts):
            row[[self.index[word] for word in words(text) if word in self.index]] = 1
        return X

    def probabilities(self, texts):
        """-> (n, C), the columns in the order of `labels`"""
        P, _ = softmax(self._bags(texts) @ self.W + self.b)
        return P

    def predict(self, texts):
        """-> list of labels"""
        return [self.labels[c] for c in self.probabilities(texts).argmax(axis=1)]


def fit_softmax(X, labels, n_labels, decay, steps):
    """-> W (d, C), b (C,): the minimum of  mean cross-entropy + decay/2 ‖W‖²

    X: (n, d);  labels: integers (n,)

    The loss is convex: gradient descent with Nesterov's momentum finds its minimum. Its curvature
    is at most half the largest eigenvalue of XᵀX / n, plus the decay (Böhning 1992), which gives
    the step size.
    """
    wanted = np.eye(n_labels)[labels]
    X = np.hstack([X.astype(np.float64), np.ones((len(X), 1))])  # the last row of theta is b
    rate = 1 / (0.5 * _largest_eigenvalue(X) + decay)
    theta = ahead = np.zeros((X.shape[1], n_labels))
    for step in range(steps):
        P, _ = softmax(X @ ahead)
        gradient = X.T @ (P - wanted) / len(X)  # dL/dlogits = p - y: ops/cross_entropy.py
        gradient[:-1] += decay * ahead[:-1]
        new = ahead - rate * gradient
        theta, ahead = new, new + step / (step + 3) * (new - theta)
    return theta[:-1], theta[-1]


def _largest_eigenvalue(X, steps=30):
    """-> that of XᵀX / n, by power iteration, and a tenth more to be on the safe side"""
    v = np.ones(X.shape[1])
    for _ in range(steps):
        v /= np.linalg.norm(v)
        v = X.T @ (X @ v) / len(X)
    return 1.1 * np.linalg.norm(v)
