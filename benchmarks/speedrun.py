"""The speedrun beside PyTorch: seconds to the loss at which nanoGPT's recipe ends.

    python -m benchmarks.speedrun --out FOLDER            # trains all sides, then measures the times
    python -m benchmarks.speedrun --out FOLDER --time     # measures the times again

The reference is nanoGPT's recipe in PyTorch (torch_reference.py): 4 layers, d = 128, 4 heads, 12
windows of 64 tokens a step, 2,000 steps, AdamW at 1e-3 with a cosine to a tenth, decay 0.1, β₂ 0.99.
All sides read the same tokens, of a vocabulary of 1,024.

    same model      minillm with every change but the size: 4 layers, d = 128
    small model     minillm with every change

Seconds are the steps to the target, which don't depend on what else the machine does, times the
median time of a step, which is measured with all sides by turns, a slice of 0.4 seconds each.
Evaluations don't count. Between two of them, the step of the crossing is interpolated.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from minillm.files import atomic_write
from minillm.hardware import cpu_model
from minillm.kernels import get_num_threads, tune_process
from minillm.text.dataset import IGNORE, random_batches, sequential_batches
from minillm.training.schedules import warmup_cosine
from minillm.training.settings import Settings
from minillm.training.speedrun import SpeedrunExperiment

SLICE = 0.4  # seconds
STEPS, EVERY = 2000, 25
VARIANTS = {"same model": "without-small", "small model": "all"}


class Ours:
    """One run of minillm."""

    def __init__(self, experiment, variant, seed, folder):
        self.trainer = experiment._trainer(variant, seed, folder)
        self.n_steps = experiment.settings.steps

    def step(self):
        self.trainer.training_step()

    def never_ends(self):
        self.trainer.settings = replace(self.trainer.settings, steps=10**6)

    def measure(self, split):
        """-> nats per token, bits per byte"""
        result = self.trainer.task.measure(self.trainer.model, split)
        return result.loss, result.bits_per_byte


class Reference:
    """nanoGPT's recipe in PyTorch."""

    n_steps = STEPS

    def __init__(self, task, seed):
        import torch

        from benchmarks.torch_reference import GPT2, make_optimizer

        torch.set_num_threads(get_num_threads())
        torch.manual_seed(seed)
        self.torch, self.task, self.done = torch, task, 0
        self.model = GPT2(4, 128, 4, 1024, 64)
        self.optimizer = make_optimizer(self.model, lr=1e-3, weight_decay=0.1)
        for group in self.optimizer.param_groups:
            group["betas"] = (0.9, 0.99)
        self.batches = random_batches(task.splits["train"], 12, 64, seed)

    def step(self):
        inputs, targets = map(self.torch.from_numpy, next(self.batches))
        for group in self.optimizer.param_groups:
            group["lr"] = warmup_cosine(self.done, peak_lr=1e-3, warmup_steps=100,
                                        total_steps=STEPS, final_lr=1e-4)
        self.optimizer.zero_grad(set_to_none=True)
        self.model(inputs, targets).backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.done += 1

    def never_ends(self):
        pass

    def measure(self, split):
        data, total, n = self.task.splits[split], 0.0, 0
        for inputs, targets in sequential_batches(data, 16, 64):
            with self.torch.no_grad():
                logits = self.model(self.torch.from_numpy(inputs)).flatten(0, 1)
            targets = self.torch.from_numpy(targets).flatten()
            total += self.torch.nn.functional.cross_entropy(
                logits, targets, ignore_index=IGNORE, reduction="sum").item()
            n += int((targets != IGNORE).sum())
        return total / n, total / np.log(2) / data.n_bytes


def sides_of(experiment, seed, folder):
    """-> {name: a run before its first step}"""
    return {"PyTorch": Reference(experiment.task(), seed),
            **{name: Ours(experiment, variant, seed, folder) for name, variant in VARIANTS.items()}}


def train(side, name):
    """Train to the last step -> {"curve": [[step, nats per token, bits per byte], …], "test": …}"""
    curve = []
    for step in range(1, side.n_steps + 1):
        side.step()
        if step % EVERY == 0 or step == side.n_steps:
            curve.append([step, *side.measure("valid")])
            print(f"{name}, step {step}: {curve[-1][1]:.4f}", flush=True)
    return {"curve": curve, "test": side.measure("test")}


def step_times(sides, seconds):
    """-> {name: median milliseconds of a step}, in slices by turns for so many seconds"""
    times, end = {name: [] for name in sides}, time.monotonic() + seconds
    while time.monotonic() < end:
        for name, side in sides.items():
            side.step()  # the first of a slice finds the caches as the other side left them
            started = before = time.perf_counter()
            while before - started < SLICE:
                side.step()
                now = time.perf_counter()
                times[name].append(1000 * (now - before))
                before = now
    return {name: float(np.median(each)) for name, each in times.items()}


def crossing(curve, target):
    """-> the step at which the line between two evaluations meets the target; None if none does"""
    before = None
    for step, loss, _ in curve:
        if loss <= target:
            if before is None or before[1] <= loss:
                return float(step)
            return before[0] + (before[1] - target) / (before[1] - loss) * (step - before[0])
        before = step, loss
    return None


def report(content):
    """-> a table in Markdown"""
    records, ms = content["records"], content["ms_per_step"]
    target = records["PyTorch"]["curve"][-1][1]
    whole = records["PyTorch"]["curve"][-1][0] * ms["PyTorch"]
    lines = [f"{content['cpu']}, {content['threads']} threads, seed {content['seed']}. Target: "
             f"{target:.4f} nats per token of the validation text, where PyTorch's run ends.", "",
             "| side | steps to it | ms/step | seconds | times as fast | at the end: validation | "
             "test |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for name, record in records.items():
        step = crossing(record["curve"], target) or float("nan")
        lines.append(f"| {name} | {step:,.0f} of {record['curve'][-1][0]:,} | {ms[name]:.1f} | "
                     f"{step * ms[name] / 1000:.1f} | {whole / (step * ms[name]):.2f} | "
                     f"{record['curve'][-1][1]:.4f} | {record['test'][0]:.4f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a folder to write, or to go on in")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time", action="store_true", help="measure the times of steps again")
    parser.add_argument("--seconds", type=float, default=40, help="how long (default: 40)")
    options = parser.parse_args()
    tune_process()
    place = options.out / "experiment"
    if place.is_dir():
        experiment = SpeedrunExperiment(place)
    else:
        options.out.mkdir(parents=True, exist_ok=True)
        experiment = SpeedrunExperiment.create(place, Settings(**SpeedrunExperiment.DEFAULT))
    path = options.out / f"seed-{options.seed}.json"
    content = json.loads(path.read_text()) if path.is_file() else {
        "seed": options.seed, "records": {}, "ms_per_step": {}}

    def keep():
        with atomic_write(path, "w") as file:
            json.dump(content, file)

    with tempfile.TemporaryDirectory() as folder:
        for name, side in sides_of(experiment, options.seed, folder).items():
            if name not in content["records"]:
                content["records"][name] = train(side, name)
                keep()
        if options.time or not content["ms_per_step"]:
            sides = sides_of(experiment, options.seed, folder)
            for side in sides.values():
                side.never_ends()
            content.update(ms_per_step=step_times(sides, options.seconds), cpu=cpu_model(),
                           threads=get_num_threads())
            keep()
    with atomic_write(path.with_suffix(".md"), "w") as file:
        file.write(report(content))
    print(report(content))


if __name__ == "__main__":
    main()
