"""Evaluation against what can be computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minillm.text.dataset import TokenDataset, write_tokens
from minillm.training.evaluate import evaluate, perplexity

CONFIG = GPT2Config(vocab_size=17, n_positions=8, n_embd=8, n_layer=1, n_head=2)


def dataset(folder, ids, n_bytes=100):
    write_tokens(folder / "tokens.bin", ids, CONFIG.vocab_size, n_bytes=n_bytes)
    return TokenDataset(folder / "tokens.bin")


@given(st.lists(st.integers(0, 16), min_size=2, max_size=60), st.integers(1, 8),
       st.integers(1, 5), st.integers(1, 1000))
def test_a_model_that_knows_nothing_has_the_loss_log_V(tmp_path_factory, ids, block_size,
                                                       batch_size, n_bytes):
    model = GPT2LMHeadModel(CONFIG)
    model.transformer.wte.weight.data[:] = 0  # all logits are 0: each token has probability 1 / V
    data = dataset(tmp_path_factory.mktemp("data"), ids, n_bytes)
    result = evaluate(model, data, block_size=block_size, batch_size=batch_size)
    assert result.loss == pytest.approx(math.log(17), rel=1e-5)
    assert result.perplexity == pytest.approx(17, rel=1e-4)
    assert result.n_tokens == len(ids) - 1
    # Coding a token costs log2 V bits.
    assert result.bits_per_byte == pytest.approx(math.log2(17) * (len(ids) - 1) / n_bytes, rel=1e-5)


@given(st.integers(2, 40), st.integers(1, 8), st.integers(1, 5))
def test_each_token_is_predicted_once_from_its_window(tmp_path_factory, length, block_size,
                                                      batch_size):
    ids = np.random.default_rng(length).integers(17, size=length)
    model = GPT2LMHeadModel(CONFIG, seed=3).eval()
    losses = []
    for start in range(0, length - 1, block_size):
        window = ids[start : start + block_size + 1]
        logits = model(window[None, :-1]).logits[0].astype(float)
        log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        losses += [-row[target] for row, target in zip(log_p, window[1:])]
    data = dataset(tmp_path_factory.mktemp("data"), ids)
    result = evaluate(model, data, block_size=block_size, batch_size=batch_size)
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert result.n_tokens == length - 1


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_meanwhile_and_the_mode_comes_back(tmp_path, training):
    model = GPT2LMHeadModel(CONFIG).train(training)
    data = dataset(tmp_path, np.arange(40) % 17)
    state = model.rng.bit_generator.state
    first, second = (evaluate(model, data, block_size=8) for _ in range(2))
    assert first == second and model.training is training
    assert model.rng.bit_generator.state == state  # training isn't disturbed by looking


def test_progress_counts_to_the_end(tmp_path):
    calls = []
    evaluate(GPT2LMHeadModel(CONFIG), dataset(tmp_path, np.arange(41) % 17), block_size=8,
             batch_size=2, report=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_too_short_a_text_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="has 1 tokens"):
        evaluate(GPT2LMHeadModel(CONFIG), dataset(tmp_path, [3]), block_size=8)


def test_an_id_outside_the_vocabulary_is_an_error(tmp_path):
    small = GPT2LMHeadModel(GPT2Config(vocab_size=5, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    with pytest.raises(ValueError, match="contains 16"):
        evaluate(small, dataset(tmp_path, [1, 16, 2]), block_size=2)


def test_perplexity_of_a_huge_loss_is_infinite():
    assert perplexity(1000) == math.inf and perplexity(0) == 1
