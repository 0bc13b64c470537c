"""The training loop: batch, forward, backward, clip, step; repeat."""

import hashlib
import math
import time
from pathlib import Path

import numpy as np

from minillm.files import remove_leftovers
from minillm.json_files import fields
from minillm.kernels import tune_process
from minillm.models.layer_order import learning_rate_groups
from minillm.models.lora import is_adapted
from minillm.models.lora_files import save_adapter
from minillm.signals import stop_flag
from minillm.training.checkpoint import (
    Checkpoint,
    list_checkpoints,
    restore_newest_checkpoint,
    save_checkpoint,
)
from minillm.training.claim import lock_folder
from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.dp_sgd import DPSGD, record_privacy
from minillm.training.environment import differences, environment
from minillm.training.metrics import MetricsLog
from minillm.training.nonfinite import (
    find_nonfinite,
    find_nonfinite_gradient,
    find_nonfinite_parameter,
)
from minillm.training.optimizers import AdamW
from minillm.training.plots import plot_loss
from minillm.training.random_state import get_random_states, set_random_states
from minillm.training.schedules import warmup_cosine
from minillm.training.snapshots import cut_snapshots_after, save_snapshot, snapshot_steps


class Interrupted(Exception):
    """A signal (`number`) stopped the run, after a checkpoint of the last whole step."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


class Trainer:
    """Trains `model` on `task`, from the first step or from the newest checkpoint in `folder`.

        trainer = Trainer(task, model, settings, folder)
        trainer.train()

    task: what is learned, and from which data: see task.py
    model: a Module with `save_pretrained(folder)`; frozen parameters stay as they are, and if they
        are those of settings.model, checkpoints leave them out
    settings: `Settings`
    folder: the place of checkpoints/, snapshots/, model/, metrics.jsonl and loss.png
    report(trainer): called after each step, for a progress bar. It may read `step`, `settings`,
    `loss` (of the last step), `valid_loss` (of the last evaluation, or None) and `speed` (in
    task.unit per second).

    model/ keeps the model with the lowest validation loss, or the last one if nothing is held out.
    With settings.is_private the gradients are those of dp_sgd.py, model/ keeps the last model,
    because a choice would tell about the texts held out, and run.json says what is spent.
    All randomness comes from settings.seed, and a checkpoint holds the whole state: parameters,
    moments of the optimizer, random states of data order and dropout. So a run that is stopped and
    resumed computes the same numbers, bit for bit, as an uninterrupted one.
    """

    def __init__(self, task, model, settings, folder, report=lambda trainer: None):
        self.task, self.model, self.settings = task, model, settings
        self.folder = Path(folder)
        self.report = report
        # Data order and dropout have separate generators, so that neither affects the other.
        self.batches = self._batches(settings)
        self.optimizer = AdamW(learning_rate_groups(model, settings.layer_lr_decay), lr=settings.lr,
                               betas=(0.9, 0.95), weight_decay=settings.weight_decay)
        self.metrics = MetricsLog(self.folder / "metrics.jsonl")
        self.step = 0  # the number of finished steps
        self.loss = math.nan
        self.valid_loss = None
        self.best_valid_loss = None
        self.speed = 0.0
        self._frozen_digest = None

    def _batches(self, settings):
        return DPSGD(self.task, settings) if settings.is_private else self.task.batches(settings)

    @property
    def checkpoints(self):
        return self.folder / "checkpoints"

    @property
    def snapshots(self):
        return self.folder / "snapshots"

    def train(self):
        """Train up to the last step.

        Raises Interrupted after Ctrl-C, SIGTERM or SIGHUP, FloatingPointError if the loss is no
        longer a number (earlier checkpoints stay), FolderInUse if another process trains here.
        """
        tune_process()
        # `_require_finite` finds overflows, and says more than NumPy's warnings.
        with lock_folder(self.folder), stop_flag() as stop, np.errstate(over="ignore",
                                                                        invalid="ignore"):
            snapshots = snapshot_steps(self.settings.steps, self.settings.snapshots)
            if self.step == 0:
                self.evaluate()  # the baseline for fine-tuning
                self._snapshot_if_in(snapshots)
                if self.settings.is_private:
                    self.save()  # the secret key, so that a killed run can't take its steps twice
            while self.step < self.settings.steps:
                self.training_step()
                self._snapshot_if_in(snapshots)
                if self._is_due(self.settings.eval_every):
                    self.evaluate()
                signal = stop.number  # read once: a later one waits for the next step
                if self._is_due(self.settings.checkpoint_every) or signal is not None:
                    self.save()
                self.report(self)
                if signal is not None:
                    raise Interrupted(signal)

    def training_step(self):
        """Update the parameters once, with the mean gradient of grad_accum batches; or with the
        private gradient of one drawing.
        """
        started = time.perf_counter()
        settings = self.settings
        self.optimizer.lr = warmup_cosine(
            self.step, peak_lr=settings.lr, warmup_steps=min(settings.warmup, settings.steps),
            total_steps=settings.steps, final_lr=settings.lr * settings.final_lr,
        )
        self.optimizer.zero_grad()
        if settings.is_private:
            mean_loss, size = self._private_gradients()
            max_norm = math.inf  # each example's gradient is clipped already, before the noise
        else:
            mean_loss, size = self._gradients()
            max_norm = settings.clip
        norm = grad_norm(self.optimizer.parameters)
        self._require_finite(f"the gradient of step {self.step + 1}", norm,
                             lambda: find_nonfinite_gradient(self.model))
        self.optimizer.step(grad_scale=clip_factor(norm, max_norm))

        self.step += 1
        self.loss = mean_loss
        self.speed = size / (time.perf_counter() - started)
        if self._is_due(settings.log_every):
            self.metrics.append({
                "step": self.step, "loss": mean_loss, "grad_norm": norm, "lr": self.optimizer.lr,
                f"{self.task.unit}_per_s": round(self.speed),
                **({"epsilon": self.batches.epsilon(self.step)} if settings.is_private else {}),
            })

    def _gradients(self):
        """Fill every .grad with the mean gradient of grad_accum batches -> mean loss, size"""
        settings, mean_loss, size = self.settings, 0.0, 0
        for _ in range(settings.grad_accum):
            batch = next(self.batches)
            loss = self.task.loss(self.model, batch) / settings.grad_accum
            self._require_finite(
                f"the loss of step {self.step + 1}", loss.item(),
                lambda: find_nonfinite(self.model, lambda: self.task.loss(self.model, batch)),
            )
            loss.backward()
            mean_loss += loss.item()
            size += self.task.size(batch)
        return mean_loss, size

    def _private_gradients(self):
        """Fill every .grad with the noisy mean of clipped gradients -> mean loss, size

        An empty drawing has no loss: the last one stands in for it.
        """
        loss, size = self.batches.gradients(self.model)
        if loss is None:
            return self.loss, size
        self._require_finite(f"the loss of step {self.step + 1}", loss,
                             lambda: find_nonfinite_parameter(self.model) or "an overflow")
        return loss, size

    def evaluate(self):
        """Measure the model on the held-out data, and save it if it is the best so far."""
        metrics = self.task.evaluate(self.model)
        if metrics:
            self.valid_loss = next(iter(metrics.values()))
            self._require_finite(
                f"the validation loss after step {self.step}", self.valid_loss,
                lambda: find_nonfinite(self.model, lambda: self.task.evaluate(self.model)),
            )
            self.metrics.append({"step": self.step, **metrics})
        plot_loss(self.metrics.records, self.folder / "loss.png")
        if not metrics or self.settings.is_private:
            self._save_model()
        elif self.best_valid_loss is None or self.valid_loss < self.best_valid_loss:
            self.best_valid_loss = self.valid_loss
            self._save_model()

    def save(self):
        """Write a checkpoint; refuse broken weights, which would displace the good ones."""
        self._require_finite_weights()
        state = {
            "optimizer_steps": self.optimizer.t,
            "batches": self.batches.state_dict(),
            "random_states": get_random_states(self.model),
            "valid_loss": self.valid_loss,
            "best_valid_loss": self.best_valid_loss,
            "environment": environment(),
        }
        moments = {name: array for name, array in self.optimizer.state_dict().items()
                   if name not in ("t", "lr")}
        weights = self.model.state_dict()
        if self.settings.keeps_weights:
            frozen = self._frozen_weights()
            weights = {name: array for name, array in weights.items() if name not in frozen}
            state["frozen_sha256"] = self._frozen_sha256()
        checkpoint = Checkpoint(self.step, weights, moments, state)
        self.checkpoints.mkdir(exist_ok=True)
        save_checkpoint(self.checkpoints, checkpoint, self.settings.keep)
        if self.settings.is_private:
            record_privacy(self.folder / "run.json", self.batches.facts(self.step))

    def _snapshot_if_in(self, steps):
        if self.step in steps:
            self._require_finite_weights()
            save_snapshot(self.snapshots, self.step, self.model)

    def resume(self):
        """Restore the newest whole checkpoint -> list of warnings

        A warning names a damaged checkpoint, a damaged line of metrics.jsonl, or software that
        differs from that of the checkpoint. Without any checkpoint the run starts from the
        beginning. Raises ValueError if every checkpoint is damaged.
        """
        with lock_folder(self.folder):
            for folder in (self.folder, self.folder / "data", self.folder / "model",
                           self.folder / "adapter", self.checkpoints, self.snapshots):
                remove_leftovers(folder)  # of a killed process: this one has the lock now
            warnings = [f"{problem}; skipping it" for problem in self.metrics.problems]
            if not list_checkpoints(self.checkpoints):
                self.metrics.cut_after(-1)
                cut_snapshots_after(self.snapshots, -1)
                return warnings
            problems = restore_newest_checkpoint(self.checkpoints, self._restore)
            warnings += [f"{problem}; resuming from an older checkpoint" for problem in problems]
            self.metrics.cut_after(self.step)
            cut_snapshots_after(self.snapshots, self.step)
        return warnings + self._environment_warnings

    def change_settings(self, settings):
        """Use other settings from the next step on (see settings.CHANGEABLE)."""
        state = self.batches.state_dict()
        self.settings = settings
        self.batches = self._batches(settings)
        self.batches.load_state_dict(state)
        self.optimizer.weight_decay = settings.weight_decay

    def _restore(self, checkpoint):
        """Load everything in a checkpoint; ValueError if something doesn't fit."""
        state = fields("state.json", checkpoint.state, {
            "optimizer_steps": int, "batches": dict, "random_states": list,
            "valid_loss": float | None, "best_valid_loss": float | None,
            "environment": dict[str, str], "frozen_sha256": str,
        }, required=["optimizer_steps", "batches", "random_states", "valid_loss",
                     "best_valid_loss"])
        if not 0 <= checkpoint.step <= self.settings.steps:
            raise ValueError(f"state.json: step is {checkpoint.step}, wanted 0 … "
                             f"{self.settings.steps}, the steps of run.json")
        if state["optimizer_steps"] != checkpoint.step:
            raise ValueError(f"state.json: optimizer_steps is {state['optimizer_steps']}, wanted "
                             f"{checkpoint.step}, the step")
        weights = checkpoint.model
        if self.settings.keeps_weights:
            if state.get("frozen_sha256") != self._frozen_sha256():
                raise ValueError(f"state.json: the weights of {self.settings.model} aren't those "
                                 "that this run began with")
            weights = {**self._frozen_weights(), **weights}
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(
            {"t": state["optimizer_steps"], "lr": self.settings.lr, **checkpoint.optimizer}
        )
        self.batches.load_state_dict(state["batches"])
        set_random_states(self.model, state["random_states"])
        self.step = checkpoint.step
        self.valid_loss = state["valid_loss"]
        self.best_valid_loss = state["best_valid_loss"]
        self._environment_warnings = differences(state.get("environment", {}))

    def _frozen_weights(self):
        """-> {name: array} of the parameters that stay those of settings.model"""
        return {name: parameter.data for name, parameter in self.model.named_parameters()
                if not parameter.trainable}

    def _frozen_sha256(self):
        """-> the checksum of the frozen weights, computed once: they don't change"""
        if self._frozen_digest is None:
            digest = hashlib.sha256()
            for array in self._frozen_weights().values():
                digest.update(np.ascontiguousarray(array).data)
            self._frozen_digest = digest.hexdigest()
        return self._frozen_digest

    def _save_model(self):
        self._require_finite_weights()
        self.model.save_pretrained(self.folder / "model")
        if is_adapted(self.model):
            save_adapter(self.model, self.folder / "adapter")

    def _is_due(self, every):
        return self.step % every == 0 or self.step == self.settings.steps

    def _require_finite_weights(self):
        broken = find_nonfinite_parameter(self.model)
        self._require_finite(f"a weight after step {self.step}", math.nan if broken else 0.0,
                             lambda: broken)

    def _require_finite(self, name, number, explain):
        """Stop if `number` is nan or inf, and say which layer went wrong first."""
        if math.isfinite(number):
            return
        checkpoints = list_checkpoints(self.checkpoints)
        kept = f"the last good checkpoint is {checkpoints[-1]}; " if checkpoints else ""
        raise FloatingPointError(
            f"{name} is {number}: {explain()}; {kept}try a smaller lr in a new run"
        )
