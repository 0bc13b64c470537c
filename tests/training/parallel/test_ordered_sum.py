"""The gradient of a step is the sum over its micro-batches, in their order, to the last bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minillm.nn.module import Parameter
from minillm.training.parallel.ordered_sum import OrderedSum

# (micro-batch, parameter) -> how many backwards write there
writes = st.integers(1, 5).flatmap(lambda count: st.lists(
    st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=count, max_size=count))


def filled(summed, uses, rng):
    """Run micro-batches that write random gradients -> the sum that was wanted, per parameter"""
    wanted = [None] * len(summed.parameters)
    for index, of_parameters in enumerate(uses):
        parts = []
        with summed.of(index, len(uses)):
            for parameter, n in zip(summed.parameters, of_parameters):
                g = np.zeros(parameter.shape, np.float32)
                for number in range(n):
                    written = rng.normal(size=parameter.shape).astype(np.float32)
                    parameter.add_grad(written)
                    g = written if number == 0 else g + written
                parts.append(g)
        wanted = [g if total is None else total + g for total, g in zip(wanted, parts)]
    used = np.any(np.array(uses) > 0, axis=0)
    return [total if is_used else None for total, is_used in zip(wanted, used)]


@given(st.lists(writes, min_size=1, max_size=3), st.integers(0, 2**32))
def test_every_step_adds_whole_gradients_from_the_first_to_the_last(steps, seed):
    rng = np.random.default_rng(seed)
    summed = OrderedSum([Parameter(np.zeros(shape, np.float32)) for shape in ((3, 4), (5,), (1,))])
    for uses in steps:
        for parameter, total in zip(summed.parameters, filled(summed, uses, rng)):
            assert (parameter.grad is None) == (total is None)
            assert total is None or np.array_equal(parameter.grad, total)


def test_two_sets_of_arrays_serve_any_number_of_steps():
    parameter = Parameter(np.zeros(4, np.float32))
    summed, seen = OrderedSum([parameter]), set()
    for _ in range(5):
        for index in range(3):
            with summed.of(index, 3):
                parameter.add_grad(np.ones(4, np.float32))
                seen.add(parameter.grad.ctypes.data)
    assert len(seen) == 2


def test_one_micro_batch_needs_no_second_set():
    parameter = Parameter(np.zeros(4, np.float32))
    summed, seen = OrderedSum([parameter]), set()
    for _ in range(3):
        with summed.of(0, 1):
            parameter.add_grad(np.ones(4, np.float32))
            seen.add(parameter.grad.ctypes.data)
    assert len(seen) == 1
