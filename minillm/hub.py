"""Finding a pretrained model: in a directory, in the package, in the hub's cache, on the hub."""

import os
import re
from pathlib import Path

from minillm.checks import shown

PACKAGED = Path(__file__).parent / "pretrained"
# What to download of a model on the hub: its weights, its configurations, its tokenizer.
HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
             "adapter_config.json", "vocab.json", "merges.txt", "vocab.txt", "source.spm",
             "target.spm", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
             "added_tokens.json", "chat_template.jinja", "additional_chat_templates/*.jinja",
             "modules.json", "*sentence_*.json", "?_*/config.json"]
# Short names that predate the hub's organizations.
HUB_ALIASES = {name: f"openai-community/{name}"
               for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")}


def find_pretrained(name_or_path, *, revision=None, cache_dir=None, local_files_only=False,
                    token=None, force_download=False, subfolder=""):
    """-> Path of the directory of a pretrained model

    name_or_path: in this order, a directory in Hugging Face's format; the name of a model that
        ships with minillm; a hub name ("gpt2") in the local Hugging Face cache; a hub name to
        download, if `huggingface_hub` is installed (pip install "minillm[hub]")
    revision: the branch, tag or commit of a model on the hub
    cache_dir: the folder for models of the hub, instead of Hugging Face's cache
    local_files_only: never download
    token: for models on the hub that are not public
    force_download: download again, even if the model is in the cache
    subfolder: the model's folder below the directory

    Raises FileNotFoundError that lists the packaged names and says how to get other models.
    """
    name = os.fspath(name_or_path)
    folder = Path(os.path.expanduser(name))
    if folder.is_dir():
        return _below(folder, subfolder)
    if folder.exists():
        raise FileNotFoundError(f"{name} is a file, wanted the directory of a model")
    if name in packaged_names():
        return _below(PACKAGED / name, subfolder)
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise FileNotFoundError(f"{_not_found(name)}, and not a name of the form 'model' or "
                                "'owner/model'")
    found = None if force_download else _in_hub_cache(name, revision, cache_dir)
    if found:
        return _below(found, subfolder)
    if local_files_only:
        raise FileNotFoundError(f"{_not_found(name)}, and local_files_only forbids a download")
    options = {"revision": revision, "cache_dir": cache_dir, "token": token,
               "force_download": force_download}
    found = _download(name, subfolder, {key: value for key, value in options.items() if value})
    if not found:
        raise FileNotFoundError(f"{_not_found(name)}, and the package that downloads is missing: "
                                'pip install "minillm[hub]"')
    return _below(found, subfolder)


def packaged_names():
    """-> sorted names of the models that ship with minillm"""
    return sorted(path.parent.name for path in PACKAGED.glob("*/config.json"))


def _below(folder, subfolder):
    folder = folder / subfolder
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} doesn't exist")
    return folder


def _in_hub_cache(name, revision, cache_dir):
    """-> the snapshot of `name` in Hugging Face's cache, by default the newest; None without one"""
    home = Path(os.path.expanduser(os.environ.get("HF_HOME") or "~/.cache/huggingface"))
    hub = os.path.expanduser(cache_dir or os.environ.get("HF_HUB_CACHE") or home / "hub")
    for alias in (name, HUB_ALIASES.get(name, name)):
        model = Path(hub) / ("models--" + alias.replace("/", "--"))
        snapshots = sorted((model / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime)
        if revision:
            snapshots = [path for path in snapshots if path.name == revision]
        reference = model / "refs" / (revision or "main")
        if reference.is_file():
            snapshots.append(model / "snapshots" / reference.read_text().strip())
        for snapshot in reversed(snapshots):
            if list(snapshot.glob("**/config.json")):
                return snapshot
    return None


def _download(name, subfolder, options):
    """-> the directory of a new download; None if `huggingface_hub` isn't installed"""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        return None
    patterns = [f"{subfolder}/{file}" if subfolder else file for file in HUB_FILES]
    try:
        return Path(snapshot_download(HUB_ALIASES.get(name, name), allow_patterns=patterns,
                                      **options))
    except Exception as error:  # dozens of types, from no network to an unknown name
        reason = str(error).strip().splitlines() or [""]
        failure = f"and its download failed ({type(error).__name__}: {reason[0]})"
        raise FileNotFoundError(f"{_not_found(name)}, {failure}") from None


def _not_found(name):
    shipped = ", ".join(packaged_names()) or "none yet"
    return (f"{shown(name)} is not a directory, not a model that ships with minillm "
            f"({shipped}), not in the local Hugging Face cache")
