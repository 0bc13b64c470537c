"""metrics.jsonl: the measurements of a training run, one JSON object per line.

    {"step": 10, "loss": 6.93, "grad_norm": 1.2, "lr": 0.0003, "tokens_per_s": 21000, ...}
    {"step": 10, "valid_loss": 6.91, "valid_perplexity": 1002.2, "valid_bits_per_byte": 3.1}

Each record is written with one system call, so a run that is killed loses at most the last line.
"""

import json
from pathlib import Path

from minillm.files import atomic_write, require_regular
from minillm.json_files import parse_json


class MetricsLog:
    """The records of a run, in the file `path` and in the list `records`.

    problems: a message for each line of the file that is no record, as a power cut may leave; such
    lines are skipped, and `cut_after` removes them from the file.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.records, self.problems = read_metrics(self.path)

    def append(self, record):
        line = json.dumps(record) + "\n"
        with open(self.path, "ab", buffering=0) as file:
            file.write(line.encode())
        self.records.append(record)

    def cut_after(self, step):
        """Drop the records after `step`: the resumed run writes them again."""
        self.records = [record for record in self.records if record["step"] <= step]
        with atomic_write(self.path, "w") as file:
            file.writelines(json.dumps(record) + "\n" for record in self.records)


def read_metrics(path):
    """-> (list of the records in `path`, list of messages about the other lines)

    Both are empty if there is no file yet. A last line without its end was cut off by a kill; it is
    skipped without a message.
    """
    try:
        require_regular(path)
        lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], []
    records, problems = [], []
    for number, line in enumerate(lines[:-1], start=1):
        record = _record(line)
        if record is None:
            problems.append(f"{path}, line {number}: not a record of metrics")
        else:
            records.append(record)
    return records, problems


def _record(line):
    """-> the record in a line: a dict of numbers with "step" among them; None for anything else"""
    try:
        record = parse_json("", line)
    except ValueError:
        return None
    is_record = type(record.get("step")) is int and all(
        type(value) in (int, float) for value in record.values())
    return record if is_record else None
