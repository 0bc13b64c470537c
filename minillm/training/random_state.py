"""The random generators of a model, which its dropout draws from."""

import numpy as np

from minillm.nn.module import generators


def reseed(model, *seed):
    """Restart the generators of `model`, each with a different seed derived from `seed`: integers.

    The training loop does it before every batch with (seed, step, number of the batch in the step).
    So what a batch draws doesn't depend on the batches before it, nor on who computed them.
    """
    for number, generator in enumerate(generators(model)):
        generator.bit_generator.state = np.random.default_rng([*seed, number]).bit_generator.state
