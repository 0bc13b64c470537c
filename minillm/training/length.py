"""An experiment: which kinds of positions let a model read more than it was trained on?

    minillm experiment length

Train the same small model once with each kind of positions on windows of T tokens, then let it read
windows of 1, 2, 4 and 8 times that length (Press, Smith and Lewis 2022, fig. 1). All windows of a
size end at the same places, so the same tokens are predicted, and only what the model sees before
them grows. A model that can use the longer context predicts them better; one that meets positions
that it has never seen may fail.
"""

from dataclasses import dataclass, replace

import numpy as np

from minillm.json_files import write_json
from minillm.models.auto import AutoModelForCausalLM
from minillm.models.positions import POSITION_EMBEDDINGS
from minillm.nn.module import no_grad
from minillm.training.architecture import new_config
from minillm.training.experiment import Experiment
from minillm.training.language_modeling import LanguageModeling
from minillm.training.plots import plot_lengths

TIMES = (1, 2, 4, 8)  # the lengths to read, in trained lengths


@dataclass
class Losses:
    """How well a model predicts the last tokens of its windows, in nats per token.

    at_end: {length of the window: mean loss of its last T / 2 tokens}; None where the model has no
        such positions
    by_position: the mean loss at each position of the longest window that the model can read
    """

    at_end: dict
    by_position: list


class LengthExperiment(Experiment):
    """The experiment in an existing folder; `create` prepares a new one. See Experiment."""

    name, noun = "length", "kind of positions"
    VARIANTS = POSITION_EMBEDDINGS
    DEFAULT = {"vocab_size": 1024, "n_layer": 3, "n_head": 4, "n_embd": 96, "block_size": 64,
               "batch_size": 12, "steps": 1000, "lr": 2e-3, "warmup": 100, "final_lr": 0.0,
               "weight_decay": 0.5, "dropout": 0.0, "valid": 0.05, "test": 0.1, "keep": 1}
    QUICK = {"vocab_size": 320, "n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 16,
             "batch_size": 8, "steps": 20, "eval_every": 20, "checkpoint_every": 20, "lr": 1e-2,
             "warmup": 5, "keep": 1, "valid": 0.01, "test": 0.02}

    @classmethod
    def check(cls, settings):
        T = settings.block_size
        if T < 8 or T % 2:
            raise ValueError(f"block_size is {T}, wanted an even number of at least 8")

    @classmethod
    def check_data(cls, folder, settings):
        n_tokens = len(LanguageModeling(folder, settings).splits["test"])
        wanted = TIMES[-1] * settings.block_size
        if n_tokens <= wanted:
            raise ValueError(f"the test text has {n_tokens} tokens, wanted more than {wanted}: "
                             "give a longer text, or a larger share to test on")

    @classmethod
    def config(cls, settings, kind, vocab_size, eos_token_id=None):
        """-> the configuration of a new model with these positions

        T5's last bucket begins at half of the trained length, so training reaches every bucket.
        """
        half = settings.block_size // 2
        config = new_config(replace(settings, position_embedding=kind), LanguageModeling.head,
                            vocab_size, eos_token_id)
        return config.replace(relative_attention_max_distance=half,
                              relative_attention_num_buckets=min(32, half))

    @property
    def lengths(self):
        return [times * self.settings.block_size for times in TIMES]

    def measure(self, kind, trainer):
        """-> Losses of the best model on the test text"""
        model = AutoModelForCausalLM.from_pretrained(self.folder / kind / "model")
        dataset, half = self.task().splits["test"], self.settings.block_size // 2
        longest = self.lengths[-1]
        at_end, by_position = {}, None
        for length in self.lengths:
            if model.max_positions is not None and length > model.max_positions:
                at_end[length] = None
                continue
            by_position = losses_by_position(model, dataset, length, longest, stride=half)
            at_end[length] = float(by_position[-half:].mean())
        return Losses(at_end, [round(float(loss), 5) for loss in by_position])

    def read(self, content):
        return {kind: Losses({int(length): loss for length, loss in each["at_end"].items()},
                             each["by_position"])
                for kind, each in content["losses"].items()}

    def write(self, results):
        write_json(self.path, {
            "trained_length": self.settings.block_size, "seed": self.settings.seed,
            "losses": {kind: {"at_end": {str(length): loss for length, loss in each.at_end.items()},
                              "by_position": each.by_position}
                       for kind, each in results.items()},
        })
        plot_lengths({kind: (each.at_end, each.by_position) for kind, each in results.items()},
                     self.settings.block_size, self.plot)


def losses_by_position(model, dataset, length, longest, *, stride, batch_size=8):
    """Cut windows of `length` tokens, and predict each token from those before it in its window.

    The windows end every `stride` tokens, the first one behind token number `longest`: so windows
    of all lengths end at the same places.
    -> float64 (length,): the mean loss at each position, over all windows
    """
    ends = np.arange(longest, len(dataset), stride)
    total = np.zeros(length)
    with no_grad():
        for first in range(0, len(ends), batch_size):
            starts = ends[first : first + batch_size] - length
            window = dataset.windows(starts.tolist(), length + 1)
            logits = model(window[:, :-1]).logits
            total += _losses(logits, window[:, 1:]).sum(axis=0)
    return total / len(ends)


def _losses(logits, targets):
    """logits: (B, T, V), targets: (B, T) -> -ln p of each target, (B, T)"""
    S = logits - logits.max(axis=-1, keepdims=True)
    target = np.take_along_axis(S, targets[..., None], axis=-1)[..., 0]
    return np.log(np.exp(S).sum(axis=-1)) - target
