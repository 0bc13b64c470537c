"""Optimizers, schedules, the training loop and its checkpoints."""

from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.optimizers import SGD, Adam, AdamW

__all__ = ["SGD", "Adam", "AdamW", "clip_factor", "grad_norm"]
