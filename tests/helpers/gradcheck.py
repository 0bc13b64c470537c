"""Compare a hand-derived gradient with differences of the function itself."""

import numpy as np

STEP = 1e-5


def check_gradients(loss, arrays, gradients, rng, tolerance=1e-6):
    """Assert that `gradients` are those of `loss` with respect to `arrays`.

    loss:      a function without arguments that returns a float and reads `arrays`
    arrays:    {name: float64 array}; they are moved a little and put back
    gradients: {name: array}, what the backward says

    For each array the slope of the loss is measured along two random directions that move every
    element, and along three single elements; each must be the projection of the gradient.
    """
    assert gradients.keys() == arrays.keys()
    for name, array in arrays.items():
        assert array.dtype == np.float64, name
        assert gradients[name].shape == array.shape, name
        for direction in _directions(array, rng):
            expected = _slope(loss, array, direction)
            actual = np.sum(gradients[name] * direction)
            scale = 1 + abs(expected)
            assert abs(actual - expected) <= tolerance * scale, (
                f"{name}: the backward says {actual}, differences say {expected}"
            )


def _directions(array, rng):
    if not array.size:
        return
    for _ in range(2):
        yield rng.choice([-1.0, 1.0], array.shape)
    for _ in range(min(3, array.size)):
        direction = np.zeros_like(array)
        direction.flat[rng.integers(array.size)] = 1.0
        yield direction


def _slope(loss, array, direction):
    """The derivative along `direction`, by central differences of fourth order."""
    original = array.copy()

    def at(step):
        array[...] = original + step * direction
        return loss()

    near = at(STEP) - at(-STEP)
    far = at(2 * STEP) - at(-2 * STEP)
    array[...] = original
    return (8 * near - far) / (12 * STEP)


def check_op(forward, backward, arrays, rng, tolerance=1e-6):
    """Check the pair of an op.

    `forward(**arrays)` -> (y, cache), `backward(dy, cache)` -> gradients. The backward's gradients, one or a tuple, are in the order of `arrays`.
    """
    y, cache = forward(**arrays)
    dy = rng.standard_normal(y.shape)
    gradients = backward(dy, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    check_gradients(
        lambda: np.sum(forward(**arrays)[0] * dy),
        arrays,
        dict(zip(arrays, gradients, strict=True)),
        rng,
        tolerance,
    )


def check_module(module, inputs, rng, *, forward=None, tolerance=1e-6):
    """Check the gradients of every input and every parameter of `module`, converted to float64.

    inputs:  {name: float64 array}, in the order in which `backward` returns their gradients
    forward: a function of the inputs; by default `module` itself. It must give the same every time
    """
    module.astype(np.float64)
    forward = module if forward is None else forward
    y = forward(*inputs.values())
    dy = rng.standard_normal(y.shape)
    dinputs = module.backward(dy)
    dinputs = dinputs if isinstance(dinputs, tuple) else (dinputs,)
    parameters = dict(module.named_parameters())
    arrays = inputs | {name: parameter.data for name, parameter in parameters.items()}
    gradients = dict(zip(inputs, dinputs, strict=True))
    gradients |= {name: parameter.grad for name, parameter in parameters.items()}
    check_gradients(
        lambda: np.sum(forward(*inputs.values()) * dy), arrays, gradients, rng, tolerance
    )
