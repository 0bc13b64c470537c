"""BERT: Devlin, Chang, Lee and Toutanova 2018, "BERT: Pre-training of Deep Bidirectional
Transformers for Language Understanding".

A stack of encoder blocks over three embeddings, pre-trained to fill in masked tokens and to tell
whether sentence B follows sentence A, then fine-tuned with a small new head for each task:

    ids (B, T) ────── words ──────┐
    0, 1, …, T-1 ──── positions ──+── norm ── dropout ── block 0 ── … ── block L-1 ── x (B, T, d)
    0 … 0 1 … 1 ───── token_types ┘                                pooled = tanh(x_[CLS] W + b)

    block:  x = norm1(x + attention(x));  x = norm2(x + feed_forward(x))

The block is the encoder's of Vaswani et al. 2017 (post-norm), with GELU. Every position sees the
whole text, so the model can't be trained to predict the next token; it predicts tokens that are
hidden from it (section 3.1).

Classes, arguments and files are named as in Hugging Face's `transformers`.
"""

import math

import numpy as np

from minillm.models.bert_config import BertConfig
from minillm.models.bert_files import BertPreTrainedModel
from minillm.models.classifiers import text_loss, token_loss
from minillm.models.config import ACTIVATIONS
from minillm.models.decoder_run import DecoderRun
from minillm.models.input_checks import checked_labels
from minillm.models.outputs import (
    BaseOutputWithPooling,
    BertForPreTrainingOutput,
    ClassifierOutput,
    QuestionAnsweringOutput,
)
from minillm.models.positions import attention_positions, position_vectors, sum_over_sequences
from minillm.nn import Activation, Dropout, Embedding, EncoderBlock, LayerNorm, Linear, OutputHead
from minillm.nn.layers import normal
from minillm.nn.loss import cross_entropy_loss, joint_cross_entropy_loss
from minillm.nn.per_example import n_examples
from minillm.nn.module import Module, Parameter, frozen_prefix


class BertEmbeddings(Module):
    """x = norm(words[ids] + positions[0 … T-1] + token_types[types])            (figure 2)"""

    def __init__(self, config, rng, std):
        d = config.hidden_size
        self.words = Embedding(config.vocab_size, d, padding_id=config.pad_token_id, rng=rng,
                               std=std)
        if config.pad_token_id is not None:
            self.words.weight.data[config.pad_token_id] = 0
        self.positions = position_vectors(config, rng=rng, std=std)
        self.token_types = Embedding(config.type_vocab_size, d, rng=rng, std=std)
        self.norm = LayerNorm(d, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob, rng)
        self.scale = math.sqrt(d) if config.scales_embeddings else 1

    def forward(self, inputs):
        """inputs: DecoderInputs -> x: (B, T, d_model)"""
        types = inputs.token_types
        if types is None:
            types = np.zeros_like(inputs.positions)
        x = self.words(inputs.ids) if inputs.embeddings is None else inputs.embeddings
        x = self.scale * x + self.token_types(types)
        if self.positions is not None:
            x = x + self.positions(inputs.positions)
        self.remember((inputs, types))
        return self.dropout(self.norm(x))

    def backward(self, dx):
        """dx: (B, T, d_model) -> the gradient of inputs_embeds; None for ids"""
        inputs, types = self.recall()
        dx = self.norm.backward(self.dropout.backward(dx))
        self.token_types.backward(sum_over_sequences(dx, types))
        if self.positions is not None:
            self.positions.backward(sum_over_sequences(dx, inputs.positions))
        dx = self.scale * dx
        if inputs.embeddings is not None:
            return dx
        self.words.backward(dx)


class BertPooler(Module):
    """pooled = tanh(x_0 W + b), with x_0 at the first token, [CLS]"""

    def __init__(self, d, rng, std):
        self.dense = Linear(d, d, rng=rng, std=std)
        self.activation = Activation("tanh")

    def forward(self, x):
        """x: (B, T, d_model) -> pooled: (B, d_model)"""
        return self.activation(self.dense(x[:, 0]))

    def backward(self, dpooled):
        """dpooled: (B, d_model) -> the gradient of x_0: (B, d_model)"""
        return self.dense.backward(self.activation.backward(dpooled))


class BertModel(BertPreTrainedModel):
    """BERT without a head: ids to the vectors after the last block, and the pooled vector.

    `seed` determines the initial weights and all dropout. Pass draw_weights=False before loading
    weights: the initial ones are then zeros, which cost no time. add_pooling_layer: False leaves
    out the pooler, as most heads and sentence encoders do; `from_pretrained` takes it, too.
    """

    constructor_options = ("add_pooling_layer",)

    def __init__(self, config=None, seed=0, draw_weights=True, add_pooling_layer=True):
        self.config = config = config or BertConfig()
        self.rng = rng = np.random.default_rng(seed)
        std = config.initializer_range if draw_weights else 0.0
        self.embeddings = BertEmbeddings(config, rng, std)
        self.positions = attention_positions(
            config, config.num_attention_heads, config.hidden_size // config.num_attention_heads,
            bidirectional=True, rng=rng, std=std,
        )
        self.layers = [
            EncoderBlock(
                config.hidden_size,
                config.num_attention_heads,
                config.intermediate_size,
                norm="post",
                positions=self.positions,
                activation=ACTIVATIONS[config.hidden_act],
                dropout=config.hidden_dropout_prob,
                attention_dropout=config.attention_probs_dropout_prob,
                eps=config.layer_norm_eps,
                rng=rng,
                std=std,
            )
            for _ in range(config.num_hidden_layers)
        ]
        self.pooler = BertPooler(config.hidden_size, rng, std) if add_pooling_layer else None

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, position_ids=None,
                inputs_embeds=None, output_attentions=None, output_hidden_states=None,
                return_dict=True):
        """Encode texts -> BaseOutputWithPooling

        input_ids: integers (B, T)
        attention_mask: (B, T), 1 at tokens and 0 at padding
        token_type_ids: integers (B, T), 0 in sentence A and 1 in sentence B; default: 0
        position_ids: integers (B, T) or (1, T); default: 0, 1, …
        inputs_embeds: float (B, T, d_model) instead of input_ids
        output_attentions: also return every block's attention weights (B, H, T, T)
        output_hidden_states: also return the input of every block and the last hidden state. None,
            for both, takes the configuration's value.
        return_dict: False returns a tuple of the fields that aren't None

        Raises TypeError and ValueError for inputs of a wrong type or shape, for an id outside the
        vocabulary and for more than max_position_embeddings tokens.
        """
        with DecoderRun(self, "layers", None, False, output_attentions, output_hidden_states,
                        input_ids=input_ids, attention_mask=attention_mask,
                        token_type_ids=token_type_ids, position_ids=position_ids,
                        inputs_embeds=inputs_embeds) as run:
            x = self.embeddings(run.inputs)
            for block in self.layers:
                x = block(run.seen(x), position_ids=run.inputs.positions,
                          key_mask=run.inputs.key_mask)
        pooled = None if self.pooler is None else self.pooler(x)
        self.remember((run.inputs, x.shape))
        output = BaseOutputWithPooling(x, pooled, run.hidden_states(x), run.attentions())
        return output if return_dict else output.to_tuple()

    def backward(self, dx, dpooled=None):
        """dx: (B, T, d_model), the gradient of last_hidden_state, or None for 0
        dpooled: (B, d_model), the gradient of pooler_output, or None for 0

        -> the gradient of inputs_embeds, (B, T, d_model); None for ids, which have none
        """
        inputs, shape = self.recall()
        if dpooled is not None:
            dfirst = self.pooler.backward(dpooled)
            dx = np.zeros(shape, dfirst.dtype) if dx is None else dx.copy()
            dx[:, 0] += dfirst
        # Below the lowest layer that learns, gradients are needed only if a trace records them.
        learns = not self.embeddings.is_frozen() or self.has_traces()
        learns = learns or inputs.embeddings is not None
        for block in reversed(self.layers[0 if learns else frozen_prefix(self.layers) :]):
            dx = block.backward(dx)
        if learns:
            return self.embeddings.backward(dx)


class BertPredictionHead(Module):
    """logits = norm(gelu(x W + b)) tableᵀ + bias: the score of every token at every position

    The table is that of the words' embeddings, or with config.tie_word_embeddings = False another.
    """

    def __init__(self, bert, std):
        config, rng = bert.config, bert.rng
        self.dense = Linear(config.hidden_size, config.hidden_size, rng=rng, std=std)
        self.activation = Activation(ACTIVATIONS[config.hidden_act])
        self.norm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        table = bert.embeddings.words.weight
        if not config.tie_word_embeddings:
            table = Parameter(normal(rng, table.shape, std))
        bias = Parameter(np.zeros(config.vocab_size, np.float32))
        self.decoder = OutputHead(table, bias)

    def forward(self, x, where=None):
        """x: (B, T, d_model) -> logits: (B, T, V); with `where`, bool (B, T): those of the n
        positions where it is True, (n, V)
        """
        self.remember((x.shape, where))
        x = x if where is None else x[where]
        return self.decoder(self.norm(self.activation(self.dense(x))))

    def backward(self, dlogits):
        """dlogits: (B, T, V) or (n, V) -> dx: (B, T, d_model)"""
        shape, where = self.recall()
        dx = self.norm.backward(self.decoder.backward(dlogits))
        dx = self.dense.backward(self.activation.backward(dx))
        if where is None:
            return dx
        dx_all = np.zeros(shape, dx.dtype)  # no logit depends on the other positions
        dx_all[where] = dx
        return dx_all


class BertWithHead(BertPreTrainedModel):
    """The base of the models below: `bert`, with a pooler if `pools`, and their heads.

    A new model is in training mode (dropout on); `from_pretrained` returns one in eval mode.

    In their `forward`, inputs and options are the arguments of `BertModel.forward`.
    """

    pools = False

    def __init__(self, config=None, seed=0, draw_weights=True):
        self.bert = BertModel(config, seed, draw_weights, add_pooling_layer=self.pools)
        self.config = config = self.bert.config
        self._make_heads(config, config.initializer_range if draw_weights else 0.0)

    @property
    def rng(self):
        """The Generator of all dropout."""
        return self.bert.rng

    def _linear(self, d_out, std):
        return Linear(self.config.hidden_size, d_out, rng=self.rng, std=std)


class BertWithPredictions(BertWithHead):
    """The base of the two models that predict masked tokens."""

    has_lm_head = True

    def _make_heads(self, config, std):
        self.predictions = BertPredictionHead(self.bert, std)

    def _predict(self, x, labels, sparse_prediction):
        """-> logits, and their checked labels, for the arguments of `forward`"""
        where = None
        if labels is not None:
            labels = checked_labels(labels, x.shape[:2], self.config.vocab_size)
            if sparse_prediction and n_examples() is None:  # its rows are no longer examples
                where = labels != -100
                labels = labels[where]
        elif sparse_prediction:
            raise ValueError("sparse_prediction needs labels: it scores the positions that have one")
        return self.predictions(x, where), labels


class BertForMaskedLM(BertWithPredictions):
    """BERT that predicts masked tokens                                          (section 3.1)"""

    def forward(self, *inputs, labels=None, sparse_prediction=False, return_dict=True, **options):
        """-> ClassifierOutput with logits (B, T, V)

        labels: integers (B, T), the tokens that the masks hide, and -100 at all other positions
        sparse_prediction: compute only the logits of the n positions with a label, (n, V), in the
            order of labels[labels != -100]. The loss and the gradients stay the same, in less time.
        """
        base = self.bert(*inputs, **options)
        logits, labels = self._predict(base.last_hidden_state, labels, sparse_prediction)
        loss = None if labels is None else cross_entropy_loss(self, logits, labels)
        output = ClassifierOutput(loss, logits, base.hidden_states, base.attentions)
        return output if return_dict else output.to_tuple()

    def unembed(self, x):
        """x: (..., d_model), what a block returns -> logits (..., V)"""
        return self.predictions(x)

    def unembed_backward(self, dlogits):
        """dlogits: (..., V) -> dx: (..., d_model)"""
        return self.predictions.backward(dlogits)

    def backward(self, dlogits):
        self._require_plain_weights("train")
        return self.bert.backward(self.predictions.backward(dlogits))


class BertForPreTraining(BertWithPredictions):
    """BERT as it is pre-trained: it predicts masked tokens, and whether B follows A."""

    pools = True

    def _make_heads(self, config, std):
        super()._make_heads(config, std)
        self.seq_relationship = self._linear(2, std)

    def forward(self, *inputs, labels=None, next_sentence_label=None, sparse_prediction=False,
                return_dict=True, **options):
        """-> BertForPreTrainingOutput; its loss, the sum of both, needs both labels

        labels, sparse_prediction: see BertForMaskedLM
        next_sentence_label: integers (B,), 0 if sentence B follows A in a text, 1 if it doesn't
        """
        base = self.bert(*inputs, **options)
        logits, labels = self._predict(base.last_hidden_state, labels, sparse_prediction)
        next_logits = self.seq_relationship(base.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            follows = checked_labels(next_sentence_label, next_logits.shape[:1], 2,
                                     "next_sentence_label")
            loss = joint_cross_entropy_loss(self, (logits, labels), (next_logits, follows))
        output = BertForPreTrainingOutput(loss, logits, next_logits, base.hidden_states,
                                          base.attentions)
        return output if return_dict else output.to_tuple()

    def backward(self, dlogits, dnext_logits):
        self._require_plain_weights("train")
        dpooled = self.seq_relationship.backward(dnext_logits)
        return self.bert.backward(self.predictions.backward(dlogits), dpooled)


class BertForSequenceClassification(BertWithHead):
    """BERT that assigns a text, or a pair of texts, to one of num_labels classes  (figure 4a, b)

        logits = dropout(pooled) W + b
    """

    pools = True

    def _make_heads(self, config, std):
        self.dropout = Dropout(config.classifier_dropout_prob, self.rng)
        self.classifier = self._linear(config.num_labels, std)

    def forward(self, *inputs, labels=None, return_dict=True, **options):
        """-> ClassifierOutput with logits (B, num_labels); labels: see `text_loss`"""
        base = self.bert(*inputs, **options)
        logits = self.classifier(self.dropout(base.pooler_output))
        loss = None if labels is None else text_loss(self, logits, labels)
        output = ClassifierOutput(loss, logits, base.hidden_states, base.attentions)
        return output if return_dict else output.to_tuple()

    def backward(self, dlogits):
        self._require_plain_weights("train")
        return self.bert.backward(None, self.dropout.backward(self.classifier.backward(dlogits)))


class BertForTokenClassification(BertWithHead):
    """BERT that assigns each token to one of num_labels classes                  (figure 4d)"""

    def _make_heads(self, config, std):
        self.dropout = Dropout(config.classifier_dropout_prob, self.rng)
        self.classifier = self._linear(config.num_labels, std)

    def forward(self, *inputs, labels=None, return_dict=True, **options):
        """-> ClassifierOutput with logits (B, T, num_labels); labels: see `token_loss`"""
        base = self.bert(*inputs, **options)
        logits = self.classifier(self.dropout(base.last_hidden_state))
        loss = None if labels is None else token_loss(self, logits, labels)
        output = ClassifierOutput(loss, logits, base.hidden_states, base.attentions)
        return output if return_dict else output.to_tuple()

    def backward(self, dlogits):
        self._require_plain_weights("train")
        return self.bert.backward(self.dropout.backward(self.classifier.backward(dlogits)))


class BertForQuestionAnswering(BertWithHead):
    """BERT that marks where the answer to a question starts and ends in a text   (figure 4c)

    Each token gets two scores, start and end; the answer is the span with the greatest sum.
    """

    def _make_heads(self, config, std):
        if config.num_labels != 2:
            raise ValueError(f"num_labels is {config.num_labels}, wanted 2: the scores of the "
                             "start and of the end")
        self.qa_outputs = self._linear(2, std)

    def forward(self, *inputs, start_positions=None, end_positions=None, return_dict=True,
                **options):
        """-> QuestionAnsweringOutput; its loss is the mean of the two cross-entropies

        start_positions, end_positions: integers (B,). An answer outside the text, at position T or
            beyond, is ignored.
        """
        base = self.bert(*inputs, **options)
        scores = self.qa_outputs(base.last_hidden_state)
        start, end = scores[..., 0], scores[..., 1]
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = joint_cross_entropy_loss(
                self,
                (start, _within("start_positions", start_positions, *start.shape)),
                (end, _within("end_positions", end_positions, *end.shape)),
            ) / 2
        output = QuestionAnsweringOutput(loss, start, end, base.hidden_states, base.attentions)
        return output if return_dict else output.to_tuple()

    def backward(self, dstart, dend=None):
        """dstart, dend: (B, T); or instead of both the gradient of the output's `logits`"""
        self._require_plain_weights("train")
        dscores = dstart if dend is None else np.stack([dstart, dend], axis=-1)
        return self.bert.backward(self.qa_outputs.backward(dscores))


def _within(name, positions, B, T):
    """-> the positions (B,) as targets: as in `transformers`, those outside the text are ignored"""
    positions = np.asarray(positions)
    if positions.shape == (B, 1):
        positions = positions[:, 0]
    if np.issubdtype(positions.dtype, np.integer):
        positions = np.maximum(positions.astype(np.int64), 0)
        positions = np.where(positions >= T, -100, positions)
    return checked_labels(positions, (B,), T, name)
