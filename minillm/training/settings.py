"""The settings of a training run: everything that decides what comes out of it."""

import math
from dataclasses import asdict, dataclass, fields


@dataclass
class Settings:
    """What a run is made of; run.json in its folder keeps them. Lengths are in tokens.

    The defaults are those of a small model that learns on two cores in minutes. Raises ValueError
    for a number out of range.
    """

    # the data
    text: str | None = None  # a file or a folder; None: the topics of Python's help()
    tokenizer: str | None = None  # a directory, a run or a name; None: train one of vocab_size
    vocab_size: int = 2048
    valid: float = 0.05  # the shares of the text that are held out
    test: float = 0.05
    # the model
    model: str | None = None  # fine-tune this one, with its tokenizer; None: a new one
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    block_size: int = 128
    dropout: float = 0.1  # of embeddings and of what each sub-layer adds
    # the optimization
    steps: int = 1000
    batch_size: int = 16
    grad_accum: int = 1  # batches whose gradients make one step
    lr: float = 3e-3  # the peak, after the warm-up
    warmup: int = 50
    final_lr: float = 0.1  # at the last step, as a share of lr
    weight_decay: float = 0.1
    clip: float = 1.0  # the largest norm of all gradients together
    seed: int = 0
    # the records
    eval_every: int = 100
    checkpoint_every: int = 100
    keep: int = 3
    log_every: int = 10

    def __post_init__(self):
        for name in ("vocab_size", "n_layer", "n_head", "n_embd", "block_size", "steps",
                     "batch_size", "grad_accum", "eval_every", "checkpoint_every", "keep",
                     "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted at least 1")
        for name in ("valid", "test", "dropout", "warmup", "weight_decay", "final_lr", "seed"):
            if not getattr(self, name) >= 0:  # nan is refused as well
                raise ValueError(f"{name} is {getattr(self, name)}, wanted at least 0")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted a number over 0")
        for name in ("lr", "weight_decay", "final_lr"):  # but an infinite clip means no clipping
            if math.isinf(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}, wanted a finite number")
        if self.valid == 0:
            raise ValueError("valid is 0, wanted some text held out to validate on")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd is {self.n_embd}, wanted a multiple of n_head={self.n_head}")
        self.warmup = min(self.warmup, self.steps)

    def to_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Raises ValueError for a name that is no setting."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"settings has {sorted(unknown)}, which are no settings")
        return cls(**values)
