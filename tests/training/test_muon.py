from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.tiny_models import MODELS, base_model

from minillm.models.layer_order import learning_rate_groups
from minillm.models.lora import LoraConfig, inject
from minillm.nn.module import Parameter
from minillm.ops.orthogonalize import orthogonalize
from minillm.training.muon import ADAMW_RMS, Muon, make_optimizer, muon_groups, optimizer_groups
from minillm.training.optimizers import AdamW
from minillm.training.settings import Settings

FIXTURE = Path(__file__).parents[1] / "fixtures" / "muon.npz"


def parameters_of(rng, *shapes):
    return [Parameter(rng.normal(size=shape).astype(np.float32)) for shape in shapes]


def random_step(optimizer, rng, grad_scale=1.0):
    for parameter in optimizer.parameters:
        parameter.grad = rng.normal(size=parameter.shape).astype(np.float32)
    optimizer.step(grad_scale)


@given(n=st.integers(1, 7), m=st.integers(1, 15), seed=st.integers(0, 100),
       momentum=st.floats(0, 0.99), decay=st.floats(0, 0.5))
def test_the_steps_are_those_of_the_formula(n, m, seed, momentum, decay):
    rng = np.random.default_rng(seed)
    (matrix,) = parameters_of(rng, (n, m))
    optimizer = Muon([{"params": [matrix], "matrices": True}], lr=0.1, momentum=momentum,
                     weight_decay=decay)
    w, moment = matrix.data.astype(np.float64), 0
    for _ in range(3):
        random_step(optimizer, rng, grad_scale=0.5)
        moment = momentum * moment + 0.5 * matrix.grad
        O = orthogonalize((0.5 * matrix.grad + momentum * moment).astype(np.float64))
        w = w - 0.1 * decay * w - 0.1 * ADAMW_RMS * np.sqrt(max(n, m)) * O
        np.testing.assert_allclose(matrix.data, w, atol=2e-3)


def test_20_steps_go_where_those_of_pytorch_go():
    """PyTorch orthogonalizes in bfloat16, with 8 bits, so it goes there only roughly."""
    frozen = np.load(FIXTURE)
    for name in ("square", "wide"):
        matrix = Parameter(frozen[f"{name}.start"].T.copy())  # PyTorch's matrices are (d_out, d_in)
        optimizer = Muon([{"params": [matrix], "matrices": True}], lr=0.02, weight_decay=0.1)
        for gradient, expected in zip(frozen[f"{name}.gradients"], frozen[f"{name}.steps"]):
            matrix.grad = gradient.T.copy()
            optimizer.step()
            moved = np.abs(expected - frozen[f"{name}.start"]).mean()
            assert np.abs(matrix.data.T - expected).mean() < 0.03 * moved + 1e-4


def test_fused_projections_are_orthogonalized_on_their_own():
    rng = np.random.default_rng(0)
    (fused,) = parameters_of(rng, (6, 14))
    parts = [Parameter(part.copy()) for part in np.split(fused.data, [6, 10], axis=1)]
    together = Muon([{"params": [fused], "matrices": True, "columns": {id(fused): [6, 4, 4]}}])
    apart = Muon([{"params": parts, "matrices": True}])
    for _ in range(3):
        random_step(together, rng)
        for part, grad in zip(parts, np.split(fused.grad, [6, 10], axis=1)):
            part.grad = grad.copy()
        apart.step()
    np.testing.assert_allclose(fused.data, np.hstack([part.data for part in parts]), atol=1e-6)


def test_the_other_parameters_are_adamws():
    rng = np.random.default_rng(0)
    table, bias, matrix = parameters_of(rng, (9, 4), (4,), (4, 4))
    copies = [Parameter(each.data.copy()) for each in (table, bias)]
    muon = Muon([{"params": [table, bias], "lr_scale": 0.5}, {"params": [matrix], "matrices": True}],
                lr=0.01, weight_decay=0.2)
    adamw = AdamW([{"params": copies, "lr_scale": 0.5}], lr=0.01, betas=(0.9, 0.95),
                  weight_decay=0.2)
    for _ in range(3):
        random_step(muon, rng)
        for copy, each in zip(copies, (table, bias)):
            copy.grad = each.grad
        adamw.step()
    for copy, each in zip(copies, (table, bias)):
        np.testing.assert_array_equal(each.data, copy.data)


def test_saved_state_goes_on_bit_for_bit_and_has_half_of_the_moments():
    def make(rng):
        vector, matrix = parameters_of(rng, (4,), (4, 6))
        return Muon([{"params": [vector]}, {"params": [matrix], "matrices": True}])

    straight = make(np.random.default_rng(0))
    random_step(straight, np.random.default_rng(1))
    state = {name: np.copy(value) for name, value in straight.state_dict().items()}
    assert sorted(state) == ["lr", "m.0", "m.1", "t", "v.0"]
    stopped = make(np.random.default_rng(0))
    for mine, other in zip(stopped.parameters, straight.parameters):
        mine.data[...] = other.data
    stopped.load_state_dict(state)
    for optimizer in (straight, stopped):
        random_step(optimizer, np.random.default_rng(2))
    for mine, other in zip(stopped.parameters, straight.parameters):
        np.testing.assert_array_equal(mine.data, other.data)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("lora", [False, True])
def test_which_parameters_of_a_model_are_muons(kind, lora):
    model = base_model(kind)
    if lora:
        inject(model, LoraConfig(r=2, target_modules="all-linear"))
    groups = muon_groups(model, learning_rate_groups(model, 0.5))
    optimizer = Muon(groups)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    learning = {name for name, parameter in model.named_parameters() if parameter.trainable}
    muons = {names[key] for key in optimizer.columns}
    assert {names[id(each)] for each in optimizer.parameters} == learning
    inside = {name for name in learning if any(
        f".{word}." in name for word in ("attention", "cross_attention", "feed_forward"))}
    assert muons == {name for name in inside if name.split(".")[-1] in ("weight", "A", "B")
                     and not name.endswith(("q_norm.weight", "k_norm.weight"))}
    fused = [key for key, parts in optimizer.columns.items() if len(parts) > 1]
    assert {names[key].split(".")[-2] for key in fused} == (
        set() if lora else {"qkv", "key_value"} if kind == "marian" else {"qkv"})


def test_settings_choose_the_optimizer():
    model = base_model("gpt2")
    for name, cls in (("adamw", AdamW), ("muon", Muon)):
        settings = Settings(optimizer=name)
        assert type(make_optimizer(optimizer_groups(model, settings), settings)) is cls
    with pytest.raises(ValueError, match="^optimizer is 'adam', wanted adamw or muon$"):
        Settings(optimizer="adam")
    with pytest.raises(ValueError, match="^schedule is 'flat', wanted cosine, linear or trapezoid$"):
        Settings(schedule="flat")


@pytest.mark.parametrize("shape, widths, message", [
    ((4,), None, r"a group of matrices has a Parameter of shape \(4,\), wanted \(d_in, d_out\)"),
    ((4, 6), [4, 4], r"columns is \[4, 4\], wanted widths whose sum is 6"),
])
def test_refusals(shape, widths, message):
    parameter = Parameter(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=message):
        Muon([{"params": [parameter], "matrices": True, "columns": {id(parameter): widths}}])
