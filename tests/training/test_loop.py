"""The training loop: one step, the records, and the ways to stop it."""

import json
import math
import signal
import threading

import numpy as np
import pytest
from small_runs import small_run

from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.nn.loss import Loss
from minillm.nn.module import Module, Parameter
from minillm.training.checkpoint import list_checkpoints
from minillm.training.claim import FolderInUse
from minillm.training.loop import Interrupted, Trainer
from minillm.training.metrics import read_metrics
from minillm.training.settings import Settings


def test_a_run_learns_and_writes_down_how(tmp_path):
    run = small_run(tmp_path, steps=60, eval_every=20, checkpoint_every=25)
    run.trainer().train()
    records, _ = read_metrics(run.folder / "metrics.jsonl")
    losses = [record["loss"] for record in records if "loss" in record]
    valid = [record["valid_loss"] for record in records if "valid_loss" in record]
    assert len(losses) == 60 and len(valid) == 1 + 3  # before the first step, and then
    assert abs(losses[0] - math.log(run.config.vocab_size)) < 0.5  # an untrained model
    assert np.mean(losses[-5:]) < 0.6 * losses[0] and valid[-1] < 0.6 * losses[0]
    assert (run.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    names = [path.name for path in list_checkpoints(run.checkpoints)]
    assert names == ["step-000050", "step-000060"]  # the last two


def test_the_model_of_a_run_is_the_one_with_the_lowest_validation_loss(tmp_path):
    run = small_run(tmp_path, steps=12, eval_every=4)
    trainer = run.trainer()
    seen = []

    def report(trainer):
        table = trainer.model.transformer.wte.weight.data
        seen.append(table.copy())
        if trainer.step == 8:
            table[:] = table[::-1]  # worse from here on

    trainer.report = report
    trainer.train()
    valid = [r["valid_loss"] for r in trainer.metrics.records if "valid_loss" in r]
    assert valid[2] < min(valid[0], valid[1], valid[3])
    best = GPT2LMHeadModel.from_pretrained(run.model_folder)
    np.testing.assert_array_equal(best.transformer.wte.weight.data, seen[7])


def test_fine_tuning_that_makes_it_worse_keeps_the_weights_that_it_began_with(tmp_path):
    first = small_run(tmp_path, "first", steps=40, eval_every=40)
    first.trainer().train()
    second = small_run(tmp_path, "second", model=str(first.folder), lr=0.5, warmup=0)
    second.trainer().train()
    before, after = (GPT2LMHeadModel.from_pretrained(run.model_folder) for run in (first, second))
    for one, other in zip(before.parameters(), after.parameters()):
        np.testing.assert_array_equal(other.data, one.data)


def test_accumulated_gradients_are_those_of_the_big_batch(tmp_path):
    big = small_run(tmp_path, "big", batch_size=8, dropout=0.0, clip=1e9).trainer()
    small = small_run(tmp_path, "small", batch_size=2, grad_accum=4, dropout=0.0, clip=1e9).trainer()
    # The same eight windows, in one piece and in four.
    inputs, targets = next(big.batches)
    big.batches = iter([(inputs, targets)])
    small.batches = iter([(inputs[i : i + 2], targets[i : i + 2]) for i in range(0, 8, 2)])
    big.training_step()
    small.training_step()
    assert small.loss == pytest.approx(big.loss, rel=1e-5)
    for one, other in zip(big.optimizer.parameters, small.optimizer.parameters):
        np.testing.assert_allclose(other.grad, one.grad, rtol=1e-3, atol=1e-6)


def test_the_learning_rate_follows_the_schedule(tmp_path):
    trainer = small_run(tmp_path, steps=12, warmup=4, lr=1e-2, final_lr=0.1).trainer()
    trainer.train()
    rates = [record["lr"] for record in trainer.metrics.records if "lr" in record]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[5] < rates[4]
    assert rates[-1] == pytest.approx(1e-3)


def test_gradients_are_clipped(tmp_path):
    trainer = small_run(tmp_path, clip=1e-3).trainer()
    trainer.training_step()
    # After the first step, Adam's mean of gradients is (1 - β₁) times the clipped gradient.
    optimizer = trainer.optimizer
    clipped = math.sqrt(sum(float((m.astype(float) ** 2).sum()) for m in optimizer.m))
    assert clipped / (1 - optimizer.betas[0]) == pytest.approx(1e-3, rel=1e-4)
    assert trainer.metrics.records[-1]["grad_norm"] > 1e-3  # what it was before


def test_the_seed_decides_everything(tmp_path):
    def weights(name, seed):
        trainer = small_run(tmp_path, name, steps=3, seed=seed).trainer()
        trainer.train()
        return trainer.model.transformer.wte.weight.data

    np.testing.assert_array_equal(weights("a", 5), weights("b", 5))
    assert not np.array_equal(weights("c", 5), weights("d", 6))


def test_ctrl_c_finishes_the_step_and_saves_it(tmp_path):
    run = small_run(tmp_path)
    trainer = run.trainer()

    def report(trainer):
        if trainer.step == 4:
            signal.raise_signal(signal.SIGINT)

    trainer.report = report
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        trainer.train()
    # The signal came after step 4 was over, so one more step was made.
    assert list_checkpoints(run.checkpoints)[-1].name == "step-000005"
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_weight_that_breaks_stops_the_run_and_is_named(tmp_path):
    run = small_run(tmp_path)
    trainer = run.trainer()

    def report(trainer):
        if trainer.step == 7:
            trainer.model.transformer.h[0].attention.qkv.weight.data[0, 0] = np.nan

    trainer.report = report
    with pytest.raises(FloatingPointError, match=r"the loss of step 8 is nan: the parameter "
                       r"transformer\.h\.0\.attention\.qkv\.weight contains nan.*step-000006"):
        trainer.train()
    # The run can resume from the state before.
    resumed = run.trainer()
    assert resumed.resume() == [] and resumed.step == 6
    resumed.train()
    assert resumed.step == 12


def test_broken_weights_are_never_saved(tmp_path):
    trainer = small_run(tmp_path).trainer()
    trainer.training_step()
    trainer.model.transformer.ln_f.bias.data[:] = np.inf
    with pytest.raises(FloatingPointError, match=r"a weight after step 1 .*ln_f.bias contains inf"):
        trainer.save()
    with pytest.raises(FloatingPointError, match="the validation loss after step 1"):
        trainer.evaluate()
    assert list_checkpoints(trainer.checkpoints) == []
    assert not (trainer.folder / "model" / "model.safetensors").exists()


def test_a_learning_rate_beyond_reason_ends_in_one_error(tmp_path, recwarn):
    with pytest.raises(FloatingPointError, match="try a smaller lr"):
        small_run(tmp_path, lr=1e30, warmup=0).trainer().train()
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_run_json_is_json_that_others_can_read(tmp_path):
    run = small_run(tmp_path)
    facts = json.loads((run.folder / "run.json").read_text())
    assert facts["settings"]["n_embd"] == 16 and facts["config"]["n_embd"] == 16
    assert facts["data"]["train"]["tokens"] == len(run.dataset("train"))


# ---- any task, any architecture

class Line(Module):
    """y = w x + b, a model without ids, heads or a config."""

    def __init__(self):
        self.w, self.b = Parameter(np.zeros((1, 1), np.float32)), Parameter(np.zeros(1, np.float32))

    def forward(self, x):
        self.remember(x)
        return x @ self.w.data + self.b.data

    def backward(self, dy):
        x = self.recall()
        self.w.add_grad(x.T @ dy)
        self.b.add_grad(dy.sum(axis=0))

    def save_pretrained(self, folder):
        folder.mkdir(exist_ok=True)
        np.savez(folder / "line.npz", **self.state_dict())


class Points:
    """Batches of points on y = 2 x - 1."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def __next__(self):
        x = self.rng.standard_normal((8, 1), dtype=np.float32)
        return x, 2 * x - 1

    def state_dict(self):
        return self.rng.bit_generator.state

    def load_state_dict(self, state):
        self.rng.bit_generator.state = state


class Regression:
    """Least squares."""

    unit = "points"

    def batches(self, settings):
        return Points(settings.seed)

    def loss(self, model, batch):
        x, y = batch
        error = model(x) - y
        return Loss((error**2).mean(), lambda dloss: model.backward(dloss * 2 * error / error.size))

    def size(self, batch):
        return len(batch[0])

    def evaluate(self, model):
        return {"valid_loss": self.loss(model, next(Points(99))).item(), "valid_slope": 0.0}


SETTINGS = Settings(steps=300, lr=0.1, warmup=0, weight_decay=0.0, eval_every=50,
                    checkpoint_every=100)


def test_the_loop_trains_any_model_on_any_task(tmp_path):
    trainer = Trainer(Regression(), Line(), SETTINGS, tmp_path)
    trainer.train()
    assert trainer.model.w.data == pytest.approx(2, abs=0.05)
    assert trainer.model.b.data == pytest.approx(-1, abs=0.05)
    assert trainer.metrics.records[-1].keys() == {"step", "valid_loss", "valid_slope"}
    assert "points_per_s" in trainer.metrics.records[-2]
    assert (tmp_path / "model" / "line.npz").exists()
    resumed = Trainer(Regression(), Line(), SETTINGS, tmp_path)
    assert resumed.resume() == [] and resumed.step == 300
    assert resumed.model.w.data == trainer.model.w.data


def test_frozen_parameters_stay_and_have_no_moments(tmp_path):
    model = Line()
    model.b.trainable = False
    trainer = Trainer(Regression(), model, SETTINGS, tmp_path)
    trainer.train()
    assert model.b.data == 0 and model.w.data == pytest.approx(2, abs=0.5)
    assert trainer.optimizer.parameters == [model.w]
    model.w.trainable = False
    with pytest.raises(ValueError, match="nothing to optimize"):
        Trainer(Regression(), model, SETTINGS, tmp_path)


def test_a_task_without_validation_keeps_the_last_model(tmp_path):
    class Unvalidated(Regression):
        def evaluate(self, model):
            return {}

    trainer = Trainer(Unvalidated(), Line(), SETTINGS, tmp_path)
    trainer.train()
    assert np.load(tmp_path / "model" / "line.npz")["w"] == trainer.model.w.data
    assert trainer.valid_loss is None


def test_only_one_trainer_at_a_time_writes_into_a_folder(tmp_path):
    trainer = Trainer(Regression(), Line(), SETTINGS, tmp_path)
    errors = []

    def train_too(trainer):
        if trainer.step == 3:
            def other():
                try:
                    Trainer(Regression(), Line(), SETTINGS, tmp_path).train()
                except FolderInUse as error:
                    errors.append(error)

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()

    trainer.report = train_too
    trainer.train()
    assert len(errors) == 1 and "in use by process" in str(errors[0])
