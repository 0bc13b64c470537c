"""Per-example gradients: the norm of each example's own gradient, without building it.

    with per_example_gradients(model, n) as examples:      # n: the number of examples in the batch
        loss = task.loss(model, batch)
        loss.backward()
    norms = examples.norms()                               # (n,): ‖g_i‖
    examples.add_weighted(np.minimum(1, C / norms))        # .grad += Σ_i c_i g_i

g_i is the gradient of ℓ_i, the mean loss of example i over its own targets, which depends on no
other example. Inside the block a backward computes dx as always, but it doesn't compute dW: it
writes down the factors that dW is a product of. (Book-keeping: Bu, Wang, Zha and Karypis 2022.)

Every use of a parameter in a forward is one of three kinds. Of example i, with its T rows:

    Product(A, B)    a linear map       dW_i = A_iᵀ B_i = Σ_t a_t b_tᵀ      A_i: (T, m), B_i: (T, n)
    Rows(ids, B)     an embedding       dW_i = Σ_t e_{id_t} b_tᵀ            e_v: row v of the identity
    Dense(G)         a vector           dW_i = G_i                          as small as the parameter

A Product's norm needs no matrix of W's size ("ghost norm": Goodfellow 2015; Li, Tramèr, Liang and
Hashimoto 2022, section 4):

    ‖A_iᵀ B_i‖² = Σ_ts (a_t · a_s) (b_t · b_s) = Σ (A_i A_iᵀ) ∘ (B_i B_iᵀ)      two Gram matrices, T×T

A parameter that is used twice (a tied table, a layer that runs twice) has dW_i = X_i + Y_i, so

    ‖X_i + Y_i‖² = ‖X_i‖² + 2 ⟨X_i, Y_i⟩ + ‖Y_i‖²
    ⟨AᵀB, A'ᵀB'⟩ = Σ (A A'ᵀ) ∘ (B B'ᵀ)            of one-hot rows: (A A'ᵀ)_ts = A_{t, id_s},
                                                 or [id_t = id_s]: no e_v is ever built

Where T² (m + n) > T m n, the matrices A_iᵀ B_i themselves are cheaper, and they are built in pieces.
The weighted sum Σ_i c_i A_iᵀ B_i is one matrix product, as without any clipping: the rows of B_i
are scaled by c_i first.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from itertools import combinations

import numpy as np

from minillm.ops.embedding import scatter_add
from minillm.ops.matmul import matmul

PIECE = 1 << 22  # numbers of per-example matrices that exist at once

_current = ContextVar("per_example_gradients", default=None)


def n_examples():
    """-> the number of examples inside `per_example_gradients`, else None"""
    return None if _current.get() is None else _current.get().n


@contextmanager
def per_example_gradients(model, n):
    """Inside the block, trainable parameters log the factors of their gradients -> PerExample

    n: the number of examples; row i of every array of the batch belongs to example i

    A layer whose backward doesn't know how to log raises RuntimeError. The blocks can't be nested.
    """
    if _current.get() is not None:
        raise RuntimeError("per_example_gradients is running already, wanted one at a time")
    named = [(name, each) for name, each in model.named_parameters() if each.trainable]
    examples = PerExample(n, [parameter for _, parameter in named])
    for name, parameter in named:
        parameter.log = Log(name, n)
    token = _current.set(examples)
    try:
        yield examples
    finally:
        _current.reset(token)
        for _, parameter in named:
            examples.uses.append(parameter.log.uses)
            parameter.log = None


class Log:
    """What one parameter writes down during a backward: a list of `uses`."""

    def __init__(self, name, n):
        self.name, self.n = name, n
        self.uses = []

    def product(self, A, B):
        """The gradient is Aᵀ B, summed over the rows; A: (n, ..., m), B: (n, ..., k)"""
        self.uses.append(Product(self._rows(A), self._rows(B)))

    def rows(self, ids, B):
        """Row ids[i, ...] of the gradient gets B[i, ...]; B: (n, ..., k)"""
        ids = np.broadcast_to(ids, B.shape[:-1])
        B = self._rows(B)
        self.uses.append(Rows(np.ascontiguousarray(ids).reshape(B.shape[:2]), B))

    def sum(self, B):
        """The gradient is the sum of all rows, as a bias has it; B: (n, ..., k)"""
        self.dense(self._rows(B).sum(axis=1))

    def dense(self, G):
        """G: (n, shape of the parameter), the gradients themselves"""
        self._check(G)
        self.uses.append(Dense(G))

    def _rows(self, B):
        """(n, ..., k) -> (n, T, k)"""
        self._check(B)
        return B.reshape(self.n, -1, B.shape[-1]) if B.size else B.reshape(self.n, 0, B.shape[-1])

    def _check(self, array):
        if array.ndim < 2 or len(array) != self.n:
            raise RuntimeError(f"{self.name} was used on an array of shape {array.shape}, wanted "
                               f"({self.n}, ...): a row for each of the {self.n} examples")

    def refuse(self):
        """Raise the error of a layer that adds to `grad` directly."""
        raise RuntimeError(f"the layer with the parameter {self.name} doesn't log per-example "
                           "gradients in its backward: see minillm/nn/per_example.py")


class PerExample:
    """The logged gradients of n examples. Read them after the `with` block."""

    def __init__(self, n, parameters):
        self.n, self.parameters, self.uses = n, parameters, []

    def norms(self):
        """-> float64 (n,): ‖g_i‖ over all trainable parameters together"""
        total = np.zeros(self.n)
        for parameter, uses in zip(self.parameters, self.uses):
            total += squared_norms(uses, parameter.shape, self.n)
        return np.sqrt(total)

    def add_weighted(self, weights):
        """Add Σ_i weights_i g_i to the `grad` of every parameter that was used; weights: (n,)"""
        for parameter, uses in zip(self.parameters, self.uses):
            for use in uses:
                target, accumulate = parameter.gradient_target()
                if not accumulate and not isinstance(use, Product):
                    target[...] = 0
                use.add_weighted(weights.astype(target.dtype), target, accumulate)


def squared_norms(uses, shape, n):
    """-> float64 (n,): Σ over all pairs of uses of ⟨X_i, Y_i⟩, the smaller way of the two"""
    if n == 0:
        return np.zeros(0)
    if len(shape) == 2 and uses and _dense_is_cheaper(uses, *shape):
        return _squared_norms_of_matrices(uses, shape, n)
    total = np.zeros(n)
    for use in uses:
        total += use.squared_norms()
    for X, Y in combinations(uses, 2):
        total += 2 * inner_products(X, Y)
    return np.maximum(total, 0)  # of a sum with rounding errors, the square of a norm


def inner_products(X, Y):
    """-> (n,): ⟨X_i, Y_i⟩ of two uses of one parameter"""
    if isinstance(X, Dense) and isinstance(Y, Dense):
        return _dots(X.G, Y.G)
    if isinstance(X, Dense) or isinstance(Y, Dense):
        dense, other = (X, Y) if isinstance(X, Dense) else (Y, X)
        return _dots(dense.G, np.stack([other.matrix(i, dense.G.shape[1:])
                                        for i in range(len(dense.G))]))
    return _dots(gram(X, Y), matmul(X.B, Y.B, transpose_B=True))


def gram(X, Y):
    """-> (n, T, S): the inner products of the left factors, A A'ᵀ"""
    if isinstance(X, Product) and isinstance(Y, Product):
        return matmul(X.A, Y.A, transpose_B=True)
    if isinstance(X, Product):
        return np.take_along_axis(X.A, Y.ids[:, None, :], axis=2)
    if isinstance(Y, Product):
        return gram(Y, X).swapaxes(1, 2)
    return (X.ids[:, :, None] == Y.ids[:, None, :]).astype(X.B.dtype)


class Product:
    """dW_i = A_iᵀ B_i;  A: (n, T, m), B: (n, T, k)"""

    def __init__(self, A, B):
        self.A, self.B = A, B

    def squared_norms(self):
        if self.B.shape[1] == 1:  # one row: ‖a bᵀ‖ = ‖a‖ ‖b‖
            return _dots(self.A, self.A) * _dots(self.B, self.B)
        return inner_products(self, self)

    def matrix(self, i, shape):
        """-> dW_i: (m, k)"""
        return matmul(self.A[i], self.B[i], transpose_A=True)

    def add_weighted(self, weights, target, accumulate):
        A, B = self.A, self.B
        if A.shape[2] < B.shape[2]:  # scale the smaller factor
            A = A * weights[:, None, None]
        else:
            B = B * weights[:, None, None]
        matmul(A.reshape(-1, A.shape[2]), B.reshape(-1, B.shape[2]), target, transpose_A=True,
               accumulate=accumulate)


class Rows:
    """dW_i = Σ_t e_{id_t} b_tᵀ;  ids: integers (n, T), B: (n, T, k)"""

    def __init__(self, ids, B):
        self.ids, self.B = ids, B

    def squared_norms(self):
        """The sum of the b_t of equal ids, squared: cheaper than the Gram matrices."""
        n, T, k = self.B.shape
        if not self.B.size:
            return np.zeros(n)
        keys = self.ids + (np.arange(n) * (int(self.ids.max(initial=0)) + 1))[:, None]
        found, place = np.unique(keys, return_inverse=True)
        sums = np.zeros((len(found), k), self.B.dtype)
        scatter_add(sums, place.reshape(n, T), np.ascontiguousarray(self.B))
        owner = np.zeros(len(found), np.int64)
        owner[place.reshape(-1)] = np.repeat(np.arange(n), T)
        return np.bincount(owner, np.einsum("vk,vk->v", sums, sums), n)

    def matrix(self, i, shape):
        """-> dW_i, of that shape"""
        table = np.zeros(shape, self.B.dtype)
        np.add.at(table, self.ids[i], self.B[i])
        return table

    def add_weighted(self, weights, target, accumulate):
        scatter_add(target, self.ids, self.B * weights[:, None, None])


class Dense:
    """dW_i = G_i;  G: (n, shape of the parameter)"""

    def __init__(self, G):
        self.G = G

    def squared_norms(self):
        return _dots(self.G, self.G)

    def matrix(self, i, shape):
        return self.G[i]

    def add_weighted(self, weights, target, accumulate):
        target += np.tensordot(weights, self.G, 1)


def _dense_is_cheaper(uses, m, k):
    """-> whether the matrices of all uses take less work than the Gram matrices of all pairs"""
    if not all(isinstance(use, Product) for use in uses):
        return False
    lengths = [use.B.shape[1] for use in uses]
    pairs = sum(lengths) ** 2 // (2 if len(uses) > 1 else 1)
    return lengths != [1] and sum(lengths) * m * k < pairs * (m + k)


def _squared_norms_of_matrices(uses, shape, n):
    """`squared_norms` of Products by A_iᵀ B_i, for so many examples at once as PIECE allows"""
    norms, step = np.zeros(n), max(1, PIECE // max(1, shape[0] * shape[1]))
    for start in range(0, n, step):
        piece = slice(start, start + step)
        first, *others = uses
        G = matmul(first.A[piece], first.B[piece], transpose_A=True)
        for use in others:
            matmul(use.A[piece], use.B[piece], G, transpose_A=True, accumulate=True)
        norms[piece] = _dots(G, G)
    return norms


def _dots(X, Y):
    """X, Y: (n, ...) -> float64 (n,): Σ X ∘ Y over all axes but the first"""
    n = len(X)
    if not X.size:
        return np.zeros(n)
    return np.einsum("ij,ij->i", X.reshape(n, -1), Y.reshape(n, -1)).astype(np.float64)
