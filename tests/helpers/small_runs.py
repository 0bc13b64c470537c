"""Runs that train in a second: a text of a few hundred words and a model of a few thousand numbers."""

import hashlib

from minillm.training.run import create_run
from minillm.training.settings import Settings

SMALL = {"vocab_size": 280, "n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16, "steps": 12,
         "batch_size": 2, "warmup": 2, "lr": 1e-2, "eval_every": 4, "checkpoint_every": 3, "keep": 2,
         "log_every": 1}


def write_text(path):
    """A file of 24 different documents -> its path as a string"""
    animals, verbs = ("cat", "dog", "owl", "fox", "hen", "bee"), ("sees", "hears", "follows", "meets")
    documents = [
        "\n".join(f"The {animal} number {n} {verb} {n + 2} things in the garden of house {n * 7}."
                  for n in range(4))
        for animal in animals for verb in verbs
    ]
    path.write_text("<|endoftext|>".join(documents), encoding="utf-8")
    return str(path)


def small_settings(folder, **changes):
    return Settings(**{**SMALL, "text": write_text(folder / "text.txt"), **changes})


def small_run(folder, name="run", **changes):
    """-> a Run in folder/name, prepared and not yet trained"""
    return create_run(folder / name, small_settings(folder, **changes))


def write_with_sums(path, name, content):
    """Put `content` into a file of the checkpoint at `path`, with the right checksum."""
    old = hashlib.sha256((path / name).read_bytes()).hexdigest()
    (path / name).write_bytes(content)
    sums = (path / "SHA256SUMS").read_text()
    (path / "SHA256SUMS").write_text(sums.replace(old, hashlib.sha256(content).hexdigest()))
