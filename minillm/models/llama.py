"""Llama: Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models"; with Mistral
(Jiang et al. 2023), Qwen2 and Qwen3 (Yang et al. 2024, 2025) and Apertus (Apertus project 2025),
which change a line or two each.

    ids (B, T) ── embed_tokens ── block 0 ── … ── block L-1 ── norm ── head ── logits (B, T, V)

    block:  x = x + attention(norm1(x));  x = x + feed_forward(norm2(x))

Section 2.2 of the paper names three changes to the GPT of 2019; grouped-query attention is Llama 2's:

    norms           RMSNorm, without mean and bias, instead of layer norm    (Zhang & Sennrich 2019)
    feed-forward    SwiGLU, a gate of SiLU, instead of GELU                  (Shazeer 2020)
    positions       rotary, in every attention, instead of learned vectors   (Su et al. 2021)
    keys, values    fewer heads than queries have                            (Ainslie et al. 2023)

No linear map has a bias, except those of Qwen2's queries, keys and values. In Mistral a query sees
only the last sliding_window keys. Qwen3 and Apertus normalize every query and key (Henry et al.
2020). Apertus's feed-forward network has no gate: with squared ReLU (So et al. 2021) it is the
architecture of `minillm experiment speedrun`. The paper doesn't say how weights start; here, as in
GPT-2, those that write into the residual stream start smaller by a factor of √(2 L); those of a new
Apertus start at zero, so that every block returns its input at first.

Classes, arguments and files are named as in Hugging Face's `transformers`.
"""

import math

import numpy as np

from minillm.generation import GenerationConfig
from minillm.models.causal_lm import CausalLM
from minillm.models.classifiers import (
    DecoderForSequenceClassification,
    DecoderForTokenClassification,
)
from minillm.models.config import ACTIVATIONS
from minillm.models.decoder_run import DecoderRun
from minillm.models.llama_config import ApertusConfig, MistralConfig, Qwen2Config, Qwen3Config
from minillm.models.llama_files import APERTUS_TABLE, LlamaPreTrainedModel
from minillm.models.positions import attention_positions, position_vectors, sum_over_sequences
from minillm.models.rope import rotary_positions
from minillm.nn import (
    DecoderBlock,
    Dropout,
    Embedding,
    FeedForward,
    GatedFeedForward,
    RMSNorm,
    SlidingWindow,
)
from minillm.nn.module import frozen_prefix

FEED_FORWARDS = {"plain": FeedForward, "gated": GatedFeedForward}


class LlamaModel(LlamaPreTrainedModel):
    """Llama without an output head: ids to the vectors after the last norm.

    `seed` determines the initial weights and all dropout. Pass draw_weights=False before loading
    weights: the initial ones are then zeros, which cost no time. config.position_embedding replaces
    the rotary positions by another kind; vectors that are added are then in `embed_positions`.
    """

    def __init__(self, config=None, seed=0, draw_weights=True):
        self.config = config = config or self.config_class()
        self.generation_config = GenerationConfig.from_model_config(config.to_dict())
        self.rng = rng = np.random.default_rng(seed)
        std = config.initializer_range if draw_weights else 0.0
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size,
                                      padding_id=config.pad_token_id, rng=rng, std=std)
        self.embed_positions = position_vectors(config, rng=rng, std=std)
        self.drop = Dropout(config.hidden_dropout_prob, rng)
        self.positions = self._attention_positions(config, rng, std)
        output_std = std / math.sqrt(2 * config.num_hidden_layers)
        if config.zero_output_init:
            output_std = 0.0
        self.layers = [
            DecoderBlock(
                config.hidden_size,
                config.num_attention_heads,
                config.intermediate_size,
                cross_attention=False,
                norm="pre",
                make_norm=RMSNorm,
                eps=config.rms_norm_eps,
                n_kv_heads=config.num_key_value_heads,
                head_dim=config.head_dim,
                positions=self._within_window(layer),
                qk_norm=config.qk_norm,
                norm_eps=config.rms_norm_eps,
                qkv_bias=config.qkv_bias,
                output_bias=config.output_bias,
                make_feed_forward=FEED_FORWARDS[config.feed_forward],
                activation=ACTIVATIONS[config.hidden_act],
                bias=config.feed_forward_bias,
                dropout=config.hidden_dropout_prob,
                attention_dropout=config.attention_dropout,
                rng=rng,
                std=std,
                output_std=output_std,
            )
            for layer in range(config.num_hidden_layers)
        ]
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def _attention_positions(self, config, rng, std):
        if config.position_embedding == "rotary":
            return rotary_positions(config.rope_parameters, config.head_dim,
                                    config.max_position_embeddings)
        return attention_positions(config, config.num_attention_heads, config.head_dim, rng=rng,
                                   std=std)

    def _within_window(self, layer):
        """-> the positions of block `layer`: those of all blocks, with a window if it has one"""
        window = self.config.window(layer)
        if window is None:
            return self.positions
        return SlidingWindow(self.config.num_attention_heads, window, self.positions)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, inputs_embeds=None,
                past_key_values=None, use_cache=False, output_attentions=None,
                output_hidden_states=None, return_dict=True):
        """ids (B, T) -> BaseOutput with last_hidden_state (B, T, d_model)

        For the arguments see `CausalLM.forward`.
        """
        with DecoderRun(self, "layers", past_key_values, use_cache, output_attentions,
                        output_hidden_states, input_ids=input_ids, attention_mask=attention_mask,
                        position_ids=position_ids, inputs_embeds=inputs_embeds) as run:
            inputs = run.inputs
            x = self._embed(inputs)
            for layer, block in enumerate(self.layers):
                x = block(run.seen(x), position_ids=inputs.positions, key_mask=inputs.key_mask,
                          kv_cache=run.kv_cache(layer))
            x = self.norm(x)
        return run.output(x, return_dict)

    @property
    def blocks(self):
        return self.layers

    @property
    def final_norm(self):
        return self.norm

    @property
    def position_vectors(self):
        """The layer whose output `_embed` adds, or None."""
        return self.embed_positions

    def _embed(self, inputs):
        """Token embeddings: (B, T, d_model); plus vectors for the positions, if the kind has any"""
        x = self.embed_tokens(inputs.ids) if inputs.embeddings is None else inputs.embeddings
        if self.config.scales_embeddings:
            x = x * math.sqrt(self.config.hidden_size)
        if self.embed_positions is not None:
            x = x + self.embed_positions(inputs.positions)
        self.remember(inputs)
        return self.drop(x)

    def backward(self, dx):
        """dx: (B, T, d_model), the gradient of last_hidden_state

        -> the gradient of inputs_embeds, (B, T, d_model); None for ids, which have none
        """
        inputs = self.recall()
        # Below the lowest layer that learns, gradients are needed only if a trace records them.
        tables = [self.embed_tokens, self.embed_positions]
        learns = self.has_traces() or not all(
            table is None or table.is_frozen() for table in tables)
        learns = learns or inputs.embeddings is not None
        dx = self.norm.backward(dx)
        for block in reversed(self.layers[0 if learns else frozen_prefix(self.layers) :]):
            dx = block.backward(dx)
        if learns:
            return self._embed_backward(self.drop.backward(dx), inputs)

    def _embed_backward(self, dx, inputs):
        if self.embed_positions is not None:
            self.embed_positions.backward(sum_over_sequences(dx, inputs.positions))
        if self.config.scales_embeddings:
            dx = dx * math.sqrt(self.config.hidden_size)
        return dx if inputs.embeddings is not None else self.embed_tokens.backward(dx)


class LlamaForCausalLM(CausalLM, LlamaPreTrainedModel):
    """Llama with an output head, which has its own matrix unless config.tie_word_embeddings."""

    base_class = LlamaModel


class LlamaForSequenceClassification(DecoderForSequenceClassification, LlamaPreTrainedModel):
    """Llama that assigns a text to one of num_labels classes, by its last token."""

    base_class = LlamaModel


class LlamaForTokenClassification(DecoderForTokenClassification, LlamaPreTrainedModel):
    """Llama that assigns each token to one of num_labels classes."""

    base_class = LlamaModel


class MistralModel(LlamaModel):
    """Mistral without an output head."""

    config_class = MistralConfig


class MistralForCausalLM(LlamaForCausalLM):
    """Mistral with an output head."""

    config_class, base_class = MistralConfig, MistralModel


class MistralForSequenceClassification(LlamaForSequenceClassification):
    config_class, base_class = MistralConfig, MistralModel


class MistralForTokenClassification(LlamaForTokenClassification):
    config_class, base_class = MistralConfig, MistralModel


class Qwen2Model(LlamaModel):
    """Qwen2 without an output head."""

    config_class = Qwen2Config


class Qwen2ForCausalLM(LlamaForCausalLM):
    """Qwen2 with an output head."""

    config_class, base_class = Qwen2Config, Qwen2Model


class Qwen2ForSequenceClassification(LlamaForSequenceClassification):
    config_class, base_class = Qwen2Config, Qwen2Model


class Qwen2ForTokenClassification(LlamaForTokenClassification):
    config_class, base_class = Qwen2Config, Qwen2Model


class Qwen3Model(LlamaModel):
    """Qwen3 without an output head."""

    config_class = Qwen3Config


class Qwen3ForCausalLM(LlamaForCausalLM):
    """Qwen3 with an output head."""

    config_class, base_class = Qwen3Config, Qwen3Model


class Qwen3ForSequenceClassification(LlamaForSequenceClassification):
    config_class, base_class = Qwen3Config, Qwen3Model


class Qwen3ForTokenClassification(LlamaForTokenClassification):
    config_class, base_class = Qwen3Config, Qwen3Model


class ApertusModel(LlamaModel):
    """Apertus without an output head."""

    config_class, weight_table = ApertusConfig, APERTUS_TABLE


class ApertusForCausalLM(LlamaForCausalLM):
    """Apertus with an output head."""

    config_class, base_class, weight_table = ApertusConfig, ApertusModel, APERTUS_TABLE


class ApertusForTokenClassification(LlamaForTokenClassification):
    config_class, base_class, weight_table = ApertusConfig, ApertusModel, APERTUS_TABLE
