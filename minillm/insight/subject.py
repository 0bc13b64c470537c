"""What is looked at: a model, its tokenizer, and a text as the model reads it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minillm.hub import find_pretrained
from minillm.insight.anatomy import Anatomy, stacks_of
from minillm.insight.target import Label, Likeness, Logit
from minillm.insight.text_vector import TextVector
from minillm.models.auto import config_class, head_of, heads_of, model_class
from minillm.models.config import read_config
from minillm.nn.module import no_grad
from minillm.tasks.base import labels_of
from minillm.tasks.shared_words import N_TYPES, with_shared_words
from minillm.text.auto import AutoTokenizer
from minillm.text.bert_tokenizer import BertTokenizer
from minillm.text.token_bytes import token_text
from minillm.training.run import model_folder

HEADS = ("causal_lm", "masked_lm", "seq2seq_lm")  # with logits over the vocabulary, the best first
SAYS = {"sequence_classification": "text label", "token_classification": "token label",
        "question_answering": "span"}  # what the models with these heads say
LONGEST_ANSWER = 64  # tokens that an encoder-decoder may say to a text
ANSWERS_KEPT = 64


@dataclass(frozen=True)
class Reading:
    """A text as a model reads it.

    ids: int64 (T,), the tokens whose vectors the blocks of the last stack hold: in an
        encoder-decoder the decoder's, its start token first
    tokens: T strings, one for each of ids
    inputs: the arguments of the model's forward: model(**inputs), a batch of one text
    position: of the prediction to explain; it is a choice, any other is as good
    source_ids, source_tokens: int64 (S,) and S strings, what an encoder-decoder's encoder reads
    """

    text: str
    ids: np.ndarray
    tokens: list
    inputs: dict
    position: int
    source_ids: np.ndarray | None = None
    source_tokens: list | None = None

    @property
    def input_tokens(self):
        """All tokens that the model reads: the source's, if there is one, then `tokens`"""
        return [*(self.source_tokens or []), *self.tokens]


class Subject:
    """A model and its tokenizer.

    model: in eval mode;  name: what the user calls it;  folder: Path of its files
    """

    def __init__(self, model, tokenizer, name="", folder=None):
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.folder = None if folder is None else Path(folder)
        self._answers = {}  # of an encoder-decoder to the last texts

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
        if head == "base" and not facts.get("is_encoder_decoder"):
            model = open_model(TextVector, folder)
            return cls(model, model.tokenizer, str(name), folder)
        model = open_model(model_class(model_type, head), folder)
        return cls(model, AutoTokenizer.from_pretrained(folder), str(name), folder)

    @property
    def predicts_tokens(self):
        """-> whether the model's logits are over the vocabulary"""
        return hasattr(self.model, "unembed")

    @property
    def architecture(self):
        """The name of the model's class"""
        return type(self.model.model if isinstance(self.model, TextVector) else self.model).__name__

    @property
    def is_encoder_decoder(self):
        return bool(getattr(self.model.config, "is_encoder_decoder", False))

    @property
    def says(self):
        """-> what the logits are about: "token", "text label", "token label", "span" (the label
        start or end of each token), or "vector" (a text's); None for a model without logits
        """
        if self.predicts_tokens:
            return "token"
        if isinstance(self.model, TextVector):
            return "vector"
        config = self.model.config
        return SAYS.get(head_of(config.model_type, [type(self.model).__name__], "base"))

    @property
    def labels(self):
        """-> list of the names of a classifier's labels; None for other models"""
        if self.says == "span":
            return ["start", "end"]
        return labels_of(self.model.config) if self.says in SAYS.values() else None

    # ---- from texts to what the model reads

    def encode(self, text):
        """-> int64 (T,); ValueError for a text without tokens"""
        if self.says == "vector":
            text = self.model.prepared(text)
        ids = self.tokenizer.encode(text, return_tensors="np")[0]
        if not ids.size:
            raise ValueError("the text is empty, wanted at least one token")
        return ids

    def names(self, ids):
        """-> list of strings, one for each id, as `token_text` writes them"""
        return [token_text(self.tokenizer, int(id)) for id in ids]

    def spelled(self, ids):
        """-> list of strings as `names`, but with a space in front wherever a word begins, and ""
        for special tokens

        Tokenizers mark that a word begins by "Ġ", by "▁" or by the absence of "##".
        """
        special = set(self.tokenizer.all_special_ids)
        pieces = self.tokenizer.convert_ids_to_tokens([int(id) for id in ids])
        by_words = isinstance(self.tokenizer, BertTokenizer)
        found = []
        for id, piece, name in zip(ids, pieces, self.names(ids)):
            if int(id) in special:
                name = ""
            elif piece.startswith("##") and by_words:
                name = piece[2:]
            elif by_words or piece.startswith("▁"):
                name = " " + name.lstrip()
            found.append(name)
        return found

    def read(self, text, target_text=None):
        """-> Reading; ValueError for an empty text, and for one longer than the model reads

        text: for a model of pairs, such as a question and a paragraph, "one [SEP] other"
        target_text: what an encoder-decoder has written so far; None: all that it writes itself,
            by greedy search

        The position is that of the first [MASK], or of what decides: [CLS] for a label of the text,
        the start of an answer. Otherwise it is the last one; where an encoder-decoder has finished,
        it is the one that says the last token before the end.
        """
        if self.is_encoder_decoder:
            return self._read_source(text, target_text)
        if target_text is not None:
            raise ValueError(f"target_text is {target_text!r}, wanted None: a "
                             f"{type(self.model).__name__} reads one text")
        inputs = self._inputs(text)
        ids = inputs["input_ids"][0]
        self._require_length("the text", len(ids))
        return Reading(text, ids, self.names(ids), inputs, self._position(ids, inputs))

    def _inputs(self, text):
        """-> the arguments of the forward of a model that isn't an encoder-decoder"""
        separator = self.tokenizer.sep_token
        n_types = getattr(self.model.config, "type_vocab_size", 1)
        one, _, other = text.partition(separator) if separator else (text, "", "")
        if n_types < 2 or not (one.strip() and other.strip()):
            return {"input_ids": self.encode(text)[None]}
        one, other = one.strip(), other.strip()
        row = self.tokenizer(one, other, return_token_type_ids=True, return_offsets_mapping=True)
        types = np.array(row["token_type_ids"])
        if self.says == "span" and n_types >= N_TYPES:
            types = with_shared_words(types, np.array(row["offset_mapping"]), one, other)
        return {"input_ids": np.array(row["input_ids"])[None], "token_type_ids": types[None]}

    def _position(self, ids, inputs):
        masks = np.flatnonzero(ids == self.tokenizer.mask_token_id)
        if masks.size:
            return int(masks[0])
        causal = bool(stacks_of(self.model)) and (
            Anatomy(self.model).blocks[-1].module.attention.causal)
        if self.says == "span":
            with no_grad():
                return int(self.model(**inputs).start_logits[0].argmax())
        if self.says == "vector":
            return len(ids) - 1 if self.model.pooling.how == "last" else 0
        if causal or self.says == "token":
            return len(ids) - 1
        special = ids[0] in (self.tokenizer.cls_token_id, self.tokenizer.bos_token_id)
        return 1 if self.says == "token label" and special and len(ids) > 1 else 0

    def _require_length(self, what, n):
        limit = self.model.config.position_limit
        if limit is not None and n > limit:
            raise ValueError(f"{what} has {n} tokens, wanted at most {limit}, which is all that "
                             "the model reads")

    def _read_source(self, text, target_text):
        source = self.encode(text)
        self._require_length("the text", len(source))
        if target_text is None:
            ids = self.answer(source)
            position = max(0, len(ids) - 2)
        else:
            written = self.tokenizer(text_target=target_text, add_special_tokens=False)
            ids = np.array([self.start_id, *written["input_ids"]])
            self._require_length("the target text", len(ids))
            position = len(ids) - 1
        inputs = {"input_ids": source[None], "decoder_input_ids": ids[None]}
        return Reading(text, ids, self.names(ids), inputs, position, source, self.names(source))

    @property
    def start_id(self):
        """The id with which an encoder-decoder's target begins"""
        config = self.model.config
        start = config.decoder_start_token_id
        return config.bos_token_id if start is None else start

    def answer(self, source):
        """source: int64 (S,) -> int64 (T,): the start token and what the model says, without end"""
        key = source.tobytes()
        if key not in self._answers:
            if len(self._answers) >= ANSWERS_KEPT:
                self._answers.clear()
            limit = min(filter(None, (self.model.max_positions, LONGEST_ANSWER)))
            ids = self.model.generate(source[None], do_sample=False, num_beams=1,
                                      max_new_tokens=limit - 1)[0]
            ends = self.model.config.eos_token_id
            ended = np.flatnonzero(np.isin(ids[1:], [] if ends is None else ends))
            self._answers[key] = ids[: 1 + ended[0]] if ended.size else ids
        return self._answers[key]

    # ---- what the model says

    def said(self, reading):
        """-> the id that the model finds likeliest at the reading's position: of a token, or the
        number of a label
        """
        return int(self._scores(reading).argmax())

    def _scores(self, reading):
        """-> the logits at the reading's position: (V,), or (C,) of labels"""
        if self.says in (None, "vector"):
            raise ValueError(f"{self.name or 'model'} is a {self.architecture}, wanted one with a "
                             "head, which says something")
        with no_grad():
            logits = self.model(**reading.inputs).logits[0]
        return logits if self.says == "text label" else logits[reading.position]

    def target(self, reading, answer=None, other=None):
        """-> the number to explain, a Logit or a Label: the score of `answer`, an id of a token or
        the number of a label, by default what the model says; minus that of `other` if given

        If the model says a vector, a Likeness: to the vector of `answer`, another Reading; by
        default to the reading's own, of which occlusion, say, takes something away.
        """
        if self.says == "vector":
            if other is not None:
                raise ValueError("other is given, wanted None: the model says a vector")
            return Likeness(self.direction(reading if answer is None else answer), reading.position)
        answer = self.said(reading) if answer is None else answer
        cls = Label if self.says == "text label" else Logit
        return cls(answer, other, reading.position)

    def direction(self, reading):
        """-> float64 (width,): the text's vector, of a model that says one, with length 1"""
        with no_grad():
            vector = self.model(**reading.inputs).logits[0].astype(np.float64)
        return vector / (np.linalg.norm(vector) or 1)

    def answer_names(self, ids):
        """-> list of strings: the tokens, or a classifier's labels, of these numbers"""
        labels = self.labels
        return self.names(ids) if labels is None else [labels[int(id)] for id in ids]

    def token(self, name, text):
        """-> the id of a token, or the number of a label, that the user spells as the argument
        `name`

        Raises ValueError for a text that isn't one token, or no label.
        """
        labels = self.labels
        if labels is not None:
            if text not in labels:
                raise ValueError(f"{name} is {text!r}, wanted one of {', '.join(labels)}")
            return labels.index(text)
        options = {"add_special_tokens": False}
        ids = (self.tokenizer(text_target=text, **options)["input_ids"] if self.is_encoder_decoder
               else self.tokenizer.encode(text, **options))
        if len(ids) != 1:
            raise ValueError(f"{name} is {text!r}, which is {len(ids)} tokens, wanted one; a word "
                             "within a text often begins with a space")
        return int(ids[0])
