"""The training loop: batch, forward, backward, clip, step; over and over."""

import math
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np

from minillm.kernels import tune_process
from minillm.nn.loss import cross_entropy_loss
from minillm.training.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_newest_checkpoint,
    remove_unfinished,
    save_checkpoint,
)
from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.evaluate import evaluate
from minillm.training.metrics import MetricsLog
from minillm.training.nonfinite import (
    find_nonfinite,
    find_nonfinite_gradient,
    find_nonfinite_parameter,
)
from minillm.training.optimizers import AdamW
from minillm.training.plots import plot_loss
from minillm.training.schedules import warmup_cosine
from minillm.text.dataset import random_batches


class Interrupted(Exception):
    """Ctrl-C was pressed; the checkpoint of the last whole step is written."""


class Trainer:
    """Trains the model of a `Run`, from the first step or from its newest checkpoint.

        trainer = Trainer(run)
        trainer.train()

    report(trainer): called after each step, for a progress bar. What a person may look at:
    `step`, `settings`, `loss` (of the last step), `valid_loss` (of the last evaluation, or None),
    `tokens_per_second`.

    All chance comes from settings.seed, and a checkpoint holds all state there is: the parameters,
    the moments of the optimizer, the random states of data order and dropout. So a run that was
    stopped and resumed computes the same numbers, bit for bit, as one that wasn't.
    """

    def __init__(self, run, report=lambda trainer: None):
        self.run = run
        self.settings = settings = run.settings
        self.report = report
        self.model = run.new_model()
        # Data order and dropout draw from two generators, so that neither shifts the other.
        self.batches = random_batches(
            run.dataset("train"), settings.batch_size, settings.block_size, settings.seed
        )
        self.valid = run.dataset("valid")
        self.optimizer = AdamW(
            self.model.parameters(), lr=settings.lr, betas=(0.9, 0.95),
            weight_decay=settings.weight_decay,
        )
        self.metrics = MetricsLog(run.folder / "metrics.jsonl")
        self.step = 0  # how many are done
        self.loss = math.nan
        self.valid_loss = None
        self.best_valid_loss = math.inf
        self.tokens_per_second = 0.0

    def train(self):
        """Go on to the last step.

        Raises Interrupted after Ctrl-C, FloatingPointError when the loss is not a number any more;
        the checkpoints up to there stay.
        """
        tune_process()
        tune_process()
        # What overflows is found by `_require_finite`, which says more than NumPy's warnings.
        with _flag_for_ctrl_c() as interrupted, np.errstate(over="ignore", invalid="ignore"):
            if self.step == 0:
                self.evaluate()  # what fine-tuning has to improve on
            while self.step < self.settings.steps:
                self.training_step()
                if self._is_due(self.settings.eval_every):
                    self.evaluate()
                stop = interrupted.is_set()  # asked once: a Ctrl-C from here on waits for a step
                if self._is_due(self.settings.checkpoint_every) or stop:
                    self.save()
                self.report(self)
                if stop:
                    raise Interrupted

    def training_step(self):
        """One update of the parameters, by the gradient of grad_accum batches."""
        started = time.perf_counter()
        settings = self.settings
        self.optimizer.lr = warmup_cosine(
            self.step, peak_lr=settings.lr, warmup_steps=settings.warmup,
            total_steps=settings.steps, final_lr=settings.lr * settings.final_lr,
        )
        self.optimizer.zero_grad()
        mean_loss = 0.0
        for _ in range(settings.grad_accum):
            inputs, targets = next(self.batches)
            loss = self._loss(inputs, targets) / settings.grad_accum
            self._require_finite(f"the loss of step {self.step + 1}", loss.item(),
                                 lambda: find_nonfinite(self.model, inputs))
            loss.backward()
            mean_loss += loss.item()
        norm = grad_norm(self.optimizer.parameters)
        self._require_finite(f"the gradient of step {self.step + 1}", norm,
                             lambda: find_nonfinite_gradient(self.model))
        self.optimizer.step(grad_scale=clip_factor(norm, settings.clip))

        self.step += 1
        self.loss = mean_loss
        n_tokens = settings.grad_accum * settings.batch_size * settings.block_size
        self.tokens_per_second = n_tokens / (time.perf_counter() - started)
        if self._is_due(settings.log_every):
            self.metrics.append({
                "step": self.step, "loss": mean_loss, "grad_norm": norm, "lr": self.optimizer.lr,
                "tokens_per_s": round(self.tokens_per_second),
            })

    def _loss(self, inputs, targets):
        logits = self.model(inputs).logits
        return cross_entropy_loss(self.model, logits, targets, overwrite_logits=True)

    def evaluate(self):
        """Measure the model on the validation text; keep it in the run's folder if it's the best."""
        result = evaluate(self.model, self.valid, block_size=self.settings.block_size)
        first = self.valid.ids[None, : self.settings.block_size]
        self._require_finite(f"the validation loss after step {self.step}", result.loss,
                             lambda: find_nonfinite(self.model, first))
        self.valid_loss = result.loss
        self.metrics.append({
            "step": self.step, "valid_loss": result.loss, "valid_perplexity": result.perplexity,
            "valid_bits_per_byte": result.bits_per_byte,
        })
        plot_loss(self.metrics.records, self.run.folder / "loss.png")
        if result.loss < self.best_valid_loss:
            self.best_valid_loss = result.loss
            self.model.save_pretrained(self.run.model_folder)

    def save(self):
        """Write a checkpoint; never of broken weights, which would push out the good ones."""
        broken = find_nonfinite_parameter(self.model)
        self._require_finite(f"a weight after step {self.step}", math.nan if broken else 0.0,
                             lambda: broken)
        state = {
            "optimizer_steps": self.optimizer.t,
            "batches": self.batches.state_dict(),
            "dropout": self.model.rng.bit_generator.state,
            "valid_loss": self.valid_loss,
            "best_valid_loss": self.best_valid_loss,
        }
        moments = {name: array for name, array in self.optimizer.state_dict().items()
                   if name not in ("t", "lr")}
        checkpoint = Checkpoint(self.step, self.model.state_dict(), moments, state)
        return save_checkpoint(self.run.checkpoints, checkpoint, self.settings.keep)

    def resume(self):
        """Go back to the newest checkpoint that is whole -> list of what is wrong with newer ones

        Without any checkpoint the run begins again. Raises ValueError if all are damaged.
        """
        self.run.checkpoints.mkdir(exist_ok=True)
        remove_unfinished(self.run.checkpoints)
        try:
            checkpoint, problems = load_newest_checkpoint(self.run.checkpoints)
        except FileNotFoundError:
            self.metrics.cut_after(-1)
            return []
        state = checkpoint.state
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(
            {"t": state["optimizer_steps"], "lr": self.settings.lr, **checkpoint.optimizer}
        )
        self.batches.load_state_dict(state["batches"])
        self.model.rng.bit_generator.state = state["dropout"]
        self.step = checkpoint.step
        self.valid_loss = state["valid_loss"]
        self.best_valid_loss = state["best_valid_loss"]
        self.metrics.cut_after(self.step)
        return problems

    def _is_due(self, every):
        return self.step % every == 0 or self.step == self.settings.steps

    def _require_finite(self, name, number, explain):
        """Stop when `number` is nan or inf, and say where that began."""
        if math.isfinite(number):
            return
        checkpoints = list_checkpoints(self.run.checkpoints)
        kept = f"the last good checkpoint is {checkpoints[-1]}; " if checkpoints else ""
        raise FloatingPointError(
            f"{name} is {number}: {explain()}; {kept}try a smaller lr in a new run"
        )


@contextmanager
def _flag_for_ctrl_c():
    """Give a flag that Ctrl-C sets, so that a step is never cut off half way.

    A second Ctrl-C stops at once. Only the main thread can catch signals; elsewhere the flag just
    stays down.
    """
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def on_interrupt(number, frame):
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, previous)
