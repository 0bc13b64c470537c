"""A run folder: everything about one training run in one place, for any architecture and task.

    runs/NAME/
        run.json          task, settings, the model's configuration, sizes of the data; with
                          settings.is_private: what is promised, and the ε that is spent
        data/             train.bin, valid.bin, test.bin: the tokens
        model/            the best model so far and its tokenizer, in Hugging Face's format
        adapter/          with settings.lora_rank: its LoRA updates alone; model/ has them merged
        checkpoints/      step-000100/ …: what `--resume` continues from
        snapshots/        with settings.snapshots: step-000000/ …: the weights alone, over the run
        metrics.jsonl     the measurements, one per line;  loss.png plots them
        .lock             exists while a process writes into the folder
"""

import os
from dataclasses import replace
from pathlib import Path

from minillm.checks import shown
from minillm.files import expand
from minillm.hardware import cpu_model
from minillm.json_files import fields, read_json, write_json
from minillm.kernels import get_num_threads
from minillm.models.auto import ARCHITECTURES, AutoConfig, config_class, heads_of, with_head
from minillm.text.auto import AutoTokenizer
from minillm.training.architecture import check_adaptation, empty_model, new_model
from minillm.training.checkpoint import list_checkpoints
from minillm.training.claim import claim_folder, claim_numbered_folder, lock_folder
from minillm.training.dp_sgd import DPSGD, require_private_task
from minillm.training.loop import Trainer
from minillm.training.parallel.one_process import OneProcess
from minillm.training.settings import Settings
from minillm.training.task import PRETRAINING, task_class
from minillm.training.warmups import require_growing_task

MAKES = ("run.json", "model", "data")  # what preparing creates, in the order of deletion


class Run:
    """An existing run folder. Raises FileNotFoundError or ValueError for any other folder."""

    def __init__(self, folder):
        self.folder = expand(folder)
        path = self.folder / "run.json"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is not a run folder: it has no run.json")
        facts = fields(path, read_json(path), {
            "task": str, "settings": dict, "config": dict, "data": dict, "changes": list[dict],
            "privacy": dict,
            "sessions": list[dict], "cost": dict,
        }, required=["settings", "config", "data"])
        try:
            self.task_class = task_class(facts.get("task", "language_modeling"))
            self.settings = Settings.from_dict(facts["settings"])
            self.config = config_class(facts["config"].get("model_type")).from_dict(facts["config"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
        self.data = facts["data"]
        self.notes = []  # for the user, of the preparation
        self.changes = facts.get("changes", [])  # by --resume, the oldest first
        self.sessions = facts.get("sessions", [])  # what each training has cost: add_session
        self.cost = facts.get("cost", {})  # of all sessions together: minillm/trust/cost/of_run.py

    @property
    def checkpoints(self):
        return self.folder / "checkpoints"

    @property
    def privacy(self):
        """The promise of a run with settings.is_private, and what is spent by now; else None. The
        Trainer keeps it in run.json.
        """
        return read_json(self.folder / "run.json").get("privacy")

    @property
    def model_folder(self):
        return self.folder / "model"

    def task(self):
        return self.task_class(self.folder, self.settings)

    def tokenizer(self):
        return AutoTokenizer.from_pretrained(self.model_folder)

    def dataset(self, split):
        """split: "train", "valid" or "test" -> TokenDataset"""
        return self.task().splits[split]

    def new_model(self):
        """-> the model before the first step"""
        return new_model(self.settings, self.config, self.task_class.head)

    def trainer(self, report=lambda trainer: None, ranks=OneProcess()):
        """-> a Trainer before the first step; its `resume` loads the newest checkpoint

        ranks: the processes that train together; the model of all but the first is filled later
        """
        has_weights = list_checkpoints(self.checkpoints) and not self.settings.keeps_weights
        if has_weights or ranks.rank > 0:
            model = empty_model(self.config, self.task_class.head, self.settings)
        else:
            model = self.new_model()
        return Trainer(self.task(), model, self.settings, self.folder, report, ranks)

    def resumed(self, changes=None, report=lambda trainer: None, ranks=OneProcess()):
        """-> (Trainer that continues from the newest checkpoint, list of warnings)

        changes: {name of a setting: new value}, for settings in settings.CHANGEABLE. run.json
        records them. Raises ValueError for any other setting, and if no checkpoint is whole.
        """
        trainer = self.trainer(report, ranks)
        problems = trainer.resume()
        settings = self.settings.changed(changes or {}, trainer.step)
        if settings != self.settings:
            changed = {name: value for name, value in settings.to_dict().items()
                       if value != getattr(self.settings, name)}
            self.settings = settings
            self.changes.append({"after_step": trainer.step, **changed})
            self.write()
            trainer.change_settings(settings)
        return trainer, problems

    def write(self):
        _write(self.folder, self.task_class, self.settings, self.config, self.data, self.changes,
               self.privacy, self.sessions, self.cost)

    def add_session(self, first_step, last_step, meter):
        """Record what the steps from `first_step` to `last_step` have cost, in run.json.

        meter: an EnergyMeter; its joules are those of the whole machine, None if not measurable
        """
        self.sessions.append({
            "steps": [first_step, last_step], "seconds": round(meter.seconds, 3),
            "joules": meter.joules, "processor": cpu_model(), "threads": get_num_threads(),
        })
        self.write()

    def locked(self):
        """-> a context in which only this process writes into the folder: claim.lock_folder"""
        return lock_folder(self.folder)


def create_run(folder, settings, report=lambda message, share=None: None, task=None):
    """Prepare everything that comes before the first step, in a new or empty folder -> Run

    task: its name; None: what the architecture learns from text alone
    report(message, share): called with the current work, and how much of it is done, 0 to 1.
    `Run.notes` holds messages for the user: whether the text was split, what was dropped.

    Raises FileExistsError for a folder that has something in it, FolderInUse for one that another
    process writes into, OSError for one that can't be written, ValueError for a text that is empty
    or too short. A run that can't begin leaves nothing behind.
    """
    with claim_folder(folder, MAKES) as claimed:
        return _prepare(claimed, settings, report, task)


def create_numbered_run(parent, name, settings, report=lambda message, share=None: None, task=None):
    """`create_run` in the first of parent/name-1, parent/name-2, … that doesn't exist"""
    with claim_numbered_folder(parent, name, MAKES) as claimed:
        return _prepare(claimed, settings, report, task)


def pretraining_task(model_type):
    """-> the name of the task that an architecture learns from text alone

    Raises ValueError, in one line, for an unknown architecture, and for one that needs labels.
    """
    heads = {name: task_class(name).head for name in PRETRAINING}
    able = with_head(*heads.values())
    if model_type not in ARCHITECTURES:
        raise ValueError(f"arch is {shown(model_type)}, wanted one of {', '.join(able)}")
    for name, head in heads.items():
        if head in heads_of(model_type):
            return name
    raise ValueError(f"model_type is {shown(model_type)}, which learns from pairs of texts; wanted "
                     f"one that learns from text alone: {', '.join(able)}")


def _prepare(folder, settings, report, task):
    settings = replace(settings, model=_absolute(settings.model),
                       tokenizer=_absolute(settings.tokenizer))
    if task is None:
        task = pretraining_task(settings.model_type if settings.model is None
                                else AutoConfig.from_pretrained(settings.model).model_type)
    cls = task_class(task)
    if settings.is_private:
        require_private_task(cls)
    require_growing_task(cls, settings)
    prepared = cls.prepare(folder, settings, report)
    check_adaptation(settings, prepared.config, cls.head)
    privacy = None
    if settings.is_private:
        report("finding the noise")
        privacy = DPSGD(cls(folder, settings), settings).facts(0)
    # Last: a folder with a run.json is complete.
    _write(folder, cls, settings, prepared.config, prepared.data, [], privacy)
    run = Run(folder)
    run.notes = prepared.notes
    return run


def _write(folder, task, settings, config, data, changes, privacy, sessions=(), cost=None):
    write_json(folder / "run.json", {
        "task": task.name, "model_type": config.model_type,
        "settings": settings.to_dict(), "config": config.to_dict(), "data": data,
        "changes": changes, "sessions": list(sessions), "cost": cost or {},
        **({} if privacy is None else {"privacy": privacy}),
    })


def model_folder(name):
    """Resolve the name of a model: a run folder stands for the model in it -> str

    Raises FileNotFoundError for a run folder whose model is gone.
    """
    path = expand(name)
    if (path / "run.json").is_file():
        folder = path / "model"
        if not folder.is_dir():
            raise FileNotFoundError(f"{name} is a run folder without a model: it has no {folder}")
        return str(folder)
    return os.fspath(path) if str(name).startswith("~") else os.fspath(name)


def _absolute(name):
    """-> a name of a model or tokenizer that is valid in every current directory; None for None"""
    if name is None:
        return None
    folder = model_folder(name)
    return str(Path(folder).resolve()) if Path(folder).is_dir() else folder
