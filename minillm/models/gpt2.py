"""GPT-2: Radford, Wu, Child, Luan, Amodei and Sutskever 2019, "Language Models are Unsupervised
Multitask Learners".

A stack of decoder blocks over token and position embeddings, trained to guess the next token:

    ids (B, T) ── wte ─┐
                       + ── dropout ── block 0 ── … ── block L-1 ── ln_f ── wteᵀ ── logits (B, T, V)
    positions ─── wpe ─┘
    block:  x = x + attention(norm1(x));  x = x + feed_forward(norm2(x))

What section 2.3 of the paper changes about GPT-1: the normalizations stand before the sub-layers
("pre-norm"), one more stands after the last block, and the weights that write into the residual
stream start smaller by √(2 L), the number of such writes. The output head is the embedding table.

The names of classes and arguments are those of Hugging Face's `transformers`, and so are the files.
"""

import math

import numpy as np

from minillm.generation import CausalLMMixin, GenerationConfig
from minillm.models.gpt2_checkpoint import GPT2PreTrainedModel
from minillm.models.gpt2_config import ACTIVATIONS, GPT2Config
from minillm.models.input_checks import (
    checked_ids,
    checked_labels,
    checked_mask,
    checked_positions,
)
from minillm.models.outputs import BaseOutput, CausalLMOutput, Loss, next_token_loss
from minillm.nn import DecoderBlock, Dropout, Embedding, LayerNorm
from minillm.nn.kv_cache import KVCache
from minillm.ops.cross_entropy import cross_entropy
from minillm.ops.linear import linear, linear_backward


class GPT2Model(GPT2PreTrainedModel):
    """GPT-2 without an output head: ids to the vectors after the last layer norm.

    Its parts have the paper's code's names: wte and wpe (embeddings of tokens and positions),
    drop, h (the blocks), ln_f. `seed` gives the initial weights and all dropout. Whoever has other
    weights at hand says draw_weights=False: then they begin as zeros.
    """

    def __init__(self, config=None, seed=0, draw_weights=True):
        self.config = config = config or GPT2Config()
        self.generation_config = GenerationConfig.from_model_config(config.to_dict())
        self.rng = rng = np.random.default_rng(seed)
        std = config.initializer_range if draw_weights else 0.0
        self.wte = Embedding(config.vocab_size, config.n_embd, rng=rng, std=std)
        self.wpe = Embedding(config.n_positions, config.n_embd, rng=rng, std=std)
        self.drop = Dropout(config.embd_pdrop, rng)
        self.h = [
            DecoderBlock(
                config.n_embd,
                config.n_head,
                config.n_inner or 4 * config.n_embd,
                cross_attention=False,
                norm="pre",
                activation=ACTIVATIONS[config.activation_function],
                dropout=config.resid_pdrop,
                attention_dropout=config.attn_pdrop,
                eps=config.layer_norm_epsilon,
                rng=rng,
                std=std,
                output_std=std / math.sqrt(2 * config.n_layer),
            )
            for _ in range(config.n_layer)
        ]
        self.ln_f = LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None,
                use_cache=False, output_attentions=False, output_hidden_states=False):
        """ids (B, T) -> BaseOutput with last_hidden_state (B, T, d_model)

        For the arguments see `GPT2LMHeadModel.forward`.
        """
        if past_key_values is None and use_cache:
            past_key_values = KVCache()
        n_past = 0 if past_key_values is None else past_key_values.length
        input_ids = checked_ids(input_ids, self.config, n_past)
        B, T = input_ids.shape
        key_mask = checked_mask(attention_mask, (B, n_past + T))
        positions = checked_positions(position_ids, B, T, n_past, self.config.n_positions)

        x = self.wte(input_ids) + self.wpe(positions)
        x = self.drop(x)
        states, attentions = [x], []
        for layer, block in enumerate(self.h):
            kv_cache = None if past_key_values is None else past_key_values.layer(layer)
            x = block(x, key_mask=key_mask, kv_cache=kv_cache, return_weights=output_attentions)
            if output_attentions:
                x, weights = x
                attentions.append(weights)
            if output_hidden_states:
                states.append(x)
        x = self.ln_f(x)
        states[-1] = x

        self.remember(len(positions) == B)
        return BaseOutput(
            x,
            past_key_values,
            tuple(states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )

    def backward(self, dx):
        """dx: (B, T, d_model), that of last_hidden_state. Returns nothing: ids have none."""
        one_position_a_token = self.recall()
        dx = self.ln_f.backward(dx)
        for block in reversed(self.h):
            dx = block.backward(dx)
        dx = self.drop.backward(dx)
        # The rows of a batch usually share the positions (1, T): their gradients add up.
        self.wpe.backward(dx if one_position_a_token else dx.sum(axis=0, keepdims=True))
        self.wte.backward(dx)

    @property
    def body(self):
        return self


class GPT2LMHeadModel(CausalLMMixin, GPT2PreTrainedModel):
    """GPT-2 with its output head, which is the embedding table once more (Press and Wolf 2017):

        logits = transformer(ids) wteᵀ

    A new model is in training mode (dropout on); `from_pretrained` gives one in eval mode.
    """

    prefix = "transformer."

    def __init__(self, config=None, seed=0, draw_weights=True):
        self.transformer = GPT2Model(config, seed, draw_weights)
        self.config = self.transformer.config
        self.generation_config = self.transformer.generation_config

    @property
    def rng(self):
        """The Generator that all dropout draws from."""
        return self.transformer.rng

    def forward(self, input_ids, attention_mask=None, position_ids=None, labels=None,
                past_key_values=None, use_cache=False, output_attentions=False,
                output_hidden_states=False, logits_to_keep=0):
        """Scores for the next token at every position -> CausalLMOutput

        input_ids: integers (B, T)
        attention_mask: (B, T) of 1 (token) and 0 (padding), or (B, past + T) with past_key_values.
            It hides keys. It doesn't move positions: give position_ids with padding on the left.
        position_ids: integers (B, T) or (1, T); by default past, past + 1, …
        labels: (B, T), usually input_ids themselves, -100 where there is nothing to learn. Then
            `loss` is the mean cross-entropy of predicting each label from what is before it.
        past_key_values: a `minillm.nn.kv_cache.KVCache` with the keys and values of the tokens
            before input_ids; those of input_ids are added. use_cache=True starts a new one.
        output_attentions: also return every block's attention weights (B, H, T, keys)
        output_hidden_states: also return the input of every block, and the last hidden state
        logits_to_keep: only the logits of so many last positions; 0 means all. No backward then.

        Raises TypeError and ValueError for inputs of a wrong type or shape, for an id outside the
        vocabulary and for more than n_positions tokens.
        """
        if labels is not None:
            labels = checked_labels(labels, np.shape(input_ids), self.config.vocab_size)
            if logits_to_keep:
                raise ValueError("labels need the logits of all positions, wanted logits_to_keep=0")
        base = self.transformer(input_ids, attention_mask, position_ids, past_key_values,
                                use_cache, output_attentions, output_hidden_states)
        hidden = base.last_hidden_state[:, -logits_to_keep:]
        logits, head_cache = linear(hidden, self.transformer.wte.weight.data, transpose_W=True)

        has_backward = base.past_key_values is None and not logits_to_keep
        self.remember(head_cache if has_backward else None)
        loss = None if labels is None else next_token_loss(self, logits, labels)
        return CausalLMOutput(loss, logits, base.past_key_values, base.hidden_states,
                              base.attentions)

    def loss(self, input_ids, targets):
        """-> the Loss of predicting targets[:, t] from input_ids[:, : t + 1], both (B, T)

        What a training loop has at hand: every token of a batch with the token that follows it, also
        the last. (`labels` of `forward` are not moved yet, so nothing follows the last of them.)
        -100 in targets: not counted.
        """
        logits = self.forward(input_ids).logits
        value, cache = cross_entropy(logits, targets)
        return Loss(value, self, cache, owns_logits=True)

    def backward(self, dlogits):
        """dlogits: (B, T, V); `loss.backward()` computes it and comes here. Fills every .grad."""
        self._require_plain_weights("train")
        head_cache = self.recall()
        dW, accumulate = self.transformer.wte.weight.gradient_target()
        dhidden, _, _ = linear_backward(dlogits, head_cache, dW=dW, accumulate=accumulate)
        # The table was used twice; wte.backward adds the embedding's share to the head's.
        self.transformer.backward(dhidden)

    @property
    def max_positions(self):
        """The longest sequence."""
        return self.config.n_positions

    @property
    def body(self):
        return self.transformer
