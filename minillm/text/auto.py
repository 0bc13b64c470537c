"""From the algorithm that a tokenizer's files name to the class that reads them.

To add an algorithm to minillm, add a line to TOKENIZERS; to add one from your own program, call
`register`. Modules are imported on first use.
"""

import importlib

from minillm.checks import shown
from minillm.hub import find_pretrained
from minillm.json_files import fields, read_json
from minillm.text.tokenizer import PLACES

BPE_OF_CHARACTERS = "BPE of characters"  # in a file it is "BPE", without ByteLevel
# model.type of a tokenizer.json -> (module, class), or a class that `register` added
TOKENIZERS = {
    "BPE": ("minillm.text.gpt2_tokenizer", "GPT2Tokenizer"),
    BPE_OF_CHARACTERS: ("minillm.text.llama_tokenizer", "LlamaTokenizer"),
    "WordPiece": ("minillm.text.bert_tokenizer", "BertTokenizer"),
}
# Those that read other files, even if there is a tokenizer.json.
WITHOUT_JSON = [("minillm.text.marian_tokenizer", "MarianTokenizer")]


def register(algorithm, tokenizer_class):
    """Let `tokenizer_class` read every tokenizer of this `algorithm`, such as "WordPiece".

    Raises ValueError if the algorithm already has a class.
    """
    if algorithm in TOKENIZERS:
        raise ValueError(f"algorithm is {shown(algorithm)}, which has a class already")
    TOKENIZERS[algorithm] = tokenizer_class


def tokenizer_class(folder):
    """-> the class for the tokenizer in `folder`

    Without a tokenizer.json it is the last class in TOKENIZERS whose `vocabulary_files` all exist,
    or else BPE's: a registered one comes before ours.
    Raises ValueError, in one line, for an algorithm that minillm doesn't have.
    """
    def fits(cls):
        names = cls.vocabulary_files
        return bool(names) and all((folder / name).is_file() for name in names)

    for cls in map(_load, WITHOUT_JSON):
        if fits(cls):
            return cls
    path = folder / "tokenizer.json"
    if not path.is_file():
        return next(filter(fits, map(_class, reversed(TOKENIZERS))), _class("BPE"))
    content = fields(path, read_json(path), {"model": dict, "pre_tokenizer": dict | None,
                                             "decoder": dict | None})
    model = content.get("model", {})
    algorithm = fields(path, model, {"type": str | None}, where="model").get("type") or "BPE"
    if algorithm == "BPE" and not any("ByteLevel" in _types(content.get(name))
                                      for name in ("pre_tokenizer", "decoder")):
        algorithm = BPE_OF_CHARACTERS
    if algorithm not in TOKENIZERS:
        raise ValueError(f"{path}: model.type is {shown(algorithm)}, wanted one of "
                         f"{', '.join(repr(name) for name in TOKENIZERS if name != BPE_OF_CHARACTERS)}")
    return _class(algorithm)


def _types(part):
    """-> set of the types of a component of tokenizer.json and of the components inside it"""
    if isinstance(part, dict):
        return {part.get("type")}.union(*map(_types, part.values()))
    return set().union(*map(_types, part)) if isinstance(part, list) else set()


def _class(algorithm):
    return _load(TOKENIZERS[algorithm])


def _load(found):
    if isinstance(found, type):
        return found
    module, name = found
    return getattr(importlib.import_module(module), name)


class AutoTokenizer:
    """`AutoTokenizer.from_pretrained(name)` calls `from_pretrained` of the class for its files."""

    @classmethod
    def from_pretrained(cls, name_or_path, **options):
        """Takes the options, and raises the errors, of `PreTrainedTokenizer.from_pretrained`."""
        places = {name: options.pop(name) for name in PLACES & options.keys()}
        folder = find_pretrained(name_or_path, **places)
        return tokenizer_class(folder).from_pretrained(folder, **options)
