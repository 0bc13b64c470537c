"""Tokens through a whole decoder in one call of C, where it computes what the layers compute.

The layers are the definition: `CausalLM.forward`, the blocks in minillm/nn/blocks.py. Called one by
one, their kernels cost a block about 100 microseconds of Python for each token. csrc/decode.c calls
the same kernels, so the logits are the same bit for bit. The sequences are the rows of one state,
as in `generate`, or one of each of several states: a server's texts, of different lengths. Whatever
it doesn't know (LoRA updates, ALiBi, another activation, NumPy's kernels, …) runs in the layers; and
everything does while a trace, a debugger or a profiler watches.

Several tokens of a sequence, a draft to verify, are as many rows. Each row attends to the keys up
to its own, one query at a time, so n tokens in one call get the bits of n calls of one token. The
layers read them as one tile of queries, whose sums round otherwise.
"""

import math
import sys
from operator import attrgetter, is_

import numpy as np

from minillm.kernels import dispatch
from minillm.kernels.decode import (
    ACTIVATIONS,
    Decoder,
    NotForC,
    Sequences,
    activation_number,
    is_built,
)
from minillm.nn import (
    DecoderBlock,
    Embedding,
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    Linear,
    OutputHead,
    RMSNorm,
    Rotary,
    SelfAttention,
    SlidingWindow,
)
from minillm.nn.module import inference
from minillm.nn.positions import AttentionPositions
from minillm.nn.trace import active_traces
from minillm.ops.quantized import LARGEST_STEP, QuantizedWeights

_data_of = attrgetter("data")


def extend_in_one_call(model, tokens, states):
    """Read n more tokens of each sequence, (B, n) -> logits (B, n, V), or None: the layers do it

    states: list of one DecodingState of B sequences, or of B of one sequence each
    """
    if (_is_watched() or not 0 < tokens.size <= LARGEST_STEP or dispatch.current() != "c"
            or not all([state.length for state in states]) or not is_built()):
        return None
    step = next((state.whole_step for state in states if state.whole_step is not None), None)
    if step is None or not step.is_current():
        step = WholeStep(model)
    for state in states:
        state.whole_step = step
    return step.logits(tokens, states)


def _is_watched():
    """-> whether a trace, a benchmark, a debugger or a profiler is to see the layers run"""
    return (active_traces() or dispatch.is_observed() or sys.gettrace() is not None
            or sys.getprofile() is not None)


class WholeStep:
    """The addresses of a model's weights, for csrc/decode.c."""

    def __init__(self, model):
        self.model = model
        self.base = base = model.base_model
        self.parameters, self.arrays = [], []  # the Parameters in use, and their arrays
        self.windows, self.rotary = [], None
        self.decoder = decoder = Decoder(len(base.blocks))
        try:
            for block, target in zip(base.blocks, decoder.blocks):
                self._set_block(block, target)
            self._set_norm(decoder.call.norm, base.final_norm)
            _require_type(model.lm_head, OutputHead)
            self._set_linear(decoder.call.head, model.lm_head, transposed=True)
            decoder.call.d = decoder.call.head.K
            self._set_embedding()
        except NotForC:
            self.decoder = None

    def is_current(self):
        """-> whether no Parameter has got another array since"""
        return all(map(is_, map(_data_of, self.parameters), self.arrays))

    def logits(self, tokens, states):
        """-> logits (B, n, V), or None for a number or a length that only the layers can handle"""
        decoder, (_, n) = self.decoder, tokens.shape
        lengths = [state.length for state in states]
        if decoder is None or not self._can_read(tokens, max(lengths) + n):
            return None
        mask, positions = states[0].mask_and_positions(n) if len(states) == 1 else (None, None)
        if positions is None:
            positions = np.array(lengths)[:, None]
            if n > 1:
                positions = np.broadcast_to(positions + np.arange(n), tokens.shape)
        elif mask.all():
            mask = None
        x = self._embed(tokens.ravel(), positions.ravel())
        if self.rotary is not None:
            decoder.set_rotation(*self._rotation(positions, x.dtype, len(states)))
        rows = [row for state in states for row in _sequences(state, n, mask)]
        logits = decoder.run(x, rows)
        for state in states:
            for layer in state.cache.layers:
                layer.length += n
        return logits.reshape(*tokens.shape, -1)

    def _can_read(self, tokens, length):
        """tokens: (B, n), after which the longest sequence has this length"""
        limit = self.base.config.position_limit
        return (all([window >= length for window in self.windows])
                and (limit is None or length <= limit) and self._are_ids(tokens)
                and (tokens.shape[1] == 1 or self.rotary is None
                     or not self.rotary.depends_on_length))

    def _rotation(self, positions, dtype, n_states):
        """positions: (., n), of one sequence or all -> cos, sin, as `Decoder.set_rotation` takes
        them"""
        if n_states == 1 or not self.rotary.depends_on_length:
            return self.rotary.cos_and_sin(positions, dtype)
        tables = [self.rotary.cos_and_sin(position[None], dtype) for position in positions]
        return [np.concatenate(each) for each in zip(*tables)]

    def _are_ids(self, tokens):
        """-> whether all tokens are ids of the vocabulary; if not, the layers raise the error"""
        return (tokens.dtype.kind in "iu" and tokens.min() >= 0
                and tokens.max() < self.base.config.vocab_size)

    def _embed(self, tokens, positions):
        """tokens: (rows,), positions: of one or all -> (rows, d), what the base model's _embed
        returns

        Calling its layers takes five times as long.
        """
        config, layer = self.base.config, self.base.position_vectors
        x = _rows(self.vectors.weight.data, tokens)
        if config.scales_embeddings:
            x = x * math.sqrt(config.hidden_size)
        if type(layer) is Embedding:
            x = x + _rows(layer.weight.data, positions)
        elif layer is not None:
            with inference(self.model):
                x = x + layer(positions[:, None]).reshape(-1, x.shape[1])
        return x

    # ---- from layers to addresses; NotForC where csrc/decode.c doesn't know one

    def _set_embedding(self):
        definition = next(kind for kind in type(self.base).__mro__ if "_embed" in vars(kind))
        if "position_vectors" not in vars(definition):  # a subclass that embeds in its own way
            raise NotForC
        self.vectors = self.model.get_input_embeddings()
        _require_type(self.vectors, Embedding)
        if self.vectors.weight.shape[0] != self.base.config.vocab_size:
            raise NotForC

    def _set_block(self, block, target):
        _require_type(block, DecoderBlock)
        attention, network, call = block.attention, block.feed_forward, self.decoder.call
        if block.residual_cross is not None or not block.residual1.is_pre_norm:
            raise NotForC
        _require_type(attention, SelfAttention)
        self._set_positions(attention.positions)
        self._set_norm(target.norm1, block.norm1)
        self._set_norm(target.norm2, block.norm2)
        if attention.q_norm is not None:
            self._set_norm(target.q_norm, attention.q_norm)
            self._set_norm(target.k_norm, attention.k_norm)
        call.H, call.Hkv, call.D = attention.n_heads, attention.n_kv_heads, attention.head_dim
        target.scale = 1 / math.sqrt(attention.head_dim)
        if attention.scale is not None:
            target.scale = attention.scale
        gated = type(network) is GatedFeedForward
        name = network.activation.name
        if name not in ACTIVATIONS or (name == "silu") != gated:
            raise NotForC
        _require_type(network, GatedFeedForward if gated else FeedForward)
        call.activation = activation_number(name)
        for layer, parts in ((attention, ("qkv", "output")),
                             (network, ("expand", "contract") + ("gate",) * gated)):
            for part in parts:
                _require_type(getattr(layer, part), Linear)
                self._set_linear(getattr(target, part), getattr(layer, part))

    def _set_positions(self, positions):
        if type(positions) is SlidingWindow:
            self.windows.append(positions.window)
            positions = positions.positions
        if type(positions) is AttentionPositions:
            return
        _require_type(positions, Rotary)
        if self.rotary not in (None, positions):
            raise NotForC
        self.rotary = positions
        self.decoder.call.interleaved = positions.interleaved

    def _set_norm(self, target, norm):
        if type(norm) not in (LayerNorm, RMSNorm):
            raise NotForC
        bias = self._array(norm.bias) if type(norm) is LayerNorm else None
        self.decoder.set_norm(target, self._array(norm.weight), bias, norm.eps)

    def _set_linear(self, target, layer, transposed=False):
        W = self._array(layer.weight)
        bias = None if layer.bias is None else self._array(layer.bias)
        if isinstance(W, QuantizedWeights):
            self.decoder.set_stored_linear(target, W.values, W.scale, W.n_inputs, bias)
        else:
            self.decoder.set_linear(target, W, bias, transposed)

    def _array(self, parameter):
        self.parameters.append(parameter)
        self.arrays.append(parameter.data)
        return parameter.data


def _sequences(state, n, key_mask):
    """-> the addresses of the state's sequences, with room for n more tokens, one for each token"""
    layers, length = state.cache.layers, state.length
    for layer in layers:
        layer.make_room(n)
    if state.sequences is None or not state.sequences.are_of(layers, n):
        state.sequences = Sequences(layers, n)
    return state.sequences.at(length, n, key_mask)


def _rows(table, ids):
    return table.rows(ids) if isinstance(table, QuantizedWeights) else table[ids]


def _require_type(layer, kind):
    """A subclass may compute something else."""
    if type(layer) is not kind:
        raise NotForC
