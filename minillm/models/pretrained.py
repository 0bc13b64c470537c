"""Finding a pretrained model by name, and reading and writing the files of its directory."""

import os
import re
from pathlib import Path

from minillm.checks import shown
from minillm.json_files import fields, read_json, write_json
from minillm.models.safetensors_file import read_safetensors, write_safetensors

PACKAGED = Path(__file__).parents[1] / "pretrained"
# What is fetched of a model on the hub: its weights, its configurations, its tokenizer.
HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
             "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
             "special_tokens_map.json", "added_tokens.json"]
CONFIG_BYTES = 16 * 2**20  # a config.json with the names of a hundred thousand labels fits
# Names from before the hub had organizations.
HUB_ALIASES = {name: f"openai-community/{name}"
               for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")}


def find_pretrained(name_or_path):
    """-> Path of the directory of a pretrained model

    name_or_path: in this order, a directory in Hugging Face's format; the name of a model that
    ships with minillm; a hub name ("gpt2") that is in the local Hugging Face cache already; a hub
    name to download, if `huggingface_hub` is installed (pip install "minillm[hub]").

    Raises FileNotFoundError that says which names there are, and how to get others.
    """
    name = os.fspath(name_or_path)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise FileNotFoundError(f"{name} is a file, wanted the directory of a model")
    if name in packaged_names():
        return PACKAGED / name
    if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        found = _in_hub_cache(name) or _download(name)
        if found:
            return found
        hint = 'and the package that downloads is missing: pip install "minillm[hub]"'
    else:
        hint = "and no name of the form 'model' or 'owner/model'"
    raise FileNotFoundError(f"{_not_found(name)}, {hint}")


def packaged_names():
    """-> sorted names of the models that ship with minillm"""
    return sorted(path.parent.name for path in PACKAGED.glob("*/config.json"))


def read_config(folder, model_type=None):
    """-> dict of config.json; with `model_type`, once it is known to be of that architecture

    Raises FileNotFoundError without the file, ValueError for a broken one or another architecture.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no config.json: it is not the directory of a model")
    config = read_json(path, max_bytes=CONFIG_BYTES)
    found = config.get("model_type")
    if model_type is not None and found != model_type:
        raise ValueError(f"{path}: model_type is {shown(found)}, wanted {model_type!r}")
    return config


def write_config(folder, config):
    write_json(Path(folder) / "config.json", config)


def read_weights(folder):
    """-> {name: float32 array} from model.safetensors, or from the parts that its index lists

    Raises FileNotFoundError if there are no weights, ValueError if they are only there as a pickle.
    """
    folder = Path(folder)
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return read_safetensors(whole)
    if index.is_file():
        arrays = {}
        for part in _parts(index):
            arrays.update(read_safetensors(folder / part))
        return arrays
    if list(folder.glob("pytorch_model*.bin")):
        raise ValueError(
            f"{folder} has its weights only as pytorch_model.bin, a pickle, which can run any code "
            "when it is opened; where you trust it, convert it once: transformers."
            f"GPT2LMHeadModel.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
        )
    raise FileNotFoundError(f"{folder} has no model.safetensors")


def write_weights(folder, arrays, dtype="float32"):
    write_safetensors(Path(folder) / "model.safetensors", arrays, dtype)


def _parts(index):
    """-> the names of the files that a model.safetensors.index.json lists, each once"""
    content = fields(index, read_json(index), {"weight_map": dict[str, str]}, ["weight_map"])
    parts = sorted(set(content["weight_map"].values()))
    for part in parts:
        if Path(part).name != part or not (index.parent / part).is_file():
            raise FileNotFoundError(f"{index.parent} lacks {shown(part)}, which {index.name} lists")
    return parts


def _in_hub_cache(name):
    """-> the newest snapshot of the hub model `name` in Hugging Face's cache on this machine"""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    for alias in (name, HUB_ALIASES.get(name, name)):
        model = hub / ("models--" + alias.replace("/", "--"))
        snapshots = sorted((model / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime)
        main = model / "refs" / "main"
        if main.is_file():
            snapshots.append(model / "snapshots" / main.read_text().strip())
        for snapshot in reversed(snapshots):
            if (snapshot / "config.json").is_file():
                return snapshot
    return None


def _download(name):
    """-> the directory of a fresh download, None without the package that downloads"""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        return None
    try:
        return Path(snapshot_download(HUB_ALIASES.get(name, name), allow_patterns=HUB_FILES))
    except Exception as error:  # dozens of kinds, from no network to no such name
        reason = str(error).strip().splitlines() or [""]
        failure = f"and its download failed ({type(error).__name__}: {reason[0]})"
        raise FileNotFoundError(f"{_not_found(name)}, {failure}") from None


def _not_found(name):
    shipped = ", ".join(packaged_names()) or "none yet"
    return (f"{name!r} is no directory, none of the models that ship with minillm ({shipped}), not "
            "in the local Hugging Face cache")
