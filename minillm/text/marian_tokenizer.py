"""Marian's tokenizer: SentencePiece, one model for each of two languages, with one vocabulary."""

from pathlib import Path

from minillm.json_files import read_json
from minillm.text.pre_tokenizers import WholeText
from minillm.text.sentence_piece import SentencePiece
from minillm.text.tokenizer import PreTrainedTokenizer
from minillm.text.tokenizer_files import check_vocab
from minillm.text.vocabulary import require_str


class MarianTokenizer(PreTrainedTokenizer):
    """A tokenizer with the interface of `transformers.MarianTokenizer`.

        inputs = tokenizer(["a sentence"], text_target=["its translation"], padding=True)

    The target is split by its own language's model; its ids are "labels". A text ends with </s>.
    Without a tokenizer's bos_token, a decoder starts with the pad token.

    vocab: {piece: id}, or the path of a vocab.json;  source, target: the bytes or the path of the
        source.spm and the target.spm
    source_lang, target_lang: names, without effect;  separate_vocabs: only False
    The other options are those of PreTrainedTokenizer.
    """

    is_fast = False
    classes = ("MarianTokenizer",)
    vocabulary_files = ("vocab.json", "source.spm", "target.spm")
    own_options = {"source_lang": str | None, "target_lang": str | None,
                   "separate_vocabs": bool | None}

    def __init__(self, vocab, source, target, source_lang=None, target_lang=None,
                 separate_vocabs=False, unk_token="<unk>", eos_token="</s>", pad_token="<pad>", *,
                 pre_tokenizer=None, special_tokens=None, add_eos_token=None, model_max_length=512,
                 **options):
        if separate_vocabs:
            raise ValueError("separate_vocabs is True, but only one vocabulary for both languages "
                             "is implemented")
        if not isinstance(vocab, dict):
            vocab = check_vocab(vocab, read_json(Path(vocab)))
        named = {"unk_token": unk_token, "eos_token": eos_token, "pad_token": pad_token,
                 **(special_tokens or {})}
        unknown = getattr(named["unk_token"], "content", named["unk_token"])
        if unknown not in vocab:
            raise ValueError(f"the unk_token {unknown!r} isn't in the vocabulary")
        self.source_lang, self.target_lang = source_lang, target_lang
        self._source, self._target = (SentencePiece(model, vocab, unknown)
                                      for model in (source, target))
        super().__init__(
            vocab, self._source, WholeText(), special_tokens=named,
            add_eos_token=True if add_eos_token is None else add_eos_token,
            model_max_length=model_max_length, **options,
        )

    def __call__(self, text=None, text_pair=None, text_target=None, text_pair_target=None,
                 *arguments, **options):
        """See PreTrainedTokenizer; text_target is split by the target's model."""
        if options.get("return_offsets_mapping"):
            raise ValueError("return_offsets_mapping is True, but SentencePiece's offsets aren't "
                             "known (nor in transformers)")
        if text_target is None:
            return super().__call__(text, text_pair, None, None, *arguments, **options)
        self.model = self._target
        try:
            target = super().__call__(text_target, text_pair_target, None, None, *arguments,
                                      **options)
        finally:
            self.model = self._source
        if text is None:
            return target
        encoding = super().__call__(text, text_pair, None, None, *arguments, **options)
        encoding["labels"] = target["input_ids"]
        return encoding

    # ---- read from files and written to them

    @classmethod
    def _from_files(cls, path, files):
        return {"vocab": check_vocab(path, files.model["vocab"]), "source": files.model["source"],
                "target": files.model["target"]}

    def _model_to_json(self):
        return {"vocab": self._vocab, "source": self._source.content,
                "target": self._target.content}

    def _options_to_json(self):
        return {"source_lang": self.source_lang, "target_lang": self.target_lang,
                "separate_vocabs": False}

    # ---- ids to text

    def _join(self, ids):
        return self.convert_tokens_to_string([token for token in map(self._token, ids)
                                              if token is not None])

    def convert_tokens_to_string(self, tokens):
        """-> the text that a list of tokens spells; a space follows each special token"""
        special, text, pieces = set(self.all_special_tokens), "", []
        for token in tokens:
            require_str("tokens", token)
            if token in special:
                text += self._source.text(pieces) + token + " "
                pieces = []
            else:
                pieces.append(token)
        return (text + self._source.text(pieces)).strip()
