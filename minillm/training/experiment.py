"""An experiment: train several variants of a model on the same batches, and compare them.

    runs/NAME-1/
        experiment.json     the settings and the variants
        data/, model/       the tokens and the tokenizer, the same for all
        VARIANT/            a training run for each: its checkpoints and its model
        results.json        what is known about the variants that are finished;  NAME.png plots it

A stopped experiment goes on where it was: finished variants aren't trained again, and the others
continue from their checkpoints, so the numbers are those of an uninterrupted run.
"""

from pathlib import Path

from minillm.checks import shown
from minillm.files import expand
from minillm.json_files import fields, read_json, write_json
from minillm.models.auto import model_class
from minillm.text.auto import AutoTokenizer
from minillm.training.claim import claim_folder, claim_numbered_folder, lock_folder
from minillm.training.language_modeling import LanguageModeling
from minillm.training.loop import Trainer
from minillm.training.settings import Settings

MAKES = ("experiment.json", "model", "data")  # what preparing creates, in the order of deletion


def check_held_out(settings):
    """ValueError if no text is held out: a `check` for experiments that compare its loss."""
    if settings.valid == 0:
        raise ValueError("valid is 0, wanted a share of the text to measure the loss on")


class Experiment:
    """The experiment in an existing folder. FileNotFoundError or ValueError for another folder.

    A subclass sets

    name: of the experiment, its folders and its plot;  VARIANTS: the names of all variants
    noun: what a variant is, for messages
    DEFAULT, QUICK: the Settings of a full run, and of a trial of seconds, where they differ from
        Settings' defaults
    config(settings, variant, vocab_size, eos_token_id): -> the configuration of a new model
    check(settings), check_data(folder, settings): ValueError for what can't work; optional
    measure(variant, trainer): -> the result of a trained variant
    write(results), read(content): results.json and the plot, and back

    Variants are language models of the settings' text, unless a subclass has its own `prepare`,
    `task`, `tokenizer` and `new_model`; and they differ in their architecture, unless it has its
    own `settings_of`.
    """

    name, noun = "", "variant"
    VARIANTS = ()
    DEFAULT, QUICK = {}, {}

    def __init__(self, folder):
        self.folder = expand(folder)
        path = self.folder / "experiment.json"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is not the folder of an experiment: it has no "
                                    "experiment.json")
        facts = fields(path, read_json(path),
                       {"experiment": str, "settings": dict, "variants": list[str]},
                       required=["experiment", "settings", "variants"])
        if facts["experiment"] != self.name:
            raise ValueError(f"{folder} has the experiment {shown(facts['experiment'])}, wanted "
                             f"{self.name}")
        try:
            self.settings = Settings.from_dict(facts["settings"])
            self.variants = self._require_variants(facts["variants"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def create(cls, out, settings, variants=None, report=lambda message, share=None: None):
        """Prepare the experiment in the new folder `out`; None: runs/NAME-1, … -> Experiment

        variants: those to compare; None for all
        Raises what `training.run.create_run` raises, and ValueError for an unknown variant or one
        that doesn't fit the settings.
        """
        variants = cls._require_variants(cls.VARIANTS if variants is None else variants)
        cls.check(settings)
        for variant in variants:
            cls.config(settings, variant, settings.vocab_size)  # refuses what can't be a model
        claimed = (claim_numbered_folder("runs", cls.name, MAKES) if out is None
                   else claim_folder(out, MAKES))
        with claimed as folder:
            cls.prepare(Path(folder), settings, report)
            cls.check_data(folder, settings)
            write_json(Path(folder) / "experiment.json",
                       {"experiment": cls.name, "settings": settings.to_dict(),
                        "variants": variants})
        return cls(folder)

    @classmethod
    def prepare(cls, folder, settings, report):
        """Write what all variants share into the folder: data/ and model/."""
        LanguageModeling.prepare(folder, settings, report)

    @classmethod
    def check(cls, settings):
        pass

    @classmethod
    def check_data(cls, folder, settings):
        pass

    @classmethod
    def _require_variants(cls, variants):
        for variant in variants:
            if variant not in cls.VARIANTS:
                raise ValueError(f"{variant!r} is no {cls.noun}, wanted some of "
                                 f"{', '.join(cls.VARIANTS)}")
        if not variants or len(set(variants)) < len(variants):
            raise ValueError(f"wanted at least one {cls.noun}, and each only once")
        return list(variants)

    @property
    def n_steps(self):
        return self.settings.steps * len(self.variants)

    @property
    def plot(self):
        return self.folder / f"{self.name}.png"

    @property
    def path(self):
        return self.folder / "results.json"

    def run(self, report=lambda done, note: None):
        """Train and measure every variant that isn't finished yet -> {variant: result}

        report(done, note): called after each of the n_steps steps
        Raises Interrupted after a signal: call `run` again to go on, from the last checkpoint.
        """
        n = self.settings.steps
        with lock_folder(self.folder):
            results = self.results()
            for number, variant in enumerate(self.variants):
                if variant in results:
                    continue

                def progress(trainer, variant=variant, number=number):
                    report(number * n + trainer.step, f"{variant}: loss {trainer.loss:.3f}")

                results[variant] = self.measure(variant, self.train(variant, progress))
                self.write(results)
            results = self.finish(results)
            report(self.n_steps, "")
        return results

    def finish(self, results):
        """What needs all variants, after the last is trained -> results"""
        return results

    def results(self):
        """-> {variant: result} of the variants that are finished"""
        if not self.path.is_file():
            return {}
        try:
            return self.read(read_json(self.path))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(f"{self.path} isn't what the experiment wrote: delete it") from None

    def train(self, variant, report=lambda trainer: None):
        """Train a variant, from its newest checkpoint if it has one -> its Trainer, done"""
        folder, settings = self.folder / variant, self.settings_of(variant)
        folder.mkdir(exist_ok=True)
        tokenizer = self.tokenizer()
        trainer = Trainer(self.task(settings), self.new_model(variant, tokenizer), settings, folder,
                          report)
        trainer.resume()
        trainer.train()
        tokenizer.save_pretrained(folder / "model")
        return trainer

    def settings_of(self, variant):
        """-> the Settings that a variant is trained with"""
        return self.settings

    def new_model(self, variant, tokenizer):
        """-> the model of a variant before its first step"""
        config = self.config(self.settings, variant, len(tokenizer), tokenizer.eos_token_id)
        cls = model_class(config.model_type, LanguageModeling.head)
        return cls(config, self.settings.seed).train()

    def tokenizer(self):
        return AutoTokenizer.from_pretrained(self.folder / "model")

    def task(self, settings=None):
        return LanguageModeling(self.folder, settings or self.settings)
