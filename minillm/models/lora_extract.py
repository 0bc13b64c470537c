"""The LoRA updates that come closest to a model that was fine-tuned in full.

ΔW = W_tuned - W has a singular value decomposition U S Vᵀ, and of all matrices of rank r, the first
r columns of U, times the first r singular values, times those of V, is the closest to ΔW (Eckart
and Young 1936). So

    A = U_r √S_r,   B = √S_r V_rᵀ,   α = r

keeps the share Σ_{i ≤ r} s_i² / Σ_i s_i² of the change, by its squared norm.
"""

from typing import NamedTuple

import numpy as np

from minillm.models.lora import LoraConfig, inject, lora_layers


class Extraction(NamedTuple):
    """What `extract` kept: squared norms of changes."""

    kept: float  # of the updates
    of_matrices: float  # of all matrices that have updates
    of_others: float  # of everything else: embeddings, norms, biases

    @property
    def share(self):
        """The share of the matrices' change that the updates keep."""
        return self.kept / self.of_matrices if self.of_matrices else 1.0


def extract(model, tuned, rank, target_modules="all-linear", **options):
    """Add to `model` the updates of this rank that come closest to `tuned` -> Extraction

    model: the model before fine-tuning;  tuned: the same architecture, after it
    target_modules, options: see LoraConfig
    Raises ValueError for models of different shapes.
    """
    before, after = dict(model.named_parameters()), dict(tuned.named_parameters())
    alone = before.keys() ^ after.keys()
    if alone:
        raise ValueError(f"only one of the models has {min(alone)}, wanted the same architecture")
    for name, parameter in before.items():
        if parameter.shape != after[name].shape:
            raise ValueError(f"{name} has the shapes {parameter.shape} and {after[name].shape}, "
                             "wanted the same in both models")
    changed = {name: float(np.square(after[name].data - parameter.data, dtype=np.float64).sum())
               for name, parameter in before.items()}
    inject(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=target_modules, **options))
    kept = of_matrices = 0.0
    for name, layer in lora_layers(model):
        delta = after[f"{name}.weight"].data - layer.weight.data
        for update, columns in zip(layer.lora, layer.columns):
            U, S, Vt = np.linalg.svd(delta[:, columns], full_matrices=False)
            n = min(rank, len(S))
            update.A.data[:] = update.B.data[:] = 0
            update.A.data[:, :n] = U[:, :n] * np.sqrt(S[:n])
            update.B.data[:n] = np.sqrt(S[:n])[:, None] * Vt[:n]
            kept += float(np.square(S[:n]).sum())
            of_matrices += float(np.square(S).sum())
    return Extraction(kept, of_matrices, max(0.0, sum(changed.values()) - of_matrices))
