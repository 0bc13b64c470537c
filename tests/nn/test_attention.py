import numpy as np
import pytest
from gradcheck import check_module
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators

from minillm import kernels
from minillm.kernels import c_library
from minillm.nn import (
    Alibi,
    CrossAttention,
    KVCache,
    RelativeBias,
    Rotary,
    SelfAttention,
    SlidingWindow,
    no_grad,
    trace,
)

head_counts = st.integers(1, 3)
lengths = st.integers(1, 5)


POSITIONS = {
    "none": lambda H, D, rng: None,
    "rotary": lambda H, D, rng: Rotary(2 * D, 12),
    "alibi": lambda H, D, rng: Alibi(H),
    "relative": lambda H, D, rng: RelativeBias(H, n_buckets=6, max_distance=5, rng=rng, std=1.0),
    "window": lambda H, D, rng: SlidingWindow(H, 2),
    "rotary in a window": lambda H, D, rng: SlidingWindow(H, 3, Rotary(2 * D, 12)),
    "relative in a window": lambda H, D, rng: SlidingWindow(H, 2, RelativeBias(H, rng=rng, std=1.0)),
}


@st.composite
def layers(draw, kind=SelfAttention, **options):
    """-> rng, a float64 layer with random biases, B, T"""
    rng = draw(generators)
    group, n_kv_heads, D = draw(st.integers(1, 2)), draw(head_counts), draw(st.integers(1, 2))
    H = group * n_kv_heads
    if kind is SelfAttention:
        positions = draw(st.sampled_from(sorted(POSITIONS)))
        options["positions"] = POSITIONS[positions](H, D, rng)
        options["qkv_bias"] = draw(st.sampled_from([None, True, False]))
        options["output_bias"] = draw(st.sampled_from([None, True, False]))
    d_model = 2 * H * D
    if draw(st.booleans()):  # heads whose total width isn't d_model
        d_model, options["head_dim"] = d_model + 1, 2 * D
    layer = kind(d_model, H, n_kv_heads=n_kv_heads, rng=rng, std=0.7, **options)
    layer.astype(np.float64)
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            parameter.data = rng.standard_normal(parameter.shape)
    return rng, layer, draw(st.integers(1, 3)), draw(lengths)


def cross_layers(**options):
    return layers(CrossAttention, **options)


def mask(rng, B, T):
    return rng.random((B, T)) < 0.7


@given(st.data(), st.booleans(), st.booleans(), st.booleans())
def test_gradients(data, causal, masked, bias):
    rng, layer, B, T = data.draw(layers(causal=causal, bias=bias))
    key_mask = mask(rng, B, T) if masked else None
    x = rng.standard_normal((B, T, layer.d_model))
    check_module(layer, {"x": x}, rng, forward=lambda x: layer(x, key_mask=key_mask))


@given(st.data(), lengths, st.booleans(), st.booleans())
def test_gradients_of_cross_attention(data, S, masked, bias):
    rng, layer, B, T = data.draw(cross_layers(bias=bias))
    key_mask = mask(rng, B, S) if masked else None
    inputs = {
        "x": rng.standard_normal((B, T, layer.d_model)),
        "memory": rng.standard_normal((B, S, layer.d_model)),
    }
    check_module(layer, inputs, rng, forward=lambda x, m: layer(x, m, key_mask=key_mask))


@given(st.data(), st.integers(0, 2**32 - 1), st.booleans())
def test_gradients_with_dropout(data, seed, cross):
    rng, layer, B, T = data.draw((cross_layers if cross else layers)(dropout=0.4))

    def forward(*inputs):
        layer.rng = np.random.default_rng(seed)
        return layer(*inputs)

    inputs = {"x": rng.standard_normal((B, T, layer.d_model))}
    if cross:
        inputs["memory"] = rng.standard_normal((B, 2, layer.d_model))
    check_module(layer, inputs, rng, forward=forward)


@given(st.data(), st.booleans())
def test_gradients_under_a_trace_are_the_same(data, cross):
    rng, layer, B, T = data.draw((cross_layers if cross else layers)())
    inputs = list(rng.standard_normal((1 + cross, B, T, layer.d_model)))
    dy = rng.standard_normal(inputs[0].shape)
    layer(*inputs)
    dx = layer.backward(dy)
    gradients = [parameter.grad.copy() for parameter in layer.parameters()]
    layer.zero_grad()
    with trace(layer):
        layer(*inputs)
        np.testing.assert_allclose(layer.backward(dy), dx, atol=1e-9)
    for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, atol=1e-9)


@given(st.data(), st.booleans(), st.booleans())
def test_weights_change_nothing_and_are_distributions(data, causal, cross):
    rng, layer, B, T = data.draw((cross_layers if cross else layers)(causal=causal and not cross))
    inputs = [rng.standard_normal((B, T, layer.d_model))]
    if cross:
        inputs.append(rng.standard_normal((B, T + 1, layer.d_model)))
    with trace(layer) as t:
        y = layer(*inputs)
    np.testing.assert_allclose(y, layer(*inputs), atol=1e-10)
    assert t["weights"].shape == (B, layer.n_heads, T, T + cross)
    np.testing.assert_allclose(t["weights"].sum(axis=-1), 1)


def test_dropout_acts_in_training_only_and_the_seed_decides():
    layer = SelfAttention(8, 2, dropout=0.5, rng=np.random.default_rng(0), std=1.0)
    x = np.random.default_rng(1).standard_normal((2, 5, 8), dtype=np.float32)
    trained = []
    for _ in range(2):
        layer.rng = np.random.default_rng(2)
        trained.append(layer(x))
    np.testing.assert_array_equal(*trained)
    assert (layer(x) != trained[0]).any()

    # Dropout keeps the mean, and the output is linear in the weights that are dropped.
    mean = np.mean([layer(x) for _ in range(1000)], axis=0)
    evaluated = layer.eval()(x)
    assert (evaluated != trained[0]).any()
    np.testing.assert_array_equal(evaluated, layer(x))
    assert np.abs(mean - evaluated).max() < 0.2 * np.abs(trained[0] - evaluated).max()


@given(generators, head_counts, st.integers(1, 2), lengths)
def test_attending_to_itself_as_memory_is_self_attention(rng, H, group, T):
    d_model = 2 * H * group
    options = {"n_kv_heads": H, "rng": rng, "std": 0.7}
    layer = SelfAttention(d_model, H * group, **options).astype(np.float64)
    cross = CrossAttention(d_model, H * group, **options).astype(np.float64)
    cross.query.weight.data, cross.key_value.weight.data = np.split(
        layer.qkv.weight.data, [d_model], axis=1)
    cross.output.weight.data = layer.output.weight.data
    x, dy = rng.standard_normal((2, 2, T, d_model))
    np.testing.assert_allclose(cross(x, x), layer(x), atol=1e-10)
    dquery, dmemory = cross.backward(dy)
    np.testing.assert_allclose(dquery + dmemory, layer.backward(dy), atol=1e-10)
    fused = np.concatenate([cross.query.weight.grad, cross.key_value.weight.grad], axis=1)
    np.testing.assert_allclose(fused, layer.qkv.weight.grad, atol=1e-9)


@given(layers(causal=True))
def test_causal_attention_does_not_see_the_future(case):
    rng, layer, B, T = case
    x = rng.standard_normal((B, T, layer.d_model))
    y = layer(x)
    position = rng.integers(T)
    x[:, position:] = rng.standard_normal(x[:, position:].shape)
    np.testing.assert_allclose(layer(x)[:, :position], y[:, :position], atol=1e-10)


@given(cross_layers())
def test_a_masked_key_has_no_influence(case):
    rng, layer, B, T = case
    x = rng.standard_normal((B, T, layer.d_model))
    key_mask = mask(rng, B, T)
    memory = rng.standard_normal(x.shape)
    y = layer(x, memory, key_mask=key_mask)
    memory[~key_mask] = 1e3
    np.testing.assert_allclose(layer(x, memory, key_mask=key_mask), y, atol=1e-9)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-10)])
@given(case=layers(causal=True), chunk=st.integers(1, 3), data=st.data())
def test_a_kv_cache_gives_the_same(dtype, tolerance, case, chunk, data):
    rng, layer, B, T = case
    layer.astype(dtype).eval()
    x = rng.standard_normal((B, T, layer.d_model)).astype(dtype)
    key_mask = mask(rng, B, T) if data.draw(st.booleans()) else None
    with no_grad():
        whole = layer(x, key_mask=key_mask)
        cache = KVCache().layer(0)
        for start in range(0, T, chunk):
            end = min(start + chunk, T)
            seen = None if key_mask is None else key_mask[:, :end]
            part = layer(x[:, start:end], key_mask=seen, kv_cache=cache)
            np.testing.assert_allclose(
                part, whole[:, start:end], rtol=tolerance, atol=10 * tolerance
            )


def test_no_backward_after_a_kv_cache():
    layer = SelfAttention(4, 2, causal=True, rng=np.random.default_rng(0))
    with no_grad():
        y = layer(np.ones((1, 2, 4), np.float32), kv_cache=KVCache().layer(0))
    with pytest.raises(RuntimeError, match="^Linear.backward"):
        layer.backward(y)


@given(cross_layers(), lengths)
def test_cached_keys_of_a_memory_are_computed_once(case, S):
    rng, layer, B, T = case
    x = rng.standard_normal((B, T, layer.d_model))
    memory = rng.standard_normal((B, S, layer.d_model))
    with no_grad():
        whole = layer(x, memory)
        cache = KVCache().layer(0)
        for t in range(T):
            part = layer(x[:, t : t + 1], memory if t == 0 else None, kv_cache=cache)
            np.testing.assert_allclose(part[:, 0], whole[:, t], atol=1e-9)
    assert cache.length == S


@given(generators, st.sampled_from(["rotary", "alibi", "relative"]), st.integers(1, 4))
def test_only_the_distance_counts(rng, name, shift):
    """Shifting all positions changes nothing: a prefix that is masked out is a shift."""
    layer = SelfAttention(8, 2, causal=True, positions=POSITIONS[name](2, 2, rng), rng=rng, std=0.7)
    layer.astype(np.float64)
    x = rng.standard_normal((1, 5, 8))
    shifted = np.concatenate([rng.standard_normal((1, shift, 8)), x], axis=1)
    key_mask = np.arange(5 + shift)[None] >= shift
    np.testing.assert_allclose(layer(shifted, key_mask=key_mask)[:, shift:], layer(x), atol=1e-9)
    order = np.array([3, 1, 2, 0, 4])
    assert np.abs(layer(x[:, order])[:, 4] - layer(x)[:, 4]).max() > 1e-9  # the order is seen


def test_alibi_slopes_of_the_paper():
    np.testing.assert_allclose(Alibi(8).slopes, 2.0 ** -np.arange(1, 9))
    np.testing.assert_allclose(Alibi(2).distance_bias(2, 2), [[-1/16, 0, -1/16], [-1/256, 0, -1/256]])


def test_buckets_of_relative_bias_as_in_t5():
    bias = RelativeBias(1, n_buckets=8, max_distance=16, rng=np.random.default_rng(0))
    # distances -12 … 3: half of the buckets for each direction, two exact ones, then wider ones
    np.testing.assert_array_equal(
        bias.buckets(4, 13), [3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 1, 0, 5, 6, 6])


def test_errors_name_the_argument():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="^n_heads is 3, wanted a divisor of d_model = 4"):
        SelfAttention(4, 3, rng=rng)
    with pytest.raises(ValueError, match="^n_heads is 0"):
        SelfAttention(4, 0, rng=rng)
    with pytest.raises(ValueError, match="^dropout is 1"):
        SelfAttention(4, 2, dropout=1.0, rng=rng)
    with pytest.raises(ValueError, match="^n_kv_heads is 2, wanted a divisor of n_heads = 3"):
        SelfAttention(6, 3, n_kv_heads=2, rng=rng)
    layer = SelfAttention(4, 2, rng=rng)
    x = np.ones((2, 3, 4), np.float32)
    with pytest.raises(ValueError, match="^x has shape"):
        layer(x[0])
    with pytest.raises(ValueError, match="^memory has shape"):
        CrossAttention(4, 2, rng=rng)(x, x[:1])
    with pytest.raises(ValueError, match="^key_mask has shape"):
        layer(x, key_mask=np.ones((2, 4), bool))
    with pytest.raises(ValueError, match="^key_mask has shape"):
        with trace(layer):
            layer(x, key_mask=np.ones((2, 4), bool))
    with pytest.raises(TypeError, match="^x is a list"):
        layer([[[0.0] * 4]])


@given(st.data())
def test_gradients_at_given_positions(data):
    rng = data.draw(generators)
    layer = SelfAttention(6, 3, causal=True, positions=Rotary(2), rng=rng, std=0.7)
    positions = rng.integers(0, 50, data.draw(st.sampled_from([(4,), (1, 4), (2, 4)])))
    x = rng.standard_normal((2, 4, 6))
    check_module(layer, {"x": x}, rng, forward=lambda x: layer(x, position_ids=positions))


def test_positions_of_each_sequence():
    rng = np.random.default_rng(0)
    layer = SelfAttention(8, 2, positions=Rotary(4), rng=rng, std=0.5)
    x = rng.standard_normal((2, 3, 8)).astype(np.float32)
    positions = np.array([[0, 5, 6], [9, 3, 4]])
    both = layer(x, position_ids=positions)
    for b in range(2):
        np.testing.assert_allclose(layer(x[b : b + 1], position_ids=positions[b])[0], both[b],
                                   atol=1e-6)
    # Rotated by distance alone: shifted positions give the same.
    np.testing.assert_allclose(layer(x, position_ids=positions + 100), both, atol=1e-5)


def test_rotary_names_too_many_positions():
    layer = SelfAttention(4, 2, positions=Rotary(2, 3), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="the sequence has 4 positions, wanted at most 3"):
        layer(np.zeros((1, 4, 4), np.float32))
    x = np.zeros((1, 1, 4), np.float32)
    with pytest.raises(ValueError, match="the sequence has 6 positions, wanted at most 3"):
        layer(x, position_ids=np.array([5]))


@given(st.data(), st.integers(1, 6), st.integers(1, 9), st.integers(0, 8))
def test_a_window_hides_the_keys_before_it(data, window, Tq, past):
    H = data.draw(head_counts)
    bias = SlidingWindow(H, window, Alibi(H)).distance_bias(Tq, Tq + past)
    plain = Alibi(H).distance_bias(Tq, Tq + past)
    for i in range(Tq):
        for j in range(Tq + past):
            n, distance = j - i + Tq - 1, j - (i + past)
            wanted = plain[:, n] if distance > -window else -np.inf
            np.testing.assert_array_equal(bias[:, n], wanted)


@pytest.mark.parametrize("implementation", ["numpy", "c"])
@pytest.mark.parametrize("T", [1, 3, 6])
def test_decoding_reads_only_the_window_of_a_cache(implementation, T):
    """Keys further back than the window may hold anything."""
    if implementation == "c" and c_library.why_missing():
        pytest.skip("needs the C extension")
    rng = np.random.default_rng(0)
    layer = SelfAttention(16, 4, n_kv_heads=2, causal=True, rng=rng, std=0.3,
                          positions=SlidingWindow(4, 3, Rotary(4)))
    x = rng.standard_normal((2, 9 + T, 16), dtype=np.float32)
    key_mask = np.ones((2, 9 + T), bool)
    key_mask[0, :8] = False
    with kernels.use(implementation), no_grad():
        whole = layer(x, key_mask=key_mask)
        cache = KVCache().layer(0)
        layer(x[:, :9], key_mask=key_mask[:, :9], kv_cache=cache)
        cache.K[:, :, :7] = cache.V[:, :, :7] = np.nan
        y = layer(x[:, 9:], key_mask=key_mask, kv_cache=cache)
    np.testing.assert_allclose(y, whole[:, 9:], rtol=1e-5, atol=1e-6)
