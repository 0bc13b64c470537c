"""An experiment: how little time does a model need to reach a given loss, and thanks to what?

    minillm experiment speedrun

The baseline is nanoGPT's recipe for a CPU (Karpathy 2022): a GPT-2 of 4 layers and width 128, AdamW
at 1e-3. Each change of CHANGES is made alone on it ("only-muon"), all are made together ("all"), and
each is left out of all ("without-muon"). What is in EXTRAS is made alone, or added to all ("with-").
Every run reads as many tokens, so their schedules are alike, and stops where the held-out text is
predicted with the target's bits per byte. These compare models whose tokenizers differ.

Steps to the target don't depend on what else the machine does; the time of a step does. So it is
measured at the end, one step of every variant in turns.
"""

import tempfile
import time
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from minillm.json_files import read_json, write_json
from minillm.models.auto import model_class
from minillm.models.family import YEARS
from minillm.signals import stop_flag
from minillm.training.architecture import new_config
from minillm.training.claim import lock_folder
from minillm.training.experiment import Experiment, check_held_out
from minillm.training.language_modeling import LanguageModeling
from minillm.training.loop import Interrupted, Trainer
from minillm.training.plots import plot_speedrun
from minillm.training.warmups import grows, steps_for_the_tokens_of

# Settings and fields of FamilyConfig of the baseline; std: of all initial weights
BASELINE = {**YEARS[2017], **YEARS[2018], **YEARS[2019], "std": 0.02,
            "optimizer": "adamw", "muon_steps": 5, "lr": 1e-3, "weight_decay": 0.1,
            "schedule": "cosine", "final_lr": 0.1, "warmup": 100, "length_warmup": 0,
            "batch_warmup": 0, "n_layer": 4, "n_embd": 128, "n_head": 4,
            "batch_size": 12}
# What a change sets. Muon's steps are as large as AdamW's for equal rates, but bear higher ones.
CHANGES = {
    "rates": {"lr": 2e-3, "weight_decay": 1.0},
    "muon": {"optimizer": "muon", "muon_steps": 3, "lr": 8e-3, "weight_decay": 1.0, "warmup": 20},
    "schedule": {"schedule": "trapezoid", "final_lr": 0.0},
    "init": {"std": None},  # None: (2 d)^-½
    "zero-init": {"zero_output_init": True},
    "rotary": {"position_embedding": "rotary"},
    "rms-norm": {"norm": "rms_norm", "bias": False},
    "qk-norm": {"qk_norm": True},
    "relu2": {"activation_function": "relu2"},
    "small": {"n_layer": 2, "n_embd": 96, "n_head": 3, "batch_size": 16},
}
# What "all" has not: it doesn't help there.
EXTRAS = {"length-warmup": {"length_warmup": 150}, "batch-warmup": {"batch_warmup": 150}}
WARMUPS = ("warmup", "length_warmup", "batch_warmup")
OF_SETTINGS = ("optimizer", "muon_steps", "lr", "weight_decay", "schedule", "final_lr", *WARMUPS,
               "n_layer", "n_embd", "n_head", "batch_size")
TARGET = 1.755  # bits per byte of the default text: nanoGPT's recipe in PyTorch, after 2,000 steps
GOAL = "goal.json"  # in the folder: the number of seeds, and the target
ROUNDS = 11  # of the measurement of the time, of which the first doesn't count
STAGES = 5  # of a warm-up, at which the time is measured


def choices(variant):
    """-> {setting or field: value} of "baseline", "all", "only-CHANGE", "without-CHANGE",
    "only-EXTRA" or "with-EXTRA"
    """
    kind, _, name = variant.partition("-")
    made = {"baseline": [], "all": CHANGES, "only": [name],
            "without": [change for change in CHANGES if change != name],
            "with": [*CHANGES, name]}[kind]
    chosen = dict(BASELINE)
    for change in made:
        chosen.update({**CHANGES, **EXTRAS}[change])
    return chosen


@dataclass
class Speed:
    """The runs of a variant, one for each seed. A list that names no end has an item for each.

    crossed: the step at which the target is reached, between two evaluations by interpolation; None
        where it isn't
    bits_per_byte: of the held-out text at the last evaluation;  test: of the test text
    curves: [[step, bits per byte], …]
    ms_per_step: the median time of a step with whole batches; None until all are trained
    ms_saved: by the smaller steps of a warm-up, in all
    """

    parameters: int = 0
    seeds: list = field(default_factory=list)
    crossed: list = field(default_factory=list)
    bits_per_byte: list = field(default_factory=list)
    test: list = field(default_factory=list)
    curves: list = field(default_factory=list)
    ms_per_step: float | None = None
    ms_saved: float = 0.0

    @property
    def steps(self):
        """-> mean and standard deviation of the steps to the target, of the runs that reach it;
        None if at least half of them miss it
        """
        reached = [each for each in self.crossed if each is not None]
        return mean_and_std(reached) if 2 * len(reached) > len(self.crossed) else None

    @property
    def seconds(self):
        """-> the same in seconds"""
        if self.steps is None or self.ms_per_step is None:
            return None
        mean, std = (each * self.ms_per_step / 1000 for each in self.steps)
        return mean - self.ms_saved / 1000, std


def mean_and_std(values):
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def stages(settings):
    """-> numbers of steps to measure: over the growth of the batches, if they grow, to its end"""
    end = max(settings.length_warmup, settings.batch_warmup)
    return np.linspace(0, end, STAGES).astype(int) if grows(settings) else np.array([end])


def step_times(trainer):
    """-> seconds of the steps of `stages`, one after the other"""
    settings, taken = trainer.settings, []
    trainer.settings = replace(settings, steps=10**6)  # a step may be the last one only once
    for trainer.step in stages(settings):
        started = time.perf_counter()
        trainer.training_step()
        taken.append(time.perf_counter() - started)
    trainer.settings = settings
    return taken


class SpeedrunExperiment(Experiment):
    """The experiment in an existing folder; `create` prepares a new one. See Experiment.

    seeds: how many runs each variant has;  target: bits per byte of the held-out text
    """

    name = "speedrun"
    VARIANTS = ("baseline", *(f"only-{name}" for name in CHANGES if name != "small"), "all",
                *(f"without-{name}" for name in CHANGES if name != "rates"),
                *(f"{kind}-{name}" for name in EXTRAS for kind in ("only", "with")))
    DEFAULT = {"vocab_size": 1024, "block_size": 64, "steps": 450, "dropout": 0.0, "eval_every": 25,
               "log_every": 10**6, "checkpoint_every": 10**6}
    QUICK = {**DEFAULT, "vocab_size": 320, "block_size": 16, "steps": 8, "eval_every": 4,
             "valid": 0.01, "test": 0.01}

    def __init__(self, folder):
        super().__init__(folder)
        facts = read_json(self.folder / GOAL)
        self.seeds, self.target = facts["seeds"], facts["target"]

    @classmethod
    def create(cls, out, settings, variants=None, report=lambda message, share=None: None, *,
               seeds=5, target=TARGET):
        """See Experiment.create."""
        if seeds < 1:
            raise ValueError(f"seeds is {seeds}, wanted at least 1")
        if not target > 0:
            raise ValueError(f"target is {target}, wanted bits per byte, a number over 0")
        cls._goal = {"seeds": seeds, "target": target}
        return super().create(out, settings, variants, report)

    @classmethod
    def prepare(cls, folder, settings, report):
        super().prepare(folder, settings, report)
        write_json(folder / GOAL, cls._goal)

    check = staticmethod(check_held_out)

    @classmethod
    def config(cls, settings, variant, vocab_size, eos_token_id=None):
        """-> the FamilyConfig of a variant"""
        chosen = choices(variant)
        sizes = new_config(replace(settings, model_type="family", **{
            name: chosen.pop(name) for name in OF_SETTINGS}), LanguageModeling.head, vocab_size,
            eos_token_id)
        std = chosen.pop("std")
        return sizes.replace(**chosen, initializer_range=std or sizes.initializer_range)

    def settings_of(self, variant, seed=0):
        """-> the Settings of a run"""
        chosen = {name: value for name, value in choices(variant).items() if name in OF_SETTINGS}
        for name in WARMUPS:
            chosen[name] = min(chosen[name], self.settings.steps // 2)
        settings = replace(self.settings, seed=seed, model_type="family", **chosen)
        return replace(settings, steps=steps_for_the_tokens_of(settings.steps, settings))

    @property
    def n_steps(self):
        return self.settings.steps * len(self.variants) * self.seeds

    def run(self, report=lambda done, note: None):
        """Do every run that isn't finished yet, seed after seed -> {variant: Speed}

        report(done, note): called after each of the n_steps steps; a run that reaches the target
        leaves out the rest of its steps
        Raises Interrupted after a signal: call `run` again to go on, with the run that was stopped.
        """
        n, runs = self.settings.steps, [(seed, variant) for seed in range(self.seeds)
                                        for variant in self.variants]
        with lock_folder(self.folder), stop_flag() as stop:
            results = self.results()
            for number, (seed, variant) in enumerate(runs):
                if seed in results.setdefault(variant, Speed()).seeds:
                    continue

                def progress(step, loss, variant=variant, seed=seed, number=number):
                    report(number * n + min(step, n),
                           f"{variant}, seed {seed}: {loss:.3f} bits per byte")
                    if stop.number is not None:
                        raise Interrupted(stop.number)

                self.race(variant, seed, results[variant], progress)
                self.write(results)
            results = self.finish(results)
            report(self.n_steps, "")
        return results

    def race(self, variant, seed, result, progress=lambda step, loss: None):
        """Train one model until it reaches the target, or to the last step; add it to `result`."""
        with tempfile.TemporaryDirectory() as folder:
            trainer = self._trainer(variant, seed, folder)
            settings, curve, crossed = trainer.settings, [], None
            valid = trainer.task.measure(trainer.model, "valid").bits_per_byte
            while trainer.step < settings.steps and crossed is None:
                trainer.training_step()
                if trainer.step % settings.eval_every == 0 or trainer.step == settings.steps:
                    before, valid = valid, trainer.task.measure(trainer.model, "valid").bits_per_byte
                    curve.append([trainer.step, round(valid, 5)])
                    crossed = self._crossing(trainer.step, before, valid, settings)
                progress(trainer.step, valid)
        test = trainer.task.measure(trainer.model, "test")
        result.parameters = trainer.model.num_parameters()
        for values, value in ((result.seeds, seed), (result.crossed, crossed),
                              (result.bits_per_byte, valid), (result.curves, curve),
                              (result.test, None if test is None else test.bits_per_byte)):
            values.append(value)

    def _crossing(self, step, before, after, settings):
        """-> the step at which the straight line between two evaluations meets the target, or None"""
        if after > self.target:
            return None
        last = (step - 1) // settings.eval_every * settings.eval_every
        share = 1.0 if before <= after else min(1.0, (before - self.target) / (before - after))
        return round(last + max(0.0, share) * (step - last), 1)

    def finish(self, results):
        """Measure the time of a step, of all variants in turns."""
        if all(each.ms_per_step is not None for each in results.values()):
            return results
        times = {variant: [] for variant in self.variants}
        with tempfile.TemporaryDirectory() as folder:
            trainers = {variant: self._trainer(variant, 0, folder) for variant in self.variants}
            for _ in range(min(ROUNDS, 1 + self.settings.steps)):
                for variant, trainer in trainers.items():
                    times[variant].append(step_times(trainer))
        for variant, each in times.items():
            ms = 1000 * np.median(each[1:], axis=0)
            steps = stages(trainers[variant].settings)
            smaller = np.interp(np.arange(steps[-1]), steps, ms).sum()
            results[variant].ms_per_step = round(float(ms[-1]), 2)
            results[variant].ms_saved = round(float(steps[-1] * ms[-1] - smaller), 1)
        self.write(results)
        return results

    def _trainer(self, variant, seed, folder):
        tokenizer, settings = self.tokenizer(), self.settings_of(variant, seed)
        config = self.config(self.settings, variant, len(tokenizer), tokenizer.eos_token_id)
        model = model_class("family", LanguageModeling.head)(config, seed).train()
        return Trainer(self.task(settings), model, settings, folder)

    def read(self, content):
        return {variant: Speed(**each) for variant, each in content["variants"].items()}

    def write(self, results):
        write_json(self.path, {
            "target": self.target, "steps": self.settings.steps,
            "variants": {variant: asdict(each) for variant, each in results.items()},
        })
        plot_speedrun(results, self.target, self.settings.steps, self.plot)
