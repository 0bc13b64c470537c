from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.nn.module import Parameter
from minillm.training import SGD, Adam, AdamW

FIXTURE = Path(__file__).parents[1] / "fixtures" / "optimizers.npz"
CASES = {
    "sgd": (SGD, dict(lr=0.1)),
    "sgd_momentum": (SGD, dict(lr=0.1, momentum=0.9)),
    "sgd_nesterov": (SGD, dict(lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.1)),
    "adam": (Adam, dict(lr=0.01)),
    "adam_l2": (Adam, dict(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    "adamw": (AdamW, dict(lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)),
}
OPTIMIZERS = [
    lambda parameters: SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01),
    lambda parameters: SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
    lambda parameters: Adam(parameters, lr=0.1, weight_decay=0.01),
    lambda parameters: AdamW(parameters, lr=0.1),
]


@pytest.mark.parametrize("name", CASES)
def test_20_steps_equal_pytorch(name):
    frozen = np.load(FIXTURE)
    matrix = Parameter(frozen["start.matrix"].copy())
    bias = Parameter(frozen["start.bias"].copy())
    optimizer_class, options = CASES[name]
    optimizer = optimizer_class([matrix, bias], **options)
    for step in range(20):
        optimizer.zero_grad()
        matrix.add_grad(frozen["gradients.matrix"][step])
        bias.add_grad(frozen["gradients.bias"][step])
        optimizer.step()
        np.testing.assert_allclose(matrix.data, frozen[f"{name}.matrix"][step], rtol=0, atol=1e-6)
        np.testing.assert_allclose(bias.data, frozen[f"{name}.bias"][step], rtol=0, atol=1e-6)


def two_parameters(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [Parameter(rng.normal(size=shape).astype(dtype)) for shape in ((4, 3), (3,))]


def take_steps(optimizer, n_steps, seed):
    rng = np.random.default_rng(seed)
    for _ in range(n_steps):
        optimizer.zero_grad()
        for parameter in optimizer.parameters:
            parameter.add_grad(rng.normal(size=parameter.shape).astype(parameter.data.dtype))
        optimizer.step()


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_works_in_place_and_leaves_gradients_alone(make, dtype):
    parameters = two_parameters(0, dtype)
    arrays = [parameter.data for parameter in parameters]
    before = [array.copy() for array in arrays]
    optimizer = make(parameters)
    for parameter in parameters:
        parameter.add_grad(np.full(parameter.shape, 0.5, dtype))
    optimizer.step()
    for parameter, array, old in zip(parameters, arrays, before):
        assert parameter.data is array
        assert array.dtype == dtype
        assert np.all(array != old)
        assert np.all(parameter.grad == 0.5)


@pytest.mark.parametrize("make", OPTIMIZERS)
@given(grad_scale=st.floats(1e-3, 1), seed=st.integers(0, 1000))
def test_grad_scale_is_the_same_as_smaller_gradients(make, grad_scale, seed):
    optimizers = [make(two_parameters(seed, np.float64)) for _ in range(2)]
    rng = np.random.default_rng(seed)
    for _ in range(3):
        for parameter, scaled in zip(*(optimizer.parameters for optimizer in optimizers)):
            parameter.grad = rng.normal(size=parameter.shape)
            scaled.grad = parameter.grad * grad_scale
        optimizers[0].step(grad_scale)
        optimizers[1].step()
    for parameter, scaled in zip(*(optimizer.parameters for optimizer in optimizers)):
        np.testing.assert_allclose(parameter.data, scaled.data, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_every_optimizer_finds_the_bottom_of_a_bowl(make):
    parameters = two_parameters(1)
    optimizer = make(parameters)
    for step in range(300):
        optimizer.lr = 0.1 * 0.98**step
        optimizer.zero_grad()
        for parameter in parameters:
            parameter.add_grad(parameter.data.copy())  # the gradient of ½ ‖w‖²
        optimizer.step()
    assert max(np.abs(parameter.data).max() for parameter in parameters) < 1e-2


@pytest.mark.parametrize("make", OPTIMIZERS)
@given(before=st.integers(0, 5), after=st.integers(1, 5), seed=st.integers(0, 1000))
def test_saved_state_goes_on_bit_for_bit(make, before, after, seed):
    straight = make(two_parameters(seed))
    take_steps(straight, before, seed=1)
    stopped = make([Parameter(p.data.copy()) for p in straight.parameters])
    state = {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in straight.state_dict().items()
    }
    stopped.load_state_dict(state)
    take_steps(straight, after, seed=2)
    take_steps(stopped, after, seed=2)
    for p, q in zip(straight.parameters, stopped.parameters):
        assert np.array_equal(p.data, q.data)


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_the_first_step_of_adam_has_the_size_of_the_learning_rate(scale, seed):
    """m̂ / √v̂ = g / |g| on the first step, whatever the scale of the gradient."""
    (w, _) = two_parameters(seed, np.float64)
    before = w.data.copy()
    gradient = scale * np.random.default_rng(seed).choice([-1.0, 1.0], size=w.shape)
    w.add_grad(gradient)
    Adam([w], lr=0.01).step()
    np.testing.assert_allclose(w.data - before, -0.01 * np.sign(gradient), rtol=1e-4)


def test_adamw_decays_matrices_only():
    matrix, bias = Parameter(np.ones((2, 2))), Parameter(np.ones(2))
    for parameter in (matrix, bias):
        parameter.add_grad(np.zeros(parameter.shape))
    AdamW([matrix, bias], lr=0.1, weight_decay=0.5).step()
    assert np.all(matrix.data == 1 - 0.1 * 0.5)
    assert np.all(bias.data == 1)


def test_a_parameter_without_a_gradient_stays():
    used, unused = two_parameters(0)
    before = unused.data.copy()
    used.add_grad(np.ones(used.shape, np.float32))
    AdamW([used, unused], lr=0.1).step()
    assert np.array_equal(unused.data, before)


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda p: Adam([]), ValueError, "empty"),
        (lambda p: Adam([np.zeros(3)]), TypeError, "ndarray"),
        (lambda p: Adam([p, p]), ValueError, "twice"),
        (lambda p: Adam([p], lr=-1), ValueError, "lr is -1"),
        (lambda p: Adam([p], lr=float("nan")), ValueError, "lr is nan"),
        (lambda p: Adam([p], betas=(0.9, 1.0)), ValueError, "betas"),
        (lambda p: Adam([p], eps=-1e-8), ValueError, "eps"),
        (lambda p: AdamW([p], weight_decay=-0.1), ValueError, "weight_decay"),
        (lambda p: SGD([p], momentum=-0.1), ValueError, "momentum"),
        (lambda p: SGD([p], nesterov=True), ValueError, "nesterov needs a momentum"),
    ],
)
def test_wrong_arguments_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make(Parameter(np.zeros((2, 2), np.float32)))


def test_state_of_other_parameters_is_refused():
    state = Adam([Parameter(np.zeros((2, 3)))]).state_dict()
    with pytest.raises(ValueError, match="shape"):
        Adam([Parameter(np.zeros((3, 2)))]).load_state_dict(state)
    with pytest.raises(ValueError, match="does not fit SGD"):
        SGD([Parameter(np.zeros((2, 3)))]).load_state_dict(state)


# ---- groups with options of their own


@pytest.mark.parametrize("optimizer_class, options", [
    (SGD, dict(momentum=0.9)), (Adam, {}), (AdamW, dict(weight_decay=0.3))])
def test_groups_are_separate_optimizers(optimizer_class, options):
    together, apart = two_parameters(0), two_parameters(0)
    grouped = optimizer_class([
        {"params": [together[0]], "lr": 0.02},
        {"params": together[1:], "weight_decay": 0.1}], lr=0.1, **options)
    alone = [optimizer_class([apart[0]], **{"lr": 0.02, **options}),
             optimizer_class([apart[1]], **{"lr": 0.1, **options, "weight_decay": 0.1})]
    rng = np.random.default_rng(1)
    for step in range(4):
        if step == 2:  # a schedule: the groups' rates change in proportion
            grouped.lr, alone[0].lr, alone[1].lr = 0.05, 0.01, 0.05
        for one, other in zip(together, apart):
            one.zero_grad(), other.zero_grad()
            gradient = rng.normal(size=one.shape).astype(np.float32)
            one.add_grad(gradient), other.add_grad(gradient)
        grouped.step()
        for optimizer in alone:
            optimizer.step()
    for one, other in zip(together, apart):
        np.testing.assert_allclose(one.data, other.data, rtol=1e-6)


def test_a_share_of_the_learning_rate_is_a_rate():
    one, other = two_parameters(0), two_parameters(0)
    first = AdamW([{"params": one, "lr_scale": 0.25}], lr=0.4)
    second = AdamW(other, lr=0.1)
    take_steps(first, 3, 2)
    take_steps(second, 3, 2)
    for a, b in zip(one, other):
        np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("groups, error, message", [
    ([{"params": []}], ValueError, "parameters is empty"),
    ([{"lr": 1}], ValueError, "a group of parameters has \\['lr'\\], wanted 'params'"),
    ([{"params": [Parameter(np.zeros(2))], "speed": 1}], ValueError, "\\['params', 'speed'\\]"),
    ([{"params": [Parameter(np.zeros(2))], "lr": 1, "lr_scale": 1}], ValueError, "of 'lr' or"),
    ([{"params": [Parameter(np.zeros(2))], "lr": -1}], ValueError, "lr of a group is -1"),
    ([{"params": [Parameter(np.zeros(2))], "weight_decay": -1}], ValueError, "weight_decay is -1"),
    ([{"params": [Parameter(np.zeros(2))]}, Parameter(np.zeros(2))], TypeError, "beside groups"),
    ([{"params": [3]}], TypeError, "parameters contains a int"),
])
def test_groups_that_are_refused(groups, error, message):
    with pytest.raises(error, match=message):
        AdamW(groups, lr=0.1)
    with pytest.raises(ValueError, match="twice"):
        AdamW([{"params": (same := Parameter(np.zeros(2)))}, {"params": [same]}])
