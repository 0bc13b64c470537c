"""The random generators of a model: those that its dropout draws from."""

import numpy as np


def generators(model):
    """-> list of the NumPy Generators that the modules of `model` hold, each once, in order"""
    found = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, np.random.Generator):
                found[id(value)] = value
    return list(found.values())


def get_random_states(model):
    """-> list of states, which can be written as JSON"""
    return [generator.bit_generator.state for generator in generators(model)]


def set_random_states(model, states):
    """Put back what `get_random_states` gave; ValueError if it is that of another model."""
    mine = generators(model)
    if not isinstance(states, list) or len(states) != len(mine):
        raise ValueError(f"the state doesn't hold the {len(mine)} random generators of the model")
    for generator, state in zip(mine, states):
        set_random_state(generator, state)


def set_random_state(generator, state):
    """Put a state into a Generator; ValueError if it is none."""
    try:
        generator.bit_generator.state = state
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ValueError(f"the state is not that of a random generator ({error!r})") from None


def reseed(model, seed):
    """Restart the generators of `model`, each with a seed of its own derived from `seed`."""
    for number, generator in enumerate(generators(model)):
        generator.bit_generator.state = np.random.default_rng([seed, number]).bit_generator.state
