"""What a model gets by inheritance: the method `generate`, and the two steps that it consists of.

`generate` asks a model for no more than this, so it works for every architecture:

    logits, state = model.prefill(input_ids, attention_mask=None, max_length=None, **inputs)
    logits = model.step(tokens, state)

`prefill` reads the prompts (B, T) and gives the logits (B, V) of the token after them; `step` reads
one token more of each, (B,), and gives the logits after that. `state` is the model's own: what it
keeps between two steps. `state.length` is how many tokens it has read; `state.select(rows)` lets
sequence b be what sequence rows[b] was. Beyond that, `generate` reads model.config.vocab_size,
model.max_positions (None if there is no limit) and model.generation_config.

An encoder-decoder says so by config.is_encoder_decoder. Its `prefill` takes the encoder's input as
input_ids and attention_mask, and the first tokens of the decoder as decoder_input_ids.
"""

from minillm.generation.decoding_state import DecodingState, inference
from minillm.generation.generate import generate
from minillm.nn.kv_cache import KVCache


class GenerationMixin:
    """`generate`, for a model with `prefill` and `step`."""

    def generate(self, *arguments, **options):
        """Continue each prompt: see `minillm.generation.generate`, which has the same arguments."""
        return generate(self, *arguments, **options)


class CausalLMMixin(GenerationMixin):
    """`prefill` and `step` for a decoder-only model, on top of its forward.

    The forward takes input_ids, attention_mask, position_ids, past_key_values (a KVCache, which it
    appends to) and logits_to_keep, and returns an output with .logits (B, T, V).
    """

    def prefill(self, input_ids=None, attention_mask=None, max_length=None, *,
                past_key_values=None, inputs_embeds=None):
        """Read the prompts -> logits (B, V) of the next token, DecodingState

        input_ids: (B, T);  attention_mask: (B, T), 0 at padding, which stands on the left
        max_length: how many tokens a sequence may grow to, for which the cache reserves memory
        past_key_values: a KVCache that holds the first of the T tokens already
        inputs_embeds: (B, T, d_model), vectors in place of input_ids
        """
        cache = KVCache(capacity=max_length or 0) if past_key_values is None else past_key_values
        state = DecodingState(cache, attention_mask)
        if inputs_embeds is not None:
            return self._read(state, inputs_embeds.shape[1], inputs_embeds=inputs_embeds), state
        new_ids = input_ids[:, state.length :]
        return self._read(state, new_ids.shape[1], input_ids=new_ids), state

    def step(self, tokens, state):
        """Read one token more of each sequence, (B,) -> logits (B, V) of the next"""
        return self._read(state, 1, input_ids=tokens[:, None])

    def _read(self, state, n_new, **inputs):
        mask, positions = state.mask_and_positions(n_new)
        with inference(self):
            output = self(**inputs, attention_mask=mask, position_ids=positions,
                          past_key_values=state.cache, logits_to_keep=1)
        return output.logits[:, -1]
