"""What a pass through the blocks of a decoder, or of an encoder, needs and collects."""

from contextlib import ExitStack

from minillm.models.input_checks import DecoderInputs
from minillm.models.outputs import BaseOutput
from minillm.nn import KVCache
from minillm.nn.module import no_grad_if
from minillm.nn.trace import trace


class DecoderRun:
    """A pass of the ids through the blocks of a bare decoder, as a context manager.

        with DecoderRun(self, "h", past_key_values, use_cache, output_attentions,
                        output_hidden_states, input_ids=input_ids, …) as run:
            x = embed(run.inputs)
            for layer, block in enumerate(self.h):
                x = block(run.seen(x), key_mask=run.inputs.key_mask, kv_cache=run.kv_cache(layer))
            x = self.ln_f(x)
        return run.output(x, return_dict)

    model: the bare model; blocks: the name of its list of blocks. An encoder passes None and False
        for past_key_values and use_cache.
    inputs: DecoderInputs, the checked arguments
    """

    def __init__(self, model, blocks, past_key_values, use_cache, output_attentions,
                 output_hidden_states, **inputs):
        def default(given, field):
            return getattr(model.config, field) if given is None else given

        self._states = [] if default(output_hidden_states, "output_hidden_states") else None
        watch = default(output_attentions, "output_attentions")
        self._trace = trace(model, f"{blocks}.*attention.weights") if watch else None
        self.past = KVCache() if past_key_values is None and use_cache else past_key_values
        self._contexts = ExitStack()
        self.inputs = DecoderInputs(model.config, self.past, **inputs)

    def __enter__(self):
        self._contexts.enter_context(no_grad_if(self.past is not None))
        if self._trace is not None:
            self._contexts.enter_context(self._trace)
        return self

    def __exit__(self, *exception):
        return self._contexts.__exit__(*exception)

    def seen(self, x):
        """-> x, the input of a block, which `hidden_states` will contain"""
        if self._states is not None:
            self._states.append(x)
        return x

    def kv_cache(self, layer):
        """-> the LayerCache of a block, or None"""
        return None if self.past is None else self.past.layer(layer)

    def output(self, x, return_dict):
        """x: (B, T, d_model), the last hidden state -> BaseOutput, or a tuple"""
        output = BaseOutput(x, self.past, self.hidden_states(x), self.attentions())
        return output if return_dict else output.to_tuple()

    def hidden_states(self, x):
        """x: (B, T, d_model), the last hidden state -> tuple, or None if nobody asked for it"""
        return None if self._states is None else (*self._states, x)

    def attentions(self, layer="attention"):
        """-> tuple of the blocks' attention weights, or None if nobody asked for them

        layer: the attention layer's name in a block, "attention" or "cross_attention"
        """
        if self._trace is None:
            return None
        return tuple(self._trace[name] for name in self._trace.names()
                     if name.endswith(f".{layer}.weights"))
