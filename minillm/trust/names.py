"""Names of persons and places, found by a tagger of the task `entities`.

No pattern knows a name. A model that has learned names from their sentences finds most of them, and
misses some: its recall on its own test split, which `missed` reads, says how many there. On other
kinds of text it misses more.
"""

from typing import NamedTuple

from minillm.files import expand
from minillm.json_files import fields, read_json
from minillm.tasks.tagger import find_entities
from minillm.trust.detector import Span

KIND_OF = {"PER": "PERSON", "PERSON": "PERSON", "LOC": "PLACE", "GPE": "PLACE", "PLACE": "PLACE"}


class NameFinder:
    """A function text -> list of Span; model: a run of the task `entities`, or a checkpoint"""

    def __init__(self, model):
        self.model = model

    def __call__(self, text):
        return [Span(entity.start, entity.end, KIND_OF[entity.label])
                for entity in find_entities(self.model, text) if entity.label in KIND_OF]


class Missed(NamedTuple):
    """The share of the entities of the test split that a run's model missed, with 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self):
        return f"{self.value:.1%} (95 % interval {self.low:.1%} to {self.high:.1%})"


def missed(run):
    """run: a run folder -> Missed, or None if it was never tested"""
    path = expand(run) / "results.json"
    if not path.is_file():
        return None
    metrics = fields(path, read_json(path), {"metrics": dict}, ["metrics"])["metrics"]
    recall = fields(path, metrics, {"recall": dict[str, float]}, ["recall"])["recall"]
    recall = fields(path, recall, dict.fromkeys(("value", "low", "high"), float),
                    ("value", "low", "high"), "metrics.recall")
    return Missed(1 - recall["value"], 1 - recall["high"], 1 - recall["low"])
