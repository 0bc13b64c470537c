"""An experiment: what makes a model remember a secret: repetition, epochs, or its size?

    minillm experiment memorization

Insert canaries into a text, some once, some many times, and train models of three widths on it, on
the same batches. At each checkpoint, measure the exposure of every canary (trust/exposure.py): as a
function of how often it stands in the text, of how often the text was read, and of the number of
parameters (Carlini et al. 2019, sections 5 and 6; 2022, "Quantifying memorization", figure 1).
"""

import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from minillm.figures import COLORS, LINES, new_figure, write_figure
from minillm.json_files import write_json
from minillm.text.canaries import read_canaries, read_plan
from minillm.training.architecture import new_config
from minillm.training.checkpoint import list_checkpoints, load_weights
from minillm.training.experiment import Experiment
from minillm.training.language_modeling import LanguageModeling
from minillm.trust.audit import says_greedily
from minillm.trust.audit_page import exposure_axis
from minillm.trust.exposure import exposure
from minillm.trust.likelihood import Reader

SHARES = {"narrow": 4, "middle": 2, "wide": 1}  # n_embd is divided by this
SAMPLES = 200  # secrets to compare each with
MEASURED = 8  # checkpoints


@dataclass
class Memory:
    """What a model remembers. Lists have an entry for each checkpoint.

    parameters
    steps;  epochs: how often the training text was read, on average
    valid_loss: of the last model on the held-out text;  lowest_loss: of the best one
    times: of each canary;  bits: for each checkpoint, the exposure of each canary
    most: log2 of the number of secrets, for each canary
    greedy: for each canary, whether the last model says it greedily
    """

    parameters: int
    steps: list
    epochs: list
    valid_loss: float | None
    lowest_loss: float | None
    times: list
    bits: list
    most: list
    greedy: list

    def mean(self, times, checkpoint=-1):
        """-> the mean exposure, in bits, of the canaries that were inserted `times` times"""
        return float(np.mean([bits for bits, n in zip(self.bits[checkpoint], self.times)
                              if n == times]))


class MemorizationExperiment(Experiment):
    """The experiment in an existing folder; `create` prepares a new one. See Experiment."""

    name, noun = "memorization", "width"
    VARIANTS = tuple(SHARES)
    DEFAULT = {"vocab_size": 1024, "n_layer": 2, "n_head": 4, "n_embd": 128, "block_size": 64,
               "batch_size": 12, "steps": 1600, "lr": 2e-3, "warmup": 100, "final_lr": 0.1,
               "weight_decay": 0.1, "dropout": 0.0, "valid": 0.05, "test": 0.0, "keep": 1000,
               "eval_every": 200, "canaries": "1,2,4,8,16,32"}
    QUICK = {"vocab_size": 320, "n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 32,
             "batch_size": 8, "steps": 16, "lr": 1e-2, "warmup": 4, "keep": 1000, "valid": 0.02,
             "test": 0.0, "eval_every": 8, "canaries": "1,16"}

    @classmethod
    def check(cls, settings):
        if settings.canaries is None:
            raise ValueError("canaries is None, wanted secrets to insert, such as 1,4,16")
        read_plan(settings.canaries)  # refuses what isn't one
        step = 4 * settings.n_head
        if settings.n_embd % step:
            raise ValueError(f"n_embd is {settings.n_embd}, wanted a multiple of {step}, four "
                             "times n_head: the narrow model has a quarter of it")

    @classmethod
    def config(cls, settings, variant, vocab_size, eos_token_id=None):
        return new_config(replace(settings, n_embd=settings.n_embd // SHARES[variant]),
                          LanguageModeling.head, vocab_size, eos_token_id)

    def settings_of(self, variant):
        return replace(self.settings, checkpoint_every=max(1, self.settings.steps // MEASURED))

    def measure(self, variant, trainer):
        model, canaries = trainer.model.eval(), read_canaries(self.folder)
        reader = Reader(model, self.tokenizer(), self.settings.block_size + 1)
        due = self.settings_of(variant).checkpoint_every
        tokens = self.settings.batch_size * self.settings.grad_accum * self.settings.block_size
        n_tokens = len(trainer.task.splits["train"])
        steps, bits = [], []
        for path in list_checkpoints(trainer.checkpoints):
            step = int(path.name.split("-")[1])
            if step % due and step < trainer.step:
                continue  # where the experiment was stopped
            model.load_state_dict(load_weights(path))
            rng = np.random.default_rng(self.settings.seed)  # the same secrets to compare with
            steps.append(step)
            bits.append([exposure(each, reader, rng, SAMPLES).bits for each in canaries])
        losses = [record["valid_loss"] for record in trainer.metrics.records
                  if "valid_loss" in record]
        return Memory(
            model.num_parameters(), steps, [step * tokens / n_tokens for step in steps],
            losses[-1] if losses else None, min(losses, default=None),
            [each.times for each in canaries], bits, [each.format.bits for each in canaries],
            [says_greedily(each, reader) for each in canaries])

    def read(self, content):
        return {variant: Memory(**each) for variant, each in content["variants"].items()}

    def write(self, results):
        write_json(self.path, {"seed": self.settings.seed, "variants": {
            variant: asdict(each) for variant, each in results.items()}})
        write_figure(self.plot, plot_memorization(results))


def plot_memorization(results):
    """results: {variant: Memory} -> matplotlib Figure: exposure by the times that a secret stands
    in the text, for each model; and by epochs, for the largest model
    """
    figure, (left, right) = new_figure(8.4, 4, columns=2, sharey=True)
    largest = max(results.values(), key=lambda each: each.parameters)
    times = sorted(set(largest.times))
    for number, (name, each) in enumerate(results.items()):
        style = {"color": COLORS[number], "linestyle": LINES[number], "markersize": 4}
        left.plot([each.mean(n) for n in times], marker="o",
                  label=f"{name}: {each.parameters:,} parameters", **style)
    for number, n in enumerate(times):
        style = {"color": COLORS[number % len(COLORS)], "linestyle": LINES[number % len(LINES)]}
        right.plot(largest.epochs, [largest.mean(n, row) for row in range(len(largest.epochs))],
                   marker="o", markersize=3, label=f"{n} ×", **style)
    for axes in (left, right):
        exposure_axis(axes, 1 / math.log(2), max(largest.most))
    left.set_xticks(range(len(times)), map(str, times))
    left.set(xlabel="times in the text", title=f"after {largest.epochs[-1]:.1f} epochs")
    right.set(xlabel="epochs", ylabel="", title="the largest model")
    for axes, ncols in ((left, 1), (right, 3)):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=ncols)
    return figure
