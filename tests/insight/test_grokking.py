"""The experiment of `minillm experiment grokking`, in seconds."""

import signal

import numpy as np
import pytest

from minillm.insight.grokking import Addition, Grokking, GrokkingExperiment, plot_grokking
from minillm.insight.modular_addition import answers, score
from minillm.insight.subject import Subject
from minillm.training.loop import Interrupted
from minillm.training.settings import Settings

SMALL = {**GrokkingExperiment.QUICK, "vocab_size": 7, "valid": 0.65, "n_embd": 8, "steps": 4,
         "eval_every": 2, "checkpoint_every": 2}


def small_experiment(tmp_path, name, variants=None, **changes):
    return GrokkingExperiment.create(tmp_path / name, Settings(**{**SMALL, **changes}), variants)


def test_everything_is_measured(tmp_path):
    experiment = small_experiment(tmp_path, "run")
    calls = []
    results = experiment.run(lambda done, note: calls.append(done))
    assert calls == [*range(1, 13), 12]
    assert results == GrokkingExperiment(experiment.folder).results()
    assert [each.questions for each in results.values()] == [17, 17, 34]
    for name, each in results.items():
        assert each.steps == [2, 4] and each.memorized is None
        task = Addition(experiment.settings_of(name))
        subject = Subject.open(experiment.folder / name / "model")
        assert subject.names(subject.encode("3 4 =")) == ["3", "4", "="]
        assert score(answers(subject.model, task.data.ids), task.data).test_loss == pytest.approx(
            min(each.test_loss), abs=0.02)  # the best model is kept, of step 0, 2 or 4
    assert results["grokking"].train_loss != results["no-decay"].train_loss
    assert experiment.plot.is_file()


def test_stopped_and_resumed_it_gives_the_same_numbers(tmp_path):
    whole, stopped = (small_experiment(tmp_path, name, ["grokking", "no-decay"])
                      for name in ("whole", "stopped"))

    def stop(done, note):
        if done == 6:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        stopped.run(stop)
    assert list(stopped.results()) == ["grokking"]
    assert GrokkingExperiment(stopped.folder).run() == whole.run()


@pytest.mark.parametrize("variants, changes, message", [
    (["groking"], {}, "'groking' is no variant"),
    (None, {"vocab_size": 8}, "p is 8, wanted an odd"),
    (None, {"valid": 0.0}, "share is 1.0, wanted a number between 0 and 1"),
])
def test_refusals_leave_nothing_behind(tmp_path, variants, changes, message):
    with pytest.raises(ValueError, match=message):
        small_experiment(tmp_path, "run", variants, **changes)
    assert not (tmp_path / "run").exists()


def test_plot():
    curve = list(np.linspace(0.1, 1, 4))
    result = Grokking(10, [1, 2, 3, 4], *[curve] * 4, 2, None, [3], 0.5, curve, curve)
    assert len(plot_grokking({"one": result, "two": result}).axes) == 4
