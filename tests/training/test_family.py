"""The experiment of `minillm experiment family`, in seconds."""

import json
import signal

import numpy as np
import pytest
from matplotlib.image import imread
from small_runs import small_settings

from minillm.models.auto import AutoModelForCausalLM
from minillm.training.evaluate import evaluate
from minillm.training.family import FamilyExperiment, n_parameters
from minillm.training.loop import Interrupted

SIZES = dict(vocab_size=280, n_layer=1, n_head=4, n_embd=32, block_size=8, steps=3, eval_every=3,
             valid=0.2, test=0.0)


def small_experiment(tmp_path, name, variants, **changes):
    settings = small_settings(tmp_path, **{**SIZES, **changes})
    return FamilyExperiment.create(tmp_path / name, settings, variants)


def without_times(experiment):
    content = json.loads((experiment.folder / "results.json").read_text())
    for each in content["variants"].values():
        assert each.pop("ms_per_step") > 0 and each.pop("peak_bytes") > 0
    return content


def test_everything_is_measured(tmp_path):
    experiment = small_experiment(tmp_path, "run", ["2017", "2023"])
    calls = []
    results = experiment.run(lambda done, note: calls.append(done))
    assert calls == [*range(1, 7), 6] and list(results) == ["2017", "2023"]
    assert results == FamilyExperiment(experiment.folder).results()
    for variant, each in results.items():
        model = AutoModelForCausalLM.from_pretrained(experiment.folder / variant / "model")
        assert each.parameters == model.num_parameters()
        assert [step for step, _ in each.curve] == [0, 3] and each.loss == each.curve[-1][1]
        assert each.peak_bytes > 16 * each.parameters  # weights, gradients, two moments
        heads = 4 if variant == "2017" else 2
        assert each.kv_bytes == 2 * heads * 8 * 4
    best = min(loss for _, loss in results["2023"].curve)  # of the best model, which is kept
    dataset = experiment.task().splits["valid"]
    assert evaluate(model, dataset, block_size=8).loss == pytest.approx(best, abs=1e-5)
    assert imread(experiment.plot).shape[0] > 200


def test_stopped_and_resumed_it_gives_the_same_numbers(tmp_path):
    variants = ["2018", "2019+swiglu"]
    whole, stopped = (small_experiment(tmp_path, name, variants) for name in ("whole", "stopped"))
    whole.run()

    def stop(done, note):
        if done == 4:  # in the second variant
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        stopped.run(stop)
    again = FamilyExperiment(stopped.folder)
    assert list(again.results()) == ["2018"] and again.results()["2018"].ms_per_step is None
    again.run()
    assert without_times(whole) == without_times(again)
    times = again.results()
    assert again.run() == times  # nothing is left to do


def test_each_change_alone_leads_from_one_paper_to_the_next():
    fields = FamilyExperiment.FIELDS
    for before, after in (("2017", "2018"), ("2018", "2019"), ("2019", "2023")):
        together = dict(fields[before])
        for name, changed in fields.items():
            if name.startswith(f"{before}+"):
                different = {key: value for key, value in changed.items()
                             if fields[before].get(key) != value}
                assert different
                together.update(different)
        missing = {key for key, value in fields[after].items() if together.get(key) != value}
        assert missing <= {"scale_output_init"}  # part of GPT-2, without a run of its own


def test_all_have_about_as_many_parameters(tmp_path):
    settings = small_settings(tmp_path, **{**SIZES, "n_layer": 4, "n_embd": 96, "vocab_size": 1024,
                                           "block_size": 64})
    counts = [n_parameters(FamilyExperiment.config(settings, variant, 1024))
              for variant in FamilyExperiment.VARIANTS]
    assert np.ptp(counts) < 0.015 * np.mean(counts)


@pytest.mark.parametrize("variants, changes, message", [
    (["2020"], {}, "'2020' is no variant, wanted some of 2017, 2017"),
    (["2017"], {"valid": 0.0}, "valid is 0, wanted a share of the text"),
    (["2023"], {"n_embd": 20}, "a head has 5 numbers, wanted an even number"),
])
def test_refusals_leave_nothing_behind(tmp_path, variants, changes, message):
    with pytest.raises(ValueError, match=message):
        small_experiment(tmp_path, "run", variants, **changes)
    assert not (tmp_path / "run").exists()
