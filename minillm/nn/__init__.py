"""Layers: each owns its parameters and wraps a forward/backward pair of `minillm.ops`, or layers.

In reading order: module, layers, feed_forward, positions, attention, blocks; lora, which fine-tunes
with few numbers; trace and loss; kv_cache; pooling and contrastive_loss, for sentence embeddings;
per_example, the gradients of single examples; recompute, training in less memory.
"""

from minillm.nn.attention import CrossAttention, MultiHeadAttention, SelfAttention
from minillm.nn.blocks import DecoderBlock, EncoderBlock, Residual
from minillm.nn.contrastive_loss import contrastive_loss
from minillm.nn.feed_forward import FeedForward, GatedFeedForward
from minillm.nn.kv_cache import EncoderDecoderCache, KVCache, LayerCache, SlotCaches
from minillm.nn.layers import (
    Activation,
    Dropout,
    Embedding,
    GatedActivation,
    LayerNorm,
    Linear,
    OutputHead,
    RMSNorm,
)
from minillm.nn.lora import LoRA, LoRALinear
from minillm.nn.loss import Loss, cross_entropy_loss
from minillm.nn.module import Module, Parameter, no_grad
from minillm.nn.pooling import L2Normalize, Pooling
from minillm.nn.positions import (
    Alibi,
    AttentionPositions,
    LearnedPositions,
    RelativeBias,
    Rotary,
    SinusoidalEmbedding,
    SinusoidalPositions,
    SlidingWindow,
)
from minillm.nn.trace import trace

__all__ = [
    "Activation",
    "Alibi",
    "AttentionPositions",
    "CrossAttention",
    "DecoderBlock",
    "Dropout",
    "Embedding",
    "EncoderBlock",
    "EncoderDecoderCache",
    "FeedForward",
    "GatedActivation",
    "GatedFeedForward",
    "KVCache",
    "L2Normalize",
    "LayerCache",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "LoRA",
    "LoRALinear",
    "Loss",
    "Module",
    "MultiHeadAttention",
    "OutputHead",
    "Parameter",
    "Pooling",
    "RMSNorm",
    "RelativeBias",
    "Residual",
    "Rotary",
    "SelfAttention",
    "SinusoidalEmbedding",
    "SinusoidalPositions",
    "SlidingWindow",
    "SlotCaches",
    "contrastive_loss",
    "cross_entropy_loss",
    "no_grad",
    "trace",
]
