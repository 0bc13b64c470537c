"""Gradient clipping: no single batch may throw the weights far away."""

import math

from minillm import kernels


def grad_norm(parameters):
    """The global norm of all gradients together, a float; inf or nan if they are not finite.

        ‖g‖ = sqrt(sum of all g² over all parameters)

    Parameters without a gradient are skipped.
    """
    return math.sqrt(sum(kernels.sum_of_squares(g) for g in _gradients(parameters)))


def clip_factor(norm, max_norm):
    """What to multiply gradients of this global norm by, so that it is at most `max_norm` > 0.

        max_norm / ‖g‖   if ‖g‖ > max_norm;   otherwise 1

    (Pascanu et al. 2013, algorithm 1.) It is 1 for a norm that is inf or nan: nothing is known
    about such gradients, and nothing can be mended. For `optimizer.step(grad_scale=…)`.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm is {max_norm}, wanted a number > 0")
    return max_norm / norm if max_norm < norm < math.inf else 1.0


def clip_grad_norm(parameters, max_norm):
    """Clip the gradients themselves, for whoever wants to look at them before the step is taken.

    Returns their global norm as it was before; with `max_norm=math.inf` it only measures.
    """
    parameters = list(parameters)
    norm = grad_norm(parameters)
    factor = clip_factor(norm, max_norm)
    if factor != 1:
        for g in _gradients(parameters):
            g *= factor
    return norm


def _gradients(parameters):
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
