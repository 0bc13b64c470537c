"""Checkpoints: all that a run needs to go on as if it had never stopped.

    checkpoints/step-000200/
        model.safetensors        the parameters
        optimizer.safetensors    the optimizer's moments
        state.json               step, random states, position in the data, settings
        SHA256SUMS               checksums of the three, in the format of `sha256sum --check`

A checkpoint is written under a temporary name and renamed when it is complete, so a folder with
the right name is a whole checkpoint, unless the disk damaged it; that is what the sums are for.
"""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import safetensors.numpy

from minillm.files import atomic_folder

ARRAY_FILES = ("model.safetensors", "optimizer.safetensors")
FILES = (*ARRAY_FILES, "state.json")


class Checkpoint(NamedTuple):
    step: int
    model: dict  # name -> array
    optimizer: dict  # name -> array
    state: dict  # whatever JSON can hold


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
    found = [path for path in paths if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def load_checkpoint(path):
    """-> the Checkpoint in the folder `path`.

    Raises FileNotFoundError if a file is missing and ValueError if one is damaged.
    """
    path = Path(path)
    contents = {name: (path / name).read_bytes() for name in FILES}
    lines = (path / "SHA256SUMS").read_text(encoding="utf-8", errors="replace").splitlines()
    sums = {line[66:]: line[:64] for line in lines}
    for name, data in contents.items():
        if sums.get(name) != hashlib.sha256(data).hexdigest():
            raise ValueError(f"{path / name} is damaged: its checksum does not match")
    state = json.loads(contents["state.json"])
    model, optimizer = (safetensors.numpy.load(contents[name]) for name in ARRAY_FILES)
    return Checkpoint(state.pop("step"), model, optimizer, state)


def load_newest_checkpoint(folder):
    """-> (the newest Checkpoint in `folder` that is whole, [what is wrong with newer ones]).

    Raises FileNotFoundError if there is none, ValueError if none is whole.
    """
    paths = list_checkpoints(folder)
    if not paths:
        raise FileNotFoundError(f"{folder}: no checkpoint here to go on from")
    problems = []
    for path in reversed(paths):
        try:
            return load_checkpoint(path), problems
        except FileNotFoundError as error:
            problems.append(f"{error.filename} is missing")
        except ValueError as error:
            problems.append(str(error))
    raise ValueError(f"{folder}: no checkpoint is whole: {'; '.join(problems)}")


def remove_unfinished(folder):
    """Delete what a killed process left half written in `folder`."""
    for path in Path(folder).glob(".step-*"):
        shutil.rmtree(path)


def _write_through(path, data):
    """Write, and return only when the data is on the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
