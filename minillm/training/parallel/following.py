"""The other ranks take over the state of rank 0, which alone has opened the run's files."""

import numpy as np


def follow_first(trainer):
    """Give every rank's Trainer the weights, the moments and the position of rank 0's.

    So a run needs its checkpoints, and the pretrained weights that it began with, on one machine
    only. Raises ValueError, on all ranks, if their models differ.
    """
    ranks, model = trainer.ranks, trainer.model
    if ranks.size == 1:
        return
    shapes = [(name, parameter.shape, parameter.data.dtype.str, parameter.trainable)
              for name, parameter in model.named_parameters()]
    if shapes != ranks.from_first(lambda: shapes):
        raise ValueError("the ranks have different models, wanted the same minillm on all of them")
    for parameter in model.parameters():
        ranks.broadcast_into(parameter.data)
    position = ranks.from_first(lambda: {
        "step": trainer.step, "valid_loss": trainer.valid_loss,
        "best_valid_loss": trainer.best_valid_loss, "batches": trainer.batches.state_dict(),
        "moments": [(name, array.shape, array.dtype.str)
                    for name, array in trainer.restored_moments.items()],
    })
    moments = _follow_moments(trainer, position.pop("moments"))
    trainer.batches.load_state_dict(position.pop("batches"))
    for name, value in position.items():
        setattr(trainer, name, value)
    if moments and ranks.rank > 0:
        trainer.gradients.restore(trainer.optimizer, trainer.step, trainer.settings.lr, moments)
    trainer.restored_moments = {}


def _follow_moments(trainer, facts):
    """-> {name: array}: those that this rank's optimizer keeps; they come one after the other"""
    ranks, kept = trainer.ranks, {}
    for name, shape, dtype in facts:
        array = (np.ascontiguousarray(trainer.restored_moments[name]) if ranks.rank == 0
                 else np.empty(shape, dtype))
        ranks.broadcast_into(array)
        if trainer.gradients.wants(name):
            kept[name] = array
    return kept
