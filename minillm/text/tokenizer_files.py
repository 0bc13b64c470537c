"""The files of a tokenizer in Hugging Face's format: reading and writing them.

    tokenizer.json           the steps of tokenizer.py, the vocabulary and the added tokens
    vocab.json, merges.txt   {token: id}; one merge per line, two tokens separated by a space
    vocab.txt                one token per line; the number of the line is its id (WordPiece)
    source.spm, target.spm   models of the library sentencepiece (Marian), which has no
                             tokenizer.json
    tokenizer_config.json    special tokens by name, the side of padding, and so on
    special_tokens_map.json  the special tokens again (older versions read them here)
    added_tokens.json        {token: id} of added tokens (only older versions write it)
    chat_template.jinja      the format of a conversation

Every field is obeyed, or refused by name, or ignored for a reason given in the tables below. A
broken file raises ValueError with one line that starts with its path and names the field.
"""

import warnings
from dataclasses import dataclass, field
from pathlib import Path

from minillm.checks import shown
from minillm.files import atomic_write
from minillm.json_files import fields, read_json, write_json
from minillm.text.added_tokens import AddedToken
from minillm.text.components import component_to_json
from minillm.text.normalizers import read_normalizer
from minillm.text.post_processors import read_post_processor
from minillm.text.pre_tokenizers import read_pre_tokenizer
from minillm.text.vocabulary import EXTRA_NAMES, SPECIAL_NAMES

# All fields of tokenizer.json. The components are in normalizers.py, pre_tokenizers.py and
# post_processors.py (KINDS); the model and the decoder belong to the algorithm.
TOKENIZER_JSON = {
    "version": str,  # "1.0"
    "truncation": dict | None,  # its direction is truncation_side; the rest see TRUNCATION
    "padding": dict | None,  # its direction is padding_side, its pad_token is pad_token
    "added_tokens": list[dict] | None,
    "normalizer": dict | None,
    "pre_tokenizer": dict | None,
    "post_processor": dict | None,
    "decoder": dict | None,
    "model": dict,
}
# Each call determines the lengths of truncation and padding, as in `transformers`. So these fields
# have no effect, except for the directions and pad_token; they are written back.
TRUNCATION = {"direction": str, "max_length": int, "strategy": str, "stride": int}
PADDING = {"strategy": str | dict, "direction": str, "pad_to_multiple_of": int | None,
           "pad_id": int, "pad_type_id": int, "pad_token": str}

# tokenizer_config.json: fields that are obeyed. Any field that ends in _token is a special token. A
# field of one algorithm only is in its class, `own_options`.
OBEYED = {
    "add_bos_token": bool | None,  # only without a tokenizer.json, whose post-processor decides
    "add_eos_token": bool | None,  # the same
    "clean_up_tokenization_spaces": bool | None,
    "model_input_names": list[str] | None,
    "model_max_length": float | None,
    "max_len": float | None,  # the older name of model_max_length
    "padding_side": str | None,
    "truncation_side": str | None,
    "split_special_tokens": bool | None,
    "added_tokens_decoder": dict[str, dict] | None,
    "additional_special_tokens": list | None,
    "extra_special_tokens": list | dict | None,
    "model_specific_special_tokens": dict | None,
    "chat_template": str | dict | list | None,  # kept and written back
    "tokenizer_class": str | None,  # must be among the `classes` of the tokenizer that reads it
}
# Fields that are written back unchanged and have no effect, with the reason: `transformers` ignores
# them too, or they describe where the files came from.
KEPT = {
    "backend": "the library that `transformers` used",
    "is_local": "the location of the files",
    "local_files_only": "the location of the files",
    "name_or_path": "the location of the files",
    "special_tokens_map_file": "the location of the files",
    "tokenizer_file": "the location of the files",
    "vocab_file": "the location of the files",
    "vocab": "the location of the files",
    "source_spm": "the location of the files",
    "target_spm": "the location of the files",
    "target_vocab_file": "the location of the files",
    "merges_file": "the location of the files",
    "files_loaded": "the location of the files",
    "transformers_version": "the version that wrote the files",
    "processor_class": "the processor of a model with images or sound",
    "trust_remote_code": "how it was loaded",
    "use_fast": "how it was loaded",
    "slow_tokenizer_class": "an older class of the same tokenizer",
    "verbose": "the amount of logging",
    "max_length": "an argument of each call",
    "stride": "an argument of each call",
    "truncation": "an argument of each call",
    "truncation_strategy": "an argument of each call",
    "padding": "an argument of each call",
    "pad_to_multiple_of": "an argument of each call",
    "pad_token_type_id": "always 0 in `transformers`",
    "response_template": "belongs to the chat template",
    "response_schema": "belongs to the chat template",
    "chat_control_tokens": "belongs to the chat template",
    "legacy": "belongs to SentencePiece",
    "use_default_system_prompt": "belongs to the chat template",
    "sp_model_kwargs": "belongs to SentencePiece",
    "spaces_between_special_tokens": "belongs to tokenizers in Python",
    "vocab_size": "the number of tokens, which the vocabulary knows itself",
    "tokenizer_type": "read by no library",
    "model_type": "read by no library",
}
# Fields that would change the ids, and that minillm doesn't implement.
REFUSED = {
    "auto_map": "it names a program to run instead of this tokenizer",
    "fast_tokenizer_files": "it names other files for other versions of `transformers`",
    "init_inputs": "it passes positional arguments to an unknown class",
    "do_lower_case": "lower case belongs to tokenizer.json's normalizer",
    "fix_mistral_regex": "it changes the pattern of tokenizer.json",
}


@dataclass
class TokenizerFiles:
    """The contents of the files.

    model: the section of tokenizer.json; without that file, the contents of vocab.json, merges.txt
    decoder: the section of tokenizer.json;  whole: True if there is a tokenizer.json
    special_tokens: {name: AddedToken or None};  extra_special_tokens: list of those without names
    options: {field of OBEYED: value};  kept: fields that are only written back
    sections: {"truncation": …, "padding": …} of tokenizer.json, to be written back
    tokenizer_class: which class of `transformers` tokenizer_config.json names, or None
    """

    model: dict
    decoder: dict | None = None
    normalizer: object = None
    pre_tokenizer: object = None
    post_processor: object = None
    added_tokens: dict = field(default_factory=dict)
    special_tokens: dict = field(default_factory=dict)
    extra_special_tokens: list = field(default_factory=list)
    options: dict = field(default_factory=dict)
    kept: dict = field(default_factory=dict)
    sections: dict = field(default_factory=dict)
    whole: bool = False
    tokenizer_class: str | None = None


def read_tokenizer_files(folder, classes, vocabulary_files, own_options):
    """-> TokenizerFiles of `folder`, which holds tokenizer.json, or all of vocabulary_files

    classes: the values of tokenizer_class that the caller accepts
    vocabulary_files: the names of files with parts of tokenizer.json's model, see READERS
    own_options: {field of tokenizer_config.json: kind} that the caller obeys besides OBEYED
    Raises FileNotFoundError if they don't exist, ValueError if one is broken or two disagree.
    """
    folder = Path(folder)
    whole, paths = folder / "tokenizer.json", [folder / name for name in vocabulary_files]
    missing = [path.name for path in paths if not path.is_file()]
    if whole.is_file() and "source.spm" not in vocabulary_files:
        files = read_tokenizer_json(whole)
        for path in paths:
            if path.name not in missing:
                _require_same(path, whole, files.model)
    elif missing or not paths:
        others = f", and no {' and no '.join(missing)} either" if missing else ""
        model = " (transformers writes one from tokenizer.model: AutoTokenizer.from_pretrained(…)" \
            ".save_pretrained(…))" if (folder / "tokenizer.model").is_file() else ""
        raise FileNotFoundError(f"{folder}: no tokenizer.json there{others}{model}")
    else:
        files = TokenizerFiles({FIELDS[path.name]: READERS[path.name](path) for path in paths})
    _read_settings(folder, files, classes, own_options)
    return files


def _require_same(path, whole, model):
    """Raise ValueError unless tokenizer.json's model has the contents of `path`."""
    if FIELDS[path.name] == "merges":
        if READERS[path.name](path) != check_merges(whole, model):
            raise ValueError(f"{path}: its merges are not those of {whole.name} beside it")
    elif READERS[path.name](path) != model.get("vocab"):
        raise ValueError(f"{path}: its vocabulary is not that of {whole.name} beside it")


def read_vocab(path):
    """-> {token: id} of a vocab.json"""
    return check_vocab(path, read_json(path))


def read_vocab_lines(path):
    """-> {token: id} of a vocab.txt: the id is the number of the line, counted from 0

    A token that stands twice has the later id, as in `transformers`.
    """
    tokens = _lines(path)
    if tokens and not tokens[-1]:
        del tokens[-1]  # what comes after the last end of a line
    return check_vocab(path, {token: id for id, token in enumerate(tokens)})


def check_vocab(path, vocab):
    if not isinstance(vocab, dict) or not vocab:
        raise ValueError(f"{path}: no vocabulary in it, wanted an object {{token: id}}")
    for token, id in vocab.items():
        if type(id) is not int or id < 0:
            raise ValueError(f"{path}: the id of token {shown(token)} is {shown(id)}, wanted an "
                             "integer >= 0")
    if len(set(vocab.values())) < len(vocab):
        raise ValueError(f"{path}: two tokens have the same id")
    return vocab


def read_merges(path):
    """-> list of (left, right) of a merges.txt, whose first line may be "#version: …"

    Only the first line can be a comment: a later "# #" is the merge of two "#".
    """
    merges = []
    for number, line in enumerate(_lines(path), 1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        merges.append(_check_merge(f"{path}: line {number}", line))
    return merges


def _lines(path):
    # Not splitlines(): it would also split at characters that tokens may contain.
    lines = _read_text(path).removeprefix("\ufeff").split("\n")
    return [line.removesuffix("\r") for line in lines]


# Files with one part of the model: the functions that read them, and the model's fields.
READERS = {"vocab.json": read_vocab, "merges.txt": read_merges, "vocab.txt": read_vocab_lines,
           "source.spm": Path.read_bytes, "target.spm": Path.read_bytes}
FIELDS = {"vocab.json": "vocab", "merges.txt": "merges", "vocab.txt": "vocab",
          "source.spm": "source", "target.spm": "target"}


def check_merges(path, model):
    """-> list of (left, right) from tokenizer.json's model, which has "left right" or pairs"""
    if not isinstance(model.get("merges"), list):
        raise ValueError(f"{path}: no list of 'merges' in its model")
    return [_check_merge(f"{path}: merge {number}", merge)
            for number, merge in enumerate(model["merges"], 1)]


def _check_merge(where, merge):
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if (not isinstance(pair, (list, tuple)) or len(pair) != 2
            or not all(isinstance(half, str) and half for half in pair)):
        raise ValueError(f"{where}: {shown(merge)} is no merge, wanted two tokens and a space "
                         "between")
    return tuple(pair)


def read_tokenizer_json(path):
    """-> TokenizerFiles of a tokenizer.json alone"""
    content = read_json(path)
    if "model" not in content:
        raise ValueError(f"{path}: no 'model' in it")
    _refuse_others(path, "", content, TOKENIZER_JSON)
    fields(path, content, TOKENIZER_JSON)
    if content.get("version", "1.0") != "1.0":
        raise ValueError(f"{path}: version is {shown(content['version'])}, wanted '1.0'")
    added = {}
    for index, entry in enumerate(content.get("added_tokens") or []):
        if type(entry.get("id")) is not int or entry["id"] < 0:
            raise ValueError(f"{path}: added_tokens[{index}] has no integer id")
        added[entry["id"]] = AddedToken.from_json(entry, f"{path}: added_tokens[{index}]")
    _require_next_ids(path, added, content["model"].get("vocab"))
    files = TokenizerFiles(
        model=content["model"], decoder=content.get("decoder"),
        normalizer=read_normalizer(path, content.get("normalizer")),
        pre_tokenizer=read_pre_tokenizer(path, content.get("pre_tokenizer")),
        post_processor=read_post_processor(path, content.get("post_processor")),
        added_tokens=added, whole=True,
        sections={name: content.get(name) for name in ("truncation", "padding")},
    )
    for name, kinds, option in (("truncation", TRUNCATION, "truncation_side"),
                                ("padding", PADDING, "padding_side")):
        section = content.get(name)
        if section is not None:
            _refuse_others(path, f"{name}.", section, kinds)
            found = fields(path, section, kinds, where=name)
            if "direction" in found:
                files.options[option] = found["direction"].lower()
            if "pad_token" in found:
                files.special_tokens["pad_token"] = AddedToken(found["pad_token"], special=True)
    return files


def _require_next_ids(path, added, vocab):
    """ValueError if an added token has another id than `tokenizers` will give it: the next one."""
    next_id = len(vocab) if isinstance(vocab, dict) else 0
    for id, token in sorted(added.items()):
        if isinstance(vocab, dict) and token.content not in vocab:
            if id != next_id:
                raise ValueError(f"{path}: added token {shown(token.content)} has id {id}, wanted "
                                 f"{next_id}, which is the next one, and what `tokenizers` takes")
            next_id += 1


def _refuse_others(path, where, content, known):
    for name in content:
        if name not in known:
            raise ValueError(f"{path}: {where}{shown(name)[1:-1]} is not a field that minillm "
                             "knows")


def _read_settings(folder, files, classes, own_options):
    """Add the smaller files to `files`; later ones take precedence."""
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else {}
    obeyed = {**OBEYED, **own_options}
    fields(path, config, obeyed)
    _require_class(path, config, classes)
    files.tokenizer_class = config.get("tokenizer_class")
    for name in REFUSED.keys() - own_options.keys():
        if config.get(name) in (None, False, [], {}):
            continue
        raise ValueError(f"{path}: {name} is {shown(config[name])}, which minillm does not have: "
                         f"{REFUSED[name]}")
    added = folder / "added_tokens.json"
    if added.is_file():
        for content, id in (check_vocab(added, read_json(added) or {"": 0})).items():
            files.added_tokens.setdefault(id, AddedToken(content))
    ids = {token.content: id for id, token in files.added_tokens.items()}
    for id, value in (config.get("added_tokens_decoder") or {}).items():
        if not id.isdecimal():
            raise ValueError(f"{path}: the id of an added token is {shown(id)}, wanted an integer")
        where = f"{path}: added_tokens_decoder[{id}]"
        token = AddedToken.from_json(value, where)
        known = files.added_tokens.get(int(id), token)
        if known.content != token.content or ids.get(token.content, int(id)) != int(id):
            raise ValueError(f"{where} is {shown(token.content)}, but its other added tokens say "
                             "another id or another token")
        files.added_tokens[int(id)] = token
    # As in `transformers`: a config that lists the added tokens is newer than the map.
    map_path = folder / "special_tokens_map.json"
    sources = [(path, config)]
    if map_path.is_file():
        older = "added_tokens_decoder" in config
        sources.insert(0 if older else 1, (map_path, read_json(map_path)))
    for source in sources:
        _read_special_tokens(*source, files)
    _read_options(path, config, files, obeyed)
    _read_chat_templates(folder, files)


def _require_class(path, config, classes):
    name = config.get("tokenizer_class")
    if name is not None and name not in classes:
        raise ValueError(f"{path}: tokenizer_class is {shown(name)}, which differs from "
                         f"{classes[0]}; minillm reads {', '.join(classes)}")


def _read_special_tokens(path, content, files):
    """Add fields that end in _token, and the lists and objects of other special tokens."""
    fields(path, content, {name: OBEYED[name] for name in (*EXTRA_NAMES,
                                                           "model_specific_special_tokens")})
    named = {name: value for name, value in content.items()
             if name in SPECIAL_NAMES or (name.endswith("_token") and name not in OBEYED
                                          and isinstance(value, (str, dict)))}
    for name in (*EXTRA_NAMES, "model_specific_special_tokens"):
        values = content.get(name) or []
        if isinstance(values, dict):
            named.update(values)
            continue
        files.extra_special_tokens += [
            AddedToken.from_json(value, f"{path}: {name}[{index}]", special=True)
            for index, value in enumerate(values)]
    for name, value in named.items():
        files.special_tokens[name] = None if value is None else AddedToken.from_json(
            value, f"{path}: {name}", special=True)


def _read_options(path, config, files, obeyed):
    special = (*EXTRA_NAMES, "model_specific_special_tokens", "added_tokens_decoder",
               "tokenizer_class")
    for name, value in config.items():
        if name in obeyed:
            from_elsewhere = name in ("add_bos_token", "add_eos_token") and files.whole
            if name not in special and value is not None and not from_elsewhere:
                files.options[name] = value
        elif name not in files.special_tokens and name not in REFUSED:
            files.kept[name] = value
    if "max_len" in files.options:
        files.options.setdefault("model_max_length", files.options.pop("max_len"))
    unknown = sorted(files.kept.keys() - KEPT.keys())
    if unknown:
        warnings.warn(f"{path}: {shown(', '.join(unknown))[1:-1]} is not known and changes "
                      "nothing; it is written back when the tokenizer is saved", stacklevel=4)


def _read_chat_templates(folder, files):
    """Add chat_template.jinja and additional_chat_templates/NAME.jinja, or else the config's."""
    path = folder / "chat_template.jinja"
    templates = {"default": _read_text(path)} if path.is_file() else {}
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[path.stem] = _read_text(path)
    if templates:
        files.options["chat_template"] = (templates["default"] if list(templates) == ["default"]
                                          else templates)
    given = files.options.get("chat_template")
    if isinstance(given, list):  # [{"name": …, "template": …}, …]
        for index, entry in enumerate(given):
            fields(folder / "tokenizer_config.json", entry, {"name": str, "template": str},
                   ("name", "template"), f"chat_template[{index}]")
        files.options["chat_template"] = {entry["name"]: entry["template"] for entry in given}


def _read_text(path):
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None


def write_tokenizer_files(folder, files, tokenizer_class, vocabulary_files):
    """Write `files`, a TokenizerFiles, into `folder`; create the folder if necessary.

    Write all files, vocabulary_files too, for every version of Hugging Face's libraries and for
    programs that know only OpenAI's original two.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    options = {"ensure_ascii": False}
    for name in vocabulary_files:
        content = files.model[FIELDS[name]]
        if name == "vocab.json":
            write_json(folder / name, content, indent=None, **options)
        elif name == "merges.txt":
            _write_lines(folder / name, ["#version: 0.2", *content])
        elif isinstance(content, bytes):
            with atomic_write(folder / name) as file:
                file.write(content)
        elif sorted(content.values()) == list(range(len(content))):  # ids are numbers of lines
            _write_lines(folder / name, sorted(content, key=content.get))
    if "source.spm" not in vocabulary_files:
        write_json(folder / "tokenizer.json", _tokenizer_json(files), **options)
    special = {name: token.content if token else None
               for name, token in files.special_tokens.items()}
    # As in `transformers`, non-standard names are in one object.
    own = {name: token for name, token in special.items() if name not in SPECIAL_NAMES}
    special = {name: token for name, token in special.items() if name in SPECIAL_NAMES}
    extra = [token.content for token in files.extra_special_tokens]
    extra = {"additional_special_tokens": extra} if extra else {}
    present = {name: token for name, token in special.items() if token is not None}
    write_json(folder / "special_tokens_map.json", {**present, **own, **extra}, **options)
    write_json(folder / "tokenizer_config.json", {
        **files.kept,
        **files.options,
        "added_tokens_decoder": {str(id): token.to_json()
                                 for id, token in sorted(files.added_tokens.items())},
        **extra,
        **({"extra_special_tokens": own} if own else {}),
        **special,
        "tokenizer_class": tokenizer_class,
    }, **options)


def _write_lines(path, lines):
    with atomic_write(path, "w") as file:
        file.write("\n".join([*lines, ""]))


def _tokenizer_json(files):
    return {
        "version": "1.0",
        "truncation": files.sections.get("truncation"),
        "padding": files.sections.get("padding"),
        "added_tokens": [{"id": id, **token.to_json()}
                         for id, token in sorted(files.added_tokens.items())],
        "normalizer": component_to_json(files.normalizer),
        "pre_tokenizer": component_to_json(files.pre_tokenizer),
        "post_processor": component_to_json(files.post_processor),
        "decoder": files.decoder,
        "model": files.model,
    }
