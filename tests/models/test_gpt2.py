import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.gradcheck import check_gradients

from minillm import GPT2Config, GPT2LMHeadModel, GPT2Model
from minillm.nn.kv_cache import KVCache
from minillm.nn import no_grad

TINY = Path(__file__).parents[1] / "fixtures" / "gpt2_tiny"


def small_config(**changes):
    options = dict(vocab_size=29, n_positions=12, n_embd=8, n_layer=2, n_head=2,
                   bos_token_id=28, eos_token_id=28, initializer_range=0.3)
    return GPT2Config(**{**options, **changes})


def small_model(**changes):
    return GPT2LMHeadModel(small_config(**changes), seed=1).eval()


def to_hub_name(name):
    """h.0.attention.qkv.weight -> h.0.attn.c_attn.weight"""
    ((_, _, (their_name,)),) = GPT2Model.weight_table.groups([name])
    return their_name


def random_ids(rng, B, T, vocab_size=29):
    return rng.integers(0, vocab_size, (B, T))


# ---- agreement with transformers, frozen and live


def test_logits_loss_and_gradients_of_transformers():
    frozen = np.load(TINY / "expected.npz")
    model = GPT2LMHeadModel.from_pretrained(TINY)
    outputs = model(frozen["ids"], attention_mask=frozen["mask"], labels=frozen["labels"])
    np.testing.assert_allclose(outputs.logits, frozen["logits"], rtol=0, atol=1e-4)
    assert outputs.loss.item() == pytest.approx(float(frozen["loss"]), rel=1e-5)
    outputs.loss.backward()
    names = set()
    for name, parameter in model.transformer.named_parameters():
        expected = frozen["grad." + to_hub_name(name)]
        assert_close_gradient(name, parameter.grad, expected)
        names.add("grad." + to_hub_name(name))
    assert names == {name for name in frozen.files if name.startswith("grad.")}


def assert_close_gradient(name, actual, expected):
    scale = np.abs(expected).max() + 1e-12
    assert np.abs(actual - expected).max() / scale < 1e-3, name


LIVE = {
    "plain": dict(),
    "one head, wide feed-forward": dict(n_head=1, n_inner=50, layer_norm_epsilon=1e-3),
    "exact gelu": dict(activation_function="gelu", n_layer=1),
    "relu, every number a head": dict(activation_function="relu", n_head=24, n_layer=3),
    "silu, scores over the layer": dict(activation_function="silu", n_layer=3,
                                        scale_attn_by_inverse_layer_idx=True),
    "quick gelu, no scale, untied": dict(activation_function="quick_gelu", scale_attn_weights=False,
                                         tie_word_embeddings=False),
    "tanh, reordered": dict(activation_function="tanh", reorder_and_upcast_attn=True,
                            scale_attn_by_inverse_layer_idx=True, n_layer=3,
                            attn_implementation="eager"),
}


@pytest.mark.parametrize("case", LIVE)
@pytest.mark.parametrize("B, T", [(3, 20), (1, 1), (1, 32)])
def test_any_checkpoint_of_transformers(case, B, T, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)  # small models: threads only wait for each other
    torch.manual_seed(len(case) + T)
    options = dict(vocab_size=101, n_positions=32, n_embd=24, n_layer=2, n_head=4,
                   bos_token_id=100, eos_token_id=100, initializer_range=0.2)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**{**options, **LIVE[case]})).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = GPT2LMHeadModel.from_pretrained(tmp_path / "theirs")

    ids = random_ids(np.random.default_rng(T), B, T, 101)
    labels = ids if T > 1 else None  # a single token has no next one; torch's loss is then nan
    mask = np.ones((B, T), np.int64)
    mask[0, T // 2 + 1 :] = 0
    outputs = ours(ids, attention_mask=mask, labels=labels, output_hidden_states=True,
                   output_attentions=True)
    torch_labels = None if labels is None else torch.tensor(labels)
    expected = theirs(torch.tensor(ids), attention_mask=torch.tensor(mask), labels=torch_labels,
                      output_hidden_states=True)
    np.testing.assert_allclose(outputs.logits, expected.logits.detach(), rtol=0, atol=1e-4)
    for ours_state, state in zip(outputs.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(ours_state, state.detach(), rtol=0, atol=1e-4)
    if labels is not None:
        assert float(outputs.loss) == pytest.approx(expected.loss.item(), rel=1e-4)
        outputs.loss.backward()
        expected.loss.backward()
        gradients = {name: parameter.grad for name, parameter
                     in theirs.transformer.named_parameters()}
        for name, parameter in ours.transformer.named_parameters():
            gradient = gradients[to_hub_name(name)]
            if gradient.abs().max() > 1e-6:  # a key's bias shifts all scores alike: no gradient
                assert_close_gradient(name, parameter.grad, gradient.numpy())

    if T == 20:
        options = dict(max_length=32, do_sample=False, pad_token_id=100)
        for beams in (1, 3):
            np.testing.assert_array_equal(
                ours.generate(ids, num_beams=beams, **options),
                theirs.generate(torch.tensor(ids), num_beams=beams, **options).numpy())

    # What we save, transformers opens, with the same logits.
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours").eval()
    logits = again(torch.tensor(ids), attention_mask=torch.tensor(mask)).logits
    np.testing.assert_allclose(logits.detach(), expected.logits.detach(), rtol=0, atol=1e-5)


# ---- the backward


def test_gradients_of_the_whole_model_are_its_slopes():
    model = small_model(n_inner=12).astype(np.float64)
    rng = np.random.default_rng(0)
    ids = random_ids(rng, 2, 7)
    labels = ids.copy()
    labels[0, 3] = labels[1, :2] = -100
    mask = np.array([[1] * 7, [0, 0, 1, 1, 1, 1, 1]])
    positions = np.array([range(7), [0, 0, 0, 1, 2, 3, 4]])
    inputs = dict(attention_mask=mask, position_ids=positions, labels=labels)
    model(ids, **inputs).loss.backward()
    parameters = dict(model.named_parameters())
    check_gradients(
        lambda: float(model(ids, **inputs).loss),
        {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()},
        rng,
    )


def test_gradients_with_dropout_are_slopes_for_the_same_chance():
    model = GPT2LMHeadModel(small_config(n_layer=1), seed=1).astype(np.float64)
    rng = np.random.default_rng(0)
    ids = random_ids(rng, 2, 5)
    start = model.rng.bit_generator.state

    def loss():
        model.rng.bit_generator.state = start
        return model(ids, labels=ids).loss

    loss().backward()
    parameters = dict(model.named_parameters())
    check_gradients(
        lambda: float(loss()),
        {name: parameter.data for name, parameter in parameters.items()},
        {name: parameter.grad.copy() for name, parameter in parameters.items()},
        rng,
    )


def test_the_head_and_the_embedding_are_one_parameter():
    model = small_model()
    names = [name for name, _ in model.named_parameters()]
    assert not any("head" in name for name in names)
    assert len(names) == len(model.parameters()) == 2 + 2 * 12 + 2
    assert model.num_parameters() == sum(p.size for p in model.parameters())
    ids = np.array([[1, 2, 3]])
    before = model(ids).logits
    model.transformer.wte.weight.data[7] += 1  # a token that isn't in the input
    changed = (model(ids).logits != before).any(axis=(0, 1))
    assert np.flatnonzero(changed).tolist() == [7]


def test_small_batches_accumulate_to_the_gradient_of_their_mean():
    model = small_model()
    ids = random_ids(np.random.default_rng(3), 4, 6)
    model(ids, labels=ids).loss.backward()
    whole = [parameter.grad.copy() for parameter in model.parameters()]
    model.zero_grad()
    for half in (ids[:2], ids[2:]):
        (model(half, labels=half).loss / 2).backward()
    for parameter, expected in zip(model.parameters(), whole):
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-4, atol=1e-6)


# ---- the loss


def test_labels_decide_what_is_learned():
    model = small_model()
    ids = random_ids(np.random.default_rng(0), 2, 6)
    outputs = model(ids, labels=ids)
    log_p = outputs.logits - np.log(np.exp(outputs.logits).sum(axis=-1, keepdims=True))
    surprise = -np.take_along_axis(log_p[:, :-1], ids[:, 1:, None], axis=2)[..., 0]
    assert float(outputs.loss) == pytest.approx(surprise.mean(), rel=1e-5)
    labels = np.full_like(ids, -100)
    labels[1, 4] = ids[1, 4]
    assert float(model(ids, labels=labels).loss) == pytest.approx(surprise[1, 3], rel=1e-5)


def test_no_labels_no_loss():
    outputs = small_model()(np.array([[1, 2]]))
    assert outputs.loss is None
    assert outputs[0] is outputs.logits and outputs["logits"] is outputs.logits
    with pytest.raises(KeyError):
        outputs["loss"]


def test_a_loss_is_a_number_that_can_be_scaled():
    model = small_model()
    ids = np.array([[1, 2, 3]])
    loss = model(ids, labels=ids).loss
    assert f"{loss:.3f}" == f"{loss.item():.3f}"
    assert float(loss / 4 * 2) == pytest.approx(loss.item() / 2)
    assert float(3 * loss) == pytest.approx(3 * loss.item())


def test_a_backward_needs_a_forward_of_its_own():
    model = small_model()
    ids = np.array([[1, 2, 3]])
    loss = model(ids, labels=ids).loss
    loss.backward()
    with pytest.raises(RuntimeError, match="called already"):
        loss.backward()
    model.zero_grad()
    first = model(ids, labels=ids).loss
    model(ids[:, ::-1], labels=ids)  # another forward in between changes nothing
    first.backward()
    gradient = model.transformer.wte.weight.grad.copy()
    model.zero_grad()
    model(ids, labels=ids).loss.backward()
    np.testing.assert_array_equal(model.transformer.wte.weight.grad, gradient)
    with no_grad():
        unrecorded = model(ids, labels=ids).loss
    with pytest.raises(RuntimeError, match="no_grad"):
        unrecorded.backward()


# ---- what must hold for any input

inputs = given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 12))


@inputs
def test_nothing_depends_on_what_comes_later(seed, B, T):
    model, rng = small_model(), np.random.default_rng(seed)
    ids = random_ids(rng, B, T)
    cut = rng.integers(1, T + 1)
    changed = ids.copy()
    changed[:, cut:] = random_ids(rng, B, T - cut)
    np.testing.assert_allclose(
        model(changed).logits[:, :cut], model(ids).logits[:, :cut], rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        model(ids[:, :cut]).logits, model(ids).logits[:, :cut], rtol=0, atol=1e-5)


@inputs
def test_padding_changes_nothing(seed, B, T):
    model, rng = small_model(), np.random.default_rng(seed)
    ids = random_ids(rng, B, T)
    pad = 12 - T
    noise = random_ids(rng, B, pad)
    expected = model(ids).logits
    mask = np.concatenate([np.zeros((B, pad), int), np.ones((B, T), int)], axis=1)
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    left = model(np.concatenate([noise, ids], axis=1), mask, positions).logits[:, pad:]
    right = model(np.concatenate([ids, noise], axis=1), mask[:, ::-1]).logits[:, :T]
    np.testing.assert_allclose(left, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(right, expected, rtol=0, atol=1e-5)


@inputs
def test_a_batch_is_its_rows(seed, B, T):
    model = small_model()
    ids = random_ids(np.random.default_rng(seed), B, T)
    rows = [model(row[None]).logits[0] for row in ids]
    np.testing.assert_allclose(model(ids).logits, rows, rtol=0, atol=1e-5)


@inputs
def test_the_kv_cache_gives_the_logits_of_the_full_forward(seed, B, T):
    model, rng = small_model(), np.random.default_rng(seed)
    ids = random_ids(rng, B, T)
    expected = model(ids).logits
    cuts = np.unique(np.append(rng.integers(0, T, 3), [0, T]))
    cache = KVCache(capacity=int(rng.integers(0, 14)))
    for start, end in zip(cuts, cuts[1:]):
        outputs = model(ids[:, start:end], past_key_values=cache)
        np.testing.assert_allclose(outputs.logits, expected[:, start:end], rtol=0, atol=1e-5)
        assert outputs.past_key_values is cache and cache.length == end


def test_use_cache_starts_a_cache():
    model = small_model()
    first = model(np.array([[1, 2]]), use_cache=True)
    second = model(np.array([[3]]), past_key_values=first.past_key_values)
    np.testing.assert_allclose(
        second.logits, model(np.array([[1, 2, 3]])).logits[:, 2:], rtol=0, atol=1e-5)


def test_logits_to_keep():
    model = small_model()
    ids = np.array([[1, 2, 3, 4]])
    np.testing.assert_allclose(
        model(ids, logits_to_keep=2).logits, model(ids).logits[:, 2:], rtol=0, atol=1e-6)


def test_attentions_are_causal_distributions():
    model = small_model()
    ids = random_ids(np.random.default_rng(0), 2, 6)
    outputs = model(ids, output_attentions=True)
    assert [weights.shape for weights in outputs.attentions] == [(2, 2, 6, 6)] * 2
    for weights in outputs.attentions:
        np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
        assert (np.triu(weights, 1) == 0).all()
    np.testing.assert_allclose(outputs.logits, model(ids).logits, rtol=0, atol=1e-5)


# ---- initialization, modes


def test_initial_weights_are_those_of_the_paper():
    config = GPT2Config(vocab_size=500, n_positions=32, n_embd=96, n_layer=8, n_head=4)
    for name, weights in GPT2Model(config, seed=3).state_dict().items():
        if "norm" in name and name.endswith("weight") or name == "ln_f.weight":
            assert (weights == 1).all()
        elif name.endswith("bias"):
            assert (weights == 0).all()
        else:
            into_the_stream = "attention.output" in name or "contract" in name
            std = 0.02 / math.sqrt(2 * 8) if into_the_stream else 0.02
            assert abs(weights.mean()) < 5 * std / math.sqrt(weights.size), name
            assert weights.std() == pytest.approx(std, rel=0.05), name


def test_the_default_is_the_small_gpt2_of_the_paper():
    def size(config):
        d = config.n_embd
        tables = (config.vocab_size + config.n_positions) * d
        return tables + config.n_layer * (12 * d * d + 13 * d) + 2 * d

    assert size(GPT2Config()) == 124_439_808
    assert size(small_config()) == small_model().num_parameters()


def test_the_seed_decides_weights_and_dropout():
    ids = np.array([[1, 2, 3, 4]])
    config = small_config()
    first, second = GPT2LMHeadModel(config, seed=5), GPT2LMHeadModel(config, seed=5)
    np.testing.assert_array_equal(first(ids).logits, second(ids).logits)
    assert (first(ids).logits != second.eval()(ids).logits).any()  # dropout, and none
    assert (GPT2LMHeadModel(config, seed=6).eval()(ids).logits != second(ids).logits).any()


# ---- bad input


def bad(error, match, **inputs):
    return pytest.param(error, match, inputs, id=match)


@pytest.mark.parametrize("error, match, inputs", [
    bad(ValueError, r"input_ids has shape \(3,\)", input_ids=[1, 2, 3]),
    bad(ValueError, "at least one token", input_ids=np.zeros((1, 0), int)),
    bad(TypeError, "input_ids has dtype float64", input_ids=[[1.5]]),
    bad(ValueError, "input_ids contains 29, wanted ids from 0 to 28", input_ids=[[1, 29]]),
    bad(ValueError, "input_ids contains -1", input_ids=[[-1]]),
    bad(ValueError, "13 tokens, wanted at most n_positions = 12", input_ids=np.ones((1, 13), int)),
    bad(ValueError, r"attention_mask has shape \(1, 3\), wanted \(1, 2\)", input_ids=[[1, 2]],
        attention_mask=[[1, 1, 1]]),
    bad(ValueError, "attention_mask contains numbers other", input_ids=[[1, 2]], attention_mask=[[1, 2]]),
    bad(ValueError, "position_ids has shape", input_ids=[[1, 2]], position_ids=[[1]]),
    bad(ValueError, "position_ids contains 12", input_ids=[[1, 2]], position_ids=[[1, 12]]),
    bad(ValueError, "labels has shape", input_ids=[[1, 2]], labels=[[1]]),
    bad(ValueError, "labels contains -1", input_ids=[[1, 2]], labels=[[1, -1]]),
    bad(TypeError, "labels has dtype", input_ids=[[1, 2]], labels=[[1.0, 2.0]]),
    bad(ValueError, "logits_to_keep", input_ids=[[1, 2]], labels=[[1, 2]], logits_to_keep=1),
])
def test_bad_inputs_are_named(error, match, inputs):
    with pytest.raises(error, match=match) as caught:
        small_model()(**inputs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options, match", [
    (dict(n_head=3), "n_head is 3, wanted a divisor of n_embd = 8"),
    (dict(n_layer=0), "n_layer is 0"),
    (dict(vocab_size=2.5), "vocab_size is 2.5"),
    (dict(activation_function="prelu"), "activation_function is 'prelu'"),
    (dict(attn_pdrop=1.0), "attn_pdrop is 1.0"),
])
def test_bad_configurations_are_named(options, match):
    with pytest.raises(ValueError, match=match):
        small_config(**options)
    with pytest.raises(TypeError, match="n_heads"):
        small_config(n_heads=2)
