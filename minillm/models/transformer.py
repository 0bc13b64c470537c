"""The Transformer: Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser and Polosukhin 2017,
"Attention Is All You Need".

An encoder reads the source, a decoder writes the target (figure 1):

    source (B, S) ── √d E ── + PE ── dropout ── encoder block 0 ── … ── block N-1 ── memory
                                                                                       │
    target (B, T) ── √d E ── + PE ── dropout ── decoder block 0 ── … ── block N-1 ── Eᵀ ── logits
    encoder block:  x = norm(x + attention(x));  x = norm(x + feed_forward(x))
    decoder block:  x = norm(x + attention(x));  x = norm(x + cross_attention(x, memory));
                    x = norm(x + feed_forward(x))

Every decoder block attends to the same memory, so the memory's gradient is the sum of theirs. One
matrix E may serve three times: as both embeddings, and as the output head (section 3.4).

Classes, arguments and files are named as in Hugging Face's `transformers`; marian.py opens its
checkpoints of this architecture.
"""

import math
from functools import partial

import numpy as np

from minillm.generation import EncoderDecoderMixin, GenerationConfig
from minillm.models.config import ACTIVATIONS
from minillm.models.decoder_run import DecoderRun
from minillm.models.input_checks import checked_labels, checked_mask
from minillm.models.outputs import (
    BaseOutputWithCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
    with_logits,
)
from minillm.models.positions import attention_positions, position_vectors, sum_over_sequences
from minillm.models.transformer_files import TransformerPreTrainedModel
from minillm.nn import (
    DecoderBlock,
    Dropout,
    Embedding,
    EncoderBlock,
    EncoderDecoderCache,
    FeedForward,
    LayerNorm,
    OutputHead,
)
from minillm.nn.layers import normal
from minillm.nn.loss import head_loss
from minillm.nn.module import Module, Parameter, frozen_prefix, no_grad_if


class TransformerStack(Module):
    """What encoder and decoder have in common: embeddings and positions, blocks, a final norm.

    Its parts: embed_tokens, embed_positions (or None), dropout, layers (the blocks), layer_norm (or
    None).
    """

    def __init__(self, config, embed_tokens, layers, rng, std):
        self.embed_tokens = embed_tokens
        self.scale = math.sqrt(config.d_model) if config.scales_embeddings else 1.0
        self.embed_positions = position_vectors(config, interleaved=config.interleaved_positions,
                                                rng=rng, std=std)
        self.dropout = Dropout(config.dropout, rng)
        self.layers = layers
        self.layer_norm = None
        if config.has_final_norm:
            self.layer_norm = LayerNorm(config.d_model, config.layer_norm_eps)

    def _embed(self, inputs, scale):
        """x = dropout(scale E[ids] + PE): (B, T, d_model)            (sections 3.4, 3.5 and 5.4)"""
        self.remember((inputs, scale))
        x = self.embed_tokens(inputs.ids) if inputs.embeddings is None else inputs.embeddings
        x = scale * x
        if self.embed_positions is not None:
            x = x + self.embed_positions(inputs.positions)
        return self.dropout(x)

    def _embed_backward(self, dx, inputs, scale):
        """-> the gradient of inputs_embeds; None for ids, which have none"""
        dx = self.dropout.backward(dx)
        if self.embed_positions is not None:
            self.embed_positions.backward(sum_over_sequences(dx, inputs.positions))
        dx = scale * dx
        return dx if inputs.embeddings is not None else self.embed_tokens.backward(dx)

    def finish(self, x):
        """The last norm, if there is one."""
        return x if self.layer_norm is None else self.layer_norm(x)

    def finish_backward(self, dx):
        return dx if self.layer_norm is None else self.layer_norm.backward(dx)


def _block_options(config, positions, rng, std):
    """-> the arguments that encoder blocks and decoder blocks share"""
    return dict(
        positions=positions,
        norm="pre" if config.normalize_before else "post",
        make_feed_forward=partial(FeedForward, dropout=config.activation_dropout),
        activation=ACTIVATIONS[config.activation_function],
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        eps=config.layer_norm_eps,
        rng=rng,
        std=std,
    )


class TransformerEncoder(TransformerStack):
    """The left half of figure 1: ids (B, S) -> memory (B, S, d_model)"""

    def __init__(self, config, embed_tokens, rng, std):
        self.config = config
        n_heads = config.encoder_attention_heads
        self.positions = attention_positions(config, n_heads, config.d_model // n_heads,
                                             bidirectional=True, rng=rng, std=std)
        options = _block_options(config, self.positions, rng, std)
        layers = [EncoderBlock(config.d_model, n_heads, config.encoder_ffn_dim, **options)
                  for _ in range(config.encoder_layers)]
        super().__init__(config, embed_tokens, layers, rng, std)

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None,
                output_attentions=None, output_hidden_states=None):
        """-> BaseOutput with last_hidden_state, the memory

        input_ids: integers (B, S);  attention_mask: (B, S), 0 at padding
        inputs_embeds: (B, S, d_model) instead of input_ids: embeddings that are scaled already
        """
        with DecoderRun(self, "layers", None, False, output_attentions, output_hidden_states,
                        input_ids=input_ids, attention_mask=attention_mask,
                        inputs_embeds=inputs_embeds) as run:
            x = self._embed(run.inputs, self.scale if inputs_embeds is None else 1.0)
            for block in self.layers:
                x = block(run.seen(x), position_ids=run.inputs.positions,
                          key_mask=run.inputs.key_mask)
            memory = self.finish(x)
        return run.output(memory, return_dict=True)

    def backward(self, dmemory):
        """dmemory: (B, S, d_model) -> the gradient of inputs_embeds; None for ids"""
        inputs, scale = self.recall()
        # Below the lowest block that learns, only inputs_embeds and traces want gradients.
        tables = [self.embed_tokens, self.embed_positions]
        learns = self.has_traces() or not all(
            table is None or table.is_frozen() for table in tables)
        learns = learns or inputs.embeddings is not None
        dx = self.finish_backward(dmemory)
        for block in reversed(self.layers[0 if learns else frozen_prefix(self.layers) :]):
            dx = block.backward(dx)
        return self._embed_backward(dx, inputs, scale) if learns else None


class TransformerDecoder(TransformerStack):
    """The right half of figure 1: ids (B, T) and the memory (B, S, d_model) -> (B, T, d_model)"""

    def __init__(self, config, embed_tokens, rng, std):
        self.config = config
        n_heads = config.decoder_attention_heads
        self.positions = attention_positions(config, n_heads, config.d_model // n_heads, rng=rng,
                                             std=std)
        options = _block_options(config, self.positions, rng, std)
        layers = [DecoderBlock(config.d_model, n_heads, config.decoder_ffn_dim,
                               cross_attention=True, **options)
                  for _ in range(config.decoder_layers)]
        super().__init__(config, embed_tokens, layers, rng, std)

    def forward(self, input_ids=None, attention_mask=None, encoder_hidden_states=None,
                encoder_attention_mask=None, past_key_values=None, inputs_embeds=None,
                output_attentions=None, output_hidden_states=None):
        """-> BaseOutputWithCrossAttentions with last_hidden_state (B, T, d_model)

        input_ids: integers (B, T), attention_mask: (B, past + T)
        encoder_hidden_states: the memory (B, S, d_model); None once it is in the cache
        encoder_attention_mask: (B, S), 0 at the memory's padding
        past_key_values: an EncoderDecoderCache, to which the T tokens are appended
        inputs_embeds: (B, T, d_model) instead of input_ids; scaled here, as in `transformers`
        """
        past, memory = past_key_values, encoder_hidden_states
        with DecoderRun(self, "layers", past, False, output_attentions, output_hidden_states,
                        input_ids=input_ids, attention_mask=attention_mask,
                        inputs_embeds=inputs_embeds, prefix="decoder_",
                        vocab_size=self.config.decoder_vocab_size) as run:
            x = self._embed(run.inputs, self.scale)
            B, S = len(x), memory.shape[1] if memory is not None else past.memory_length
            memory_mask = checked_mask(encoder_attention_mask, (B, S))
            for layer, block in enumerate(self.layers):
                x = block(run.seen(x), memory, position_ids=run.inputs.positions,
                          key_mask=run.inputs.key_mask, memory_key_mask=memory_mask,
                          **(run.kv_cache(layer) or {}))
            x = self.finish(x)
        return BaseOutputWithCrossAttentions(x, past, run.hidden_states(x), run.attentions(),
                                             run.attentions("cross_attention"))

    def backward(self, dx):
        """dx: (B, T, d_model) -> dmemory: (B, S, d_model), and the gradient of inputs_embeds"""
        inputs, scale = self.recall()
        dx = self.finish_backward(dx)
        dmemory = 0
        for block in reversed(self.layers):
            dx, dmemory_of_block = block.backward(dx)
            dmemory = dmemory + dmemory_of_block
        return dmemory, self._embed_backward(dx, inputs, scale)


class TransformerModel(TransformerPreTrainedModel):
    """The Transformer without its output head.

    Its parts: encoder, decoder, and, if they share their embeddings, the table as `shared`. `seed`
    determines the initial weights and all dropout. Pass draw_weights=False before loading weights:
    the initial ones are then zeros, which cost no time.
    """

    def __init__(self, config=None, seed=0, draw_weights=True):
        self.config = config = config or self.config_class()
        self.generation_config = GenerationConfig.from_model_config(config.to_dict())
        self.rng = rng = np.random.default_rng(seed)
        std = config.initializer_range if draw_weights else 0.0
        make = partial(Embedding, d=config.d_model, padding_id=config.pad_token_id, rng=rng)
        if config.shares_embeddings:
            self.shared = make(config.vocab_size, std=std)
            source, target = make(config.vocab_size, std=0), make(config.vocab_size, std=0)
        else:
            source = make(config.vocab_size, std=std)
            target = make(config.decoder_vocab_size, std=std)
        self.encoder = TransformerEncoder(config, source, rng, std)
        self.decoder = TransformerDecoder(config, target, rng, std)
        self._share()

    @property
    def final_norm(self):
        """The norm between the decoder's last block and the output head; None if there is none"""
        return self.decoder.layer_norm

    def _share(self):
        if self.config.shares_embeddings:
            for stack in (self.encoder, self.decoder):
                stack.embed_tokens.weight = self.shared.weight

    def forward(self, input_ids=None, attention_mask=None, decoder_input_ids=None,
                decoder_attention_mask=None, encoder_outputs=None, past_key_values=None,
                inputs_embeds=None, decoder_inputs_embeds=None, use_cache=False,
                output_attentions=None, output_hidden_states=None, return_dict=True):
        """-> Seq2SeqModelOutput with last_hidden_state (B, T, d_model), the decoder's

        Takes the arguments of `TransformerForConditionalGeneration.forward`, except labels and
        logits_to_keep.
        """
        past = EncoderDecoderCache() if past_key_values is None and use_cache else past_key_values
        watch = dict(output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        with no_grad_if(past is not None):
            encoded, memory = encoder_outputs, None
            if past is None or not past.memory_length:
                if encoder_outputs is None:
                    encoded = self.encoder(input_ids, attention_mask, inputs_embeds, **watch)
                memory = encoded[0]
            self.remember((encoder_outputs is None, inputs_embeds is not None))
            decoded = self.decoder(decoder_input_ids, decoder_attention_mask, memory,
                                   attention_mask, past, decoder_inputs_embeds, **watch)
        output = Seq2SeqModelOutput(
            decoded.last_hidden_state, past, decoded.hidden_states, decoded.attentions,
            decoded.cross_attentions, memory, getattr(encoded, "hidden_states", None),
            getattr(encoded, "attentions", None),
        )
        return output if return_dict else output.to_tuple()

    def backward(self, dx):
        """dx: (B, T, d_model), the gradient of last_hidden_state

        -> the gradient of inputs_embeds, or of encoder_outputs if they were given, None for ids;
        and the gradient of decoder_inputs_embeds
        """
        encoded_here, from_vectors = self.recall()
        dmemory, dtarget = self.decoder.backward(dx)
        if not encoded_here:
            return dmemory, dtarget
        if self.encoder.is_frozen() and not from_vectors and not self.has_traces():
            return None, dtarget
        return self.encoder.backward(dmemory), dtarget


class TransformerForConditionalGeneration(EncoderDecoderMixin, TransformerPreTrainedModel):
    """The Transformer with its output head, for translation and other tasks from text to text:

        logits = decoder(target, encoder(source)) Eᵀ

    E is the decoder's embedding table (Press and Wolf 2017), or a matrix of its own with
    config.tie_word_embeddings = False. A new model is in training mode: with dropout, and with
    label smoothing in the loss. `from_pretrained` returns one in eval mode.
    """

    has_lm_head = True
    base_class = TransformerModel

    def __init__(self, config=None, seed=0, draw_weights=True):
        self.model = self.base_class(config, seed, draw_weights)
        self.config = config = self.model.config
        table = self.model.decoder.embed_tokens.weight
        if not config.tie_word_embeddings:
            std = config.initializer_range if draw_weights else 0.0
            table = Parameter(normal(self.rng, table.shape, std))
        self.lm_head = OutputHead(table)
        self.generation_config = self.model.generation_config

    @property
    def rng(self):
        """The Generator of all dropout."""
        return self.model.rng

    def forward(self, input_ids=None, attention_mask=None, decoder_input_ids=None,
                decoder_attention_mask=None, encoder_outputs=None, past_key_values=None,
                inputs_embeds=None, decoder_inputs_embeds=None, labels=None, use_cache=False,
                output_attentions=None, output_hidden_states=None, logits_to_keep=0,
                return_dict=True, return_logits=None):
        """Score the target's next token at every position -> Seq2SeqLMOutput

        input_ids: integers (B, S), the source;  attention_mask: (B, S), 1 at tokens, 0 at padding
        decoder_input_ids: integers (B, T), the target from its start token on; by default `labels`
            shifted to the right
        decoder_attention_mask: (B, T), or (B, past + T) with past_key_values
        encoder_outputs: an earlier output of `model.encoder`, or a tuple that starts with the
            memory (B, S, d_model), instead of input_ids
        labels: (B, T), the target itself, with -100 at positions to ignore: the token that follows
            each decoder input. `loss` is the mean cross-entropy, in training mode with label
            smoothing.
        inputs_embeds, decoder_inputs_embeds: vectors (B, S, d_model) and (B, T, d_model) instead of
            ids
        past_key_values: an `EncoderDecoderCache`. Once it holds the memory, the encoder doesn't
            run. No backward.
        use_cache: True starts a new cache if there is none. No backward.
        output_attentions, output_hidden_states: also return those of all blocks
        logits_to_keep: compute the logits of the last positions only; 0 means all. No backward.
        return_dict: False returns a tuple of the fields that aren't None
        return_logits: see CausalLM.forward

        Raises TypeError and ValueError for inputs of a wrong type or shape, for an id outside the
        vocabulary and for more than max_position_embeddings tokens.
        """
        if labels is not None:
            labels = self._checked_labels(labels, decoder_input_ids, decoder_inputs_embeds)
            if logits_to_keep:
                raise ValueError("labels need the logits of all positions, wanted logits_to_keep=0")
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = shift_right(labels, self.config)
        with no_grad_if(past_key_values is not None or use_cache or logits_to_keep):
            base = self.model(
                input_ids, attention_mask, decoder_input_ids, decoder_attention_mask,
                encoder_outputs, past_key_values, inputs_embeds, decoder_inputs_embeds, use_cache,
                output_attentions, output_hidden_states,
            )
            x, loss = base.last_hidden_state, None
            if labels is None:
                logits = self.lm_head(x[:, -logits_to_keep:])
            else:
                loss, logits = head_loss(
                    self, self.lm_head, x, labels, return_logits=return_logits,
                    label_smoothing=self.config.label_smoothing if self.training else 0.0)
        output = with_logits(
            Seq2SeqLMOutput, loss, logits, base.past_key_values, base.decoder_hidden_states,
            base.decoder_attentions, base.cross_attentions, base.encoder_last_hidden_state,
            base.encoder_hidden_states, base.encoder_attentions,
        )
        return output if return_dict else output.to_tuple()

    def unembed(self, x):
        """x: (..., d_model), a residual stream of the decoder -> logits (..., V): the last norm, if
        there is one, and the head
        """
        return self.lm_head(self.model.decoder.finish(x))

    def unembed_backward(self, dlogits):
        """dlogits: (..., V) -> dx: (..., d_model)"""
        return self.model.decoder.finish_backward(self.lm_head.backward(dlogits))

    def backward(self, dlogits):
        """dlogits: (B, T, V), which `loss.backward()` computes; or dloss, if there were no logits.
        Fills every .grad.

        A tied table is used up to three times, so its gradient is the sum of all uses.
        """
        self._require_plain_weights("train")
        return self.model.backward(self.lm_head.backward(dlogits))

    def _checked_labels(self, labels, ids, embeddings):
        labels = np.asarray(labels)
        shape = labels.shape[:2] if labels.ndim == 2 else (None, None)
        if ids is not None or embeddings is not None:
            shape = np.shape(embeddings if ids is None else ids)[:2]
        return checked_labels(labels, shape, self.config.decoder_vocab_size)


def shift_right(labels, config):
    """labels (B, T) -> the decoder's inputs (B, T): the start token, then all labels but the last

    Labels of -100 become pad_token_id.
    """
    for name in ("decoder_start_token_id", "pad_token_id"):
        if getattr(config, name) is None:
            raise ValueError(f"labels need a {name} in the configuration, or decoder_input_ids")
    first = np.full((len(labels), 1), config.decoder_start_token_id)
    shifted = np.concatenate([first, labels[:, :-1]], axis=1)
    return np.where(shifted == -100, config.pad_token_id, shifted)
