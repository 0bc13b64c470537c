"""An experiment: which kinds of positions let a model read more than it was trained on?

    minillm experiment length

Train the same small GPT-2 once with each kind of positions on windows of T tokens, then let it read
windows of 1, 2, 4 and 8 times that length (Press, Smith and Lewis 2022, fig. 1). All windows of a
size end at the same places, so the same tokens are predicted, and only what the model sees before
them grows. A model that can use the longer context predicts them better; one that meets positions
that it has never seen may fail.

    runs/length-1/
        experiment.json     the settings
        data/, model/       the tokens and the tokenizer, the same for all
        learned/, alibi/ …  a training run for each kind: its checkpoints and its model
        results.json        the losses of all kinds that are finished;  length.png plots them
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minillm.files import expand
from minillm.json_files import fields, read_json, write_json
from minillm.models.auto import AutoModelForCausalLM, model_class
from minillm.models.positions import POSITION_EMBEDDINGS
from minillm.nn.module import no_grad
from minillm.text.auto import AutoTokenizer
from minillm.training.architecture import new_config
from minillm.training.claim import claim_folder, claim_numbered_folder, lock_folder
from minillm.training.language_modeling import LanguageModeling
from minillm.training.loop import Trainer
from minillm.training.plots import plot_lengths
from minillm.training.settings import Settings

MAKES = ("experiment.json", "model", "data")  # what preparing creates, in the order of deletion
DEFAULT = {"vocab_size": 1024, "n_layer": 3, "n_head": 4, "n_embd": 96, "block_size": 64,
           "batch_size": 12, "steps": 1000, "lr": 2e-3, "warmup": 100, "final_lr": 0.0,
           "weight_decay": 0.5, "dropout": 0.0, "valid": 0.05, "test": 0.1, "keep": 1}
QUICK = {"vocab_size": 320, "n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 16,
         "batch_size": 8, "steps": 20, "eval_every": 20, "checkpoint_every": 20, "lr": 1e-2,
         "warmup": 5, "keep": 1, "valid": 0.01, "test": 0.02}
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


class LengthExperiment:
    """The experiment in an existing folder. FileNotFoundError or ValueError for another folder."""

    def __init__(self, folder):
        self.folder = expand(folder)
        path = self.folder / "experiment.json"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is not the folder of an experiment: it has no "
                                    "experiment.json")
        facts = fields(path, read_json(path), {"settings": dict, "kinds": list[str]},
                       required=["settings", "kinds"])
        try:
            self.settings = Settings.from_dict(facts["settings"])
            self.kinds = _require_kinds(facts["kinds"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None

    @property
    def lengths(self):
        return [times * self.settings.block_size for times in TIMES]

    @property
    def n_steps(self):
        return self.settings.steps * len(self.kinds)

    @property
    def plot(self):
        return self.folder / "length.png"

    def run(self, report=lambda done, note: None):
        """Train and measure every kind that isn't finished yet -> {kind: Losses}

        report(done, note): called after each of the n_steps steps
        Raises Interrupted after a signal: call `run` again to go on, from the last checkpoint.
        """
        n = self.settings.steps
        with lock_folder(self.folder):
            results = self.results()
            for number, kind in enumerate(self.kinds):
                if kind in results:
                    continue

                def progress(trainer, kind=kind, number=number):
                    report(number * n + trainer.step, f"{kind}: loss {trainer.loss:.3f}")

                self.train(kind, progress)
                results[kind] = self.measure(kind)
                self._write(results)
            report(self.n_steps, "")
        return results

    def results(self):
        """-> {kind: Losses} of the kinds that are finished"""
        path = self.folder / "results.json"
        if not path.is_file():
            return {}
        content = fields(path, read_json(path), {"losses": dict}, required=["losses"])["losses"]
        try:
            return {kind: Losses({int(length): loss for length, loss in each["at_end"].items()},
                                 each["by_position"])
                    for kind, each in content.items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(f"{path} isn't what the experiment wrote: delete it") from None

    def train(self, kind, report):
        """Train the model with positions of this kind, from its newest checkpoint if it has one."""
        folder = self.folder / kind
        folder.mkdir(exist_ok=True)
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "model")
        config = config_with(kind, self.settings, len(tokenizer), tokenizer.eos_token_id)
        model = model_class(config.model_type, LanguageModeling.head)(config, self.settings.seed)
        trainer = Trainer(self._task(), model.train(), self.settings, folder, report)
        trainer.resume()
        trainer.train()
        tokenizer.save_pretrained(folder / "model")

    def _task(self):
        return LanguageModeling(self.folder, self.settings)

    def measure(self, kind):
        """-> Losses of the trained model on the test text"""
        model = AutoModelForCausalLM.from_pretrained(self.folder / kind / "model")
        dataset, half = self._task().splits["test"], self.settings.block_size // 2
        longest = self.lengths[-1]
        at_end, by_position = {}, None
        for length in self.lengths:
            if model.max_positions is not None and length > model.max_positions:
                at_end[length] = None
                continue
            by_position = losses_by_position(model, dataset, length, longest, stride=half)
            at_end[length] = float(by_position[-half:].mean())
        return Losses(at_end, [round(float(loss), 5) for loss in by_position])

    def _write(self, results):
        write_json(self.folder / "results.json", {
            "trained_length": self.settings.block_size, "seed": self.settings.seed,
            "losses": {kind: {"at_end": {str(length): loss for length, loss in each.at_end.items()},
                              "by_position": each.by_position}
                       for kind, each in results.items()},
        })
        plot_lengths({kind: (each.at_end, each.by_position) for kind, each in results.items()},
                     self.settings.block_size, self.plot)


def create(out, settings, kinds=POSITION_EMBEDDINGS, report=lambda message, share=None: None):
    """Prepare an experiment in the new folder `out`; None: runs/length-1, … -> LengthExperiment

    Raises what `training.run.create_run` raises; ValueError for an unknown kind or one that doesn't
    fit the sizes, for an odd trained length, and for a test text that is too short.
    """
    kinds = _require_kinds(kinds)
    T = settings.block_size
    if T < 8 or T % 2:
        raise ValueError(f"block_size is {T}, wanted an even number of at least 8")
    for kind in kinds:
        config_with(kind, settings, settings.vocab_size)  # refuses what can't be a model
    claimed = (claim_numbered_folder("runs", "length", MAKES) if out is None
               else claim_folder(out, MAKES))
    with claimed as folder:
        LanguageModeling.prepare(Path(folder), settings, report)
        n_tokens = len(LanguageModeling(folder, settings).splits["test"])
        if n_tokens <= TIMES[-1] * T:
            raise ValueError(f"the test text has {n_tokens} tokens, wanted more than "
                             f"{TIMES[-1] * T}: give a longer text, or a larger share to test on")
        write_json(Path(folder) / "experiment.json",
                   {"experiment": "length", "settings": settings.to_dict(), "kinds": kinds})
    return LengthExperiment(folder)


def config_with(kind, settings, vocab_size, eos_token_id=None):
    """-> the GPT2Config of a new model with these positions

    T5's last bucket begins at half of the trained length, so training reaches every bucket.
    """
    half = settings.block_size // 2
    config = new_config(settings, LanguageModeling.head, vocab_size, eos_token_id)
    return config.replace(position_embedding=kind, relative_attention_max_distance=half,
                          relative_attention_num_buckets=min(32, half))


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


def _require_kinds(kinds):
    for kind in kinds:
        if kind not in POSITION_EMBEDDINGS:
            raise ValueError(f"{kind!r} is no kind of positions, wanted some of "
                             f"{', '.join(POSITION_EMBEDDINGS)}")
    if not kinds or len(set(kinds)) < len(kinds):
        raise ValueError("wanted at least one kind of positions, and each only once")
    return list(kinds)
