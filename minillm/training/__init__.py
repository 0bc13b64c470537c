"""Training: optimizers, schedules, the loop, its checkpoints and run folders.

In reading order: optimizers.py, muon.py, schedules.py, warmups.py, clipping.py; task.py, the
interface of data and loss, language_modeling.py, the first task, and bert_pretraining.py; loop.py,
with evaluate.py, nonfinite.py, metrics.py and plots.py; checkpoint.py, random_state.py and
environment.py, which make a run resumable; run folders: settings.py, architecture.py, claim.py and
run.py. Training with differential privacy: dp_sgd.py, privacy_accountant.py, secret_random.py, on
nn/per_example.py. Training on several processes: parallel/. Experiments, which compare several
runs: experiment.py, length.py, family.py and speedrun.py.
"""

from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.optimizers import SGD, Adam, AdamW

__all__ = ["SGD", "Adam", "AdamW", "clip_factor", "grad_norm"]
