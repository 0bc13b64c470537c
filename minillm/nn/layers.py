"""The simple layers: each owns its parameters and wraps one forward/backward pair of `minillm.ops`.

Linear, OutputHead, Embedding, LayerNorm, RMSNorm, Dropout and the activations.
"""

import numpy as np

from minillm.nn.module import Module, Parameter
from minillm.nn.per_example import n_examples
from minillm.ops.dropout import dropout, dropout_backward, require_probability
from minillm.ops.embedding import embedding, embedding_backward
from minillm.ops.gelu import (
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    quick_gelu,
    quick_gelu_backward,
)
from minillm.ops.layer_norm import layer_norm, layer_norm_backward
from minillm.ops.linear import linear, linear_backward
from minillm.ops.linear_cross_entropy import (
    LinearCrossEntropyCache,
    linear_cross_entropy,
    linear_cross_entropy_backward,
)
from minillm.ops.logistic import logistic, logistic_backward
from minillm.ops.mish import mish, mish_backward
from minillm.ops.piecewise import (
    hardswish,
    hardswish_backward,
    leaky_relu,
    leaky_relu_backward,
    relu2,
    relu2_backward,
    relu6,
    relu6_backward,
)
from minillm.ops.relu import relu, relu_backward
from minillm.ops.rms_norm import rms_norm, rms_norm_backward
from minillm.ops.silu import silu, silu_backward
from minillm.ops.sum_rows import sum_rows
from minillm.ops.swiglu import swiglu, swiglu_backward
from minillm.ops.tanh import tanh, tanh_backward


def normal(rng, shape, std):
    """-> float32 array of `shape`, drawn from N(0, std²) by the Generator `rng`; zeros for std 0"""
    if std == 0:
        return np.zeros(shape, np.float32)  # no draws: they take long for large models
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= std
    return values


class Linear(Module):
    """y = x W + b, with `weight` W: (d_in, d_out) and `bias` b: (d_out,), or None without bias.

    W is initialized from N(0, std²), drawn from `rng`; b with zeros (GPT-2's initialization).
    """

    def __init__(self, d_in, d_out, bias=True, *, rng, std=0.02):
        self.weight = Parameter(normal(rng, (d_in, d_out), std))
        self.bias = Parameter(np.zeros(d_out, np.float32)) if bias else None

    def forward(self, x):
        """x: (..., d_in) -> y: (..., d_out)"""
        y, cache = linear(x, self.weight.data, None if self.bias is None else self.bias.data)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: (..., d_out) -> dx: (..., d_in)"""
        return linear_layer_backward(dy, self.recall(), self.weight, self.bias)


class OutputHead(Module):
    """logits = x weightᵀ + bias, with a row of `weight`: (n, d) for each of n tokens.

    weight, bias: Parameters; `bias`: (n,), or None without bias. To tie the head to a token
    embedding, pass the embedding's Parameter (Press and Wolf 2017): its gradient is then the sum of
    both uses.
    fixed_bias: (1, n), a Parameter of another module that doesn't learn, in the place of `bias`
    """

    def __init__(self, weight, bias=None, fixed_bias=None):
        self.weight = weight
        self.bias = bias
        self._fixed_bias = fixed_bias

    def forward(self, x, targets=None, label_smoothing=0.0):
        """x: (..., d) -> logits: (..., n)

        With targets, integers (...): -> their cross-entropy, a float. The logits then exist for a
        few rows at a time, and `backward` takes dloss.
        """
        bias = self._fixed_bias if self.bias is None else self.bias
        bias = None if bias is None else bias.data.reshape(-1)
        if targets is None:
            y, cache = linear(x, self.weight.data, bias, transpose_W=True)
        else:
            y, cache = linear_cross_entropy(x, self.weight.data, bias, targets,
                                            label_smoothing=label_smoothing)
        self.remember(cache)
        return y

    def backward(self, dlogits):
        """dlogits: (..., n), or dloss -> dx: (..., d)"""
        cache = self.recall()
        if isinstance(cache, LinearCrossEntropyCache):
            return self._loss_backward(dlogits, cache)
        return linear_layer_backward(dlogits, cache, self.weight, self.bias)

    def _loss_backward(self, dloss, cache):
        learns = self.weight.trainable
        dW, accumulate = self.weight.gradient_target() if learns else (None, False)
        dx, _, db = linear_cross_entropy_backward(dloss, cache, dW=dW, accumulate=accumulate,
                                                  with_dW=learns)
        if self.bias is not None:
            self.bias.add_grad(db)
        return dx


def linear_layer_backward(dy, cache, weight, bias):
    """The backward of y = x W + b, or y = x Wᵀ + b, for the Parameters W and b (or None) -> dx"""
    _require_cache(cache)
    if n_examples() is not None:
        return _log_linear(dy, cache, weight, bias)
    if not weight.trainable:  # frozen: dx is wanted, and the gradient of a bias that learns
        dx, _, _ = linear_backward(dy, cache, with_dW=False)
        if bias is not None and bias.trainable:
            bias.add_grad(sum_rows(dy.reshape(-1, dy.shape[-1])))
        return dx
    dW, accumulate = weight.gradient_target()
    dx, _, db = linear_backward(dy, cache, dW=dW, accumulate=accumulate)
    if bias is not None:
        bias.add_grad(db)
    return dx


def _log_linear(dy, cache, weight, bias):
    """`linear_layer_backward` that logs the factors of dW and db: see per_example.py"""
    dx, _, _ = linear_backward(dy, cache, with_dW=False)
    if weight.log is not None:
        x = cache.x.reshape(*dy.shape[:-1], -1) if dy.size else cache.x
        weight.log.product(*((dy, x) if cache.transpose_W else (x, dy)))
    if bias is not None and bias.log is not None:
        bias.log.sum(dy)
    return dx


def _require_cache(cache):
    if cache is None:  # as ops/linear.py and ops/embedding.py return it
        raise ValueError("the weights are quantized for inference, wanted plain ones to train")


class Embedding(Module):
    """y = weight[ids], with a row of `weight`: (n, d) for each of the ids 0 … n - 1.

    padding_id: an id whose lookups give its row no gradient, as PyTorch's padding_idx
    """

    def __init__(self, n, d, *, padding_id=None, rng, std=0.02):
        self.weight = Parameter(normal(rng, (n, d), std))
        self.padding_id = padding_id

    def forward(self, ids):
        """ids: (...) integers -> y: (..., d)"""
        y, cache = embedding(ids, self.weight.data)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: (..., d) -> None: ids have no gradient"""
        cache = self.recall()
        _require_cache(cache)
        if self.padding_id is not None:
            dy = np.where((cache.ids == self.padding_id)[..., None], 0, dy)
        if self.weight.log is not None:
            self.weight.log.rows(cache.ids, dy)
        elif self.weight.trainable:
            dtable, accumulate = self.weight.gradient_target()
            embedding_backward(dy, cache, dtable=dtable, accumulate=accumulate)


class LayerNorm(Module):
    """y = weight * x̂ + bias, with `weight`: (d,), initially 1, and `bias`: (d,), initially 0."""

    def __init__(self, d, eps=1e-5):
        self.weight = Parameter(np.ones(d, np.float32))
        self.bias = Parameter(np.zeros(d, np.float32))
        self.eps = eps

    def forward(self, x):
        """x: (..., d) -> y: (..., d)"""
        y, cache = layer_norm(x, self.weight.data, self.bias.data, self.eps)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: (..., d) -> dx: (..., d)"""
        cache = self.recall()
        dx, dweight, dbias = layer_norm_backward(dy, cache)
        if n_examples() is not None:
            _log_norm(dy, (cache.x - cache.mean) * cache.inverse_std, self.weight, self.bias)
            return dx
        self.weight.add_grad(dweight)
        self.bias.add_grad(dbias)
        return dx


class RMSNorm(Module):
    """y = weight * x / rms(x), with `weight`: (d,), initially 1."""

    def __init__(self, d, eps=1e-6):
        self.weight = Parameter(np.ones(d, np.float32))
        self.eps = eps

    def forward(self, x):
        """x: (..., d) -> y: (..., d)"""
        y, cache = rms_norm(x, self.weight.data, self.eps)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: (..., d) -> dx: (..., d)"""
        cache = self.recall()
        dx, dweight = rms_norm_backward(dy, cache)
        if n_examples() is not None:
            _log_norm(dy, cache.x * cache.inverse_rms, self.weight)
            return dx
        self.weight.add_grad(dweight)
        return dx


def _log_norm(dy, x_hat, weight, bias=None):
    """Log dweight_i = Σ_t dy_t * x̂_t and dbias_i = Σ_t dy_t of each example: see per_example.py"""
    if weight.log is not None:
        n, d = len(dy), dy.shape[-1]
        weight.log.dense(np.einsum("ntd,ntd->nd", dy.reshape(n, -1, d), x_hat.reshape(n, -1, d)))
    if bias is not None and bias.log is not None:
        bias.log.sum(dy)


class Dropout(Module):
    """In training, set each number to zero with probability p and scale the others by 1 / (1 - p).

    After `eval()`, return the input. `rng` is the Generator of all draws.
    """

    def __init__(self, p, rng):
        require_probability("p", p)
        self.p = p
        self.rng = rng

    def forward(self, x):
        """x: any shape -> y: the same shape"""
        y, cache = dropout(x, self.p if self.training else 0, self.rng)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: the shape of x -> dx: the same shape"""
        return dropout_backward(dy, self.recall())


# The name of an activation -> its forward and its backward.
ACTIVATIONS = {
    "relu": (relu, relu_backward),  # Vaswani et al. 2017
    "gelu": (gelu, gelu_backward),  # BERT
    "gelu_tanh": (gelu_tanh, gelu_tanh_backward),  # GPT-2
    "quick_gelu": (quick_gelu, quick_gelu_backward),  # CLIP
    "silu": (silu, silu_backward),  # LLaMA
    "tanh": (tanh, tanh_backward),  # BERT's pooler
    "sigmoid": (logistic, logistic_backward),
    "mish": (mish, mish_backward),
    "relu2": (relu2, relu2_backward),  # Primer
    "relu6": (relu6, relu6_backward),
    "leaky_relu": (leaky_relu, leaky_relu_backward),
    "hardswish": (hardswish, hardswish_backward),
    "linear": (lambda x: (x, None), lambda dy, cache: dy),  # none at all
}


class Activation(Module):
    """y = f(x) elementwise; `name` is one of ACTIVATIONS. It has no parameters."""

    def __init__(self, name):
        if name not in ACTIVATIONS:
            wanted = ", ".join(map(repr, ACTIVATIONS))
            raise ValueError(f"activation is {name!r}, wanted one of {wanted}")
        self.name = name
        self._forward, self._backward = ACTIVATIONS[name]

    def forward(self, x):
        """x: any shape -> y: the same shape"""
        y, cache = self._forward(x)
        self.remember(cache)
        return y

    def backward(self, dy):
        """dy: the shape of x -> dx: the same shape"""
        return self._backward(dy, self.recall())


class GatedActivation(Activation):
    """h = f(g) * u elementwise: a gate, which says how much of u passes. Its f is an Activation."""

    def forward(self, g, u):
        """g, u: the same shape -> h: that shape"""
        if self.name == "silu":
            h, cache = swiglu(g, u)
        else:
            f, f_cache = self._forward(g)
            h, cache = f * u, (f, u, f_cache)
        self.remember(cache)
        return h

    def backward(self, dh):
        """dh: the shape of g -> dg, du: the same shape"""
        cache = self.recall()
        if self.name == "silu":
            return swiglu_backward(dh, cache)
        f, u, f_cache = cache
        return self._backward(dh * u, f_cache), dh * f
