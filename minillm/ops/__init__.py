"""The mathematics: pure functions in forward/backward pairs, one concept a file.

Every forward returns its result and a cache, a NamedTuple of what the backward needs. Every
backward takes the gradient of the loss with respect to the result, and the cache; its derivation
stands right above it. Gradients are named like what they belong to: dx is ∂loss/∂x.
"""

from minillm.ops.attention import (
    attention,
    attention_backward,
    streaming_attention,
    streaming_attention_backward,
)
from minillm.ops.cross_entropy import cross_entropy, cross_entropy_backward
from minillm.ops.dropout import dropout, dropout_backward
from minillm.ops.embedding import embedding, embedding_backward
from minillm.ops.erf import erf
from minillm.ops.gelu import gelu, gelu_backward, gelu_tanh, gelu_tanh_backward
from minillm.ops.layer_norm import layer_norm, layer_norm_backward
from minillm.ops.linear import linear, linear_backward
from minillm.ops.positions import sinusoidal_positions
from minillm.ops.relu import relu, relu_backward
from minillm.ops.softmax import (
    log_softmax,
    log_softmax_backward,
    log_sum_exp,
    softmax,
    softmax_backward,
)

__all__ = [
    "attention",
    "attention_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout",
    "dropout_backward",
    "embedding",
    "embedding_backward",
    "erf",
    "gelu",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "log_sum_exp",
    "relu",
    "relu_backward",
    "sinusoidal_positions",
    "softmax",
    "softmax_backward",
    "streaming_attention",
    "streaming_attention_backward",
]
