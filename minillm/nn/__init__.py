"""Layers that own parameters: each wraps a forward/backward pair of `minillm.ops`, or other layers.

In reading order: module, linear, embedding, layer_norm, dropout, activations, feed_forward,
attention, kv_cache, blocks.
"""

from minillm.nn.activations import Gelu, GeluTanh, Relu, make_activation
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.blocks import DecoderBlock, EncoderBlock
from minillm.nn.dropout import Dropout
from minillm.nn.embedding import Embedding, LearnedPositions, SinusoidalPositions
from minillm.nn.feed_forward import FeedForward
from minillm.nn.kv_cache import KVCache
from minillm.nn.layer_norm import LayerNorm
from minillm.nn.linear import Linear
from minillm.nn.module import Module, Parameter, no_grad

__all__ = [
    "DecoderBlock",
    "Dropout",
    "Embedding",
    "EncoderBlock",
    "FeedForward",
    "Gelu",
    "GeluTanh",
    "KVCache",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "Module",
    "MultiHeadAttention",
    "Parameter",
    "Relu",
    "SinusoidalPositions",
    "make_activation",
    "no_grad",
]
