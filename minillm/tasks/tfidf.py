"""Search by shared words: TF-IDF and BM25, the baselines of every search by embeddings.

Both weigh a word by how few documents have it. Neither knows that "parcel" and "package" mean the
same: without a shared word, the score is 0.
"""

from collections import Counter

import numpy as np

from minillm.ops.l2_normalize import l2_normalize
from minillm.tasks.logistic_regression import words


class TfIdf:
    """Cosines of vectors with an entry for each word            (Salton and Buckley 1988)

        x_w = tf_w idf_w,    idf_w = 1 + log((1 + N) / (1 + df_w))

    tf_w: how often w is in the text;  df_w: in how many of the N documents. The smoothed idf is
    that of scikit-learn's TfidfVectorizer.
    """

    def __init__(self, documents):
        counts, self.index = _counted(documents)
        df = (counts > 0).sum(axis=0)
        self.idf = 1 + np.log((1 + len(documents)) / (1 + df))
        self.vectors, _ = l2_normalize(counts * self.idf)

    def scores(self, queries):
        """-> (n, N): the cosine of each query and each document, 0 to 1"""
        counts, _ = _counted(queries, self.index)
        return l2_normalize(counts * self.idf)[0] @ self.vectors.T


class BM25:
    """score = Σ_w idf_w tf_w (k + 1) / (tf_w + k (1 - b + b length / mean length))

    over the words of the query, with idf_w = log(1 + (N - df_w + 1/2) / (df_w + 1/2)): more
    occurrences of a word count less and less, and so do those in long documents.
    (Robertson and Zaragoza 2009, eq. 3.15)
    """

    def __init__(self, documents, k=1.2, b=0.75):
        counts, self.index = _counted(documents)
        df = (counts > 0).sum(axis=0)
        idf = np.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
        lengths = counts.sum(axis=1, keepdims=True)
        saturation = k * (1 - b + b * lengths / max(lengths.mean(), 1e-9))
        self.weights = idf * counts * (k + 1) / np.maximum(counts + saturation, 1e-9)

    def scores(self, queries):
        """-> (n, N)"""
        counts, _ = _counted(queries, self.index)
        return counts @ self.weights.T


def _counted(texts, index=None):
    """-> (n, V): how often each text has each word; {word: column}, made from `texts` if None"""
    bags = [Counter(words(text)) for text in texts]
    if index is None:
        index = {word: i for i, word in enumerate(dict.fromkeys(w for bag in bags for w in bag))}
    counts = np.zeros((len(bags), len(index)))
    for row, bag in zip(counts, bags):
        for word, n in bag.items():
            if word in index:
                row[index[word]] = n
    return counts, index
