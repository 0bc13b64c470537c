"""Heads that classify, for every architecture: the loss, and decoders with such a head.

A decoder's token sees only the tokens before it, so the last one stands for the text (Radford et
al. 2018, section 3.2); in an encoder it is the first, [CLS].
"""

import numpy as np

from minillm.models.input_checks import checked_labels, checked_targets
from minillm.models.outputs import ClassifierOutput
from minillm.nn import Dropout, Linear
from minillm.nn.loss import (
    binary_cross_entropy_loss,
    cross_entropy_loss,
    mean_squared_error_loss,
)
from minillm.nn.module import Module

DROPOUT = 0.1  # of a token classifier whose configuration doesn't say it


def text_loss(model, logits, labels):
    """-> Loss of the logits (B, num_labels) of texts

    labels: integers (B,); or float (B, num_labels), from 0 to 1 for binary labels. With one label,
        (B,) are numbers to predict.

    config.problem_type decides: cross-entropy, the mean of binary cross-entropies (each label is
    true or false), or the mean squared error of numbers instead of classes. None: as num_labels and
    the labels' dtype say.
    """
    labels = np.asarray(labels)
    problem = getattr(model.config, "problem_type", None)
    if problem is None and logits.shape[1] == 1:
        problem = "regression"
    if problem is None:
        integers = np.issubdtype(labels.dtype, np.integer)
        problem = ("single" if integers else "multi") + "_label_classification"
    if problem == "single_label_classification":
        labels = checked_labels(labels, logits.shape[:1], logits.shape[1])
        return cross_entropy_loss(model, logits, labels)
    if labels.ndim == 1 and logits.shape[1] == 1:
        labels = labels[:, None]
    targets = checked_targets(labels, logits)
    if problem == "regression":
        return mean_squared_error_loss(model, logits, targets)
    return binary_cross_entropy_loss(model, logits, targets)


def token_loss(model, logits, labels):
    """-> Loss of the logits (B, T, num_labels) of tokens; labels: integers (B, T), -100 is ignored"""
    labels = checked_labels(labels, logits.shape[:2], logits.shape[2])
    return cross_entropy_loss(model, logits, labels)


class _Classifier(Module):
    """A bare decoder, `base_class`, and a linear layer on its vectors, under `head_name`."""

    base_class = None
    head_name = "score"
    head_has_bias = False

    def __init__(self, config=None, seed=0, draw_weights=True):
        setattr(self, self.base_prefix, self.base_class(config, seed, draw_weights))
        self.config = config = self.base_model.config
        std = config.initializer_range if draw_weights else 0.0
        setattr(self, self.head_name, Linear(config.hidden_size, config.num_labels,
                                             self.head_has_bias, rng=self.rng, std=std))

    @property
    def rng(self):
        """The Generator of all dropout."""
        return self.base_model.rng

    @property
    def head(self):
        return getattr(self, self.head_name)


class DecoderForSequenceClassification(_Classifier):
    """A decoder that assigns a text to one of num_labels classes

        logits = x_last W

    x_last is the vector of the last token that isn't padding, which the ids tell: the last one that
    isn't config.pad_token_id, as in `transformers`.
    """

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, labels=None,
                inputs_embeds=None, return_dict=True, **options):
        """-> ClassifierOutput with logits (B, num_labels); labels: see `text_loss`

        Other arguments are those of the bare model. Raises ValueError for several texts if
        config.pad_token_id is None.
        """
        base = self.base_model(input_ids, attention_mask, position_ids,
                               inputs_embeds=inputs_embeds, **options)
        x = base.last_hidden_state
        last = self._last_tokens(input_ids, *x.shape[:2])
        self.remember((last, x.shape))
        logits = self.head(x[np.arange(len(x)), last])
        loss = None if labels is None else text_loss(self, logits, labels)
        output = ClassifierOutput(loss, logits, base.hidden_states, base.attentions)
        return output if return_dict else output.to_tuple()

    def _last_tokens(self, ids, B, T):
        """-> integers (B,): the position of each text's last token"""
        pad = self.config.pad_token_id
        if pad is None and B > 1:
            raise ValueError(f"pad_token_id is None, wanted the id of the padding: the batch has "
                             f"{B} texts")
        if pad is None or ids is None:
            return np.full(B, T - 1)
        return (np.arange(T) * (np.asarray(ids) != pad)).argmax(axis=1)

    def backward(self, dlogits):
        """dlogits: (B, num_labels). Only the last token of each text gets a gradient."""
        self._require_plain_weights("train")
        last, shape = self.recall()
        dx = np.zeros(shape, dlogits.dtype)
        dx[np.arange(shape[0]), last] = self.head.backward(dlogits)
        return self.base_model.backward(dx)


class DecoderForTokenClassification(_Classifier):
    """A decoder that assigns each token, from those before it, to one of num_labels classes"""

    head_has_bias = True

    def __init__(self, config=None, seed=0, draw_weights=True):
        super().__init__(config, seed, draw_weights)
        chosen = [getattr(self.config, name, None)
                  for name in ("classifier_dropout", "hidden_dropout")]
        p = next((value for value in chosen if value is not None), DROPOUT)
        self.dropout = Dropout(p, self.rng)

    def forward(self, *inputs, labels=None, return_dict=True, **options):
        """-> ClassifierOutput with logits (B, T, num_labels); labels: see `token_loss`"""
        base = self.base_model(*inputs, **options)
        logits = self.head(self.dropout(base.last_hidden_state))
        loss = None if labels is None else token_loss(self, logits, labels)
        output = ClassifierOutput(loss, logits, base.hidden_states, base.attentions)
        return output if return_dict else output.to_tuple()

    def backward(self, dlogits):
        """dlogits: (B, T, num_labels)"""
        self._require_plain_weights("train")
        return self.base_model.backward(self.dropout.backward(self.head.backward(dlogits)))
