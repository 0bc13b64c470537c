"""An experiment: what did each change to the transformer from 2017 to 2023 bring?

    minillm experiment family

Train the decoders of models/family.py: those of the four papers, and between two papers each change
on its own, on top of the earlier one. All see the same batches in the same order and have, by the
width of their feed-forward network, nearly the same number of parameters. Compared are the loss of
held-out text after the same number of tokens, the time and the memory of a training step, and the
bytes of the KV cache.
"""

import gc
import tempfile
import time
import tracemalloc
from dataclasses import asdict, dataclass, replace

import numpy as np

from minillm.json_files import write_json
from minillm.models.auto import model_class
from minillm.models.family import YEARS
from minillm.training.architecture import new_config
from minillm.training.experiment import Experiment, check_held_out
from minillm.training.language_modeling import LanguageModeling
from minillm.training.loop import Trainer
from minillm.training.plots import plot_family

GROUPED = "grouped"  # query heads that share keys: their number depends on n_head
# Between two papers, each change on its own -> the fields that it changes
CHANGES = {
    2017: {"gelu": ("activation_function",), "learned": ("position_embedding",)},
    2018: {"pre-norm": ("norm_placement",)},
    2019: {"rms-norm": ("norm",), "rotary": ("position_embedding",),
           "swiglu": ("feed_forward", "activation_function"), "no-bias": ("bias",),
           "grouped": (GROUPED,)},
    2023: {},
}
NEXT = {2017: 2018, 2018: 2019, 2019: 2023}
FIELDS = {**YEARS, 2023: {**YEARS[2023], GROUPED: True}}
D_FF_STEP = 8  # of which d_ff is a multiple, for the sake of the kernels
ROUNDS = 21  # of the measurement of the time, of which the first doesn't count


def _variants():
    """-> {name: fields}: "2017", "2017+gelu", …, "2023\""""
    found, fields = {}, {}
    for year, changes in CHANGES.items():
        fields = {**fields, **FIELDS[year]}
        found[str(year)] = fields
        for name, changed in changes.items():
            after = FIELDS[NEXT[year]]
            found[f"{year}+{name}"] = {**fields, **{field: after[field] for field in changed}}
    return found


@dataclass
class Comparison:
    """What is compared. The last two are None until all variants are trained.

    parameters;  d_ff: the width of the feed-forward network's hidden layer
    loss: of the held-out text, in nats per token, after the last step
    curve: [step, loss of the held-out text] for each evaluation
    kv_bytes: of the KV cache, per token
    ms_per_step: the median time of a training step, in milliseconds
    peak_bytes: the peak of the memory that a training step uses: weights, gradients, the
        optimizer's moments, activations
    """

    parameters: int
    d_ff: int
    loss: float
    curve: list
    kv_bytes: int
    ms_per_step: float | None = None
    peak_bytes: int | None = None


class FamilyExperiment(Experiment):
    """The experiment in an existing folder; `create` prepares a new one. See Experiment."""

    name = "family"
    FIELDS = _variants()
    VARIANTS = tuple(FIELDS)
    DEFAULT = {"vocab_size": 1024, "n_layer": 4, "n_head": 4, "n_embd": 96, "block_size": 64,
               "batch_size": 12, "steps": 1000, "lr": 2e-3, "warmup": 100, "final_lr": 0.0,
               "weight_decay": 0.5, "dropout": 0.0, "valid": 0.12, "test": 0.0, "keep": 1}
    QUICK = {"vocab_size": 320, "n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 16,
             "batch_size": 8, "steps": 10, "eval_every": 5, "checkpoint_every": 10, "lr": 1e-2,
             "warmup": 5, "keep": 1, "valid": 0.01, "test": 0.0}

    check = staticmethod(check_held_out)

    @classmethod
    def config(cls, settings, variant, vocab_size, eos_token_id=None):
        """-> the FamilyConfig of a variant, with about as many parameters as the decoder of 2017"""
        sizes = new_config(replace(settings, model_type="family"), LanguageModeling.head,
                           vocab_size, eos_token_id)
        fields = dict(cls.FIELDS[variant])
        if fields.pop(GROUPED, False):
            fields["num_key_value_heads"] = _largest_proper_divisor(settings.n_head)
        wanted = n_parameters(sizes.replace(**cls.FIELDS["2017"]))
        config = sizes.replace(**fields, intermediate_size=D_FF_STEP)
        least = n_parameters(config)
        each = n_parameters(config.replace(intermediate_size=2 * D_FF_STEP)) - least
        return config.replace(
            intermediate_size=D_FF_STEP * (1 + max(0, round((wanted - least) / each))))

    def measure(self, variant, trainer):
        config, task = trainer.model.config, self.task()
        kv = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
        return Comparison(
            trainer.model.num_parameters(), config.intermediate_size,
            task.measure(trainer.model, "valid").loss,
            [[record["step"], record["valid_loss"]] for record in trainer.metrics.records
             if "valid_loss" in record], kv)

    def finish(self, results):
        """Measure the time and the memory, of all variants in turns."""
        if all(each.ms_per_step is not None for each in results.values()):
            return results
        times = self.step_times()
        for variant, each in results.items():
            each.ms_per_step = times[variant]
            each.peak_bytes = self.peak_memory(variant)
        self.write(results)
        return results

    def step_times(self):
        """-> {variant: the median time of a training step in milliseconds}

        All variants do one step in every round, so what else the machine does meets all of them.
        """
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = self.tokenizer()
            trainers = {variant: self._stepper(variant, folder, tokenizer)
                        for variant in self.variants}
            times = {variant: [] for variant in self.variants}
            for _ in range(min(ROUNDS, 1 + self.settings.steps)):
                for variant, trainer in trainers.items():
                    started = time.perf_counter()
                    trainer.training_step()
                    times[variant].append(time.perf_counter() - started)
        return {variant: 1000 * float(np.median(each[1:])) for variant, each in times.items()}

    def peak_memory(self, variant):
        """-> bytes: the peak of all arrays together, from the creation of the model through its
        second step
        """
        tokenizer = self.tokenizer()
        with tempfile.TemporaryDirectory() as folder:
            gc.collect()
            tracemalloc.start()
            try:
                trainer = self._stepper(variant, folder, tokenizer)
                for _ in range(2):
                    trainer.training_step()
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    def _stepper(self, variant, folder, tokenizer):
        """-> a Trainer of a new model, for steps that leave nothing behind"""
        model = self.new_model(variant, tokenizer)
        settings = replace(self.settings, steps=10**6, log_every=10**6)
        return Trainer(self.task(), model, settings, folder)

    def read(self, content):
        return {variant: Comparison(**each) for variant, each in content["variants"].items()}

    def write(self, results):
        write_json(self.path, {
            "tokens_per_step": self.settings.batch_size * self.settings.block_size,
            "seed": self.settings.seed,
            "variants": {variant: asdict(each) for variant, each in results.items()},
        })
        plot_family(results, self.settings.batch_size * self.settings.block_size, self.plot)


def n_parameters(config):
    """-> the number of parameters of a model, whose weights are zeros that take no memory"""
    return model_class(config.model_type)(config, draw_weights=False).num_parameters()


def _largest_proper_divisor(n):
    return next((k for k in range(n // 2, 0, -1) if n % k == 0), 1)
