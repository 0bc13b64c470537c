"""The results of a run: sections of rows, to JSON and back."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

FORMAT = 1


@dataclass
class Goal:
    """A goal of minillm: `ratio` times the speed of `against`, or as many times less memory.

    `work` names the kind of row: the worst of its rows decides whether the goal is met.
    possible: what the ratio would be if minillm did the multiply-adds at the chip's peak, or read the
    weights at the memory's speed, and nothing else; None where neither is the limit
    """

    work: str
    against: str
    ratio: float
    measured: float
    possible: float | None = None

    @property
    def reached(self):
        """measured / wanted: the goal is met from 1."""
        return self.measured / self.ratio


@dataclass
class Row:
    """One line of a table.

    values: {competitor: number in the section's unit};  spreads: {competitor: distance of the
    quartiles relative to the median};  details: whatever else is worth keeping (flops, bytes)
    """

    name: str
    values: dict
    spreads: dict = field(default_factory=dict)
    goals: list = field(default_factory=list)
    details: dict = field(default_factory=dict)


# The columns with bounds: the work at the chip's peak of multiply-adds, or at the speed of reading
# its weights.
FMA_BOUND, MEMORY_BOUND = "FMA bound", "memory bound"


@dataclass
class Section:
    """One table. `higher_is_better` is False for times and memory."""

    key: str
    title: str
    unit: str
    higher_is_better: bool
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def ratio(self, row, of, against):
        """-> how many times better `of` is than `against` in this row; None if one is missing"""
        if of not in row.values or against not in row.values:
            return None
        a, b = row.values[of], row.values[against]
        return (a / b if self.higher_is_better else b / a) if a and b else None

    def add(self, row, *goals):
        """Append a row. goals: (work, of, against, ratio), left out where one side is missing."""
        for work, of, against, wanted in goals:
            measured = self.ratio(row, of, against)
            if measured is not None:
                bounds = [self.ratio(row, bound, against) for bound in (FMA_BOUND, MEMORY_BOUND)
                          if of == "minillm"]  # not for weights in fewer bytes
                possible = min((ratio for ratio in bounds if ratio), default=None)
                row.goals.append(Goal(work, against, wanted, measured, possible))
        self.rows.append(row)
        return row


@dataclass
class Results:
    machine: dict
    effort: str
    sections: list = field(default_factory=list)

    def section(self, key):
        return next((section for section in self.sections if section.key == key), None)


def from_timings(name, timings, amount=None, scale=1.0, **details):
    """-> Row of rates `amount` / seconds * scale, or of seconds * scale without an amount."""
    values = {}
    for label, timing in timings.items():
        values[label] = (amount / timing.median if amount else timing.median) * scale
    spreads = {label: timing.spread for label, timing in timings.items()}
    rounds = max((len(timing.samples) for timing in timings.values()), default=0)
    best = {label: min(timing.samples) for label, timing in timings.items()}
    return Row(name, values, spreads, details={"rounds": rounds, "best seconds": best, **details})


def to_json(results):
    return json.dumps({"format": FORMAT, **asdict(results)}, indent=1)


def from_json(text, name="the file"):
    """Raises ValueError if it isn't a result of this benchmark."""
    try:
        stored = json.loads(text)
        if stored.pop("format") != FORMAT:
            raise ValueError(f"{name} has another format than this version of the benchmark reads")
        sections = []
        for section in stored["sections"]:
            rows = [Row(**{**row, "goals": [Goal(**goal) for goal in row["goals"]]})
                    for row in section.pop("rows")]
            sections.append(Section(**section, rows=rows))
        return Results(stored["machine"], stored["effort"], sections)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{name} isn't a result of minillm bench: {error!r}") from None


def read(path):
    """Raises FileNotFoundError, ValueError."""
    path = Path(path)
    if path.is_dir():
        path = path / "results.json"
    return from_json(path.read_text(encoding="utf-8"), str(path))
