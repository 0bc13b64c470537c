"""Training: optimizers, schedules, the loop, its checkpoints and run folders.

In reading order: optimizers.py, schedules.py, clipping.py; task.py, the interface of data and loss,
and language_modeling.py, the first task; loop.py, with evaluate.py, nonfinite.py, metrics.py and
plots.py; checkpoint.py, random_state.py and environment.py, which make a run resumable; run
folders: settings.py, architecture.py, claim.py and run.py.
"""

from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.optimizers import SGD, Adam, AdamW

__all__ = ["SGD", "Adam", "AdamW", "clip_factor", "grad_norm"]
