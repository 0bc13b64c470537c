"""Quantized models: nearly the same scores, and no training."""

from pathlib import Path

import numpy as np
import pytest

from minillm import GPT2LMHeadModel, GPT2Model, kernels
from minillm.cli import arguments
from minillm.ops.quantized import DTYPES, QuantizedWeights, quantize, quantize_together

TINY = Path(__file__).parents[1] / "fixtures" / "gpt2_tiny"
IDS = np.array([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])
TOLERANCES = {"float32": 1e-5, "bfloat16": 0.02, "int8": 0.05, "int4": 0.5}  # of the largest score


@pytest.fixture(params=["naive", "numpy", "c"])
def implementation(request):
    with kernels.use(request.param):
        yield request.param


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_are_nearly_those_of_the_model(implementation, dtype):
    wanted = GPT2LMHeadModel.from_pretrained(TINY)(IDS).logits
    model = GPT2LMHeadModel.from_pretrained(TINY).quantize(dtype)
    scores = model(IDS).logits
    assert scores.dtype == np.float32
    assert np.abs(scores - wanted).max() <= TOLERANCES[dtype] * np.abs(wanted).max()
    assert dtype == "float32" or not np.allclose(scores, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True, "seed": 1}])
def test_generating_with_the_cache_is_generating_without(dtype, options):
    """The cached step has one row and the whole sequence many: other kernels, the same numbers."""
    model = GPT2LMHeadModel.from_pretrained(TINY).quantize(dtype)
    ids = model.generate(IDS, max_new_tokens=5, eos_token_id=None, pad_token_id=0, **options)
    assert ids.shape == (2, 13)
    if not options:
        for step in range(8, 13):
            scores = model(ids[:, :step]).logits[:, -1]
            assert np.array_equal(scores.argmax(axis=-1), ids[:, step])


def test_float32_generates_what_the_trainable_model_generates():
    plain = GPT2LMHeadModel.from_pretrained(TINY)
    fast = GPT2LMHeadModel.from_pretrained(TINY).quantize("float32")
    options = {"max_new_tokens": 8, "eos_token_id": None, "pad_token_id": 0}
    assert np.array_equal(plain.generate(IDS, **options), fast.generate(IDS, **options))


def test_fewer_bytes_and_as_many_parameters():
    plain = GPT2LMHeadModel.from_pretrained(TINY)
    sizes = {}
    for dtype in DTYPES:
        model = GPT2LMHeadModel.from_pretrained(TINY).quantize(dtype)
        assert model.num_parameters() == plain.num_parameters()
        matrices = [p.data for p in model.parameters() if isinstance(p.data, QuantizedWeights)]
        assert len(matrices) == 4 * model.config.n_layer + 1
        sizes[dtype] = sum(matrix.nbytes for matrix in matrices)
    assert sizes["bfloat16"] * 2 == sizes["float32"]
    assert sizes["int8"] < sizes["float32"] / 3
    assert sizes["int4"] < sizes["int8"] * 0.75  # less would be whole groups


def test_bfloat16_is_the_model_rounded_once():
    model = GPT2LMHeadModel.from_pretrained(TINY)
    rounded = GPT2LMHeadModel.from_pretrained(TINY, dtype="bfloat16")
    for module, other in zip(model.transformer.h[0].modules(), rounded.transformer.h[0].modules()):
        if isinstance(getattr(other, "weight", None) and other.weight.data, QuantizedWeights):
            W = module.weight.data
            stored = other.weight.data.rows(np.arange(W.shape[1]))
            assert np.abs(stored - W.T).max() <= 2.0**-8 * np.abs(W).max()


def test_rows_of_a_table():
    table = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    for dtype in DTYPES:
        matrix = quantize(table, dtype)
        rows = matrix.rows(np.array([[6, 0], [3, 3]]))
        assert rows.shape == (2, 2, 5) and rows.dtype == np.float32
        assert np.abs(rows - table[[[6, 0], [3, 3]]]).max() <= (0.2 if dtype == "int4" else 0.02)


@pytest.mark.parametrize("dtype", DTYPES)
def test_together_is_each_alone_in_one_piece_of_memory(dtype):
    rng = np.random.default_rng(0)
    matrices = [rng.standard_normal(shape, np.float32) for shape in [(7, 5), (1, 16), (9, 64)]]
    matrices.append(matrices[0].T)
    found = list(quantize_together(matrices, dtype))
    for stored, W in zip(found, matrices):
        alone = quantize(W, dtype)
        assert stored.dtype == dtype and stored.values.dtype == alone.values.dtype
        np.testing.assert_array_equal(stored.values, alone.values)
        np.testing.assert_array_equal(stored.scale, alone.scale)
        assert stored.values.flags.c_contiguous and stored.values.ctypes.data % 64 == 0
    assert not any(np.shares_memory(a.values, b.values) for a, b in zip(found, found[1:]))
    begin = found[0].values.ctypes.data
    assert all(0 <= stored.values.ctypes.data - begin < 8192 for stored in found)


def test_a_model_for_generating_does_nothing_else(tmp_path):
    model = GPT2LMHeadModel.from_pretrained(TINY, dtype="int8")
    weights = GPT2LMHeadModel.from_pretrained(TINY).state_dict()
    logits = model(IDS).logits
    for purpose, call in (("train", model.train), ("train", lambda: model.backward(logits)),
                          ("save", lambda: model.save_pretrained(tmp_path)),
                          ("save", model.transformer.state_dict),
                          ("load", lambda: model.load_state_dict(weights)),
                          ("convert", lambda: model.astype(np.float64)),
                          ("quantize once more", lambda: model.quantize("int8"))):
        with pytest.raises(ValueError, match=f"stored as int8 for inference, .* to {purpose}"):
            call()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="stored as int8 for inference"):
        model(IDS, labels=IDS).loss.backward()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_weights_that_are_not_finite_leave_the_model_as_it_was(wrong):
    model = GPT2LMHeadModel.from_pretrained(TINY)
    model.transformer.h[1].feed_forward.contract.weight.data[0, 0] = wrong
    with pytest.raises(ValueError, match="h.1.feed_forward.contract.weight has infinite or NaN"):
        model.quantize("int8")
    assert all(isinstance(parameter.data, np.ndarray) for parameter in model.parameters())
    assert model.train().training


def test_unknown_dtypes():
    with pytest.raises(ValueError, match="dtype is 'int3', wanted one of float32, bfloat16, int8, int4"):
        GPT2LMHeadModel.from_pretrained(TINY).quantize("int3")
    with pytest.raises(ValueError, match="dtype is 'int3', wanted one of auto, float32, flo"):
        GPT2LMHeadModel.from_pretrained(TINY, dtype="int3")


def test_the_body_alone():
    wanted = GPT2Model.from_pretrained(TINY)(IDS).last_hidden_state
    states = GPT2Model.from_pretrained(TINY).quantize("float32")(IDS).last_hidden_state
    assert np.allclose(states, wanted, atol=1e-4)


def test_the_command_line_knows_the_same_dtypes():
    assert arguments.options.DTYPES == DTYPES
