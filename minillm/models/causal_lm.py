"""What all decoder-only language models share: the output head, and the loss of the next token."""

import numpy as np

from minillm.generation import CausalLMMixin
from minillm.models.input_checks import checked_labels
from minillm.models.outputs import CausalLMOutput, with_logits
from minillm.models.whole_step import extend_in_one_call
from minillm.nn import OutputHead
from minillm.nn.layers import normal
from minillm.nn.loss import head_loss, next_targets
from minillm.nn.module import Parameter, no_grad_if


class CausalLM(CausalLMMixin):
    """A language model: the bare decoder `base_class`, and an output head.

        logits = base_model(ids) Wᵀ

    W is the table of the token embeddings (Press and Wolf 2017) if config.tie_word_embeddings, else
    a matrix of its own. A new model is in training mode (dropout on); `from_pretrained` returns one
    in eval mode.
    """

    has_lm_head = True
    base_class = None

    def __init__(self, config=None, seed=0, draw_weights=True):
        setattr(self, self.base_prefix, self.base_class(config, seed, draw_weights))
        self.config = config = self.base_model.config
        table = self.get_input_embeddings().weight
        if not config.tie_word_embeddings:
            std = config.initializer_range if draw_weights else 0.0
            table = Parameter(normal(self.rng, table.shape, std))
        self.lm_head = OutputHead(table)
        self.generation_config = self.base_model.generation_config

    @property
    def rng(self):
        """The Generator of all dropout."""
        return self.base_model.rng

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, labels=None,
                inputs_embeds=None, past_key_values=None, use_cache=False, output_attentions=None,
                output_hidden_states=None, logits_to_keep=0, return_dict=True, shift_labels=None,
                return_logits=None, **others):
        """Score the next token at every position -> CausalLMOutput

        input_ids: integers (B, T)
        attention_mask: (B, T), 1 at tokens and 0 at padding, or (B, past + T) with past_key_values.
            It hides keys but doesn't shift positions: with padding on the left, pass position_ids.
        position_ids: integers (B, T) or (1, T); default: past, past + 1, …
        labels: (B, T), usually input_ids, with -100 at positions to ignore. `loss` is then the mean
            cross-entropy of predicting each label from the tokens before it.
        shift_labels: (B, T), instead of labels: position t's own target, the token at t + 1
        return_logits: False leaves them out of the output of a call with labels; True computes them
            all at once. None does so unless they are large: then the loss is computed in chunks,
            and the logits when `output.logits` is read, before the loss's backward.
        inputs_embeds: float (B, T, d_model) instead of input_ids
        past_key_values: a `minillm.nn.KVCache` with the keys and values of the tokens before
            input_ids; those of input_ids are appended. No backward.
        use_cache: True starts a new KVCache if there is none. No backward.
        output_attentions: also return every block's attention weights (B, H, T, keys)
        output_hidden_states: also return the input of every block and the last hidden state. None,
            for both, takes the configuration's value.
        logits_to_keep: compute the logits of so many last positions, 0 for all; or of these
            positions, an array of integers. No backward.
        return_dict: False returns a tuple of the fields that aren't None
        others: further arguments of the bare model, such as GPT-2's token_type_ids

        Raises TypeError and ValueError for inputs of a wrong type or shape, for an id outside the
        vocabulary and for more tokens than there are positions.
        """
        given = input_ids if inputs_embeds is None else inputs_embeds
        targets = self._targets(labels, shift_labels, np.shape(given)[:2])
        kept, keeps = logits_to_keep, isinstance(logits_to_keep, np.ndarray)
        if not keeps:
            kept, keeps = slice(-logits_to_keep, None), bool(logits_to_keep)
        if targets is not None and keeps:
            raise ValueError("labels need the logits of all positions, wanted logits_to_keep=0")
        with no_grad_if(past_key_values is not None or use_cache or keeps):
            base = self.base_model(
                input_ids, attention_mask, position_ids, inputs_embeds=inputs_embeds,
                past_key_values=past_key_values, use_cache=use_cache,
                output_attentions=output_attentions, output_hidden_states=output_hidden_states,
                **others,
            )
            x, loss = base.last_hidden_state, None
            if targets is None:
                logits = self.lm_head(x[:, kept])
            else:
                loss, logits = head_loss(self, self.lm_head, x, targets,
                                         return_logits=return_logits)
        output = with_logits(CausalLMOutput, loss, logits, base.past_key_values,
                             base.hidden_states, base.attentions)
        return output if return_dict else output.to_tuple()

    def _targets(self, labels, shift_labels, shape):
        """-> int64 (B, T): each position's target, -100 for none; None without labels"""
        if labels is None and shift_labels is None:
            return None
        if labels is not None and shift_labels is not None:
            raise ValueError("labels and shift_labels: both given, wanted one of them")
        if labels is None:
            return checked_labels(shift_labels, shape, self.config.vocab_size, "shift_labels")
        return next_targets(checked_labels(labels, shape, self.config.vocab_size))

    def step(self, tokens, state):
        """Read one more token of each sequence, (B,) -> logits (B, V) of the next"""
        logits = extend_in_one_call(self, tokens[:, None], [state])
        return super().step(tokens, state) if logits is None else logits[:, 0]

    def extend(self, tokens, state):
        """Read n more tokens of each sequence, (B, n) -> logits (B, n, V), after each of them"""
        logits = extend_in_one_call(self, tokens, [state])
        return super().extend(tokens, state) if logits is None else logits

    def step_each(self, tokens, states):
        """Read one more token, tokens[b], of each of B states of one sequence -> logits (B, V)"""
        logits = extend_in_one_call(self, tokens[:, None], states)
        return super().step_each(tokens, states) if logits is None else logits[:, 0]

    def backward(self, dlogits):
        """dlogits: (B, T, V), which `loss.backward()` computes; or dloss, if there were no logits.
        Fills every .grad.

        A tied table is used twice, so its gradient is the sum of the head's and the embedding's.
        """
        self._require_plain_weights("train")
        return self.base_model.backward(self.lm_head.backward(dlogits))

    def unembed(self, x):
        """x: (..., d_model), a residual stream -> logits (..., V): the last norm and the head"""
        return self.lm_head(self.base_model.final_norm(x))

    def unembed_backward(self, dlogits):
        """dlogits: (..., V) -> dx: (..., d_model)"""
        return self.base_model.final_norm.backward(self.lm_head.backward(dlogits))

    @property
    def max_positions(self):
        """The maximum length of a sequence; None for positions without a limit."""
        return self.config.position_limit
