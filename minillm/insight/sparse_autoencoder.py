"""A sparse autoencoder: many features of which few are on       (Bricken et al. 2023; Cunningham et
al. 2023)

    f = relu((x - b_d) W_e + b_e)              x: (N, d), f: (N, m), m > d
    x̂ = f W_d + b_d                            rows of W_d: unit vectors, the features' directions
    L = mean over rows of ‖x - x̂‖² + λ Σ_j f_j

A model has more things to say than it has dimensions, so it writes them in directions that overlap.
The penalty on f makes the autoencoder explain each x by few directions; ideally, each of them is
one thing. Without unit rows it would cheat: a smaller f and a larger W_d give the same x̂.
"""

from typing import NamedTuple

import numpy as np

from minillm.figures import COLORS, new_figure, plain
from minillm.insight.saved import read_shapes
from minillm.models.safetensors_file import read_safetensors, write_safetensors
from minillm.nn.layers import normal
from minillm.nn.module import Module, Parameter
from minillm.training.optimizers import Adam


class Losses(NamedTuple):
    total: float
    error: float  # mean ‖x - x̂‖²
    n_on: float  # mean number of features that are on


class SparseAutoencoder(Module):
    """d: of the vectors;  m: number of features;  sparsity: λ;  seed: of the initial weights

    W_e starts as W_dᵀ, and b_d at the mean of the data (see `fit`).
    """

    def __init__(self, d, m, sparsity=1e-2, seed=0):
        rng = np.random.default_rng(seed)
        W = normal(rng, (m, d), 1.0)
        W /= np.linalg.norm(W, axis=1, keepdims=True)
        self.W_d = Parameter(W)
        self.W_e = Parameter(W.T.copy())
        self.b_e = Parameter(np.zeros(m, np.float32))
        self.b_d = Parameter(np.zeros(d, np.float32))
        self.sparsity = sparsity

    def features(self, x):
        """x: (N, d) -> f: (N, m)"""
        return np.maximum((x - self.b_d.data) @ self.W_e.data + self.b_e.data, 0)

    def forward(self, x):
        """x: (N, d) -> x̂: (N, d), f: (N, m)"""
        f = self.features(x)
        x_hat = f @ self.W_d.data + self.b_d.data
        self.remember((x, f))
        return x_hat, f

    # L is a mean over N rows. With e = x̂ - x:
    #   dx̂ = 2 e / N                          df = dx̂ W_dᵀ + λ / N
    #   dW_d = fᵀ dx̂                          da = df where f > 0, else 0          a: before relu
    #   dW_e = (x - b_d)ᵀ da                  db_e = Σ da
    #   db_d = Σ dx̂ - Σ da W_eᵀ               b_d is added to x̂ and subtracted from x
    def backward(self, dx_hat, df):
        """dx_hat: (N, d), df: (N, m), the latter from the penalty alone"""
        x, f = self.recall()
        self.W_d.add_grad(f.T @ dx_hat)
        da = np.where(f > 0, dx_hat @ self.W_d.data.T + df, 0)
        self.W_e.add_grad((x - self.b_d.data).T @ da)
        self.b_e.add_grad(da.sum(axis=0))
        self.b_d.add_grad(dx_hat.sum(axis=0) - da.sum(axis=0) @ self.W_e.data.T)

    def loss_and_gradients(self, x):
        """x: (N, d) -> Losses; fills every .grad"""
        x_hat, f = self(x)
        e = x_hat - x
        N = len(x)
        self.backward(2 * e / N, np.full_like(f, self.sparsity / N))
        error = float((e**2).sum() / N)
        return Losses(error + self.sparsity * float(f.sum()) / N, error, float((f > 0).sum() / N))

    def fit(self, X, steps=1000, batch_size=256, lr=1e-3, seed=0, report=None):
        """Train on the rows of X: (N, d) -> list of Losses, one for each step

        report(done, total): called after each step
        """
        self.b_d.data[...] = X.mean(axis=0)
        rng = np.random.default_rng(seed)
        optimizer = Adam(self.parameters(), lr=lr)
        history = []
        for step in range(steps):
            optimizer.zero_grad()
            history.append(self.loss_and_gradients(X[rng.integers(len(X), size=batch_size)]))
            self._project_gradient()
            optimizer.step()
            self._normalize()
            if report is not None:
                report(step + 1, steps)
        return history

    def fit_normalized(self, X, *arguments, **options):
        """`fit` on X / s, with s such that the mean ‖(x - mean) / s‖² is d: one λ then suits the
        vectors of every layer of every model

        Features and biases take the scale up, as relu(s a) = s relu(a): afterwards this is an
        autoencoder of X itself, and its λ is s times as large.
        """
        spread = ((X - X.mean(axis=0)) ** 2).sum(axis=1, dtype=np.float64).mean() / X.shape[1]
        s = np.float32(np.sqrt(spread) or 1)
        history = self.fit(X / s, *arguments, **options)
        self.b_d.data *= s
        self.b_e.data *= s
        self.sparsity *= float(s)
        return history

    def _project_gradient(self):
        """Remove from W_d's gradient what would only change the rows' lengths."""
        W, dW = self.W_d.data, self.W_d.grad
        dW -= (dW * W).sum(axis=1, keepdims=True) * W

    def _normalize(self):
        W = self.W_d.data
        W /= np.linalg.norm(W, axis=1, keepdims=True)


    # ---- files

    def save(self, path):
        """Write the autoencoder as a safetensors file, with λ as "sparsity"."""
        write_safetensors(path, {**self.state_dict(), "sparsity": np.array([self.sparsity])})

    @classmethod
    def load(cls, path, d):
        """-> the SparseAutoencoder that `save` wrote

        d: the width of the vectors it is for. Raises ValueError, in one line, for another file.
        """
        arrays = read_safetensors(path)
        m = len(arrays.get("b_e", ()))
        arrays = read_shapes(path, {"W_d": (m, d), "W_e": (d, m), "b_e": (m,), "b_d": (d,),
                                    "sparsity": (1,)})
        sae = cls(d, m, float(arrays.pop("sparsity")[0]))
        sae.load_state_dict(arrays)
        return sae


# ---- what the features are


def strongest(sae, X, feature, k=8):
    """-> (rows (k,), values (k,)): where in X the feature fires most; fewer if it seldom does"""
    f = sae.features(X)[:, feature]
    rows = np.argsort(-f, kind="stable")[:k]
    rows = rows[f[rows] > 0]
    return rows, f[rows]


def explained_variance(sae, X):
    """-> 1 - Σ‖x - x̂‖² / Σ‖x - mean‖²: 1 if x̂ is x, 0 if it is no better than the mean"""
    f = sae.features(X)
    error = ((f @ sae.W_d.data + sae.b_d.data - X) ** 2).sum()
    return float(1 - error / ((X - X.mean(axis=0)) ** 2).sum())


class Feature(NamedTuple):
    """What one feature does on many tokens.

    density: the share of tokens on which it is on;  mean: of its values there
    energy: Σ f², how much of the vectors' squared length it makes up alone, as a share of all
        features'
    token: the id on which it fires most;  of_token: that token's share of its whole firing: 1: it
        stands for a token; small: for something that several tokens have
    rows, values: where it fires most, as from `strongest`
    """

    feature: int
    density: float
    mean: float
    energy: float
    token: int
    of_token: float
    rows: np.ndarray
    values: np.ndarray


class Dictionary(NamedTuple):
    """What an autoencoder has learned.

    features: list of Feature, those asked for
    explained: see `explained_variance`;  n_on: the mean number of features that are on
    n_dead: how many of them never are;  densities: (m,), of all of them
    """

    features: list
    explained: float
    n_on: float
    n_dead: int
    densities: np.ndarray


def describe(sae, X, words, *, top=10, contexts=8, densest=0.05):
    """-> Dictionary, with the features of the greatest energy, first those that fire on few tokens

    X: (N, d);  words: integers (N,), the ids of the tokens;  top: how many features to describe
    contexts: strongest places of each, and the fewest that it should have
    densest: what "few" is. A feature that is on all the time is a part of the mean.
    """
    f = sae.features(X)
    on = (f > 0).sum(axis=0)
    energy = (f.astype(np.float64) ** 2).sum(axis=0)
    distinct = (on >= contexts) & (on <= densest * len(X))
    order = np.lexsort((-energy, ~distinct))[:top]
    order = order[on[order] > 0]
    found = []
    for j in order:
        of_tokens = np.bincount(words, f[:, j])
        rows = np.argsort(-f[:, j], kind="stable")[:contexts]
        found.append(Feature(int(j), float(on[j] / len(X)), float(f[:, j].sum() / on[j]),
                             float(energy[j] / energy.sum()), int(of_tokens.argmax()),
                             float(of_tokens.max() / of_tokens.sum()), rows, f[rows, j]))
    return Dictionary(found, explained_variance(sae, X), float(on.sum() / len(X)),
                      int((on == 0).sum()), on / len(X))


def plot_features(dictionary, labels):
    """-> matplotlib Figure: how often all features fire, and the described ones with their labels

    labels: strings, one for each of dictionary.features
    """
    n = len(dictionary.features)
    figure, (left, right) = new_figure(9, max(3, 1 + 0.25 * n), columns=2)
    alive = dictionary.densities[dictionary.densities > 0]
    left.hist(np.log10(alive) if alive.size else [], bins=30, color=COLORS[1])
    left.set(xlabel="log₁₀ of the share of tokens on which a feature fires", ylabel="features",
             title=f"{dictionary.n_dead} of {len(dictionary.densities)} never fire")
    right.barh(range(n), [feature.energy for feature in dictionary.features], color=COLORS[1])
    right.set_yticks(range(n), [plain(label) for label in labels])
    right.invert_yaxis()
    title = f"{dictionary.explained:.0%} of the variance, {dictionary.n_on:.1f} on at a time"
    right.set(xlabel="share of all features' energy", title=title)
    return figure
