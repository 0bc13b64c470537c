import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minillm.nn.kv_cache import EncoderDecoderCache, KVCache

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(generators, st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 12))
def test_what_was_appended_comes_back_in_order(rng, lengths, capacity):
    cache = KVCache(capacity)
    K = rng.standard_normal((2, 3, sum(lengths), 4)).astype(np.float32)
    V = rng.standard_normal(K.shape).astype(np.float32)
    start = 0
    for length in lengths:
        end = start + length
        for layer in range(2):
            all_K, all_V = cache.layer(layer).append(
                K[:, :, start:end] + layer, V[:, :, start:end] - layer)
            np.testing.assert_array_equal(all_K, K[:, :, :end] + layer)
            np.testing.assert_array_equal(all_V, V[:, :, :end] - layer)
        start = end
        assert cache.length == end


def test_enough_capacity_means_no_copies():
    layer = KVCache(capacity=8).layer(0)
    K, _ = layer.append(np.zeros((1, 1, 3, 2)), np.zeros((1, 1, 3, 2)))
    again, _ = layer.append(np.ones((1, 1, 5, 2)), np.ones((1, 1, 5, 2)))
    assert np.shares_memory(K, again)


@given(generators, st.lists(st.integers(0, 2), min_size=1, max_size=6), st.integers(0, 6))
def test_select_moves_rows(rng, rows, capacity):
    cache = KVCache(capacity)
    K = rng.standard_normal((3, 2, 4, 2))
    V = rng.standard_normal((3, 2, 4, 2))
    for layer in range(2):
        cache.layer(layer).append(K, V)
    cache.select(rows)
    new = rng.standard_normal((len(rows), 2, 1, 2))
    for layer in range(2):
        all_K, all_V = cache.layer(layer).append(new, new)
        np.testing.assert_array_equal(all_K, np.concatenate([K[rows], new], axis=2))
        np.testing.assert_array_equal(all_V, np.concatenate([V[rows], new], axis=2))


def test_the_memory_stays_when_beams_change_places():
    rng = np.random.default_rng(0)
    cache = EncoderDecoderCache()
    own, memory = cache.layer(0)["kv_cache"], cache.layer(0)["memory_kv_cache"]
    own.append(*rng.normal(size=(2, 2, 3, 1, 4)))
    memory.append(*rng.normal(size=(2, 2, 3, 5, 4)))
    assert (cache.length, cache.memory_length) == (1, 5)
    first_memory = memory.views()[0].copy()
    cache.select([0, 0, 1, 1])  # two beams for each source
    np.testing.assert_array_equal(memory.views()[0], first_memory[[0, 0, 1, 1]])
    keys, buffer = own.views()[0].copy(), memory.K
    buffer.flags.writeable = False  # so that a copy would be an error
    cache.select([1, 0, 2, 2])
    np.testing.assert_array_equal(own.views()[0], keys[[1, 0, 2, 2]])
    assert memory.K is buffer
    buffer.flags.writeable = True
    cache.select([3, 0, 2, 1])  # from one source to another
    np.testing.assert_array_equal(memory.views()[0], first_memory[[1, 0, 1, 0]])
    cache.select([2, 1])
    np.testing.assert_array_equal(memory.views()[0], first_memory[[1, 0]])
