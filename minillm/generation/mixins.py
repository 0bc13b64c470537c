"""What a model inherits: the method `generate`, and the methods that `generate` calls.

`generate` needs nothing else of a model, so it works for every architecture:

    logits, state = model.prefill(input_ids, attention_mask=None, max_length=None, **inputs)
    logits = model.step(tokens, state)
    logits = model.extend(tokens, state)

`prefill` reads the prompts (B, T) and returns the logits (B, V) of the next token; `step` reads one
more token of each sequence, (B,), and returns the logits after it. `extend` reads several, (B, n),
and returns the logits after each, (B, n, V); only speculative decoding calls it. `state` is what
the model keeps between two steps, in any form. `state.length` is the number of tokens read;
`state.select(rows)` replaces sequence b by what sequence rows[b] was; `state.crop(length)` forgets
the tokens after the first `length`. `generate` also reads model.config.vocab_size,
model.max_positions (None: no limit) and model.generation_config.

Continuous batching also calls `step_each` and `extend_each`, which a decoder-only model has.

An encoder-decoder sets config.is_encoder_decoder. Its `prefill` takes the encoder's input as
input_ids and attention_mask, and the first tokens of the decoder as decoder_input_ids.
"""

import numpy as np

from minillm.generation.decoding_state import DecodingState
from minillm.generation.generate import generate
from minillm.nn.kv_cache import EncoderDecoderCache, KVCache, SlotCaches
from minillm.nn.module import inference


class GenerationMixin:
    """`generate`, for a model with `prefill` and `step`."""

    def generate(self, *arguments, **options):
        """Continue each prompt. Takes the arguments of `minillm.generation.generate`."""
        return generate(self, *arguments, **options)


class CausalLMMixin(GenerationMixin):
    """`prefill` and `step` for a decoder-only model, in terms of its forward.

    The forward takes input_ids, attention_mask, position_ids, past_key_values (a KVCache, to which
    it appends) and logits_to_keep, and returns an output with .logits (B, T, V).
    """

    def prefill(self, input_ids=None, attention_mask=None, max_length=None, *,
                past_key_values=None, inputs_embeds=None):
        """Read the prompts -> logits (B, V) of the next token, DecodingState

        input_ids: (B, T);  attention_mask: (B, T), 0 at padding, which is on the left
        max_length: the length that a sequence may reach; the cache reserves memory for it
        past_key_values: a KVCache that already holds the first of the T tokens
        inputs_embeds: (B, T, d_model), vectors instead of input_ids
        """
        cache = KVCache(capacity=max_length or 0) if past_key_values is None else past_key_values
        state = DecodingState(cache, attention_mask)
        if inputs_embeds is not None:
            return self._read(state, inputs_embeds.shape[1], inputs_embeds=inputs_embeds), state
        new_ids = input_ids[:, state.length :]
        return self._read(state, new_ids.shape[1], input_ids=new_ids), state

    def step(self, tokens, state):
        """Read one more token of each sequence, (B,) -> logits (B, V) of the next"""
        return self._read(state, 1, input_ids=tokens[:, None])

    def extend(self, tokens, state):
        """Read n more tokens of each sequence, (B, n) -> logits (B, n, V), after each of them"""
        n = tokens.shape[1]
        return self._logits(state, n, n, input_ids=tokens)

    def step_each(self, tokens, states):
        """Read one more token, tokens[b], of each of B states of one sequence -> logits (B, V)

        The sequences may have different lengths: see SlotCaches.
        """
        return self.extend_each(tokens[:, None], states)

    def extend_each(self, tokens, states):
        """Read more tokens, tokens[b]: (n_b,), of each of B states of one sequence -> logits (B, V)
        after the last of each"""
        caches = SlotCaches([state.cache for state in states], [len(each) for each in tokens])
        last = np.array([part.stop - 1 for part in caches.parts])
        with inference(self):
            return self(input_ids=np.concatenate(tokens)[None], position_ids=caches.positions(),
                        past_key_values=caches, logits_to_keep=last).logits[0]

    def _read(self, state, n_new, **inputs):
        return self._logits(state, n_new, 1, **inputs)[:, -1]

    def _logits(self, state, n_new, n_kept, **inputs):
        mask, positions = state.mask_and_positions(n_new)
        with inference(self):
            return self(**inputs, attention_mask=mask, position_ids=positions,
                        past_key_values=state.cache, logits_to_keep=n_kept).logits


class EncoderDecoderMixin(GenerationMixin):
    """`prefill` and `step` for an encoder-decoder, in terms of its forward.

    The encoder runs once; the keys and values of its output are in the cache from then on. The
    forward takes input_ids or inputs_embeds, attention_mask, decoder_input_ids, past_key_values (an
    EncoderDecoderCache) and logits_to_keep, and returns an output with .logits (B, T, V).
    """

    def prefill(self, input_ids=None, attention_mask=None, max_length=None, *,
                decoder_input_ids, past_key_values=None, inputs_embeds=None):
        """Read the sources and the first tokens of the targets -> logits (B, V), DecodingState

        input_ids: (B, S);  attention_mask: (B, S), 0 at padding, on any side
        max_length: the length that a target may reach; the cache reserves memory for it
        decoder_input_ids: (B, T)
        past_key_values: an EncoderDecoderCache that already holds the sources and the first of the
            T tokens
        inputs_embeds: (B, S, d_model), vectors instead of input_ids
        """
        cache = past_key_values
        if cache is None:
            cache = EncoderDecoderCache(capacity=max_length or 0)
        state = DecodingState(cache, attention_mask)
        new_ids = decoder_input_ids[:, state.length :]
        return self._read(state, new_ids, input_ids=input_ids, inputs_embeds=inputs_embeds), state

    def step(self, tokens, state):
        """Read one more token of each target, (B,) -> logits (B, V) of the next"""
        return self._read(state, tokens[:, None])

    def extend(self, tokens, state):
        """Read n more tokens of each target, (B, n) -> logits (B, n, V), after each of them"""
        return self._logits(state, tokens, tokens.shape[1])

    def _read(self, state, decoder_input_ids, **source):
        return self._logits(state, decoder_input_ids, 1, **source)[:, -1]

    def _logits(self, state, decoder_input_ids, n_kept, **source):
        with inference(self):
            return self(**source, attention_mask=state.mask, decoder_input_ids=decoder_input_ids,
                        past_key_values=state.cache, logits_to_keep=n_kept).logits
