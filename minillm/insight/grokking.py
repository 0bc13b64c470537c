"""An experiment: a model that memorizes first, and finds the rule long afterwards.

    minillm experiment grokking

Train the same small transformer on a share of all questions a + b = ? modulo p (Power et al. 2022;
Nanda et al. 2023): as it is, without weight decay, and on twice as many questions. Record at each
checkpoint what it has memorized and what it knows, and, looking back from the end, how much of the
final rule was there already.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np

from minillm.figures import COLORS, LINES, new_figure, write_figure
from minillm.insight.fourier import cosines, key_frequencies, progress
from minillm.insight.modular_addition import (
    ModularAddition,
    answer_loss,
    answers,
    new_config,
    number_tokenizer,
    score,
)
from minillm.json_files import write_json
from minillm.models.family import FamilyForCausalLM
from minillm.training.checkpoint import list_checkpoints, load_checkpoint
from minillm.training.experiment import Experiment

KNOWN = 0.99  # the accuracy from which something counts as known


class Addition:
    """The task of a run (minillm/training/task.py): a batch is all questions of the training."""

    unit = "questions"

    def __init__(self, settings):
        self.data = ModularAddition(settings.vocab_size, 1 - settings.valid, settings.seed)

    def batches(self, settings):
        rows = self.data.train
        return _SameBatch((self.data.ids[rows], self.data.sums[rows]))

    def loss(self, model, batch):
        return answer_loss(model, *batch)

    def size(self, batch):
        return len(batch[0])

    def evaluate(self, model):
        found = score(answers(model, self.data.ids), self.data)
        return {"valid_loss": found.test_loss, "valid_accuracy": found.test_accuracy,
                "train_accuracy": found.train_accuracy}


class _SameBatch:
    """An endless iterator over one batch."""

    def __init__(self, batch):
        self.batch = batch

    def __iter__(self):
        return self

    def __next__(self):
        return self.batch

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@dataclass
class Grokking:
    """What is known about a variant. Lists have an entry for each checkpoint.

    questions: of the training
    steps;  train_loss, test_loss, train_accuracy, test_accuracy
    memorized, understood: the first of the steps with an accuracy of KNOWN on the questions of the
        training, and on the others; None if there is none
    frequencies: those that hold 90 % of the power of the last embeddings, see insight/fourier.py
    explained: the share of the last logits' variance that is cosines of these frequencies
    restricted, excluded: fourier.Progress of these frequencies
    """

    questions: int
    steps: list
    train_loss: list
    test_loss: list
    train_accuracy: list
    test_accuracy: list
    memorized: int | None
    understood: int | None
    frequencies: list
    explained: float
    restricted: list
    excluded: list


class GrokkingExperiment(Experiment):
    """The experiment in an existing folder; `create` prepares a new one. See Experiment.

    Of the settings, vocab_size is p, and valid the share of the questions that aren't trained on.
    """

    name = "grokking"
    VARIANTS = ("grokking", "no-decay", "more-data")
    DEFAULT = {"vocab_size": 59, "valid": 0.6, "test": 0.0, "n_layer": 1, "n_head": 4,
               "n_embd": 64, "block_size": 3, "dropout": 0.0, "steps": 2500, "lr": 3e-3,
               "warmup": 10, "final_lr": 1.0, "weight_decay": 3.0, "clip": 1e6, "eval_every": 50,
               "checkpoint_every": 50, "keep": 1000}
    QUICK = {**DEFAULT, "vocab_size": 23, "n_embd": 16, "n_head": 2, "steps": 40, "eval_every": 10,
             "checkpoint_every": 10}

    @classmethod
    def check(cls, settings):
        ModularAddition(settings.vocab_size, 1 - settings.valid)  # refuses what isn't a task

    @classmethod
    def prepare(cls, folder, settings, report):
        (folder / "model").mkdir()
        number_tokenizer(settings.vocab_size).save_pretrained(folder / "model")

    @classmethod
    def config(cls, settings, variant, vocab_size, eos_token_id=None):
        return new_config(settings.vocab_size, settings.n_embd, settings.n_head, settings.n_layer)

    def new_model(self, variant, tokenizer):
        config = self.config(self.settings, variant, len(tokenizer))
        return FamilyForCausalLM(config, self.settings.seed).train()

    def settings_of(self, variant):
        if variant == "no-decay":
            return replace(self.settings, weight_decay=0.0)
        if variant == "more-data":
            share = 1 - self.settings.valid
            return replace(self.settings, valid=max(1 - 2 * share, 0.1))
        return self.settings

    def task(self, settings=None):
        return Addition(settings or self.settings)

    def measure(self, variant, trainer):
        data, model = trainer.task.data, trainer.model.eval()
        last = answers(model, data.ids)
        ks = key_frequencies(model.get_input_embeddings().weight.data[: data.p])
        rows = []
        for path in list_checkpoints(trainer.checkpoints):
            checkpoint = load_checkpoint(path)
            if checkpoint.step % self.settings.checkpoint_every and checkpoint.step < trainer.step:
                continue  # where the experiment was stopped
            model.load_state_dict(checkpoint.model)
            logits = answers(model, data.ids)
            rows.append([checkpoint.step, *score(logits, data), *progress(logits, data, ks)])
        steps, *losses_and_accuracies, restricted, excluded = map(list, zip(*rows))
        memorized, understood = (_first(steps, each) for each in losses_and_accuracies[2:])
        explained = cosines(last).explained[np.array(ks) - 1].sum()
        return Grokking(len(data.train), steps, *losses_and_accuracies, memorized, understood, ks,
                        float(explained), restricted, excluded)

    def read(self, content):
        return {variant: Grokking(**each) for variant, each in content["variants"].items()}

    def write(self, results):
        write_json(self.path, {"p": self.settings.vocab_size, "seed": self.settings.seed,
                               "variants": {variant: asdict(each)
                                            for variant, each in results.items()}})
        write_figure(self.plot, plot_grokking(results))


def _first(steps, accuracies):
    return next((step for step, each in zip(steps, accuracies) if each >= KNOWN), None)


def plot_grokking(results):
    """results: {variant: Grokking} -> matplotlib Figure: a column for each variant, with the
    accuracies above and the losses below
    """
    figure, grid = new_figure(1 + 3.2 * len(results), 4.6, rows=2, columns=len(results),
                              sharex="col", sharey="row", squeeze=False)
    for (top, bottom), (name, each) in zip(grid.T, results.items()):
        for axes, values, label, style in (
            (top, each.train_accuracy, "trained on", 0), (top, each.test_accuracy, "others", 1),
            (bottom, each.train_loss, "trained on", 0), (bottom, each.test_loss, "others", 1),
            (bottom, each.restricted, "restricted: only the waves", 2),
            (bottom, each.excluded, "excluded: all but the waves", 3),
        ):
            axes.plot(each.steps, values, color=COLORS[style], linestyle=LINES[style], label=label)
        top.set(title=name, ylim=(0, 1.02))
        bottom.set(yscale="log", xlabel="step")
    grid[0, 0].set_ylabel("share of right answers")
    grid[1, 0].set_ylabel("loss, nats")
    grid[1, 0].legend()
    return figure
