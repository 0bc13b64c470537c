"""The files of a GPT-2 tokenizer as Hugging Face's libraries write and read them.

    vocab.json               {token: id}
    merges.txt               one merge a line, the two tokens separated by a space
    tokenizer.json           both of these and the added tokens in one file
    tokenizer_config.json    which token is the end of text, the side of padding, and so on
    special_tokens_map.json  the special tokens once more (older versions read them here)
    added_tokens.json        {token: id} of added tokens (written by older versions only)

Every file that is broken raises ValueError with one line that begins with its path.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from minillm.files import atomic_write
from minillm.text.added_tokens import AddedToken
from minillm.text.vocabulary import SPECIAL_NAMES

OTHER_SPECIAL_NAMES = ("sep_token", "cls_token", "mask_token")  # BERT's: kept as special tokens
OPTIONS = ("add_bos_token", "add_prefix_space", "errors", "model_max_length", "padding_side",
           "truncation_side")


@dataclass
class TokenizerFiles:
    """What the files say. merges: list of (left, right); added_tokens: {id: AddedToken}."""

    vocab: dict
    merges: list
    added_tokens: dict = field(default_factory=dict)
    special_tokens: dict = field(default_factory=dict)  # name -> AddedToken or None
    extra_special_tokens: list = field(default_factory=list)
    options: dict = field(default_factory=dict)


def read_tokenizer_files(folder):
    """-> TokenizerFiles of `folder`, which holds tokenizer.json, or vocab.json and merges.txt.

    Raises FileNotFoundError if they are not there, ValueError if a file is broken or two disagree.
    """
    folder = Path(folder)
    names = ("tokenizer.json", "vocab.json", "merges.txt")
    whole, vocab, merges = (folder / name for name in names)
    if whole.is_file():
        files = read_tokenizer_json(whole)
        if vocab.is_file() and read_vocab(vocab) != files.vocab:
            raise ValueError(f"{vocab}: its vocabulary is not that of {whole.name} beside it")
        if merges.is_file() and read_merges(merges) != files.merges:
            raise ValueError(f"{merges}: its merges are not those of {whole.name} beside it")
    elif vocab.is_file() and merges.is_file():
        files = TokenizerFiles(read_vocab(vocab), read_merges(merges))
    else:
        missing = [path.name for path in (vocab, merges) if not path.is_file()]
        raise FileNotFoundError(
            f"{folder}: no tokenizer.json there, and no {' and no '.join(missing)} either"
        )
    _read_settings(folder, files)
    return files


def read_json(path):
    """-> the dict in a JSON file; ValueError if it is anything else."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, wanted a JSON object")
    return content


def read_vocab(path):
    return _check_vocab(path, read_json(path))


def _check_vocab(path, vocab):
    if not isinstance(vocab, dict) or not vocab:
        raise ValueError(f"{path}: no vocabulary in it, wanted an object {{token: id}}")
    for token, id in vocab.items():
        if type(id) is not int or id < 0:
            raise ValueError(f"{path}: the id of token {token!r} is {id!r}, wanted an integer >= 0")
    if len(set(vocab.values())) < len(vocab):
        raise ValueError(f"{path}: two tokens have the same id")
    return vocab


def read_merges(path):
    """-> list of (left, right) of a merges.txt, whose first line may be "#version: …".

    Only the first line can be a comment: "# #" further down is the merge of two "#".
    """
    try:
        # Not splitlines(): a token may contain characters that it takes for the end of a line.
        lines = Path(path).read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error})") from None
    merges = []
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line or (number == 1 and line.startswith("#version")):
            continue
        merges.append(_check_merge(f"{path}: line {number}", line))
    return merges


def _check_merge(where, merge):
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if (not isinstance(pair, list) or len(pair) != 2
            or not all(isinstance(half, str) and half for half in pair)):
        raise ValueError(f"{where}: {merge!r} is no merge, wanted two tokens and a space between")
    return tuple(pair)


def read_tokenizer_json(path):
    """-> TokenizerFiles (without settings) of a tokenizer.json.

    The format can describe other kinds of tokenizers; these raise ValueError.
    """
    content = read_json(path)
    model = content.get("model")
    if not isinstance(model, dict):
        raise ValueError(f"{path}: no 'model' in it")
    _require_gpt2(path, content, model)
    vocab = _check_vocab(path, model.get("vocab"))
    if not isinstance(model.get("merges"), list):
        raise ValueError(f"{path}: no list of 'merges' in its model")
    merges = [_check_merge(f"{path}: merge {number}", merge)
              for number, merge in enumerate(model["merges"], 1)]
    added = {}
    for entry in content.get("added_tokens") or []:
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            raise ValueError(f"{path}: the added token {entry!r} has no integer id")
        added[entry["id"]] = _added_token(path, entry)
    options = {"add_prefix_space": content["pre_tokenizer"].get("add_prefix_space", True)}
    files = TokenizerFiles(vocab, merges, added, options=options)
    template = (content.get("post_processor") or {}).get("single")
    if template:  # [{"SpecialToken": …}, {"Sequence": …}]: a beginning-of-text token is put first
        first = [part["SpecialToken"]["id"] for part in template if "SpecialToken" in part]
        files.options["add_bos_token"] = bool(first)
        if first:
            files.special_tokens["bos_token"] = AddedToken(first[0], special=True)
    return files


def _require_gpt2(path, content, model):
    """Raise ValueError unless tokenizer.json describes a byte-level BPE with GPT-2's pattern."""
    pre_tokenizer = content.get("pre_tokenizer")
    pre_tokenizer = pre_tokenizer if isinstance(pre_tokenizer, dict) else {}
    post_processor = content.get("post_processor") or {}
    found = {
        "model.type": (model.get("type", "BPE"), "BPE"),
        "model.continuing_subword_prefix": (model.get("continuing_subword_prefix") or None, None),
        "model.end_of_word_suffix": (model.get("end_of_word_suffix") or None, None),
        "model.byte_fallback": (model.get("byte_fallback", False), False),
        "model.ignore_merges": (model.get("ignore_merges", False), False),
        "model.dropout": (model.get("dropout") or None, None),
        "normalizer": (content.get("normalizer"), None),
        "pre_tokenizer.type": (pre_tokenizer.get("type"), "ByteLevel"),
        "pre_tokenizer.use_regex": (pre_tokenizer.get("use_regex", True), True),
    }
    for name, (value, wanted) in found.items():
        if value != wanted:
            raise ValueError(f"{path}: {name} is {value!r}, but for GPT-2 it is {wanted!r}")
    kinds = [set(part) for part in post_processor.get("single", [])]
    if kinds not in ([], [{"Sequence"}], [{"SpecialToken"}, {"Sequence"}]):
        raise ValueError(f"{path}: its post_processor puts tokens where GPT-2's tokenizer doesn't")


def _added_token(path, value):
    try:
        token = AddedToken.from_json(value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not token.content:
        raise ValueError(f"{path}: a special token is empty")
    return token


def _read_settings(folder, files):
    """Read the smaller files into `files`; what a later one says counts."""
    path = folder / "added_tokens.json"
    if path.is_file():
        for content, id in _check_vocab(path, read_json(path) or {"": 0}).items():
            files.added_tokens.setdefault(id, AddedToken(content))
    for path in (folder / "special_tokens_map.json", folder / "tokenizer_config.json"):
        if path.is_file():
            _read_special_tokens(path, read_json(path), files)
    if path.is_file():
        config = read_json(path)
        files.options.update({name: config[name] for name in OPTIONS if name in config})


def _read_special_tokens(path, config, files):
    for name in SPECIAL_NAMES:
        if name in config:
            value = config[name]
            files.special_tokens[name] = None if value is None else _added_token(path, value)
    extra = [config[name] for name in OTHER_SPECIAL_NAMES if config.get(name) is not None]
    for name in ("additional_special_tokens", "extra_special_tokens"):
        values = config.get(name) or []
        extra += values.values() if isinstance(values, dict) else values
    files.extra_special_tokens += [_added_token(path, value) for value in extra]
    for id, value in (config.get("added_tokens_decoder") or {}).items():
        if not id.isdecimal():
            raise ValueError(f"{path}: the id of an added token is {id!r}, wanted an integer")
        files.added_tokens[int(id)] = _added_token(path, value)


def write_tokenizer_files(folder, files):
    """Write `files`, a TokenizerFiles, into `folder`, which is made if need be.

    All five files are written, so that every version of Hugging Face's libraries, and every
    program that knows only OpenAI's original two, finds what it reads.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    merges = [" ".join(merge) for merge in files.merges]
    with atomic_write(folder / "merges.txt", "w") as file:
        file.write("\n".join(["#version: 0.2", *merges, ""]))
    _write_json(folder / "vocab.json", files.vocab, indent=None)
    _write_json(folder / "tokenizer.json", _tokenizer_json(files, merges))
    special = {name: token.content if token else None
               for name, token in files.special_tokens.items()}
    extra = [token.content for token in files.extra_special_tokens]
    extra = {"additional_special_tokens": extra} if extra else {}
    present = {name: token for name, token in special.items() if token is not None}
    _write_json(folder / "special_tokens_map.json", {**present, **extra})
    added = {str(id): token.to_json() for id, token in sorted(files.added_tokens.items())}
    _write_json(folder / "tokenizer_config.json", {
        **files.options,
        "added_tokens_decoder": added,
        **extra,
        **special,
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "GPT2Tokenizer",
    })


def _tokenizer_json(files, merges):
    prefix = files.options["add_prefix_space"]
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    if files.options["add_bos_token"]:
        bos = files.special_tokens["bos_token"].content
        bos_id = next(id for id, token in files.added_tokens.items() if token.content == bos)
        post_processor = _bos_template(bos, bos_id)
    else:
        post_processor = {**byte_level, "add_prefix_space": True, "trim_offsets": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, **token.to_json()}
                         for id, token in sorted(files.added_tokens.items())],
        "normalizer": None,
        "pre_tokenizer": {**byte_level, "add_prefix_space": prefix},
        "post_processor": post_processor,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": files.vocab, "merges": merges,
        },
    }


def _bos_template(bos, bos_id):
    """The post-processor that puts the token `bos` before a text (and before each of a pair)."""
    special = {"SpecialToken": {"id": bos, "type_id": 0}}
    text, second = ({"Sequence": {"id": name, "type_id": n}} for n, name in enumerate("AB"))
    return {
        "type": "TemplateProcessing",
        "single": [special, text],
        "pair": [special, text, {"SpecialToken": {"id": bos, "type_id": 1}}, second],
        "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}},
    }


def _write_json(path, content, indent=2):
    with atomic_write(path, "w") as file:
        json.dump(content, file, ensure_ascii=False, indent=indent)
        file.write("\n")
