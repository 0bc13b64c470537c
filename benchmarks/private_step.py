"""A private step of training beside a plain one: `python -m benchmarks.private_step`.

The model, the batch and the optimizer are those of `minillm demo`. A step is the forward, the
backward, clipping and the optimizer's update; the private one also computes the norm of every
example's gradient and draws noise. Its batch is drawn example by example, so its size varies: here
it is always the expected one, to compare equal work. Both steps run by turns (harness.py), so that
what else the machine does meets both alike.
"""

import argparse
import time

import numpy as np

from benchmarks.harness import Effort, alternate
from benchmarks.machine import available_cores, cpu_model
from minillm.cli.training import DEMO
from minillm.kernels import tune_process
from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.models.gpt2_config import GPT2Config
from minillm.nn.loss import cross_entropy_loss
from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.dp_sgd import DPSGD, Examples
from minillm.training.optimizers import AdamW
from minillm.training.settings import Settings

B, T, V = DEMO["batch_size"], DEMO["block_size"], DEMO["vocab_size"]


class RandomTokens:
    """A task whose examples are random tokens: time doesn't depend on what they say."""

    name, unit = "random tokens", "tokens"

    def __init__(self):
        rng = np.random.default_rng(0)
        self.batch = rng.integers(V, size=(B, T)), rng.integers(V, size=(B, T))

    def private_examples(self, settings):
        return Examples("one row", B, lambda indices: self.batch)

    def loss(self, model, batch):
        inputs, targets = batch
        return cross_entropy_loss(model, model(inputs).logits, targets, overwrite_logits=True)

    def size(self, batch):
        return batch[0].size


def demo_model():
    config = GPT2Config(vocab_size=V, n_positions=T, n_embd=DEMO["n_embd"],
                        n_layer=DEMO["n_layer"], n_head=DEMO["n_head"], resid_pdrop=0.0,
                        embd_pdrop=0.0, attn_pdrop=0.0)
    model = GPT2LMHeadModel(config)
    return model, AdamW(model.parameters(), lr=1e-3)


def plain_step(task):
    """-> a function that does one step as training/loop.py does it"""
    model, optimizer = demo_model()

    def step():
        optimizer.zero_grad()
        task.loss(model, task.batch).backward()
        norm = grad_norm(optimizer.parameters)
        optimizer.step(grad_scale=clip_factor(norm, 1.0))

    return step


def private_step(task):
    """-> the same with the gradients of dp_sgd.py; q = 1 draws all rows, B of them"""
    model, optimizer = demo_model()
    private = DPSGD(task, Settings(batch_size=B, dp_noise=1.0))

    def step():
        optimizer.zero_grad()
        private.gradients(model)
        grad_norm(optimizer.parameters)
        optimizer.step()

    return step


def measure(rounds):
    """-> {"plain": Timing, "private": Timing} of a step"""
    task = RandomTokens()
    sides = {"plain": plain_step(task), "private": private_step(task)}
    effort = Effort("steps", rounds, rounds, 0.0, 0.0)
    return alternate({label: calls_of(step) for label, step in sides.items()}, effort)


def calls_of(step):
    """-> a function(calls) that does `calls` steps and returns the seconds that one took"""
    def run(calls):
        started = time.perf_counter()
        for _ in range(calls):
            step()
        return (time.perf_counter() - started) / calls

    return run


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    tune_process()
    found = measure(parser.parse_args().rounds)
    plain, private = found["plain"].median, found["private"].median
    best = min(found["private"].samples) / min(found["plain"].samples)
    print(f"{cpu_model()}, {available_cores()} cores\n"
          f"plain step {plain * 1e3:.1f} ms, private step {private * 1e3:.1f} ms: "
          f"{private / plain:.2f} times the time (of the fastest steps: {best:.2f})")
