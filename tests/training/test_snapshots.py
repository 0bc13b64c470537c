"""Snapshots show a run's whole history and change nothing in the run."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import small_run

from minillm.models.auto import model_class
from minillm.training.checkpoint import list_checkpoints, load_checkpoint
from minillm.training.run import Run
from minillm.training.snapshots import (
    History,
    list_snapshots,
    save_snapshot,
    snapshot_steps,
)


class Killed(BaseException):
    """An error that the code under test can't catch by accident."""


@given(st.integers(1, 3000), st.integers(0, 60))
def test_the_steps_of_snapshots(n_steps, n):
    steps = sorted(snapshot_steps(n_steps, n))
    assert len(steps) == min(n, n_steps + 1)
    assert set(steps) <= set(range(n_steps + 1))
    if n:
        assert steps[-1] == n_steps
    if n > 1:
        assert steps[0] == 0
    gaps = np.diff(steps)
    assert (np.diff(gaps) >= -1).all()  # denser at the start, but for rounding


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with snapshots that is done. Tests only read it."""
    run = small_run(tmp_path_factory.mktemp("run"), snapshots=5, dropout=0.1)
    run.trainer().train()
    return run


def test_a_run_keeps_the_first_the_last_and_some_between(run):
    names = [path.name for path in list_snapshots(run.folder / "snapshots")]
    assert names == [f"step-{step:06d}" for step in sorted(snapshot_steps(12, 5))]
    assert names[0] == "step-000000"
    first = History(run).open(0).state_dict()
    for name, array in run.new_model().state_dict().items():
        np.testing.assert_array_equal(first[name], array.astype("f2").astype("f4"))


def test_a_run_with_snapshots_computes_the_same_bits(run, tmp_path):
    without = small_run(tmp_path, dropout=0.1)
    without.trainer().train()
    assert not (without.folder / "snapshots").exists()
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        one, other = (list_checkpoints(each.checkpoints)[-1] / name for each in (run, without))
        assert one.read_bytes() == other.read_bytes()


def test_a_resumed_run_has_the_same_snapshots(run, tmp_path):
    killed = small_run(tmp_path, snapshots=5, dropout=0.1)

    def kill(trainer):
        if trainer.step == 8:  # after the snapshot of step 7, before a checkpoint of it
            raise Killed

    with pytest.raises(Killed):
        killed.trainer(kill).train()
    assert (killed.folder / "snapshots" / "step-000007").is_dir()
    trainer, _ = Run(killed.folder).resumed()
    assert trainer.step == 6 and not (killed.folder / "snapshots" / "step-000007").exists()
    trainer.train()
    for one, other in zip(list_snapshots(run.folder / "snapshots"),
                          list_snapshots(killed.folder / "snapshots"), strict=True):
        assert one.name == other.name
        for file in one.iterdir():
            assert file.read_bytes() == (other / file.name).read_bytes()


def test_resume_may_ask_for_other_snapshots(tmp_path):
    run = small_run(tmp_path)
    run.trainer().train()
    trainer, _ = Run(run.folder).resumed({"steps": 20, "snapshots": 6})
    trainer.train()
    after = {step for step in snapshot_steps(20, 6) if step > 12}
    assert {int(path.name[5:]) for path in list_snapshots(run.folder / "snapshots")} == after


def test_a_snapshot_that_float16_cannot_hold_is_float32(run, tmp_path):
    model = run.new_model()
    model.parameters()[0].data[0, 0] = 1e6
    path = save_snapshot(tmp_path, 3, model)
    assert path.name == "step-000003"
    loaded = type(model).from_pretrained(path)
    assert loaded.parameters()[0].data[0, 0] == np.float32(1e6)


def test_history_has_the_exact_weights_where_a_checkpoint_is_left(run):
    history = History(run)
    assert list(history.paths) == sorted({*snapshot_steps(12, 5), 9, 12})
    for path in list_checkpoints(run.checkpoints):
        checkpoint = load_checkpoint(path)
        assert not history.is_snapshot(checkpoint.step)
        found = history.open(checkpoint.step).state_dict()
        for name, array in checkpoint.model.items():
            np.testing.assert_array_equal(found[name], array)
    with pytest.raises(ValueError, match="step is 4, wanted one that .* has kept: 0, "):
        history.open(4)


def test_a_damaged_checkpoint_is_refused(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    history = History(Run(tmp_path / "run"))
    (history.paths[9] / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="is damaged: its checksum does not match"):
        history.open(9)


@pytest.mark.parametrize("changes", [{"lora_rank": 2}, {"freeze": "embeddings"}])
def test_fine_tuning_that_keeps_weights(run, tmp_path, changes):
    tuned = small_run(tmp_path, model=str(run.folder), steps=4, snapshots=2, checkpoint_every=2,
                      **changes)
    tuned.trainer().train()
    history = History(tuned)
    assert list(history.paths) == [0, 2, 4]
    saved = model_class("gpt2").from_pretrained(tuned.model_folder)
    last = list_snapshots(tuned.folder / "snapshots")[-1]
    for rounded in (history.open(4), model_class("gpt2").from_pretrained(last)):
        for name, array in rounded.state_dict().items():
            np.testing.assert_allclose(array, saved.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_bert_is_opened_with_the_head_that_fills_masks(tmp_path):
    run = small_run(tmp_path, model_type="bert", steps=2, snapshots=2, checkpoint_every=1, keep=1)
    run.trainer().train()
    cls = model_class("bert", "masked_lm")
    for step in (0, 2):
        model = History(run).open(step, cls)
        assert isinstance(model, cls) and not model.training
        assert model(np.array([[1, 2, 3]])).logits.shape == (1, 3, run.config.vocab_size)


def test_a_negative_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="snapshots is -1, wanted at least 0"):
        small_run(tmp_path, snapshots=-1)
