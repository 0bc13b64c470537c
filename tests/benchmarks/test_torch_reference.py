"""The PyTorch model of the benchmark computes the same numbers as minillm."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import cases, with_minillm, with_torch  # noqa: E402
from benchmarks.torch_reference import GPT2, make_optimizer, make_step  # noqa: E402
from minillm.ops.cross_entropy import cross_entropy  # noqa: E402

SHAPE = {"n_layer": 2, "n_embd": 24, "n_head": 3, "V": 31}


@pytest.fixture
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def twins(T):
    ours = with_minillm.make_model(**SHAPE, n_positions=T)
    theirs = GPT2(**SHAPE, n_positions=T)
    theirs.load_minillm(ours.state_dict())
    return ours, theirs


def test_same_logits_and_loss(one_torch_thread):
    inputs, targets = cases.token_batch(3, 10, SHAPE["V"])
    ours, theirs = twins(10)
    logits = ours(inputs).logits
    with torch.no_grad():
        np.testing.assert_allclose(theirs(torch.from_numpy(inputs)).numpy(), logits, atol=1e-5)
        loss = theirs(torch.from_numpy(inputs), torch.from_numpy(targets)).item()
    assert loss == pytest.approx(cross_entropy(logits, targets)[0], abs=1e-5)


def test_a_step_changes_the_weights_alike(one_torch_thread):
    """Both sides do the same work: the same losses, step after step, from the same weights."""
    B, T = 2, 8
    inputs, targets = cases.token_batch(B, T, SHAPE["V"])
    our_step = with_minillm.train_step(B=B, T=T, **SHAPE)
    theirs = twins(T)[1]  # the same seed: the weights that our step began with
    their_step = make_step(theirs, make_optimizer(theirs), torch.from_numpy(inputs),
                           torch.from_numpy(targets))
    ours = [our_step() for _ in range(4)]
    assert ours == pytest.approx([their_step().item() for _ in range(4)], abs=1e-4)


@pytest.mark.parametrize("kind", ["linear", "layer_norm", "gelu", "embedding", "attention", "block",
                                  "cross_entropy"])
def test_layers_run(one_torch_thread, kind):
    with_torch.layer(kind, B=2, T=4, d=8, V=5, n_head=2)()


@pytest.mark.parametrize("backward", [False, True])
def test_attention_runs(one_torch_thread, backward):
    with_torch.attention(1, 2, 4, 8, backward)()
