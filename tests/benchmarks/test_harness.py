"""Taking turns, medians and spreads: with a clock that the test turns, so that nothing is timed."""

import statistics

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness import Effort, Timing, alternate

seconds = st.floats(1e-6, 1e3)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def recorded_sides(clock, times, log):
    def make(label, seconds_per_call):
        def run(calls):
            log.append((label, calls))
            clock.now += calls * seconds_per_call
            return seconds_per_call

        return run

    return {label: make(label, time) for label, time in times.items()}


@given(st.lists(seconds, min_size=1, max_size=40))
def test_median_and_spread(samples):
    timing = Timing(tuple(samples))
    assert timing.median == statistics.median(samples)
    assert timing.spread >= 0
    assert (timing.spread == 0) or max(samples) > min(samples)


@given(st.lists(seconds, min_size=1, max_size=10), st.floats(0.1, 10))
def test_the_spread_does_not_depend_on_the_unit(samples, scale):
    scaled = Timing(tuple(scale * s for s in samples))
    assert abs(scaled.spread - Timing(tuple(samples)).spread) <= 1e-6


@given(st.dictionaries(st.sampled_from("abcd"), st.floats(1e-4, 10), min_size=1),
       st.integers(1, 5), st.integers(0, 5), st.floats(0, 50))
def test_all_take_part_in_every_round(times, min_rounds, more_rounds, budget):
    clock, log = Clock(), []
    effort = Effort("test", min_rounds, min_rounds + more_rounds, budget, 0.01)
    found = alternate(recorded_sides(clock, times, log), effort, clock)

    rounds = {len(timing.samples) for timing in found.values()}
    assert len(rounds) == 1 and min_rounds <= rounds.pop() <= min_rounds + more_rounds
    for label, timing in found.items():
        assert timing.median == times[label]
    # The first call of each estimates its time.
    measured = [label for label, _ in log[len(times):]]
    labels = list(times)
    for number, start in enumerate(range(0, len(measured), len(times))):
        this_round = measured[start:start + len(times)]
        assert sorted(this_round) == sorted(labels)
        assert this_round[0] == labels[number % len(labels)]  # each is first in turn


def test_rounds_stop_when_the_time_is_up():
    clock, log = Clock(), []
    effort = Effort("test", min_rounds=2, max_rounds=100, seconds=5.0, sample_seconds=0.0)
    found = alternate(recorded_sides(clock, {"slow": 1.0}, log), effort, clock)
    assert len(found["slow"].samples) == 5


def test_short_work_is_repeated_to_fill_a_sample():
    clock, log = Clock(), []
    effort = Effort("test", min_rounds=1, max_rounds=1, seconds=0, sample_seconds=0.02)
    alternate(recorded_sides(clock, {"short": 0.001, "long": 1.0}, log), effort, clock)
    assert log[-2:] == [("short", 20), ("long", 1)]


def test_no_competitors():
    assert alternate({}, Effort("test", 3, 3, 1.0, 0.1)) == {}
