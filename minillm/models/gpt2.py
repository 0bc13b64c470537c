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
from contextlib import nullcontext

import numpy as np

from minillm.generation import CausalLMMixin, GenerationConfig
from minillm.models.gpt2_config import ACTIVATIONS, GPT2Config
from minillm.models.gpt2_files import GPT2PreTrainedModel
from minillm.models.input_checks import DecoderInputs, checked_labels
from minillm.models.outputs import BaseOutput, CausalLMOutput
from minillm.nn import DecoderBlock, Dropout, Embedding, KVCache, LayerNorm, OutputHead
from minillm.nn.layers import normal
from minillm.nn.loss import next_token_loss
from minillm.nn.module import Parameter, frozen_prefix, no_grad_if
from minillm.nn.trace import trace


class GPT2Model(GPT2PreTrainedModel):
    """GPT-2 without an output head: ids to the vectors after the last layer norm.

    Its parts have the names of the paper's code: wte and wpe (token and position embeddings), drop,
    h (the blocks), ln_f. `seed` determines the initial weights and all dropout. Pass
    draw_weights=False before loading weights: the initial ones are then zeros, which cost no time.
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
                config.d_ff,
                cross_attention=False,
                norm="pre",
                activation=ACTIVATIONS[config.activation_function],
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

        Takes the arguments of `GPT2LMHeadModel.forward`, except labels and logits_to_keep.
        """
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if past_key_values is None and use_cache:
            past_key_values = KVCache()
        inputs = DecoderInputs(self.config, past_key_values, input_ids, attention_mask,
                               position_ids, token_type_ids, inputs_embeds)
        watch = trace(self, "h.*.attention.weights") if output_attentions else nullcontext()
        with no_grad_if(past_key_values is not None), watch as traced:
            x = self._embed(inputs)
            states = [x]
            for layer, block in enumerate(self.h):
                kv_cache = None if past_key_values is None else past_key_values.layer(layer)
                x = block(x, key_mask=inputs.key_mask, kv_cache=kv_cache)
                states.append(x)
            x = self.ln_f(x)
            states[-1] = x

        weights = [traced[f"h.{layer}.attention.weights"]
                   for layer in range(len(self.h) if output_attentions else 0)]
        output = BaseOutput(
            x,
            past_key_values,
            tuple(states) if output_hidden_states else None,
            tuple(weights) if output_attentions else None,
        )
        return output if return_dict else output.to_tuple()

    def _embed(self, inputs):
        """Token embeddings plus position embeddings: (B, T, d_model)"""
        x = self.wte(inputs.ids) if inputs.embeddings is None else inputs.embeddings
        x = x + self.wpe(inputs.positions)
        if inputs.token_types is not None:
            x = x + self.wte(inputs.token_types)
        self.remember(inputs)
        return self.drop(x)

    def backward(self, dx):
        """dx: (B, T, d_model), the gradient of last_hidden_state

        -> the gradient of inputs_embeds, (B, T, d_model); None for ids, which have none
        """
        inputs = self.recall()
        # Below the lowest layer that learns, gradients are needed only if a trace records them.
        learns = not (self.wte.is_frozen() and self.wpe.is_frozen()) or self.has_traces()
        learns = learns or inputs.embeddings is not None
        dx = self.ln_f.backward(dx)
        for block in reversed(self.h[0 if learns else frozen_prefix(self.h) :]):
            dx = block.backward(dx)
        if learns:
            return self._embed_backward(self.drop.backward(dx), inputs)

    def _embed_backward(self, dx, inputs):
        if inputs.token_types is not None:
            self.wte.backward(dx)
        # The sequences of a batch usually share their positions (1, T): sum their gradients.
        B = len(dx)
        self.wpe.backward(dx if len(inputs.positions) == B else dx.sum(axis=0, keepdims=True))
        if inputs.embeddings is not None:
            return dx
        self.wte.backward(dx)


class GPT2LMHeadModel(CausalLMMixin, GPT2PreTrainedModel):
    """GPT-2 with an output head that shares the embedding table (Press and Wolf 2017):

        logits = transformer(ids) wteᵀ

    With config.tie_word_embeddings = False the head has its own matrix. A new model is in training
    mode (dropout on); `from_pretrained` returns one in eval mode.
    """

    has_lm_head = True

    def __init__(self, config=None, seed=0, draw_weights=True):
        self.transformer = GPT2Model(config, seed, draw_weights)
        self.config = config = self.transformer.config
        table = self.transformer.wte.weight
        if not config.tie_word_embeddings:
            std = config.initializer_range if draw_weights else 0.0
            table = Parameter(normal(self.rng, table.shape, std))
        self.lm_head = OutputHead(table)
        self.generation_config = self.transformer.generation_config

    @property
    def rng(self):
        """The Generator of all dropout."""
        return self.transformer.rng

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, labels=None,
                token_type_ids=None, inputs_embeds=None, past_key_values=None, use_cache=False,
                output_attentions=None, output_hidden_states=None, logits_to_keep=0,
                return_dict=True):
        """Score the next token at every position -> CausalLMOutput

        input_ids: integers (B, T)
        attention_mask: (B, T), 1 at tokens and 0 at padding, or (B, past + T) with past_key_values.
            It hides keys but doesn't shift positions: with padding on the left, pass position_ids.
        position_ids: integers (B, T) or (1, T); default: past, past + 1, …
        labels: (B, T), usually input_ids, with -100 at positions to ignore. `loss` is then the mean
            cross-entropy of predicting each label from the tokens before it.
        token_type_ids: integers (B, T); their embeddings (rows of wte) are added
        inputs_embeds: float (B, T, d_model) instead of input_ids
        past_key_values: a `minillm.nn.KVCache` with the keys and values of the tokens before
            input_ids; those of input_ids are appended. No backward.
        use_cache: True starts a new KVCache if there is none. No backward.
        output_attentions: also return every block's attention weights (B, H, T, keys)
        output_hidden_states: also return the input of every block and the last hidden state. None,
            for both, takes the configuration's value.
        logits_to_keep: compute the logits of the last positions only; 0 means all. No backward.
        return_dict: False returns a tuple of the fields that aren't None

        Raises TypeError and ValueError for inputs of a wrong type or shape, for an id outside the
        vocabulary and for more than n_positions tokens.
        """
        if labels is not None:
            given = input_ids if inputs_embeds is None else inputs_embeds
            labels = checked_labels(labels, np.shape(given)[:2], self.config.vocab_size)
            if logits_to_keep:
                raise ValueError("labels need the logits of all positions, wanted logits_to_keep=0")
        with no_grad_if(past_key_values is not None or use_cache or logits_to_keep):
            base = self.transformer(
                input_ids, attention_mask, position_ids, token_type_ids, inputs_embeds,
                past_key_values, use_cache, output_attentions, output_hidden_states,
            )
            logits = self.lm_head(base.last_hidden_state[:, -logits_to_keep:])
            loss = None if labels is None else next_token_loss(self, logits, labels)
        output = CausalLMOutput(loss, logits, base.past_key_values, base.hidden_states,
                                base.attentions)
        return output if return_dict else output.to_tuple()

    def backward(self, dlogits):
        """dlogits: (B, T, V), which `loss.backward()` computes. Fills every .grad.

        A tied table is used twice, so its gradient is the sum of the head's and the embedding's.
        """
        self._require_plain_weights("train")
        return self.transformer.backward(self.lm_head.backward(dlogits))

    @property
    def max_positions(self):
        """The maximum length of a sequence."""
        return self.config.n_positions
