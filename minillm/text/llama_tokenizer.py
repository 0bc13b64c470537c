"""Llama's tokenizer (Touvron et al. 2023, section 2.1): byte-pair encoding on characters, which
falls back to bytes; with the interface of `transformers`. Also that of Mistral 7B and TinyLlama.

"▁" stands for a space, and one is put before a text, so that its first word is encoded like one
inside a sentence; decoding drops it. The normalizer or the pre-tokenizer of the file does this
(normalizers.py, pre_tokenizers.py), its decoder undoes it (decoders.py). The algorithm is in
character_bpe.py, the interface in tokenizer.py. (Llama 3's is byte-level: gpt2_tokenizer.py.)
"""

from minillm.checks import shown
from minillm.json_files import fields
from minillm.text.character_bpe import CharacterBPE
from minillm.text.decoders import read_decoder
from minillm.text.pre_tokenizers import WholeText, after_the_start
from minillm.text.tokenizer import PreTrainedTokenizer
from minillm.text.tokenizer_files import check_merges, check_vocab
from minillm.text.vocabulary import require_str

# What a tokenizer without an own decoder does.
OWN_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
    {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}


class LlamaTokenizer(PreTrainedTokenizer):
    """A tokenizer with the interface of `transformers.LlamaTokenizer`, read from a tokenizer.json.

    The ids and the texts are those of Hugging Face's `tokenizers` for the same file. (The class
    LlamaTokenizer of `transformers` 5 replaces the file's normalizer and pre-tokenizer: a text
    after a special token then gets no "▁".)

    vocab: {token: id};  merges: list of (left, right)
    bpe: {name: value}, arguments of character_bpe.CharacterBPE;  decoder: the section of the file
    bos_token, eos_token, unk_token, pad_token: str, AddedToken or None
    add_prefix_space: no effect: the normalizer or the pre-tokenizer decides
    The other options are those of PreTrainedTokenizer.
    """

    general_classes = ("PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer")
    classes = ("LlamaTokenizer", "LlamaTokenizerFast", *general_classes)
    vocabulary_files = ()
    own_options = {"add_prefix_space": bool | None}

    def __init__(self, vocab, merges, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                 pad_token=None, *, bpe=None, decoder=OWN_DECODER, pre_tokenizer=None,
                 special_tokens=None, padding_side="left", add_prefix_space=None, **options):
        self._merges = list(merges)
        self.decoder, self._decoder = decoder, read_decoder("decoder", decoder)
        self.add_prefix_space = add_prefix_space
        named = {"bos_token": bos_token, "eos_token": eos_token, "unk_token": unk_token,
                 "pad_token": pad_token, **(special_tokens or {})}
        super().__init__(vocab, CharacterBPE(vocab, self._merges, **(bpe or {})),
                         pre_tokenizer or WholeText(), special_tokens=named,
                         padding_side=padding_side, **options)
        # Where a text begins in the caller's is then known only if characters are traced.
        self._spells_last = self.normalizer is None or (
            after_the_start(self.pre_tokenizer) is self.pre_tokenizer)

    # ---- read from files and written to them

    @classmethod
    def _from_files(cls, path, files):
        read_decoder(path, files.decoder)  # an error names the file
        arguments = {"vocab": check_vocab(path, files.model.get("vocab")),
                     "merges": check_merges(path, files.model), "bpe": _options(path, files),
                     "decoder": files.decoder}
        if files.tokenizer_class in cls.general_classes:
            # They know no special tokens but those named, and pad on the right.
            arguments.update(bos_token=None, eos_token=None, unk_token=None, padding_side="right")
        return arguments

    def _class_to_write(self):
        """The class LlamaTokenizer of `transformers` has its own steps, not those of the file."""
        return "PreTrainedTokenizerFast"

    def _model_to_json(self):
        model = self.model
        return {
            "type": "BPE", "dropout": None, "unk_token": model.unk_token,
            "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": model.fuse_unk, "byte_fallback": model.byte_fallback,
            "ignore_merges": model.ignore_merges, "vocab": self._vocab,
            "merges": [list(merge) for merge in self._merges],
        }

    def _options_to_json(self):
        return {} if self.add_prefix_space is None else {"add_prefix_space": self.add_prefix_space}

    # ---- ids to text

    def _join(self, ids):
        tokens = [self._token(id) for id in ids]
        return self._text_of([token for token in tokens if token is not None])

    def convert_tokens_to_string(self, tokens):
        """-> the text that a list of tokens spells"""
        return self._text_of([require_str("tokens", token) for token in tokens])

    def _text_of(self, tokens):
        return " ".join(tokens) if self._decoder is None else "".join(self._decoder.decode(tokens))


# The fields of the section "model" of tokenizer.json.
OBEYED = {"unk_token": str | None, "fuse_unk": bool | None, "byte_fallback": bool | None,
          "ignore_merges": bool | None}
REFUSED = {
    "dropout": float | None,  # makes encoding random
    "continuing_subword_prefix": str | None,  # pieces of words are not marked
    "end_of_word_suffix": str | None,  # ends of words are not marked
}


def _options(path, files):
    """-> {argument of CharacterBPE: value}; ValueError for what it doesn't have"""
    for name in files.model:
        if name not in ("type", "vocab", "merges", *OBEYED, *REFUSED):
            raise ValueError(f"{path}: model.{shown(name)[1:-1]} is not a field of a BPE model")
    found = fields(path, files.model, {"type": str | None, **OBEYED, **REFUSED}, where="model")
    if found.get("type", "BPE") not in ("BPE", None):
        raise ValueError(f"{path}: model.type is {shown(found['type'])}, but for Llama it is 'BPE'")
    for name in REFUSED:
        if found.get(name):
            raise ValueError(f"{path}: model.{name} is {shown(found[name])}, which minillm does "
                             "not have")
    return {name: found[name] for name in OBEYED if found.get(name) is not None}
