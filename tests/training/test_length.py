"""The experiment of `minillm experiment length`, in seconds."""

import json
import signal

import numpy as np
import pytest
from matplotlib.image import imread
from small_runs import small_settings

from minillm import GPT2Config, GPT2LMHeadModel
from minillm.models.auto import AutoModelForCausalLM
from minillm.models.positions import POSITION_EMBEDDINGS
from minillm.text.dataset import TokenDataset, write_tokens
from minillm.training.length import TIMES, LengthExperiment, losses_by_position
from minillm.training.loop import Interrupted

KINDS = ["learned", "alibi", "t5"]


def small_experiment(tmp_path, name, kinds=KINDS, **changes):
    settings = small_settings(tmp_path, **{"block_size": 8, "test": 0.2, "steps": 6,
                                           "eval_every": 6, **changes})
    return LengthExperiment.create(tmp_path / name, settings, kinds)


def results_of(experiment):
    return (experiment.folder / "results.json").read_bytes()


def test_every_kind_is_trained_and_measured(tmp_path):
    experiment = small_experiment(tmp_path, "run", POSITION_EMBEDDINGS, steps=4)
    calls = []
    results = experiment.run(lambda done, note: calls.append(done))
    assert calls == [*range(1, 25), 24] and experiment.n_steps == 24
    assert list(results) == list(POSITION_EMBEDDINGS)
    for kind, losses in results.items():
        lengths = [8 * times for times in TIMES]
        assert list(losses.at_end) == experiment.lengths == lengths
        readable = lengths[:1] if kind == "learned" else lengths
        assert [n for n in lengths if losses.at_end[n] is not None] == readable
        assert len(losses.by_position) == readable[-1]
        assert losses.at_end[readable[-1]] == pytest.approx(np.mean(losses.by_position[-4:]), abs=1e-4)
        model = AutoModelForCausalLM.from_pretrained(experiment.folder / kind / "model")
        assert model.config.position_embedding == kind
    assert imread(experiment.plot).shape[0] > 200
    content = json.loads(results_of(experiment))
    assert content["trained_length"] == 8
    assert content["losses"]["learned"]["at_end"]["16"] is None
    assert LengthExperiment(experiment.folder).results() == results


def test_the_seed_determines_the_numbers(tmp_path):
    one, same, other = (small_experiment(tmp_path, str(n), ["t5"], seed=n // 2)
                        for n in range(3))
    for experiment in (one, same, other):
        experiment.run()
    assert results_of(one) == results_of(same) != results_of(other)


def test_stopped_and_resumed_it_gives_the_same_numbers(tmp_path):
    whole, stopped = (small_experiment(tmp_path, name, ["learned", "alibi"])
                      for name in ("whole", "stopped"))
    whole.run()

    def stop(done, note):
        if done == 8:  # in the middle of the second kind
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        stopped.run(stop)
    again = LengthExperiment(stopped.folder)
    assert list(again.results()) == ["learned"]
    calls = []
    again.run(lambda done, note: calls.append(done))
    assert calls[0] == 10  # the signal waited for the end of the next step
    assert results_of(whole) == results_of(stopped)
    again.run(lambda done, note: calls.append(done))  # nothing is left to do
    assert calls[-1] == again.n_steps and results_of(whole) == results_of(stopped)


@pytest.mark.parametrize("kind", ["alibi", "rotary"])
@pytest.mark.parametrize("length", [4, 12])
def test_losses_by_position(tmp_path, kind, length):
    ids = np.random.default_rng(0).integers(0, 29, 41)
    write_tokens(tmp_path / "text.bin", ids, 29)
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=29, n_positions=4, n_embd=8, n_layer=1, n_head=2, bos_token_id=28,
        eos_token_id=28, initializer_range=0.5, position_embedding=kind)).eval()
    found = losses_by_position(model, TokenDataset(tmp_path / "text.bin"), length, 12, stride=5,
                               batch_size=2)
    rows = []
    for end in (12, 17, 22, 27, 32, 37):  # the window's last target is token number `end`
        window = ids[end - length : end + 1]
        rows.append([float(model(window[None, : t + 2], labels=np.where(
            np.arange(t + 2) == t + 1, window[: t + 2], -100)[None]).loss) for t in range(length)])
    np.testing.assert_allclose(found, np.mean(rows, axis=0), rtol=1e-5)


@pytest.mark.parametrize("kinds, changes, message", [
    (["learned", "alibis"], {}, "'alibis' is no kind of positions, wanted some of learned, sinus"),
    ([], {}, "at least one kind"),
    (["t5", "t5"], {}, "only once"),
    (KINDS, {"block_size": 9}, "block_size is 9, wanted an even number of at least 8"),
    (KINDS, {"block_size": 4}, "block_size is 4, wanted an even number of at least 8"),
    (KINDS, {"test": 0.0}, "the test text has 0 tokens, wanted more than 64"),
    (["rotary"], {"n_embd": 18, "n_head": 6}, "a head has 3 numbers, wanted an even number"),
])
def test_refusals_leave_nothing_behind(tmp_path, kinds, changes, message):
    with pytest.raises(ValueError, match=message):
        small_experiment(tmp_path, "run", kinds, **changes)
    assert not (tmp_path / "run").exists()


def test_other_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no experiment.json"):
        LengthExperiment(tmp_path)
    (tmp_path / "experiment.json").write_text(
        '{"experiment": "length", "settings": {"n_layer": 0}, "variants": ["t5"]}')
    with pytest.raises(ValueError, match="experiment.json: n_layer is 0"):
        LengthExperiment(tmp_path)
    (tmp_path / "experiment.json").write_text(
        '{"experiment": "family", "settings": {}, "variants": ["2017"]}')
    with pytest.raises(ValueError, match="has the experiment 'family', wanted length"):
        LengthExperiment(tmp_path)
