"""The settings of a training run: everything that determines its result."""

import math
import types
from dataclasses import asdict, dataclass, fields, replace
from typing import get_args

from minillm.checks import shown
from minillm.training.schedules import SCHEDULES

OPTIMIZERS = ("adamw", "muon")

# The settings that `--resume` may change, and from when on. All others determine the data, the
# model or the order of the batches, which exist already.
CHANGEABLE = {
    "steps": "the new last step of the run and of the schedule: SCHEDULE_RULE",
    "lr": "the new peak of the schedule: SCHEDULE_RULE",
    "schedule": "the new form of the schedule: SCHEDULE_RULE",
    "warmup": "the new warm-up of the schedule: SCHEDULE_RULE",
    "final_lr": "the new end of the schedule: SCHEDULE_RULE",
    "weight_decay": "from the next step on",
    "clip": "from the next step on",
    "batch_size": "from the next step on",
    "length_warmup": "from the next step on",
    "batch_warmup": "from the next step on",
    "grad_accum": "from the next step on",
    "eval_every": "from the next step on",
    "checkpoint_every": "from the next step on",
    "recompute": "from the next step on, without any effect on the results",
    "keep": "from the next checkpoint on",
    "snapshots": "from the next step on, at the places that they have in the whole run",
    "log_every": "from the next step on",
}
SCHEDULE_RULE = ("from the next step on, the learning rate is the one that the schedule with the "
                 "new settings has at that step; with more steps, the schedule is stretched to the "
                 "new end, so the rate rises to the longer schedule's value at that step")

MOST_BATCHES = 1_000_000  # a step; with more, a slip of the keyboard would look like a long step


@dataclass
class Settings:
    """The settings of a run, stored in its run.json. Lengths are in tokens.

    The defaults train a small model on two cores in minutes. Raises TypeError for a value of the
    wrong type and ValueError for a number out of range.
    """

    # the data
    text: str | None = None  # a file or a folder; None: the topics of Python's help()
    examples: int | None = None  # to generate, for a task with labels; None: the task's number
    tokenizer: str | None = None  # a directory, a run or a name; None: train one of vocab_size
    vocab_size: int = 2048
    valid: float = 0.05  # the shares of the text that are held out; 0 for none
    test: float = 0.05
    canaries: str | None = None  # secrets to insert into the training text: text/canaries.py
    # the model
    model: str | None = None  # fine-tune this one, with its tokenizer; None: a new one
    resize_vocab: bool = False  # give the model rows for all tokens of its tokenizer
    freeze: str | None = None  # "embeddings", or how many of the lowest blocks stay as they are too
    lora_rank: int | None = None  # train LoRA updates of this rank; None: the weights themselves
    lora_alpha: float | None = None  # None: twice the rank, so that updates are scaled by 2
    lora_dropout: float = 0.0  # of the updates' inputs
    lora_targets: str = "all-linear"  # names of modules, separated by commas
    model_type: str = "gpt2"  # the architecture of a new model
    n_layer: int = 4
    n_head: int = 4
    n_kv_head: int | None = None  # of keys and values, if the architecture groups its heads
    n_embd: int = 128
    position_embedding: str | None = None  # models/positions.py; None: the architecture's own
    block_size: int = 128
    dropout: float = 0.1  # of embeddings and of each sub-layer's output
    # the optimization
    optimizer: str = "adamw"  # or "muon", for the matrices of the blocks
    muon_steps: int = 5  # of Newton–Schulz, in each of Muon's steps
    steps: int = 1000
    batch_size: int = 16
    grad_accum: int = 1  # batches per step, whose gradients are averaged
    length_warmup: int = 0  # steps in which windows grow: warmups.py
    batch_warmup: int = 0  # steps in which batches grow
    lr: float = 3e-3  # the peak, after the warm-up
    layer_lr_decay: float = 1.0  # the rate of a layer, as a share of that of the layer above it
    schedule: str = "cosine"  # how the rate falls: a name in schedules.py
    warmup: int = 50
    final_lr: float = 0.1  # at the last step, as a share of lr
    weight_decay: float = 0.1
    clip: float = 1.0  # the maximum norm of all gradients together
    recompute: bool = False  # less memory, more time, the same results: nn/recompute.py
    seed: int = 0
    # differential privacy (dp_sgd.py): of dp_epsilon or dp_noise one switches it on
    dp_epsilon: float | None = None  # what all steps together may spend
    dp_noise: float | None = None  # or the noise σ, in units of dp_clip
    dp_delta: float = 1e-5  # keep it well below 1 / the number of examples
    dp_clip: float = 1.0  # C, the maximum norm of the gradient of one example
    dp_seed: int | None = None  # for tests: NOT private. None: secret randomness
    # the records
    eval_every: int = 100
    checkpoint_every: int = 100
    keep: int = 3
    snapshots: int = 0  # copies of the weights alone, in float16, from the first step to the last
    log_every: int = 10

    def __post_init__(self):
        for field in fields(self):
            _require_type(field.name, getattr(self, field.name), field.type)
        for name in ("vocab_size", "n_layer", "n_head", "n_embd", "block_size", "steps",
                     "batch_size", "grad_accum", "eval_every", "checkpoint_every", "keep",
                     "log_every", "examples", "muon_steps"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted at least 1")
        if self.grad_accum > MOST_BATCHES:
            raise ValueError(f"grad_accum is {self.grad_accum}, wanted at most {MOST_BATCHES:,} "
                             "batches a step")
        if self.n_kv_head is not None and not 1 <= self.n_kv_head <= self.n_head:
            raise ValueError(f"n_kv_head is {self.n_kv_head}, wanted 1 to n_head = {self.n_head}")
        for name in ("valid", "test", "dropout", "warmup", "weight_decay", "final_lr", "seed",
                     "snapshots", "length_warmup", "batch_warmup"):
            if not getattr(self, name) >= 0:  # also refuses nan
                raise ValueError(f"{name} is {getattr(self, name)}, wanted at least 0")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted a number over 0")
        for name, choices in (("optimizer", OPTIMIZERS), ("schedule", tuple(SCHEDULES))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {shown(getattr(self, name))}, wanted "
                                 f"{', '.join(choices[:-1])} or {choices[-1]}")
        self._check_finetuning()
        self._check_privacy()
        for name in ("lr", "weight_decay", "final_lr"):  # an infinite clip is allowed: no clipping
            if math.isinf(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}, wanted a finite number")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd is {self.n_embd}, wanted a multiple of n_head={self.n_head}")

    def _check_finetuning(self):
        if not 0 < self.layer_lr_decay <= 1:
            raise ValueError(f"layer_lr_decay is {self.layer_lr_decay}, wanted a number over 0, at "
                             "most 1")
        if self.lora_rank is not None and self.lora_rank < 1:
            raise ValueError(f"lora_rank is {self.lora_rank}, wanted at least 1")
        if self.lora_alpha is not None and not 0 < self.lora_alpha < math.inf:
            raise ValueError(f"lora_alpha is {self.lora_alpha}, wanted a number over 0")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout}, wanted at least 0 and below 1")
        given = [name for name in ("lora_alpha", "lora_dropout") if getattr(self, name)]
        if self.lora_rank is None and given:
            raise ValueError(f"{given[0]} is {getattr(self, given[0])}, but without a lora_rank "
                             "there are no LoRA updates")
        if self.lora_rank is not None and self.freeze is not None:
            raise ValueError(f"freeze is {self.freeze}, but lora_rank freezes all layers: wanted "
                             "one of the two")
        if self.keeps_weights and self.model is None:
            name = "freeze" if self.lora_rank is None else "lora_rank"
            raise ValueError(f"{name} is {getattr(self, name)}, but a new model has no weights "
                             "worth keeping: wanted a pretrained one to fine-tune")
        if self.keeps_weights and self.resize_vocab:
            raise ValueError("resize_vocab gives the embeddings new rows that must be trained, "
                             "wanted neither lora_rank nor freeze")

    def _check_privacy(self):
        for name in ("dp_epsilon", "dp_noise", "dp_clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}, wanted a number over 0")
        if not 0 < self.dp_delta < 1:
            raise ValueError(f"dp_delta is {self.dp_delta}, wanted a number between 0 and 1")
        if self.dp_epsilon is not None and self.dp_noise is not None:
            raise ValueError(f"dp_epsilon is {self.dp_epsilon} and dp_noise is {self.dp_noise}, "
                             "wanted one: each determines the other")
        for name in ("length_warmup", "batch_warmup"):
            if self.is_private and getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)}, but private steps draw each "
                                 "whole example with the same probability: wanted 0")

    @property
    def is_private(self):
        """Whether training is differentially private."""
        return self.dp_epsilon is not None or self.dp_noise is not None

    @property
    def keeps_weights(self):
        """Whether some weights stay those of `model`. Checkpoints leave them out."""
        return self.lora_rank is not None or self.freeze is not None

    def changed(self, changes, step):
        """-> these settings with `changes`, {name: value}, for a run that has done `step` steps

        Raises ValueError, by name, for a setting that can't change any more (see CHANGEABLE), and
        for fewer steps than are done.
        """
        for name, value in changes.items():
            if name not in CHANGEABLE and value != getattr(self, name):
                raise ValueError(
                    f"{name} is {value}, but the run has {getattr(self, name)}, and this can't "
                    f"change any more; --resume can change {', '.join(CHANGEABLE)}"
                )
            self._require_same_privacy(name, value)
        changed = replace(self, **changes)
        if changed.steps < step:
            raise ValueError(f"steps is {changed.steps}, but the run has done {step} already")
        return changed

    def _require_same_privacy(self, name, value):
        """ValueError for a change of what the accountant has counted on from the first step"""
        fixed = {"batch_size": "the probability of an example to be drawn",
                 "grad_accum": "the probability of an example to be drawn"}
        if self.dp_epsilon is not None:
            fixed["steps"] = "the noise with which all steps spend dp_epsilon"
        if self.is_private and name in fixed and value != getattr(self, name):
            raise ValueError(f"{name} is {value}, but the run has {getattr(self, name)}, and a "
                             f"private run can't change it: it determines {fixed[name]}")

    def to_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Raises ValueError for an unknown name, and the errors of the constructor."""
        if not isinstance(values, dict):
            raise ValueError(f"settings is a {type(values).__name__}, wanted an object")
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"settings has {sorted(unknown)}, which are not settings")
        return cls(**values)


def _require_type(name, value, wanted):
    kinds = get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    if isinstance(value, bool) <= (bool in kinds) and (
            isinstance(value, kinds) or (float in kinds and isinstance(value, int))):
        return
    names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
    raise TypeError(f"{name} is {value!r}, wanted {names}")
