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

    def __init__(self, texts, labels, decay=1e-3, steps=300):
        self.labels = sorted(set(labels))
        self.index = {}
        for text in texts:
            for word in words(text):
                self.index.setdefault(word, len(self.index))
        X = self._bags(texts)
        wanted = np.eye(len(self.labels))[[self.labels.index(label) for label in labels]]
        self.W, self.b = _fit(X, wanted, decay, steps)

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


def _fit(X, wanted, decay, steps):
    """-> W (V, C), b (C,): the minimum of cross-entropy + penalty, by gradient descent with
    Nesterov's momentum

    The loss is convex, and its curvature is at most ½ max ‖x‖² + λ (Böhning 1992), which gives the
    step size.
    """
    n, V = X.shape
    rate = 1 / (0.5 * (X.sum(axis=1).max() + 1) + decay)
    theta = np.zeros((V + 1, wanted.shape[1]))  # the last row is b
    ahead = theta
    X = np.hstack([X, np.ones((n, 1))])
    for step in range(steps):
        P, _ = softmax(X @ ahead)
        gradient = X.T @ (P - wanted) / n  # dL/dlogits = p - y: ops/cross_entropy.py
        gradient[:-1] += decay * ahead[:-1]
        new = ahead - rate * gradient
        ahead = new + step / (step + 3) * (new - theta)
        theta = new
    return theta[:-1], theta[-1]
