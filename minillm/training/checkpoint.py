"""Checkpoints: everything that a run needs to continue as if it had never stopped.

    checkpoints/step-000200/
        model.safetensors        the parameters
        optimizer.safetensors    the optimizer's moments
        state.json               step, place in the order of the data, software
        SHA256SUMS               checksums of the three, in the format of `sha256sum --check`

A checkpoint is written under a temporary name and renamed when it is complete. So a folder with the
right name is a whole checkpoint, unless the disk damages it later; the checksums reveal that.
"""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.numpy

from minillm.files import atomic_folder, require_regular
from minillm.json_files import fields, parse_json

ARRAY_FILES = ("model.safetensors", "optimizer.safetensors")
FILES = (*ARRAY_FILES, "state.json")


class Checkpoint(NamedTuple):
    step: int
    model: dict  # name -> array
    optimizer: dict  # name -> array
    state: dict  # anything that JSON can represent


def save_checkpoint(folder, checkpoint, keep=3):
    """Write `checkpoint` as a folder inside `folder`, then delete all but the last `keep`.

    Returns the path of the new checkpoint. Raises OSError, with the older ones untouched, if it
    cannot be written.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}, wanted at least 1")
    folder = Path(folder)
    path = folder / f"step-{checkpoint.step:06d}"
    contents = {
        "model.safetensors": safetensors.numpy.save(checkpoint.model),
        "optimizer.safetensors": safetensors.numpy.save(checkpoint.optimizer),
        "state.json": json.dumps({"step": checkpoint.step, **checkpoint.state}, indent=1).encode(),
    }
    sums = [f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in FILES]
    contents["SHA256SUMS"] = "".join(sums).encode()
    with atomic_folder(path) as temporary:
        for name, data in contents.items():
            _write_through(temporary / name, data)
    for old in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return path


def list_checkpoints(folder):
    """-> paths of the checkpoints in `folder`, the oldest step first."""
    folder = Path(folder)
    paths = folder.iterdir() if folder.is_dir() else []
    found = [path for path in paths if re.fullmatch(r"step-[0-9]+", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def load_checkpoint(path):
    """-> the Checkpoint in the folder `path`.

    Raises FileNotFoundError if a file is missing, another OSError if one can't be read, and
    ValueError if one is damaged.
    """
    path = Path(path)
    contents = _read_whole(path, FILES)
    state_path = path / "state.json"
    state = parse_json(state_path, contents["state.json"])
    fields(state_path, state, {"step": int}, required=["step"])
    arrays = [_arrays(path / name, contents[name]) for name in ARRAY_FILES]
    return Checkpoint(state.pop("step"), *arrays, state)


def load_weights(path):
    """-> {name: array}, the parameters alone of the checkpoint in the folder `path`

    Raises the errors of `load_checkpoint`.
    """
    name = "model.safetensors"
    return _arrays(Path(path) / name, _read_whole(Path(path), [name])[name])


def _read_whole(path, names):
    """-> {name: bytes} of files of a checkpoint; ValueError unless their checksums match"""
    for name in (*names, "SHA256SUMS"):
        require_regular(path / name)
    contents = {name: (path / name).read_bytes() for name in names}
    lines = (path / "SHA256SUMS").read_text(encoding="utf-8", errors="replace").splitlines()
    sums = {line[66:]: line[:64] for line in lines}
    for name, data in contents.items():
        if sums.get(name) != hashlib.sha256(data).hexdigest():
            raise ValueError(f"{path / name} is damaged: its checksum does not match")
    return contents


def _arrays(path, content):
    """-> {name: array} in the content of a safetensors file"""
    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def restore_newest_checkpoint(folder, restore):
    """Call restore(checkpoint) with the newest whole one -> list of messages about newer ones

    Falls back to an older one if the newest can't be read, is damaged, or doesn't fit (`restore`
    raises ValueError). Raises FileNotFoundError if there is none, ValueError if none is whole.
    """
    paths = list_checkpoints(folder)
    if not paths:
        raise FileNotFoundError(f"{folder}: no checkpoint here to go on from")
    problems = []
    for path in reversed(paths):
        try:
            restore(load_checkpoint(path))
            return problems
        except FileNotFoundError as error:
            problems.append(f"{error.filename} is missing")
        except OSError as error:
            problems.append(f"{error.filename or path}: {error.strerror}")
        except ValueError as error:
            message = str(error)
            problems.append(message if str(path) in message else f"{path}: {message}")
    raise ValueError(f"{folder}: no checkpoint is whole: {'; '.join(problems)}")


def _write_through(path, data):
    """Write a file; return once its data is on the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
