"""The random generators of a model, which its dropout draws from: save, restore, reseed."""

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
    """-> list of states, which JSON can represent"""
    return [generator.bit_generator.state for generator in generators(model)]


def set_random_states(model, states):
    """Restore what `get_random_states` returned; ValueError if it belongs to another model."""
    mine = generators(model)
    if not isinstance(states, list) or len(states) != len(mine):
        raise ValueError(f"the state doesn't hold the {len(mine)} random generators of the model")
    for generator, state in zip(mine, states):
        set_random_state(generator, state)


def set_random_state(generator, state):
    """Set the state of a Generator; ValueError if it isn't valid."""
    try:
        generator.bit_generator.state = state
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ValueError(f"the state is not that of a random generator ({error!r})") from None


def reseed(model, seed):
    """Restart the generators of `model`, each with a different seed derived from `seed`."""
    for number, generator in enumerate(generators(model)):
        generator.bit_generator.state = np.random.default_rng([seed, number]).bit_generator.state
