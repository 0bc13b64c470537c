"""A run that was stopped, at whatever step and however, ends bit for bit as one that wasn't."""

import signal
import subprocess
import sys
import time

import pytest
from small_runs import SMALL, small_run, write_text

from minillm.cli import main
from minillm.training.checkpoint import list_checkpoints
from minillm.training.loop import Interrupted
from minillm.training.run import Run

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
    """Nothing in the code under test can catch it for another thing."""


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


@pytest.mark.parametrize("step", [1, 4, 12])
def test_stopped_by_ctrl_c(tmp_path, uninterrupted, step):
    run = small_run(tmp_path, dropout=0.1)
    trainer = run.trainer()
    ordinary_step = trainer.training_step

    def step_with_ctrl_c():
        if trainer.step == step - 1:
            signal.raise_signal(signal.SIGINT)
        ordinary_step()

    trainer.training_step = step_with_ctrl_c
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
    assert process.wait() == -signal.SIGKILL  # and didn't come to its end by itself
    assert Run(killed).settings.steps > int(list_checkpoints(killed / "checkpoints")[-1].name[-3:])

    assert main(["train", "--resume", str(killed)]) == 0
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    assert final_state(Run(killed)) == final_state(Run(tmp_path / "whole"))
