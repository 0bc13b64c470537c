import signal

import numpy as np
import pytest

from minillm.training.loop import Interrupted
from minillm.training.settings import Settings
from minillm.training.speedrun import (
    BASELINE,
    CHANGES,
    EXTRAS,
    Speed,
    SpeedrunExperiment,
    choices,
)

VARIANTS = ["baseline", "with-length-warmup"]


def small(tmp_path, name, monkeypatch, **options):
    monkeypatch.setitem(BASELINE, "n_layer", 1)
    monkeypatch.setitem(BASELINE, "n_embd", 16)
    monkeypatch.setitem(CHANGES["small"], "n_layer", 1)
    monkeypatch.setitem(CHANGES["small"], "n_embd", 12)
    text = tmp_path / "text.txt"
    text.write_text("The cat sat on the mat, and the owl saw the cat. " * 99, encoding="utf-8")
    settings = Settings(**{**SpeedrunExperiment.QUICK, "text": str(text), "vocab_size": 280,
                           "valid": 0.2, "test": 0.2})
    return SpeedrunExperiment.create(tmp_path / name, settings, VARIANTS, **options)


def without_times(results):
    return {name: {**vars(each), "ms_per_step": None, "ms_saved": 0} for name, each in results.items()}


def test_a_stopped_experiment_goes_on(tmp_path, monkeypatch):
    whole, stopped = (small(tmp_path, name, monkeypatch, seeds=2) for name in ("whole", "stopped"))
    whole = whole.run()

    def stop(done, note):
        if done == 19:  # in the third run
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        stopped.run(stop)
    again = SpeedrunExperiment(stopped.folder)
    assert [each.seeds for each in again.results().values()] == [[0], [0]]
    results = again.run()
    assert without_times(results) == without_times(whole)
    assert all(each.ms_per_step > 0 and each.steps is None for each in results.values())
    assert results["baseline"].ms_saved == 0.0 != results["with-length-warmup"].ms_saved
    curves = {name: each.curves[0][-1][0] for name, each in results.items()}
    assert curves["baseline"] == 8 < curves["with-length-warmup"]  # for as many tokens
    assert again.plot.is_file() and again.run() == results  # nothing is left to do


def test_a_run_stops_at_the_target(tmp_path, monkeypatch):
    experiment = small(tmp_path, "run", monkeypatch, seeds=1, target=3.0)
    loss = iter([5.0, 4.0, 2.0])  # after 0, 4 and 8 steps
    monkeypatch.setattr(experiment, "task", lambda settings: Task(settings, experiment, loss))
    results = experiment.run()
    assert results["baseline"].crossed == [6.0]  # half way from 4.0 to 2.0
    assert results["baseline"].curves == [[[4, 4.0], [8, 2.0]]]


class Task:
    """The experiment's task, with losses of the held-out text that are given."""

    def __init__(self, settings, experiment, loss):
        self.real, self.loss_of = SpeedrunExperiment.task(experiment, settings), loss

    def measure(self, model, split):
        result = self.real.measure(model, split)
        return result._replace(bits_per_byte=next(self.loss_of, 2.0))

    def __getattr__(self, name):
        return getattr(self.real, name)


def test_all_is_the_baseline_with_every_change_and_the_others_lack_one():
    everything = choices("all")
    for name, changes in CHANGES.items():
        only = choices(f"only-{name}")
        assert {key for key in only if only[key] != BASELINE[key]} == set(changes)
        lacking = {key for key, value in choices(f"without-{name}").items()
                   if value != everything[key]}
        assert lacking <= set(changes) and (lacking or name == "rates")
    assert choices("baseline") == BASELINE
    for name, changes in EXTRAS.items():
        assert choices(f"with-{name}") == {**everything, **changes}
        assert choices(f"only-{name}") == {**BASELINE, **changes}
    rates = {key: choices("without-muon")[key] for key in CHANGES["rates"]}
    assert rates == CHANGES["rates"]


def test_runs_that_miss_the_target_do_not_count_if_most_reach_it():
    speed = Speed(crossed=[400.0, None, 410.0], ms_per_step=20.0, ms_saved=500.0)
    assert speed.steps == (405.0, pytest.approx(50**0.5))
    assert speed.seconds == (7.6, pytest.approx(50**0.5 / 50))
    assert Speed(crossed=[400.0, None], ms_per_step=20.0).seconds is None


@pytest.mark.parametrize("variants, options, message", [
    (["only-luck"], {}, "'only-luck' is no variant, wanted some of baseline"),
    (VARIANTS, {"seeds": 0}, "seeds is 0, wanted at least 1"),
    (VARIANTS, {"target": np.nan}, "target is nan, wanted bits per byte"),
])
def test_refusals_leave_nothing_behind(tmp_path, variants, options, message):
    with pytest.raises(ValueError, match=message):
        SpeedrunExperiment.create(tmp_path / "run", Settings(**SpeedrunExperiment.QUICK), variants,
                                  **options)
    assert not (tmp_path / "run").exists()
