"""Gradient clipping: limit how far one batch can move the weights.

    norm = grad_norm(parameters)
    optimizer.step(grad_scale=clip_factor(norm, max_norm))
"""

import math

from minillm.ops.sum_of_squares import sums_of_squares


def grad_norm(parameters):
    """The norm of all gradients together, a float; inf or nan if they are not finite.

        ‖g‖ = sqrt(sum of all g² over all parameters)

    Parameters without a gradient are skipped.
    """
    return math.sqrt(sum(sums_of_squares([parameter.grad for parameter in parameters
                                          if parameter.grad is not None])))


def clip_factor(norm, max_norm):
    """The factor that scales gradients of this global norm down to `max_norm` at most.

        max_norm / ‖g‖   if ‖g‖ > max_norm;   otherwise 1          (Pascanu et al. 2013, algorithm 1)

    It is 1 for a norm that is inf or nan: scaling can't repair such gradients.
    Raises ValueError for a max_norm that isn't above 0.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm is {max_norm}, wanted a number > 0")
    return max_norm / norm if max_norm < norm < math.inf else 1.0
