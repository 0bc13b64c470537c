"""A model without a head that says something all the same: the vector that stands for its text."""

import numpy as np

from minillm.models.outputs import ClassifierOutput
from minillm.models.sentence_encoder import SentenceEncoder


class TextVector(SentenceEncoder):
    """A SentenceEncoder whose forward takes and returns what a model's with a head does

        logits = normalize(dense(pooling(model(ids))))                  (B, width)

    so that everything that explains a logit explains a coordinate of the vector, or with a
    `target.Likeness` its cosine to another text's.
    """

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, **options):
        """-> ClassifierOutput with logits (B, width);  options: of the model's forward"""
        given = input_ids if inputs_embeds is None else inputs_embeds
        if attention_mask is None:
            attention_mask = np.ones(np.shape(given)[:2], bool)
        x = self.model(input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds,
                       **options).last_hidden_state
        return ClassifierOutput(logits=self.vector_of(x, attention_mask))

    def backward(self, dlogits):
        """dlogits: (B, width) -> the gradient of inputs_embeds; None for ids"""
        return self.model.backward(self.vector_backward(dlogits))

    # ---- what is asked of a model

    @property
    def config(self):
        return self.model.config

    @property
    def base_model(self):
        return self.model

    def num_parameters(self, **options):
        return self.model.num_parameters(**options)

    def get_input_embeddings(self):
        return self.model.get_input_embeddings()

    def token_tables(self):
        return self.model.token_tables()
