"""GPT-2's tokenizer: byte-pair encoding on bytes, with the interface of `transformers`.

Radford et al. 2019, section 2.2. The alphabet of bytes and the pattern are in byte_level.py,
learning and applying merges in bpe.py, the steps around them and the interface in tokenizer.py, the
files in tokenizer_files.py. Later models use the same algorithm with other patterns (Llama 3,
Qwen 2, StarCoder); this class obeys their tokenizer.json, too. (Llama 2's is llama_tokenizer.py.)
"""

import warnings
from pathlib import Path

from minillm.checks import shown
from minillm.json_files import fields
from minillm.text import bpe
from minillm.text.added_tokens import AddedToken, AddedTokenSplitter
from minillm.text.byte_level import bytes_to_text, text_to_bytes, unspell
from minillm.text.normalizers import NFC
from minillm.text.pre_tokenizers import ByteLevel, flatten, qwen2, with_prefix_space
from minillm.text.tokenizer import PreTrainedTokenizer
from minillm.text.tokenizer_files import check_merges, check_vocab, read_merges, read_vocab
from minillm.text.vocabulary import one_of, require_str

END_OF_TEXT = "<|endoftext|>"
CLEAN_UP_ANYWAY = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"


class GPT2Tokenizer(PreTrainedTokenizer):
    """A byte-level BPE tokenizer with the interface of `transformers.GPT2Tokenizer`.

    The ids are those of Hugging Face's libraries for the same vocabulary, and
    decode(encode(text)) == text for every str, unless a normalizer changes the text.

    `from_pretrained` and `train` are the usual ways to create one.

    vocab: {token: id}, or the path of a vocab.json;  merges: list of (left, right), or the path of
        a merges.txt
    errors: what decoding does with bytes that aren't UTF-8 (see `bytes.decode`)
    bos_token, eos_token, unk_token, pad_token, sep_token, cls_token, mask_token: str, AddedToken or
        None; one that isn't in the vocabulary is added at its end
    additional_special_tokens, extra_special_tokens: a list of such tokens, or {name: token}
    add_prefix_space: put a space before a text that has none, so that its first word is encoded
        like one inside a sentence
    pre_tokenizer: replaces GPT-2's way to split texts into words (see pre_tokenizers.py); it must
        spell bytes
    ignore_merges: see bpe.BPE
    clean_up_tokenization_spaces: would corrupt byte-level BPE, so it has no effect unless
        clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output is True as well, as
        in `transformers`
    The other options are those of PreTrainedTokenizer.

    Raises ValueError for a vocabulary and merges that contradict each other.
    """

    # These classes of `transformers` read any tokenizer.json.
    general_classes = ("PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer")
    qwen_classes = ("Qwen2Tokenizer", "Qwen2TokenizerFast")
    classes = ("GPT2Tokenizer", "GPT2TokenizerFast", *general_classes, *qwen_classes)
    vocabulary_files = ("vocab.json", "merges.txt")
    own_options = {"add_prefix_space": bool | None, "errors": str | None,
                   CLEAN_UP_ANYWAY: bool | None}
    decoder = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
               "use_regex": True}

    def __init__(self, vocab, merges, errors="replace", unk_token=END_OF_TEXT,
                 bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, pad_token=None,
                 add_prefix_space=None, *, sep_token=None, cls_token=None, mask_token=None,
                 special_tokens=None, additional_special_tokens=(), extra_special_tokens=(),
                 pre_tokenizer=None, ignore_merges=False, **options):
        vocab = vocab if isinstance(vocab, dict) else read_vocab(vocab)
        self._merges = read_merges(merges) if isinstance(merges, (str, Path)) else list(merges)
        model = bpe.BPE(vocab, self._merges, ignore_merges)
        missing = model.byte_ids.count(None)
        if missing:
            warnings.warn(
                f"the vocabulary has no token for {missing} of the 256 bytes; "
                "encoded texts leave these bytes out",
                stacklevel=2,
            )
        self.errors = one_of("errors", errors, ("replace", "strict", "ignore", "backslashreplace",
                                                "surrogateescape"))
        pre_tokenizer = pre_tokenizer or ByteLevel(add_prefix_space=False, trim_offsets=True)
        if add_prefix_space is not None:
            pre_tokenizer = with_prefix_space(pre_tokenizer, bool(add_prefix_space))
        self._spells_last = flatten(pre_tokenizer)[-1].spells_bytes
        self.cleans_up_spaces = bool(options.pop(CLEAN_UP_ANYWAY, False))
        self._bytes = {}  # id -> the bytes of the token, for decoding; filled by `_put_added` too
        named = {"bos_token": bos_token, "eos_token": eos_token, "unk_token": unk_token,
                 "sep_token": sep_token, "pad_token": pad_token, "cls_token": cls_token,
                 "mask_token": mask_token, **(special_tokens or {})}
        for extra in (additional_special_tokens, extra_special_tokens):
            if isinstance(extra, dict):
                named.update(extra)
        super().__init__(
            vocab, model, pre_tokenizer, special_tokens=named, extra_special_tokens=[
                token for extra in (additional_special_tokens, extra_special_tokens)
                if not isinstance(extra, dict) for token in extra or ()],
            **options,
        )
        for token, id in vocab.items():
            if id not in self._added:
                # A token with characters outside the alphabet of bytes stands for itself.
                data = unspell(token)
                self._bytes[id] = text_to_bytes(token) if data is None else data

    def _put_added(self, id, token):
        super()._put_added(id, token)
        self._bytes[id] = text_to_bytes(self._token(id))

    @property
    def add_prefix_space(self):
        """True if a space is put before a text that has none."""
        return next(part.add_prefix_space for part in flatten(self.pre_tokenizer)
                    if isinstance(part, ByteLevel))

    @add_prefix_space.setter
    def add_prefix_space(self, value):
        self.pre_tokenizer = with_prefix_space(self.pre_tokenizer, bool(value))

    # ---- made by training; read from files and written to them

    @classmethod
    def train(cls, texts, vocab_size, special_tokens=(END_OF_TEXT,), *, min_frequency=2,
              progress=None, pre_tokenizer=None, **options):
        """Learn a vocabulary of `vocab_size` tokens (bytes and special tokens included).

        texts: iterable of str. Training ignores special tokens in them.
        special_tokens: get the last ids, as in GPT-2. <|endoftext|>, or else the first of them,
            becomes bos_token, eos_token and unk_token.
        progress: called as progress(tokens so far, tokens wanted)
        pre_tokenizer, options: those of the constructor

        The vocabulary is smaller than `vocab_size` if too few pairs occur `min_frequency` times.
        Deterministic; see `bpe.train_bpe`. Raises ValueError for texts that are all empty, and for
        a `vocab_size` too small for the bytes and the special tokens.
        """
        special_tokens = list(special_tokens)
        if "" in special_tokens or len(set(special_tokens)) < len(special_tokens):
            raise ValueError(f"special_tokens is {special_tokens}, wanted different, non-empty str")
        least = len(bpe.ALPHABET) + len(special_tokens)
        if vocab_size < least:
            raise ValueError(
                f"vocab_size is {vocab_size}, wanted at least {least}: "
                f"256 bytes and {len(special_tokens)} special tokens"
            )
        splitter = AddedTokenSplitter(AddedToken(token) for token in special_tokens)
        texts = [texts] if isinstance(texts, str) else texts
        pieces = (piece for text in texts
                  for piece, token in splitter.split(require_str("texts", text)) if token is None)
        split = bpe.split_words if pre_tokenizer is None else pre_tokenizer.split
        counts = bpe.count_words(pieces, split)
        if not counts:
            raise ValueError("texts hold no text: there is nothing to learn a vocabulary from")
        tokens, merges = bpe.train_bpe(
            counts, vocab_size - len(special_tokens), min_frequency=min_frequency,
            progress=progress,
        )
        both = sorted(set(tokens) & set(special_tokens))
        if both:
            raise ValueError(f"special_tokens has {both[0]!r}, which the text made a token as well")
        main = END_OF_TEXT if END_OF_TEXT in special_tokens else next(iter(special_tokens), None)
        return cls(
            {token: id for id, token in enumerate(tokens + special_tokens)}, merges,
            pre_tokenizer=pre_tokenizer, **{
                "bos_token": main, "eos_token": main, "unk_token": main,
                "additional_special_tokens": [token for token in special_tokens if token != main],
                **options,
            },
        )

    @classmethod
    def _from_files(cls, path, files):
        vocab, merges, ignore_merges = _read_bpe(path, files)
        arguments = {"vocab": vocab, "merges": merges, "ignore_merges": ignore_merges}
        if files.whole and files.tokenizer_class in cls.general_classes:
            # They know no special tokens but those named, and no add_prefix_space of their own.
            files.options.pop("add_prefix_space", None)
            if files.decoder is None:
                raise ValueError(f"{path}: decoder is null, but for GPT-2 it is ByteLevel")
            arguments.update(bos_token=None, eos_token=None, unk_token=None)
        if files.tokenizer_class in cls.qwen_classes:
            arguments.update(bos_token=None, pad_token=END_OF_TEXT)
            if not files.whole:  # the steps that a tokenizer.json would name
                files.normalizer, files.pre_tokenizer = NFC(), qwen2()
        return arguments

    def _class_to_write(self):
        """The class GPT2Tokenizer of `transformers` has its own steps, not those of the file."""
        steps = (self.normalizer, self.pre_tokenizer, self.model.ignore_merges)
        own = ByteLevel(self.add_prefix_space, self.pre_tokenizer.trim_offsets) if isinstance(
            self.pre_tokenizer, ByteLevel) else None
        return "GPT2Tokenizer" if steps == (None, own, False) else "PreTrainedTokenizerFast"

    def _model_to_json(self):
        return {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": self.model.ignore_merges, "vocab": self._vocab,
            "merges": [" ".join(merge) for merge in self._merges],
        }

    def _options_to_json(self):
        anyway = {CLEAN_UP_ANYWAY: True} if self.cleans_up_spaces else {}
        return {"add_prefix_space": self.add_prefix_space, "errors": self.errors, **anyway}

    # ---- ids to text

    def _join(self, ids):
        """Join the bytes of all tokens, then decode them: one character can span several tokens."""
        return bytes_to_text(b"".join([self._bytes.get(id, b"") for id in ids]), self.errors)

    def token_bytes(self, id):
        """-> the bytes of the token with this id; empty if there is no such token"""
        return self._bytes.get(int(id), b"")

    def convert_tokens_to_string(self, tokens):
        """-> the text that a list of tokens spells"""
        pieces = [None if token in self._added_ids else unspell(token) for token in tokens]
        data = [text_to_bytes(token) if piece is None else piece
                for token, piece in zip(tokens, pieces)]
        return bytes_to_text(b"".join(data), self.errors)


# The fields of the section "model" of tokenizer.json for byte-pair encoding.
MODEL = {
    "type": str | None,
    "vocab": dict,
    "merges": list,
    "ignore_merges": bool | None,  # obeyed
    "dropout": float | None,  # refused unless 0: makes encoding random
    "unk_token": str | None,  # ignored if every byte is a token: nothing is unknown
    "fuse_unk": bool | None,  # the same
    "byte_fallback": bool | None,  # the same: every byte has a token, just not spelled "<0x0A>"
    "continuing_subword_prefix": str | None,  # refused unless empty: pieces of words are not marked
    "end_of_word_suffix": str | None,  # refused unless empty: ends of words are not marked
}


def _read_bpe(path, files):
    """-> vocab, merges, ignore_merges of `files`; ValueError unless it is a byte-level BPE"""
    model, found = files.model, {}
    if files.whole:
        kind = model.get("type", "BPE")
        if kind not in ("BPE", None):
            raise ValueError(f"{path}: model.type is {shown(kind)}, but for GPT-2 it is 'BPE'")
        for name in model:
            if name not in MODEL:
                raise ValueError(f"{path}: model.{shown(name)[1:-1]} is not a field of a BPE model")
        found = fields(path, model, {name: kind for name, kind in MODEL.items()
                                     if name not in ("vocab", "merges")}, where="model")
        for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
            if found.get(name):
                raise ValueError(f"{path}: model.{name} is {shown(found[name])}, which minillm "
                                 "does not have")
        _require_bytes(path, files)
    vocab = check_vocab(path, model.get("vocab"))
    merges = check_merges(path, model)
    lacks_bytes = not all(character in vocab for character in bpe.ALPHABET)
    for name in ("unk_token", "byte_fallback"):
        if found.get(name) and lacks_bytes:
            raise ValueError(f"{path}: model.{name} is {shown(found[name])}, which minillm has "
                             "only for a vocabulary with all 256 bytes")
    return vocab, merges, bool(found.get("ignore_merges"))


def _require_bytes(path, files):
    """Raise ValueError unless the pre-tokenizer spells bytes and the decoder reads them."""
    parts = flatten(files.pre_tokenizer) if files.pre_tokenizer else []
    if not any(part.spells_bytes for part in parts):
        found = ", ".join(type(part).__name__ for part in parts) or "null"
        raise ValueError(f"{path}: pre_tokenizer is {found}, but for GPT-2 it has ByteLevel")
    decoder = files.decoder
    while decoder is not None and decoder.get("type") == "Sequence":
        wanted = {"decoders": list[dict]}
        parts = fields(path, decoder, wanted, wanted, "decoder")["decoders"]
        if len(parts) != 1:
            raise ValueError(f"{path}: decoder is {shown(decoder)}, but for GPT-2 it is ByteLevel")
        decoder = parts[0]
    # As in `transformers`, the default decoder is GPT-2's.
    if decoder is not None and decoder.get("type") != "ByteLevel":
        raise ValueError(f"{path}: decoder.type is {shown(decoder.get('type'))}, but for GPT-2 it "
                         "is 'ByteLevel'")
