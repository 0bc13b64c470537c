"""The training loop: batch, forward, backward, clip, step; repeat."""

import functools
import hashlib
import math
import operator
import time
from pathlib import Path

import numpy as np

from minillm.files import remove_leftovers
from minillm.json_files import fields
from minillm.kernels import tune_process
from minillm.models.lora import is_adapted
from minillm.models.lora_files import save_adapter
from minillm.nn.recompute import recompute_blocks
from minillm.signals import stop_flag
from minillm.training.checkpoint import (
    Checkpoint,
    list_checkpoints,
    restore_newest_checkpoint,
    save_checkpoint,
)
from minillm.training.claim import lock_folder
from minillm.training.clipping import clip_factor
from minillm.training.dp_sgd import DPSGD, record_privacy
from minillm.training.environment import differences, environment
from minillm.training.metrics import MetricsLog
from minillm.training.muon import make_optimizer, optimizer_groups
from minillm.training.nonfinite import (
    find_nonfinite,
    find_nonfinite_gradient,
    find_nonfinite_parameter,
)
from minillm.training.plots import plot_loss
from minillm.training.parallel.following import follow_first
from minillm.training.parallel.one_process import OneProcess, on_first, sharing
from minillm.training.random_state import reseed
from minillm.training.schedules import SCHEDULES
from minillm.training.snapshots import cut_snapshots_after, save_snapshot, snapshot_steps
from minillm.training.warmups import cut, require_growing_task


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
    ranks: the processes that train together; each has a Trainer of its own, and only that of rank 0
        writes into `folder`: see minillm/training/parallel

    All randomness comes from settings.seed. That of the data's order goes on from batch to batch;
    dropout's begins anew with every batch, from (seed, step, number of the batch in the step). A
    checkpoint holds the whole state: parameters, moments of the optimizer, the place in the data's
    order. So a run that is stopped and resumed computes the same numbers, bit for bit, as an
    uninterrupted one, also on another number of ranks.
    """

    def __init__(self, task, model, settings, folder, report=lambda trainer: None,
                 ranks=OneProcess()):
        self.task, self.model, self.settings = task, model, settings
        self.folder = Path(folder)
        self.report = report
        self.ranks = ranks
        if settings.recompute:
            recompute_blocks(model)
        self.batches = self._batches(settings)
        groups = optimizer_groups(model, settings)
        self.gradients = ranks.gradients(parameter for group in groups
                                         for parameter in group["params"])
        self.optimizer = make_optimizer(self.gradients.optimized(groups), settings)
        self.metrics = MetricsLog(self.folder / "metrics.jsonl")
        self.step = 0  # the number of finished steps
        self.loss = math.nan
        self.valid_loss = None
        self.best_valid_loss = None
        self.speed = 0.0
        self.restored_moments = {}
        self._frozen_digest = None

    def _batches(self, settings):
        require_growing_task(self.task, settings)
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
        follow_first(self)
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
                # Read once: a later one waits for the next step. All ranks stop after the same one.
                signal = self.ranks.largest(stop.number or 0)
                if self._is_due(self.settings.checkpoint_every) or signal:
                    self.save()
                self.report(self)
                if signal:
                    raise Interrupted(signal)

    def training_step(self):
        """Update the parameters once, with the mean gradient of grad_accum batches; or with the
        private gradient of one drawing.
        """
        started = time.perf_counter()
        settings = self.settings
        self.optimizer.lr = SCHEDULES[settings.schedule](
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
        norm = self.gradients.norm()
        self._require_finite(f"the gradient of step {self.step + 1}", norm,
                             lambda: find_nonfinite_gradient(self.model))
        self.optimizer.step(grad_scale=clip_factor(norm, max_norm))
        self.gradients.share_weights()

        self.step += 1
        self.loss = mean_loss
        self.speed = size / (time.perf_counter() - started)
        if self._is_due(settings.log_every):
            self._record({
                "step": self.step, "loss": mean_loss, "grad_norm": norm, "lr": self.optimizer.lr,
                f"{self.task.unit}_per_s": round(self.speed),
                **({"epsilon": self.batches.epsilon(self.step)} if settings.is_private else {}),
            })

    def _gradients(self):
        """Fill every .grad with the mean gradient of grad_accum batches -> mean loss, size

        They are added in the order of the batches: see parallel/ordered_sum.py.
        """
        mine, count = self.ranks.share(self.settings.grad_accum), self.settings.grad_accum
        computed = []
        for index in range(count):
            if mine[index]:
                batch = cut(self.task, next(self.batches), self.settings, self.step)
                computed.append(self._gradient(batch, index, count))
            else:
                _skip(self.batches)
        losses, sizes = zip(*self.ranks.in_order(computed))
        return _sum(losses), sum(sizes)

    def _gradient(self, batch, index, count):
        """Add the gradient of one of a step's batches, divided by `count` -> loss, size"""
        reseed(self.model, self.settings.seed, self.step, index)
        with self.gradients.of(index, count):
            loss = self.task.loss(self.model, batch) / count
            self._require_finite(
                f"the loss of step {self.step + 1}", loss.item(),
                lambda: find_nonfinite(self.model, lambda: self.task.loss(self.model, batch)),
            )
            loss.backward()
        return loss.item(), self.task.size(batch)

    def _private_gradients(self):
        """Fill every .grad with the noisy mean of clipped gradients -> mean loss, size

        An empty drawing has no loss: the last one stands in for it.
        """
        reseed(self.model, self.settings.seed, self.step)
        loss, size = self.batches.gradients(self.model)
        if loss is None:
            return self.loss, size
        self._require_finite(f"the loss of step {self.step + 1}", loss,
                             lambda: find_nonfinite_parameter(self.model) or "an overflow")
        return loss, size

    def evaluate(self):
        """Measure the model on the held-out data, and save it if it is the best so far."""
        with sharing(self.ranks):
            metrics = self.task.evaluate(self.model)
        if metrics:
            self.valid_loss = next(iter(metrics.values()))
            self._require_finite(
                f"the validation loss after step {self.step}", self.valid_loss,
                lambda: find_nonfinite(self.model, lambda: self.task.evaluate(self.model)),
            )
            self._record({"step": self.step, **metrics})
        self._plot()
        if not metrics or self.settings.is_private:
            self._save_model()
        elif self.best_valid_loss is None or self.valid_loss < self.best_valid_loss:
            self.best_valid_loss = self.valid_loss
            self._save_model()

    def save(self):
        """Write a checkpoint; refuse broken weights, which would displace the good ones."""
        self._write_checkpoint(self.gradients.moments(self.optimizer))

    @on_first
    def _write_checkpoint(self, moments):
        self._require_finite_weights()
        state = {
            "optimizer_steps": self.optimizer.t,
            "batches": self.batches.state_dict(),
            "valid_loss": self.valid_loss,
            "best_valid_loss": self.best_valid_loss,
            "environment": environment(),
        }
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

    @on_first
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
        warnings = self.ranks.from_first(self._resume)
        follow_first(self)
        return warnings

    def _resume(self):
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
        if settings.recompute != self.settings.recompute:
            recompute_blocks(self.model, settings.recompute)
        self.settings = settings
        self.batches = self._batches(settings)
        self.batches.load_state_dict(state)
        self.optimizer.weight_decay = settings.weight_decay

    def _restore(self, checkpoint):
        """Load everything in a checkpoint; ValueError if something doesn't fit."""
        state = fields("state.json", checkpoint.state, {
            "optimizer_steps": int, "batches": dict, "valid_loss": float | None,
            "best_valid_loss": float | None, "environment": dict[str, str], "frozen_sha256": str,
        }, required=["optimizer_steps", "batches", "valid_loss", "best_valid_loss"])
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
        self.gradients.restore(self.optimizer, checkpoint.step, self.settings.lr,
                               checkpoint.optimizer)
        self.restored_moments = checkpoint.optimizer  # until the other ranks have theirs
        self.batches.load_state_dict(state["batches"])
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

    @on_first
    def _record(self, record):
        self.metrics.append(record)

    @on_first
    def _plot(self):
        plot_loss(self.metrics.records, self.folder / "loss.png")

    @on_first
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


def _skip(batches):
    """Pass over one batch, if possible without making it."""
    getattr(batches, "skip", batches.__next__)()


def _sum(numbers):
    """-> the sum, added from left to right (sum() compensates rounding from Python 3.12 on)"""
    return functools.reduce(operator.add, numbers, 0.0)
