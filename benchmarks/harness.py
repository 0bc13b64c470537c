"""Fair timing: competitors take turns, and the results are medians and their ratios.

A single number from a benchmark says little: clocks change, other programs run, caches are warm or
cold. So every comparison here is made in rounds. In each round every competitor runs once, in an
order that rotates; whatever slows the machine down for a while hits all of them. The result is the
median of a competitor's rounds, with the quartiles around it as a measure of how far to trust it.
"""

import statistics
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """The time to spend on one row of a table.

    min_rounds: of all competitors, however slow;  seconds: go on with more rounds for so long;
    sample_seconds: short work is repeated for about so long and the mean counts as one sample.
    """

    name: str
    min_rounds: int
    max_rounds: int
    seconds: float
    sample_seconds: float

    @property
    def is_quick(self):
        return self.name == "quick"


QUICK = Effort("quick", min_rounds=3, max_rounds=9, seconds=0.15, sample_seconds=0.003)
FULL = Effort("full", min_rounds=7, max_rounds=31, seconds=1.5, sample_seconds=0.02)


@dataclass(frozen=True)
class Timing:
    """The samples of one competitor: seconds for one call, one number per round."""

    samples: tuple

    @property
    def median(self):
        return statistics.median(self.samples)

    @property
    def spread(self):
        """The distance between the quartiles, relative to the median: 0.02 is a quiet machine."""
        if len(self.samples) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / self.median


def alternate(sides, effort, clock=time.perf_counter):
    """Let all `sides` take turns -> {label: Timing}

    sides: {label: function}, where function(calls) does the work `calls` times and returns the
    seconds that one call took. Each side has done the work once before, as a warm-up: memory is
    touched and code is loaded.
    """
    calls = {label: _calls_per_sample(run, effort.sample_seconds) for label, run in sides.items()}
    samples = {label: [] for label in sides}
    labels = list(sides)
    start = clock()
    rounds = 0
    while labels and (rounds < effort.min_rounds or
                      (rounds < effort.max_rounds and clock() - start < effort.seconds)):
        for label in labels:
            samples[label].append(sides[label](calls[label]))
        labels = labels[1:] + labels[:1]
        rounds += 1
    return {label: Timing(tuple(times)) for label, times in samples.items()}


def _calls_per_sample(run, sample_seconds):
    """-> the number of calls that fill a sample"""
    return max(1, min(100_000, round(sample_seconds / max(run(1), 1e-9))))
