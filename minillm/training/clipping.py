"""Gradient clipping: no single batch may throw the weights far away."""

import math

from minillm import kernels


def clip_grad_norm(parameters, max_norm):
    """Scale all gradients together so that their global norm is at most `max_norm`.

        ‖g‖ = sqrt(sum of all g² over all parameters);   g ← g · max_norm / ‖g‖   if ‖g‖ > max_norm

    (Pascanu et al. 2013, algorithm 1.) Returns ‖g‖ as it was before, a float; with
    `max_norm=math.inf` it only measures. Parameters without a gradient are skipped. Gradients
    that are not finite are left as they are, and the norm returned is then inf or nan.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm is {max_norm}, wanted a number > 0")
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = math.sqrt(sum(kernels.sum_of_squares(g) for g in gradients))
    if max_norm < norm < math.inf:
        for g in gradients:
            g *= max_norm / norm
    return norm
