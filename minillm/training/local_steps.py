"""DiLoCo: machines train on their own for H steps, then agree (Douillard et al. 2023, algorithm 1).

Each of k workers starts from the shared weights θ and takes H steps of AdamW on its own part of the
data. What they moved by on average is taken for a gradient, and an outer optimizer, Nesterov's
momentum (Sutskever et al. 2013), steps along it:

    Δ = θ - (θ₁ + … + θ_k) / k
    v ← μ v + Δ
    θ ← θ - η (Δ + μ v)

With μ = 0 and η = 1, θ becomes the mean of the workers: federated averaging (McMahan et al. 2017).
The paper's values are η = 0.7, μ = 0.9 and H = 500. Each worker keeps its own moments of AdamW.
"""

import numpy as np


class OuterStep:
    """The shared weights, and the outer optimizer's velocity.

    weights: list of arrays, copied; a worker starts each round from `weights`
    lr: η;  momentum: μ
    """

    def __init__(self, weights, lr=0.7, momentum=0.9):
        self.lr, self.momentum = lr, momentum
        self.weights = [array.copy() for array in weights]
        self.velocity = [np.zeros_like(array) for array in weights]

    def step(self, workers):
        """Update the shared weights from those of the workers, added in the order of workers.

        workers: list of lists of arrays, one list a worker, shaped as `weights`
        """
        for theta, v, *theirs in zip(self.weights, self.velocity, *workers):
            mean = theirs[0].copy()
            for array in theirs[1:]:
                mean += array
            mean /= len(theirs)
            delta = theta - mean
            v *= self.momentum
            v += delta
            theta -= self.lr * (delta + self.momentum * v)
