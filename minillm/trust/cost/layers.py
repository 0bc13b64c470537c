"""What each layer of a model costs: its parameters, its operations, and what it keeps.

A multiply-add is two operations. A linear map of N rows from d_in to d_out costs

    forward   y  = x W        2 N d_in d_out
    backward  dx = dy Wᵀ      2 N d_in d_out
              dW = xᵀ dy      2 N d_in d_out

and attention, for each of B H heads and P pairs of a query and a key that it sees, of D numbers,

    forward   S = Q Kᵀ, P V                              2 · 2 P D
    backward  S again, dV = Pᵀ dO, dP = dO Vᵀ, dQ, dK    5 · 2 P D

because the streaming kernel doesn't keep S (Dao et al. 2022, appendix B.2). A block that recomputes
(nn/recompute.py) has its forward in the backward once more; so has an output head whose logits are
too large to be kept (ops/linear_cross_entropy.py). Everything else costs
operations in proportion to N d, without a factor d: thousands of times less; these aren't counted.
"""

import math
from dataclasses import dataclass

from minillm.kernels.work import attention_pairs
from minillm.models.bert import BertPooler, BertPredictionHead
from minillm.nn import (
    CrossAttention,
    DecoderBlock,
    Dropout,
    Embedding,
    EncoderBlock,
    GatedFeedForward,
    Linear,
    MultiHeadAttention,
    OutputHead,
    RMSNorm,
    Rotary,
    SlidingWindow,
)
from minillm.ops import linear_cross_entropy

FLOAT = 4  # bytes
PARTS = ("embeddings", "attention projections", "attention scores", "feed-forward", "norms", "head")
OF_TEXTS = ("pooler", "seq_relationship", "score")  # layers that see one vector a text


@dataclass(frozen=True)
class Workload:
    """The shape of one batch.

    batch: B;  length: T, the tokens of a sequence; for an encoder-decoder, of a target
    source: S, the tokens of an encoder-decoder's source
    predicted: how many positions a BERT in pre-training predicts; None: all of them
    past: the tokens that a key-value cache holds already
    scored: the positions of a sequence that get logits; None: all of them
    passes: how often the model runs, on a part of the sequences each time
    recompute: whether the backward computes anew what the blocks would keep
    """

    batch: int
    length: int
    source: int = 0
    predicted: int | None = None
    past: int = 0
    scored: int | None = None
    passes: int = 1
    recompute: bool = False

    @property
    def tokens(self):
        """The tokens of the batch, sources included."""
        return self.batch * (self.length + self.source)


@dataclass
class Layer:
    """One layer: learned numbers, and operations of its products in one batch."""

    name: str
    part: str
    parameters: int = 0
    forward: int = 0
    backward: int = 0


def layers(model, workload):
    """-> list of a Layer for each layer of `model` that has parameters or products

    model: built with draw_weights=False, its weights take no memory
    """
    found, seen = [], set()
    blocks = tuple(f"{name}." for name, module in model.named_modules() if _is_block(module))
    for name, module in model.named_modules():
        own = [parameter for parameter in _own_parameters(module) if id(parameter) not in seen]
        seen.update(map(id, own))
        layer = Layer(name, part_of(name, module), sum(parameter.size for parameter in own))
        if isinstance(module, MultiHeadAttention):
            layer.forward, layer.backward = _attention(name, module, workload)
        elif isinstance(module, (Linear, OutputHead)):
            products = 2 * rows(name, module, model, workload) * math.prod(module.weight.shape)
            layer.forward, layer.backward = products, 2 * products
        if ((isinstance(module, OutputHead) and loses_logits(model, workload))
                or (workload.recompute and name.startswith(blocks))):
            layer.backward += layer.forward
        if layer.parameters or layer.forward:
            found.append(layer)
    return found


def _is_block(module):
    return isinstance(module, (EncoderBlock, DecoderBlock))


def loses_logits(model, workload):
    """-> whether the logits of a training step are too large to exist together"""
    return workload.scored is None and chunk_bytes(model, workload) is not None


def chunk_bytes(model, workload):
    """-> bytes of the logits of a chunk, at most; None if the loss is computed at once"""
    head = getattr(model, "lm_head", None)
    if head is None:
        return None
    N, row = workload.batch * workload.length, FLOAT * len(head.weight.data)
    if N * row <= linear_cross_entropy.LARGE:
        return None
    return row * max(part.stop - part.start for part in linear_cross_entropy.chunks_of(N, row))


def by_part(found):
    """-> {part: Layer}, the sums of a list of Layers, without parts that the model lacks"""
    sums = {part: Layer(part, part) for part in PARTS}
    for layer in found:
        total = sums[layer.part]
        total.parameters += layer.parameters
        total.forward += layer.forward
        total.backward += layer.backward
    return {part: total for part, total in sums.items() if total.parameters or total.forward}


def part_of(name, module):
    words = name.split(".")
    if isinstance(module, MultiHeadAttention):
        return "attention scores"
    if isinstance(module, Embedding) or words[-1] in ("wpe", "embed_positions"):
        return "embeddings"
    if "attention" in words or "cross_attention" in words or words[-1] == "positions":
        return "attention projections"
    if "feed_forward" in words:
        return "feed-forward"
    if isinstance(module, (Linear, OutputHead)):
        return "head"
    return "norms"


def _own_parameters(module):
    """-> list of the Parameters that are attributes of the module itself"""
    return [child for _, child in module.named_children() if hasattr(child, "zero_grad")
            and not hasattr(child, "named_children")]


def rows(name, module, model, workload):
    """-> N, how many vectors a Linear or an OutputHead is applied to"""
    words = name.split(".")
    B, T = workload.batch, workload.length
    if any(word in OF_TEXTS for word in words) or _classifies_texts(words, model):
        return B
    if "predictions" in words and workload.predicted is not None:
        return workload.predicted
    if workload.source and ("encoder" in words or words[-1] == "key_value"):
        return 0 if workload.past else B * workload.source  # later tokens read the cached memory
    if isinstance(module, OutputHead) and workload.scored is not None:
        return B * workload.scored
    return B * T


def _classifies_texts(words, model):
    return words[-1] == "classifier" and type(model).__name__.endswith("SequenceClassification")


def _attention(name, module, workload):
    """-> operations of a forward and of a backward"""
    T = S = workload.length
    if workload.source and "encoder" in name.split("."):
        if workload.past:
            return 0, 0
        T = S = workload.source
    elif isinstance(module, CrossAttention):
        S = workload.source
    else:
        S += workload.past
        if workload.past and isinstance(module.positions, SlidingWindow):
            S = min(S, module.positions.window - 1 + T)
    pairs = attention_pairs(T, S, module.causal)
    product = 2 * workload.batch * module.n_heads * pairs * module.head_dim
    return 2 * product, 5 * product


# ---- what a forward keeps for the backward: numbers, by the arrays of nn/blocks.py


def kept_bytes(model, workload):
    """-> bytes of all that a forward in training keeps, without the logits"""
    if workload.recompute:
        inputs = sum(FLOAT * N * block.attention.d_model for block, N in _blocks(model, workload))
        return inputs + _around_blocks(model, workload)
    return sum(_all_blocks(model, workload)) + _around_blocks(model, workload)


def recomputed_bytes(model, workload):
    """-> bytes that exist in the backward for one block at a time, the largest"""
    return max(_all_blocks(model, workload)) if workload.recompute else 0


def _all_blocks(model, workload):
    """-> list of the bytes that each block keeps, or makes in its backward"""
    N_memory = workload.batch * workload.source
    return [block_bytes(block, N, N_memory) for block, N in _blocks(model, workload)]


def _blocks(model, workload):
    """Yield (block, the number of vectors that it is applied to)."""
    for name, module in model.named_modules():
        if _is_block(module):
            of_source = workload.source and "encoder" in name.split(".")
            yield module, workload.batch * (workload.source if of_source else workload.length)


def block_bytes(block, N, N_memory=0):
    """-> bytes that a block keeps for N vectors, and for N_memory of a memory"""
    d, attention = block.attention.d_model, block.attention
    H, Hkv, D = attention.n_heads, attention.n_kv_heads, attention.head_dim
    numbers = N * (H + 2 * Hkv) * D + N * H * D + N * H  # Q K V; the heads; lse
    if isinstance(_within(attention.positions), Rotary):
        numbers += N * (H + Hkv) * D  # the rotated queries and keys
    if attention.q_norm is not None:
        numbers += N * (H + Hkv) * (D + 1)  # what enters their norms, and its inverse rms
    sublayers = 2
    if getattr(block, "residual_cross", None) is not None:
        cross = block.cross_attention
        kv = cross.n_kv_heads * cross.head_dim
        numbers += 2 * N * cross.n_heads * cross.head_dim + N * cross.n_heads + N_memory * 2 * kv
        sublayers = 3
    # Of each sub-layer, the sum that enters its norm and the norm's result.
    statistics = 1 if isinstance(block.norm1, RMSNorm) else 2
    numbers += sublayers * N * (2 * d + statistics)
    bits = sublayers * N * d if block.dropout1.p else 0  # which numbers dropout kept, a byte each
    return FLOAT * numbers + bits + _feed_forward_bytes(block.feed_forward, N)


def _feed_forward_bytes(network, N):
    d_ff = network.contract.weight.shape[0]
    wide = 3 if isinstance(network, GatedFeedForward) else 2  # before and after the nonlinearity
    if wide == 2 and network.activation.name == "relu":
        return N * d_ff * (FLOAT + 1)  # the result; and a byte: where it is positive
    if network.dropout.p:
        return N * d_ff * (FLOAT * wide + 1)
    return FLOAT * N * d_ff * wide


def _around_blocks(model, workload):
    """-> bytes that the embeddings, the last norm and the head keep"""
    total = 0
    for name, module in model.named_modules():
        of_source = workload.source and "encoder" in name.split(".")
        N = workload.batch * (workload.source if of_source else workload.length)
        if isinstance(module, Dropout) and module.p and name.split(".")[-1] in ("drop", "dropout"):
            if "feed_forward" not in name:
                total += N * _width(model)  # a byte each
        elif name.split(".")[-1] in ("ln_f", "norm", "layer_norm"):
            total += FLOAT * N * (_width(model) + 2) * (2 if "embeddings" in name else 1)
        elif isinstance(module, BertPredictionHead):
            n = N if workload.predicted is None else workload.predicted
            total += FLOAT * 4 * n * _width(model)
        elif isinstance(module, BertPooler):
            total += FLOAT * 3 * workload.batch * _width(model)
    last = FLOAT * workload.batch * workload.length * _width(model)  # what the last block returns
    return total + last


def _width(model):
    return model.config.hidden_size


def _within(positions):
    return positions.positions if isinstance(positions, SlidingWindow) else positions
