"""A corpus that `minillm prepare` has written: its splits, and what they were made of.

    OUT/train.jsonl, valid.jsonl, test.jsonl    {"name", "language", "text"} in each line
    OUT/manifest.json                           the SHA-256 of each file, and of each input
"""

import hashlib
import json

from minillm.checks import require_memory
from minillm.files import expand
from minillm.json_files import fields, read_json
from minillm.text.corpus import BYTES_A_BYTE, Document, Splits

MANIFEST = "manifest.json"
SPLITS = ("train", "valid", "test")


def is_prepared(path):
    """-> whether `path` (None too) is a folder that `minillm prepare` has written"""
    return path is not None and all((expand(path) / name).is_file()
                                    for name in (MANIFEST, "train.jsonl"))


def read_prepared(path):
    """-> Splits, and the dict of manifest.json; ValueError if a file was changed since"""
    folder = expand(path)
    manifest = read_json(folder / MANIFEST)
    hashes = fields(folder / MANIFEST, manifest, {"sha256": dict[str, str]}, ["sha256"])["sha256"]
    return Splits(*(_read(folder / f"{split}.jsonl", hashes) for split in SPLITS)), manifest


def _read(path, hashes):
    require_memory(f"{path} with its tokens", BYTES_A_BYTE * path.stat().st_size)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != hashes.get(path.name):
        raise ValueError(f"{path} was changed after it was prepared: its SHA-256 isn't the one in "
                         f"{MANIFEST}")
    lines = (json.loads(line) for line in data.decode("utf-8").split("\n") if line)
    return [Document(line["name"], line["text"]) for line in lines]
