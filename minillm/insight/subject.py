"""What is looked at: a model, its tokenizer, and a text as the model reads it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minillm.hub import find_pretrained
from minillm.models.auto import config_class, head_of, heads_of, model_class
from minillm.models.config import read_config
from minillm.nn.module import no_grad
from minillm.text.auto import AutoTokenizer
from minillm.training.run import model_folder

HEADS = ("causal_lm", "masked_lm", "seq2seq_lm")  # with logits over the vocabulary, the best first


@dataclass(frozen=True)
class Reading:
    """A text as a model reads it.

    ids: int64 (T,), the tokens whose vectors the blocks of the last stack hold
    tokens: T strings, one for each of ids
    inputs: the arguments of the model's forward: model(**inputs), a batch of one text
    position: of the prediction to explain: the last, or the first [MASK]
    """

    text: str
    ids: np.ndarray
    tokens: list
    inputs: dict
    position: int


class Subject:
    """A model and its tokenizer.

    model: in eval mode;  name: what the user calls it;  folder: Path of its files
    """

    def __init__(self, model, tokenizer, name="", folder=None):
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.folder = None if folder is None else Path(folder)

    @classmethod
    def open(cls, name, open_model=lambda cls, folder: cls.from_pretrained(folder)):
        """name: a packaged model, a run folder, a folder in Hugging Face's format, a hub's name

        open_model(class, folder) -> the model

        The head is the one that predicts tokens if the architecture has one and the folder isn't
        another head's. Raises FileNotFoundError and ValueError, in one line, for anything else.
        """
        folder = find_pretrained(model_folder(name))
        facts = read_config(folder)
        model_type = facts.get("model_type")
        config_class(model_type)  # refuses an unknown one
        default = next((head for head in HEADS if head in heads_of(model_type)), "base")
        head = head_of(model_type, facts.get("architectures"), default)
        if head == "pretraining":  # its file holds the masked head, too
            head = default
        model = open_model(model_class(model_type, head), folder)
        return cls(model, AutoTokenizer.from_pretrained(folder), str(name), folder)

    @property
    def predicts_tokens(self):
        """-> whether the model's logits are over the vocabulary"""
        return hasattr(self.model, "unembed")

    def encode(self, text):
        """-> int64 (T,); ValueError for a text without tokens"""
        ids = self.tokenizer.encode(text, return_tensors="np")[0]
        if not ids.size:
            raise ValueError("the text is empty, wanted at least one token")
        return ids

    def names(self, ids):
        """-> list of strings, one for each id"""
        return [self.tokenizer.decode([int(id)]) for id in ids]

    def read(self, text):
        """-> Reading; ValueError for an empty text, and for one longer than the model reads"""
        ids = self.encode(text)
        limit = self.model.config.position_limit
        if limit is not None and len(ids) > limit:
            raise ValueError(f"the text has {len(ids)} tokens, wanted at most {limit}, which is all "
                             "that the model reads")
        masks = np.flatnonzero(ids == self.tokenizer.mask_token_id)
        position = int(masks[0]) if masks.size else len(ids) - 1
        return Reading(text, ids, self.names(ids), {"input_ids": ids[None]}, position)

    def said(self, reading):
        """-> the id that the model finds likeliest at the reading's position"""
        with no_grad():
            return int(self.model(**reading.inputs).logits[0, reading.position].argmax())

    def token(self, name, text):
        """-> the id of a token that the user spells, as the argument `name`

        Raises ValueError for a text that isn't one token.
        """
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        if len(ids) != 1:
            raise ValueError(f"{name} is {text!r}, which is {len(ids)} tokens, wanted one; a word "
                             "within a text often begins with a space")
        return int(ids[0])
