"""Examples of a task: dicts with the task's fields, in JSONL or TSV files, in splits and batches.

    {"text": "not bad at all", "label": "positive"}            a line of a .jsonl file
    not bad at all <tab> positive                              a line of a .tsv file

A TSV's first line may name its columns; otherwise they are the task's fields in their order.
"""

import json
from pathlib import Path

import numpy as np

from minillm.checks import shown
from minillm.files import atomic_write, expand
from minillm.json_files import fields as check_fields
from minillm.json_files import parse_json
from minillm.text.corpus import read_text

SPLITS = ("train", "valid", "test")
SUFFIXES = (".jsonl", ".ndjson", ".tsv")


def read_examples(path, fields, optional=()):
    """Read the examples in a JSONL or TSV file -> list of dicts

    fields: {name: kind}, kinds as in json_files.fields; a TSV serves only fields that are strings
    optional: names that an example may lack

    Blank lines are skipped, and JSON fields without a name in `fields` are dropped. Raises
    FileNotFoundError if there is no file, ValueError, with the number of the line, for a line that
    isn't an example, and for a file without any.
    """
    path = expand(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: the name ends in {path.suffix or 'no suffix'}, wanted one of "
                         f"{', '.join(SUFFIXES)}")
    is_tsv = path.suffix.lower() == ".tsv"
    text_fields = [name for name, kind in fields.items() if kind is str]
    if is_tsv and len(text_fields) + len(optional) < len(fields):
        others = ", ".join(name for name in fields if name not in text_fields)
        raise ValueError(f"{path}: a TSV holds only texts, and {others} is none; wanted JSONL")
    # Only "\n" ends a line: a text may contain other separators of Unicode.
    lines = [(number, line.removesuffix("\r")) for number, line
             in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    required = [name for name in fields if name not in optional]
    if is_tsv:
        rows = _tsv_rows(path, lines, text_fields, [n for n in required if n in text_fields])
    else:
        rows = ((number, parse_json(f"{path}, line {number}", line)) for number, line in lines)
    examples = [check_fields(f"{path}, line {number}", row, fields, required)
                for number, row in rows]
    if not examples:
        raise ValueError(f"{path}: no example in it")
    return examples


def _tsv_rows(path, lines, names, required):
    """Yield (number of the line, {field: text}); the first line may be a heading."""
    columns = names
    if lines and set(heading := lines[0][1].split("\t")) <= set(names) and (
            set(required) <= set(heading)):
        columns, lines = heading, lines[1:]
    least = len(required) if columns is names else len(columns)
    for number, line in lines:
        cells = line.split("\t")
        if not least <= len(cells) <= len(columns):
            raise ValueError(f"{path}, line {number}: the number of columns is {len(cells)}, "
                             f"wanted {len(columns)}: {', '.join(columns)}")
        yield number, dict(zip(columns, cells))


def write_examples(path, examples):
    """Write the dicts as JSONL, atomically."""
    with atomic_write(path, "w") as file:
        file.writelines(json.dumps(example, ensure_ascii=False) + "\n" for example in examples)


def read_splits(path, read, question, valid, test, seed):
    """The user's examples -> {"train": list, "valid": list, "test": list}

    path: one file, which is split at random; or a folder with train, valid and test files of one of
        SUFFIXES (a missing valid or test is split off the training examples)
    read: function of a file -> list of examples
    question: names of the fields that a model is given. Examples with the same question stay in
        one split: a model must not be tested on what it was trained on. This also removes from
        the training examples what a valid or test file repeats.
    valid, test: the shares to hold out;  seed: of the order

    Raises ValueError for too few examples, FileNotFoundError for a folder without a train file.
    """
    path = expand(path)
    found = {"train": read(path)} if not path.is_dir() else {
        split: read(file) for split in SPLITS if (file := _file_in(path, split))}
    if "train" not in found:
        raise FileNotFoundError(f"{path}: has no train{SUFFIXES[0]} or train.tsv")

    def key(example):
        return json.dumps([example.get(name) for name in question])

    held_out = {key(example) for split in ("valid", "test") for example in found.get(split, ())}
    train = [example for example in found["train"] if key(example) not in held_out]
    keys = list(dict.fromkeys(map(key, train)))
    order = [keys[i] for i in np.random.default_rng(seed).permutation(len(keys))]
    groups = {}
    for split, share in (("valid", valid), ("test", test)):
        n = 0 if split in found or share == 0 else max(1, round(share * len(keys)))
        groups[split], order = set(order[:n]), order[n:]
    if not order:
        raise ValueError(f"{path}: the number of different examples is {len(keys)}, which leaves "
                         "none to train on after valid and test are held out")
    splits = {split: found.get(split) or [e for e in train if key(e) in groups[split]]
              for split in ("valid", "test")}
    rest = set(order)
    return {"train": [example for example in train if key(example) in rest], **splits}


def _file_in(folder, name):
    """-> the file `name` with one of SUFFIXES in the folder, or None"""
    files = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((file for file in files if file.is_file()), None)


class ExampleBatches:
    """Endless batches, lists of examples, in a new random order in each epoch.

    rng: numpy Generator, or a seed for one. Its state before the order of the current epoch was
        drawn, and the position in that order, are the whole state.
    """

    def __init__(self, examples, batch_size, rng):
        if not examples:
            raise ValueError("examples is empty: there is nothing to train on")
        self.examples, self.batch_size = examples, min(batch_size, len(examples))
        self.rng = np.random.default_rng(rng)
        self._start_epoch()

    def _start_epoch(self):
        self.epoch_state = self.rng.bit_generator.state
        self.order = self.rng.permutation(len(self.examples))
        self.position = 0

    def __iter__(self):
        return self

    def skip(self):
        """Pass over one batch without making it."""
        if self.position + self.batch_size > len(self.order):  # the rest waits for another epoch
            self._start_epoch()
        self.position += self.batch_size

    def __next__(self):
        self.skip()
        chosen = self.order[self.position - self.batch_size : self.position]
        return [self.examples[index] for index in chosen]

    def state_dict(self):
        """-> {"rng": …, "position": …}, which JSON can represent"""
        return {"rng": self.epoch_state, "position": self.position}

    def load_state_dict(self, state):
        """Restore the result of `state_dict()`; ValueError if it doesn't fit."""
        try:
            position = state["position"]
            self.rng.bit_generator.state = state["rng"]
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ValueError(f"state is not that of batches of examples ({error!r})") from None
        if type(position) is not int or not 0 <= position <= len(self.examples):
            raise ValueError(f"position is {shown(position)}, wanted 0 … {len(self.examples)}")
        self._start_epoch()
        self.position = position


def folder_file(folder, split):
    """-> the file of a split in a run folder"""
    return Path(folder) / "data" / f"{split}.jsonl"
