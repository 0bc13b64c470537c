"""Snapshots: a run's weights at many steps, to look at; checkpoints are what a run continues from.

    snapshots/step-000100/
        model.safetensors, config.json     the model in Hugging Face's format, in float16

A snapshot has 2 bytes a parameter, a sixth of a checkpoint, and none is deleted, so that a run's
whole history is there. `History` opens the model at any step that a run has kept, from snapshots
and checkpoints alike.
"""

import re
import shutil
from pathlib import Path

from minillm.files import atomic_folder
from minillm.models.auto import model_class
from minillm.models.lora import is_adapted, merge_and_unload
from minillm.training.checkpoint import list_checkpoints, load_weights


def snapshot_steps(n_steps, n):
    """-> set of at most n steps, from 0 (before the first update) to n_steps

        step_i = n_steps (i / (n - 1))²,  i = 0 … n - 1,  but each at least one after the one before

    The distances grow linearly: most changes early. (Logarithmic steps would put a third of all
    snapshots into the first ten steps, and leave out the middle, where heads form.)
    """
    steps = {n_steps} if n == 1 else set()
    last = -1
    for i in range(n if n > 1 else 0):
        last = max(last + 1, round(n_steps * (i / (n - 1)) ** 2))
        steps.add(min(last, n_steps))
    return steps


def save_snapshot(folder, step, model):
    """Write the weights of `model` as a folder inside `folder` -> its path

    In float16; as float32 if they hold numbers that float16 can't. Raises OSError, with nothing
    left behind, if it can't be written.
    """
    with atomic_folder(Path(folder) / f"step-{step:06d}") as temporary:
        try:
            model.save_pretrained(temporary, dtype="float16")
        except ValueError:
            model.save_pretrained(temporary)
    return Path(folder) / f"step-{step:06d}"


def list_snapshots(folder):
    """-> paths of the snapshots in `folder`, the oldest step first."""
    return list_checkpoints(folder)


def cut_snapshots_after(folder, step):
    """Delete the snapshots after `step`: a resumed run writes them again, if still wanted."""
    for path in list_snapshots(folder):
        if _step_of(path) > step:
            shutil.rmtree(path)


class History:
    """The models that a run went through.

    run: a Run (minillm/training/run.py)
    paths: {step: the path of its checkpoint or else its snapshot}, in the order of steps; `refresh`
        reads them anew, for a run that is going on
    """

    def __init__(self, run):
        self.run = run
        self.refresh()

    def refresh(self):
        """Look at what is there now -> self"""
        found = [*list_snapshots(self.run.folder / "snapshots"),
                 *list_checkpoints(self.run.checkpoints)]  # exact ones replace rounded ones
        self.paths = dict(sorted({_step_of(path): path for path in found}.items()))
        return self

    def is_snapshot(self, step):
        return self.paths[step].parent.name == "snapshots"

    def open(self, step, cls=None):
        """-> the model after `step` steps, in eval mode

        cls: the class of the model, one that has the same architecture as the run's; None: the
        run's own, with the head that its task learns

        Raises ValueError for a step that the run hasn't kept and for damaged files, and
        FileNotFoundError for files that are gone.
        """
        if step not in self.paths:
            kept = ", ".join(map(str, self.paths)) or "none"
            raise ValueError(f"step is {step}, wanted one that {self.run.folder} has kept: {kept}")
        cls = cls or model_class(self.run.config.model_type, self.run.task_class.head)
        path = self.paths[step]
        if self.is_snapshot(step):
            return cls.from_pretrained(path)
        weights = load_weights(path)
        if self.run.settings.keeps_weights:
            weights = self._with_kept_weights(weights)
        model = cls(self.run.config.replace(), draw_weights=False)
        wanted = model.state_dict().keys()  # fewer than the run's, if its head isn't that of cls
        model.load_state_dict({name: array for name, array in weights.items() if name in wanted})
        return model.eval()

    def _with_kept_weights(self, weights):
        """-> all weights of a fine-tuned model, as plain ones, from those in its checkpoint"""
        model = self.run.new_model()
        frozen = {name: parameter.data for name, parameter in model.named_parameters()
                  if not parameter.trainable}
        model.load_state_dict({**frozen, **weights})
        return (merge_and_unload(model) if is_adapted(model) else model).state_dict()


def _step_of(path):
    return int(re.fullmatch("step-([0-9]+)", path.name)[1])
