"""The geometry of vectors: nearest neighbors, and the plane that shows most of them."""

from typing import NamedTuple

import numpy as np

from minillm.figures import new_figure, plain
from minillm.ops.cosine_search import cosine_search


def nearest(table, row, k=8):
    """-> (indices (k,), cosines (k,)) of the rows most similar to `row`, without itself

    table: (n, d);  row: an index, or a vector (d,)
    """
    is_index = np.ndim(row) == 0
    vector = table[row] if is_index else row.astype(table.dtype)
    cosines, indices = cosine_search(vector[None], table, k + is_index)
    others = indices[0] != row if is_index else np.ones(len(indices[0]), bool)
    return indices[0][others][:k], cosines[0][others][:k]


class PCA(NamedTuple):
    """x ≈ mean + coordinates @ axes                                       (Pearson 1901)

    coordinates: (n, k);  axes: (k, d), orthonormal, the directions of the largest variance
    mean: (d,);  explained: (k,), the share of the variance along each axis
    """

    coordinates: np.ndarray
    axes: np.ndarray
    mean: np.ndarray
    explained: np.ndarray


def pca(X, k=2):
    """X: (n, d) -> PCA. The sign of each axis makes its largest component positive."""
    mean = X.mean(axis=0, dtype=np.float64)
    U, singular, axes = np.linalg.svd(X - mean, full_matrices=False)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    signs[signs == 0] = 1
    variance = singular**2
    coordinates = (U * singular * signs)[:, :k]
    total = variance.sum()
    return PCA(coordinates, (axes * signs[:, None])[:k], mean,
               variance[:k] / total if total else np.zeros(min(k, len(variance))))


def plot_plane(found, labels):
    """-> matplotlib Figure: the rows of a PCA in its first two axes, with their labels"""
    figure, axes = new_figure(6, 5)
    axes.plot(*found.coordinates[:, :2].T, "o", markersize=3)
    for (x, y), label in zip(found.coordinates[:, :2], labels):
        axes.annotate(plain(label), (x, y), xytext=(2, 2),
                      textcoords="offset points", fontsize=7)
    for axis, share, set_label in zip("12", found.explained, (axes.set_xlabel, axes.set_ylabel)):
        set_label(f"axis {axis}: {share:.0%} of the variance")
    return figure
