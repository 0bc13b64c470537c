"""Optimizers, schedules, the training loop and its checkpoints."""

from minillm.training.clipping import clip_factor, clip_grad_norm, grad_norm
from minillm.training.optimizers import SGD, Adam, AdamW

__all__ = ["SGD", "Adam", "AdamW", "grad_norm", "clip_factor", "clip_grad_norm"]
