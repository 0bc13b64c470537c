"""GPT-2's tokenizer: text to ids and back, with the interface that everybody knows.

Radford et al. 2019, section 2.2. The parts are in files of their own: the alphabet of bytes and
the pattern in byte_level.py, learning and applying merges in bpe.py, tokens and their ids in
vocabulary.py, special tokens in a text in added_tokens.py, the files in tokenizer_files.py.
"""

import math
import warnings
from pathlib import Path

import numpy as np

from minillm.text import bpe
from minillm.text.added_tokens import AddedToken, AddedTokenSplitter
from minillm.text.batch_encoding import BatchEncoding, pad_rows, rows_to_array
from minillm.text.byte_level import bytes_to_text, text_to_bytes, unspell
from minillm.text.tokenizer_files import (
    TokenizerFiles,
    read_merges,
    read_tokenizer_files,
    read_vocab,
    write_tokenizer_files,
)
from minillm.text.vocabulary import SPECIAL_NAMES, Vocabulary, one_of, require_str

END_OF_TEXT = "<|endoftext|>"
NO_LIMIT = int(1e30)  # the model_max_length that Hugging Face writes for "none"


class GPT2Tokenizer(Vocabulary):
    """A byte-level BPE tokenizer with the interface of `transformers.GPT2Tokenizer`.

    The ids are those of Hugging Face's libraries for the same vocabulary, and
    decode(encode(text)) == text for every str. minillm computes with NumPy, so `return_tensors`
    "pt" and "np" (programs of tutorials say "pt") both give int64 NumPy arrays of shape (B, T).

    vocab: {token: id}, or the path of a vocab.json;  merges: list of (left, right), or the path of
    a merges.txt. `from_pretrained` and `train` are the usual ways to make one.
    bos_token, eos_token, unk_token, pad_token: str, AddedToken or None; one that isn't in the
    vocabulary yet is added at its end. additional_special_tokens: a list of such, likewise.
    added_tokens: {id: AddedToken}, tokens that are looked for in the text before anything else.
    errors: what decoding does with bytes that are not UTF-8 (see `bytes.decode`).
    add_prefix_space: put a space before a text that has none, so that its first word is encoded
    as within a sentence. add_bos_token: put `bos_token` first.
    model_max_length: the length that truncation=True cuts to if no max_length is given.
    Raises ValueError for a vocabulary and merges that don't fit together.
    """

    def __init__(self, vocab, merges, errors="replace", unk_token=END_OF_TEXT,
                 bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, pad_token=None,
                 add_prefix_space=False, *, add_bos_token=False, additional_special_tokens=(),
                 added_tokens=None, model_max_length=NO_LIMIT, padding_side="right",
                 truncation_side="right"):
        vocab = vocab if isinstance(vocab, dict) else read_vocab(vocab)
        super().__init__(vocab, added_tokens or {})
        self._merges = read_merges(merges) if isinstance(merges, (str, Path)) else list(merges)
        self._bpe = bpe.BPE(self._vocab, self._merges)
        missing = self._bpe.byte_ids.count(None)
        if missing:
            warnings.warn(
                f"the vocabulary has no token for {missing} of the 256 bytes; "
                "what they spell is left out of encoded texts",
                stacklevel=2,
            )
        self.errors = one_of("errors", errors, ("replace", "strict", "ignore", "backslashreplace",
                                                "surrogateescape"))
        self.add_prefix_space = add_prefix_space
        self.add_bos_token = add_bos_token
        if model_max_length is None:
            model_max_length = NO_LIMIT
        if not isinstance(model_max_length, (int, float)) or not 1 <= model_max_length < math.inf:
            raise ValueError(f"model_max_length is {model_max_length!r}, wanted a positive integer")
        self.model_max_length = int(model_max_length)
        self.padding_side = one_of("padding_side", padding_side, ("right", "left"))
        self.truncation_side = one_of("truncation_side", truncation_side, ("right", "left"))
        given = (bos_token, eos_token, unk_token, pad_token)
        self.add_special_tokens({
            **{name: token for name, token in zip(SPECIAL_NAMES, given) if token is not None},
            "additional_special_tokens": additional_special_tokens,
        })
        if add_bos_token and bos_token is None:
            raise ValueError("add_bos_token is True, but there is no bos_token")

    # ---- made by training, read from files, written to files

    @classmethod
    def train(cls, texts, vocab_size, special_tokens=(END_OF_TEXT,), *, min_frequency=2,
              progress=None):
        """Learn a vocabulary of `vocab_size` tokens (bytes and special tokens included).

        texts: iterable of str. Special tokens in them are not part of what is learned.
        special_tokens: they get the last ids, as in GPT-2. <|endoftext|>, or else the first of
        them, becomes bos_token, eos_token and unk_token.
        progress: called as progress(tokens so far, tokens wanted).
        The vocabulary is smaller than asked for if fewer pairs repeat `min_frequency` times.
        Deterministic; see `bpe.train_bpe`. Raises ValueError for texts that are all empty and for
        a `vocab_size` that doesn't hold the bytes and the special tokens.
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
        counts = bpe.count_words(
            piece for text in texts for piece in splitter.split(require_str("texts", text))
            if isinstance(piece, str)
        )
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
            bos_token=main, eos_token=main, unk_token=main,
            additional_special_tokens=[token for token in special_tokens if token != main],
        )

    @classmethod
    def from_pretrained(cls, name_or_path, **options):
        """Read a tokenizer from a directory with tokenizer.json, or vocab.json and merges.txt.

        A name that is no directory is looked up as `GPT2LMHeadModel.from_pretrained` does it.
        options: arguments of the constructor that overrule the files, e.g. pad_token="<pad>".
        Raises FileNotFoundError if the files aren't there, ValueError if they are broken.
        """
        folder = Path(name_or_path)
        if not folder.is_dir():
            from minillm.models.pretrained import find_pretrained

            folder = find_pretrained(name_or_path)
        files = read_tokenizer_files(folder)
        try:
            return cls(files.vocab, files.merges, **{
                **files.options, **files.special_tokens,
                "additional_special_tokens": files.extra_special_tokens,
                "added_tokens": files.added_tokens, **options,
            })
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    def save_pretrained(self, folder):
        """Write the tokenizer into `folder`, in all the files of Hugging Face's format.

        `transformers` and `tokenizers` open what is written, with the same ids.
        """
        special = {name: token and AddedToken(token) for name, token in self._special.items()}
        named = set(self._special.values())
        extra = [token for token in self._added.values()
                 if token.special and token.content not in named]
        write_tokenizer_files(folder, TokenizerFiles(
            self._vocab, self._merges, self._added, special, extra,
            {
                "add_bos_token": self.add_bos_token,
                "add_prefix_space": self.add_prefix_space,
                "errors": self.errors,
                "model_max_length": self.model_max_length,
                "padding_side": self.padding_side,
                "truncation_side": self.truncation_side,
            },
        ))

    # ---- text to ids

    def tokenize(self, text):
        """-> list of the tokens of `text` as they stand in the vocabulary (a space is "Ġ")."""
        return self.convert_ids_to_tokens(self._encode_text(text))

    def encode(self, text, add_special_tokens=True, padding=False, truncation=None,
               max_length=None, return_tensors=None):
        """-> list of the ids of `text`, or with return_tensors="pt" or "np" an int64 array (1, T).

        Special tokens that are written in the text become their ids. The empty text has no ids:
        [] or shape (1, 0). add_special_tokens=False leaves out the bos_token of add_bos_token.
        padding, truncation, max_length: as in `__call__`.
        """
        require_str("text", text)
        return self(text, add_special_tokens, padding, truncation, max_length,
                    return_tensors)["input_ids"]

    def __call__(self, text, add_special_tokens=True, padding=False, truncation=None,
                 max_length=None, return_tensors=None, return_attention_mask=True):
        """Encode one text or several -> BatchEncoding with input_ids and attention_mask.

        text: str, or a list of str. For one str without return_tensors the values are flat lists.
        padding: True or "longest": all to the length of the longest; "max_length": to `max_length`
        or else `model_max_length`; False: none. It goes to `padding_side`.
        truncation: True cuts to `max_length` or else `model_max_length`, at `truncation_side`.
        A `max_length` without padding or truncation truncates.
        return_tensors: "pt" or "np", int64 arrays (B, T); None, lists.
        Raises TypeError for what isn't a text; ValueError for texts of unequal length if they are
        to be padded and there is no pad token, or to be an array without padding.
        """
        single = isinstance(text, str)
        if not single and not isinstance(text, (list, tuple)):
            raise TypeError(f"text is a {type(text).__name__}, wanted a str or a list of str")
        texts = [text] if single else text
        if not texts:
            raise ValueError("text is an empty list, wanted at least one text")
        one_of("return_tensors", return_tensors, (None, "pt", "np"))
        padding, cut = self._lengths(padding, truncation, max_length)
        first = [self.bos_token_id] if add_special_tokens and self.add_bos_token else []
        rows = [self._encode_text(text) for text in texts]
        if cut is not None:  # the text is cut, not the token before it
            rows = [self._truncate(row, max(cut - len(first), 0)) for row in rows]
        rows = [first + row for row in rows]
        length = max(map(len, rows)) if padding == "longest" else padding or 0
        rows, masks = pad_rows(rows, length, self.pad_token_id, self.padding_side)
        encoding = BatchEncoding(input_ids=rows)
        if return_attention_mask:
            encoding["attention_mask"] = masks
        for name, value in encoding.items():
            if return_tensors is not None:
                encoding[name] = rows_to_array(value)
            elif single:
                encoding[name] = value[0]
        return encoding

    def _lengths(self, padding, truncation, max_length):
        """-> padding ("longest", a length or None), length to cut to (or None)."""
        padding = one_of("padding", padding,
                         (False, None, True, "longest", "max_length", "do_not_pad"))
        truncation = one_of("truncation", truncation,
                            (None, False, True, "longest_first", "only_first", "do_not_truncate"))
        whole = isinstance(max_length, (int, np.integer))
        if max_length is not None and not (whole and max_length >= 1):
            raise ValueError(f"max_length is {max_length!r}, wanted an integer of at least 1")
        if padding in (False, "do_not_pad"):
            padding = None
        elif padding is True:
            padding = "longest"
        if truncation is None and max_length is not None and padding is None:
            truncation = True
        limit = max_length
        if limit is None and self.model_max_length < NO_LIMIT:
            limit = self.model_max_length
        if padding == "max_length":
            if limit is None:
                raise ValueError("padding='max_length' needs a max_length or a model_max_length")
            padding = limit
        return padding, None if truncation in (None, False, "do_not_truncate") else limit

    def _truncate(self, row, length):
        return row[:length] if self.truncation_side == "right" else row[max(len(row) - length, 0):]

    def _encode_text(self, text):
        ids = []
        for piece in self._splitter.split(require_str("text", text)):
            if isinstance(piece, AddedToken):
                ids.append(self._added_ids[piece.content])
            elif self.add_prefix_space and not piece.startswith(" "):
                ids += self._bpe.encode(" " + piece)
            else:
                ids += self._bpe.encode(piece)
        return ids

    # ---- ids to text

    def decode(self, ids, skip_special_tokens=False):
        """-> the text of `ids`, an int, a list or an array (T,); of rows (B, T), a list of texts.

        Spaces are left as they are. Where the bytes are no UTF-8 (ids that end in the middle of a
        character), `errors` decides. Raises ValueError for an id outside the vocabulary.
        """
        if isinstance(ids, (list, tuple)) and ids and not np.isscalar(ids[0]) and np.ndim(ids[0]):
            return self.batch_decode(ids, skip_special_tokens)
        array = np.asarray(ids)
        if array.ndim == 2:
            return self.batch_decode(array, skip_special_tokens)
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"ids are {array.dtype}, wanted integers")
        pieces = []
        for id in array.reshape(-1).tolist():
            token = self._added.get(id)
            if token is None:
                pieces.append(self._lookup(self._bytes, id))
            elif not (skip_special_tokens and token.special):
                pieces.append(text_to_bytes(token.content))
        return bytes_to_text(b"".join(pieces), self.errors)

    def batch_decode(self, sequences, skip_special_tokens=False):
        """-> list of the texts of `sequences`, rows of ids."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    def convert_tokens_to_string(self, tokens):
        """-> the text that a list of tokens spells."""
        pieces = [None if token in self._added_ids else unspell(token) for token in tokens]
        data = [text_to_bytes(token) if piece is None else piece
                for token, piece in zip(tokens, pieces)]
        return bytes_to_text(b"".join(data), self.errors)

    def __repr__(self):
        return f"GPT2Tokenizer({len(self)} tokens, special: {self.special_tokens_map})"
