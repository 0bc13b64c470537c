"""metrics.jsonl: what a training run measured, one JSON object a line.

    {"step": 10, "loss": 6.93, "grad_norm": 1.2, "lr": 0.0003, "tokens_per_s": 21000, ...}
    {"step": 10, "valid_loss": 6.91, "valid_perplexity": 1002.2, "valid_bits_per_byte": 3.1}

Every record is written with one system call, so a run that is killed loses at most the line it
was writing.
"""

import json
from pathlib import Path

from minillm.files import atomic_write


class MetricsLog:
    """The records of a run, in the file `path` and in the list `records`."""

    def __init__(self, path):
        self.path = Path(path)
        self.records = read_metrics(self.path)

    def append(self, record):
        line = json.dumps(record) + "\n"
        with open(self.path, "ab", buffering=0) as file:
            file.write(line.encode())
        self.records.append(record)

    def cut_after(self, step):
        """Drop the records beyond `step`: the resumed run will write them again."""
        self.records = [record for record in self.records if record["step"] <= step]
        with atomic_write(self.path, "w") as file:
            file.writelines(json.dumps(record) + "\n" for record in self.records)


def read_metrics(path):
    """-> list of the records in `path` (empty if there is no file yet).

    A last line without its end was cut off by a kill and is left out. Raises ValueError for any
    other line that is not a JSON object.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
            record["step"]
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{path}, line {number}: not a record of metrics") from None
        records.append(record)
    return records
