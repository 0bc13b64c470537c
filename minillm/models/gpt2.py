"""GPT-2: Radford, Wu, Child, Luan, Amodei and Sutskever 2019, "Language Models are Unsupervised
Multitask Learners".

A stack of decoder blocks over token and position embeddings, trained to predict the next token:

    ids (B, T) ── wte ─┐
                       + ── dropout ── block 0 ── … ── block L-1 ── ln_f ── wteᵀ ── logits (B, T, V)
    positions ─── wpe ─┘
    block:  x = x + attention(norm1(x));  x = x + feed_forward(norm2(x))

Section 2.3 of the paper changes three things about GPT-1. The layer norms move in front of the
sub-layers ("pre-norm"). One more follows the last block. The weights that write into the residual
stream start smaller by a factor of √(2 L), where 2 L is the number of such writes. The output head
is the embedding table.

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
from minillm.models.gpt2_config import GPT2Config
from minillm.models.gpt2_files import GPT2PreTrainedModel
from minillm.models.positions import attention_positions, position_vectors, sum_over_sequences
from minillm.nn import DecoderBlock, Dropout, Embedding, LayerNorm
from minillm.nn.module import frozen_prefix


class GPT2Model(GPT2PreTrainedModel):
    """GPT-2 without an output head: ids to the vectors after the last layer norm.

    Its parts have the names of the paper's code: wte and wpe (token and position embeddings), drop,
    h (the blocks), ln_f. config.position_embedding replaces wpe by other kinds of positions. `seed`
    determines the initial weights and all dropout. Pass draw_weights=False before loading weights:
    the initial ones are then zeros, which cost no time.
    """

    def __init__(self, config=None, seed=0, draw_weights=True):
        self.config = config = config or GPT2Config()
        self.generation_config = GenerationConfig.from_model_config(config.to_dict())
        self.rng = rng = np.random.default_rng(seed)
        std = config.initializer_range if draw_weights else 0.0
        self.wte = Embedding(config.vocab_size, config.n_embd, rng=rng, std=std)
        self.wpe = position_vectors(config, rng=rng, std=std)
        self.positions = attention_positions(config, config.n_head, config.n_embd // config.n_head,
                                             rng=rng, std=std)
        self.drop = Dropout(config.embd_pdrop, rng)
        self.h = [
            DecoderBlock(
                config.n_embd,
                config.n_head,
                config.d_ff,
                cross_attention=False,
                norm="pre",
                activation=ACTIVATIONS[config.activation_function],
                positions=self.positions,
                scale=config.attention_scale(layer),
                dropout=config.resid_pdrop,
                attention_dropout=config.attn_pdrop,
                eps=config.layer_norm_epsilon,
                rng=rng,
                std=std,
                output_std=std / math.sqrt(2 * config.n_layer),
            )
            for layer in range(config.n_layer)
        ]
        self.ln_f = LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, token_type_ids=None,
                inputs_embeds=None, past_key_values=None, use_cache=False, output_attentions=None,
                output_hidden_states=None, return_dict=True):
        """ids (B, T) -> BaseOutput with last_hidden_state (B, T, d_model)

        token_type_ids: integers (B, T); their embeddings (rows of wte) are added
        For the other arguments see `CausalLM.forward`.
        """
        with DecoderRun(self, "h", past_key_values, use_cache, output_attentions,
                        output_hidden_states, input_ids=input_ids, attention_mask=attention_mask,
                        position_ids=position_ids, token_type_ids=token_type_ids,
                        inputs_embeds=inputs_embeds) as run:
            inputs = run.inputs
            x = self._embed(inputs)
            for layer, block in enumerate(self.h):
                x = block(run.seen(x), position_ids=inputs.positions, key_mask=inputs.key_mask,
                          kv_cache=run.kv_cache(layer))
            x = self.ln_f(x)
        return run.output(x, return_dict)

    @property
    def blocks(self):
        return self.h

    @property
    def final_norm(self):
        return self.ln_f

    @property
    def position_vectors(self):
        """The layer whose output `_embed` adds, or None."""
        return self.wpe

    def _embed(self, inputs):
        """Token embeddings plus position embeddings: (B, T, d_model)"""
        x = self.wte(inputs.ids) if inputs.embeddings is None else inputs.embeddings
        if inputs.token_types is not None:
            x = x + self.wte(inputs.token_types)
        if self.config.scales_embeddings:
            x = x * math.sqrt(self.config.n_embd)
        if self.wpe is not None:
            x = x + self.wpe(inputs.positions)
        self.remember(inputs)
        return self.drop(x)

    def backward(self, dx):
        """dx: (B, T, d_model), the gradient of last_hidden_state

        -> the gradient of inputs_embeds, (B, T, d_model); None for ids, which have none
        """
        inputs = self.recall()
        # Below the lowest layer that learns, gradients are needed only if a trace records them.
        tables = [table for table in (self.wte, self.wpe) if table is not None]
        learns = not all(table.is_frozen() for table in tables) or self.has_traces()
        learns = learns or inputs.embeddings is not None
        dx = self.ln_f.backward(dx)
        for block in reversed(self.h[0 if learns else frozen_prefix(self.h) :]):
            dx = block.backward(dx)
        if learns:
            return self._embed_backward(self.drop.backward(dx), inputs)

    def _embed_backward(self, dx, inputs):
        if self.wpe is not None:
            self.wpe.backward(sum_over_sequences(dx, inputs.positions))
        if self.config.scales_embeddings:
            dx = dx * math.sqrt(self.config.n_embd)
        if inputs.token_types is not None:
            self.wte.backward(dx)
        if inputs.embeddings is not None:
            return dx
        self.wte.backward(dx)


class GPT2LMHeadModel(CausalLM, GPT2PreTrainedModel):
    """GPT-2 with an output head that shares the embedding table (Press and Wolf 2017):

        logits = transformer(ids) wteᵀ

    With config.tie_word_embeddings = False the head has its own matrix.
    """

    base_class = GPT2Model


class GPT2ForSequenceClassification(DecoderForSequenceClassification, GPT2PreTrainedModel):
    """GPT-2 that assigns a text to one of num_labels classes, by its last token."""

    base_class = GPT2Model


class GPT2ForTokenClassification(DecoderForTokenClassification, GPT2PreTrainedModel):
    """GPT-2 that assigns each token to one of num_labels classes."""

    base_class, head_name = GPT2Model, "classifier"
