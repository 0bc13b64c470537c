"""A run that is stopped at any step, in any way, ends bit for bit like an uninterrupted one."""

import json
import signal
import subprocess
import sys
import time

import pytest
from hangups import hangups_are_heard  # noqa: F401  (a fixture)
from hypothesis import given
from hypothesis import strategies as st
from small_runs import SMALL, small_run, write_text, write_with_sums

from minillm import kernels
from minillm.cli import main
from minillm.training.checkpoint import list_checkpoints
from minillm.training.environment import differences, environment
from minillm.training.loop import Interrupted
from minillm.training.run import Run
from minillm.training.schedules import warmup_cosine
from minillm.training.settings import CHANGEABLE, Settings

FINAL_FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


def final_state(run):
    """The bytes of the newest checkpoint, and the metrics without the times."""
    newest = list_checkpoints(run.checkpoints)[-1]
    records = [{name: value for name, value in record.items() if name != "tokens_per_s"}
               for record in run.trainer().metrics.records]
    model = (run.model_folder / "model.safetensors").read_bytes()
    return newest.name, [(newest / name).read_bytes() for name in FINAL_FILES], records, model


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = small_run(tmp_path_factory.mktemp("uninterrupted"), dropout=0.1)
    run.trainer().train()
    return final_state(run)


class Killed(BaseException):
    """An error that the code under test can't catch by accident."""


@pytest.mark.parametrize("step", [1, 2, 3, 5, 9, 11])
def test_killed_after_any_step(tmp_path, uninterrupted, step):
    run = small_run(tmp_path, dropout=0.1)

    def kill(trainer):
        if trainer.step == step:
            raise Killed

    with pytest.raises(Killed):
        run.trainer(kill).train()
    trainer = Run(run.folder).trainer()
    trainer.resume()
    assert trainer.step == step - step % 3  # a checkpoint every 3 steps
    trainer.train()
    assert final_state(run) == uninterrupted


def test_killed_between_steps_of_several_batches(tmp_path):
    changes = {"dropout": 0.2, "grad_accum": 2, "steps": 6, "eval_every": 3, "checkpoint_every": 2}
    whole, killed = (small_run(tmp_path, name, **changes) for name in ("whole", "killed"))
    whole.trainer().train()

    def kill(trainer):
        if trainer.step == 5:
            raise Killed

    with pytest.raises(Killed):
        killed.trainer(kill).train()
    trainer = Run(killed.folder).trainer()
    trainer.resume()
    trainer.train()
    assert final_state(killed) == final_state(whole)


@pytest.mark.parametrize("step, number", [(1, signal.SIGINT), (4, signal.SIGTERM),
                                          (12, signal.SIGHUP)])
def test_stopped_by_a_signal(tmp_path, uninterrupted, step, number):
    run = small_run(tmp_path, dropout=0.1)
    trainer = run.trainer()
    ordinary_step = trainer.training_step

    def step_with_signal():
        if trainer.step == step - 1:
            signal.raise_signal(number)
        ordinary_step()

    trainer.training_step = step_with_signal
    with pytest.raises(Interrupted):
        trainer.train()
    resumed = Run(run.folder).trainer()
    resumed.resume()
    assert resumed.step == step
    resumed.train()
    assert final_state(run) == uninterrupted


def test_a_damaged_checkpoint_is_told_and_passed_over(tmp_path, uninterrupted):
    run = small_run(tmp_path, dropout=0.1)
    run.trainer().train()
    newest = list_checkpoints(run.checkpoints)[-1] / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    # A process that was killed while it wrote leaves a folder with another name.
    (run.checkpoints / ".step-000015.abcd1234.minillm-partial").mkdir()
    resumed = Run(run.folder).trainer()
    problems = resumed.resume()
    assert len(problems) == 1 and str(newest) in problems[0] and "damaged" in problems[0]
    assert resumed.step == 9
    resumed.train()
    assert final_state(run) == uninterrupted
    assert not list(run.checkpoints.glob(".step-*"))


def test_when_all_checkpoints_are_damaged_the_error_lists_them(tmp_path):
    run = small_run(tmp_path)
    run.trainer().train()
    for path in list_checkpoints(run.checkpoints):
        (path / "state.json").unlink()
    with pytest.raises(ValueError, match="no checkpoint is whole: .*state.json is missing; .*st"):
        run.trainer().resume()


def test_sigkill_in_the_middle(tmp_path):
    """The whole way by the command line: kill -9, then --resume."""
    changes = {**SMALL, "steps": 400, "checkpoint_every": 7, "eval_every": 50, "log_every": 10}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in changes.items()
               if name != "log_every"]
    command = ["train", "--text", write_text(tmp_path / "text.txt"), *options]
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-m", "minillm", *command, "--out", str(killed)],
                               stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list_checkpoints(killed / "checkpoints")) < 2:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL  # and it didn't finish
    assert Run(killed).settings.steps > int(list_checkpoints(killed / "checkpoints")[-1].name[-3:])

    assert main(["train", "--resume", str(killed)]) == 0
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    assert final_state(Run(killed)) == final_state(Run(tmp_path / "whole"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (st.lists(inner, max_size=3)
                   | st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = small_run(tmp_path_factory.mktemp("finished"))
    run.trainer().train()
    return run


@given(st.data())
def test_no_content_of_state_json_is_worse_than_an_older_checkpoint(finished, data):
    newest = list_checkpoints(finished.checkpoints)[-1]
    right = (newest / "state.json").read_bytes()
    state = json.loads(right)
    place = data.draw(st.sampled_from([(), ("batches",), ("batches", "rng"),
                                       ("batches", "rng", "state"), ("environment",)]))
    part = state
    for key in place:
        part = part[key]
    name = data.draw(st.sampled_from(sorted(part)))
    if data.draw(st.booleans()):
        del part[name]
    else:
        part[name] = data.draw(json_values)
    write_with_sums(newest, "state.json", json.dumps(state).encode())
    try:
        trainer = finished.trainer()
        warnings = trainer.resume()
        assert trainer.step == 12 or (trainer.step == 9 and str(newest) in warnings[0])
        assert all("\n" not in warning for warning in warnings)
    finally:
        write_with_sums(newest, "state.json", right)


# ---- resuming with other settings

def test_more_steps_than_at_first(tmp_path):
    run = small_run(tmp_path, dropout=0.1)
    run.trainer().train()
    trainer, problems = Run(run.folder).resumed({"steps": 20, "lr": 5e-3, "eval_every": 10})
    assert problems == [] and trainer.step == 12
    trainer.train()
    opened = Run(run.folder)
    assert (opened.settings.steps, opened.settings.lr) == (20, 5e-3)
    assert opened.changes == [{"after_step": 12, "steps": 20, "lr": 5e-3, "eval_every": 10}]
    rates = {r["step"]: r["lr"] for r in trainer.metrics.records if "lr" in r}
    for step in range(13, 21):  # the schedule of a run that had been begun so
        assert rates[step] == warmup_cosine(step - 1, peak_lr=5e-3, warmup_steps=2, total_steps=20,
                                            final_lr=5e-4)
    assert [r["step"] for r in trainer.metrics.records if "valid_loss" in r] == [0, 4, 8, 12, 20]


def test_a_kill_after_a_change_of_settings_is_made_good_bit_for_bit(tmp_path):
    changes = {"steps": 20, "lr": 5e-3, "batch_size": 3, "grad_accum": 2, "weight_decay": 0.3}
    whole, killed = (small_run(tmp_path, name, dropout=0.1) for name in ("whole", "killed"))
    for run in (whole, killed):
        run.trainer().train()
    Run(whole.folder).resumed(changes)[0].train()

    def kill(trainer):
        if trainer.step == 17:
            raise Killed

    with pytest.raises(Killed):
        Run(killed.folder).resumed(changes, kill)[0].train()
    Run(killed.folder).resumed()[0].train()
    assert final_state(killed) == final_state(whole)


@pytest.mark.parametrize("name", sorted(set(Settings().to_dict()) - set(CHANGEABLE)))
def test_what_may_not_change_is_refused_by_name(name):
    settings = Settings()
    other = {"model_type": "other", "text": "b", "tokenizer": "b", "model": "b",
             "resize_vocab": True}.get(name, 2)
    with pytest.raises(ValueError, match=f"^{name} is {other}, but the run has "):
        settings.changed({name: other}, 3)
    assert settings.changed({name: getattr(settings, name)}, 3) == settings


def test_fewer_steps_than_are_done_are_refused(tmp_path):
    run = small_run(tmp_path)
    run.trainer().train()
    with pytest.raises(ValueError, match="steps is 11, but the run has done 12 already"):
        Run(run.folder).resumed({"steps": 11})
    assert Run(run.folder).settings.steps == 12


def test_another_implementation_is_warned_of(tmp_path):
    run = small_run(tmp_path)
    run.trainer().train()
    mine, other = kernels.current(), "numpy" if kernels.current() == "c" else "naive"
    with kernels.use(other):
        (warning,) = Run(run.folder).trainer().resume()
    assert f"computed with kernels {mine}, this is {other}" in warning
    assert f"MINILLM_KERNELS={mine}" in warning
    assert Run(run.folder).trainer().resume() == []


def test_what_was_computed_with_what():
    stored = environment()
    assert differences(stored) == [] == differences({})
    (warning,) = differences({**stored, "numpy": "1.0"})
    assert warning.startswith("the checkpoint was computed with numpy 1.0, this is ")


def test_fine_tuning_is_resumed_without_the_model_that_it_began_with(tmp_path):
    first = small_run(tmp_path, "first")
    first.trainer().train()
    second = small_run(tmp_path, "second", model=str(first.folder))

    def kill(trainer):
        if trainer.step == 7:
            raise Killed

    with pytest.raises(Killed):
        second.trainer(kill).train()
    first.folder.rename(tmp_path / "elsewhere")
    trainer, _ = Run(second.folder).resumed()
    assert trainer.step == 6
    trainer.train()
