import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scores import draw, kept

from minillm.generation.logits_processors import (
    allowed_by,
    bad_words,
    exponential_decay_length_penalty,
    forced,
    min_length,
    no_ngram_of,
    no_repeat_ngram,
    repetition_penalty,
    sequence_bias,
    suppressed,
    without_invalid_values,
)

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(generators, st.floats(1, 5))
def test_repetition_penalty_lowers_what_was_there_and_nothing_else(rng, penalty):
    scores, ids = draw(rng, kinds=6)
    result = repetition_penalty(scores, ids, penalty)
    for row, before, tokens in zip(result, scores, ids):
        seen = np.isin(np.arange(len(row)), tokens)
        np.testing.assert_array_equal(row[~seen], before[~seen])
        expected = [s * penalty if s < 0 else s / penalty for s in before[seen]]
        np.testing.assert_allclose(row[seen], expected, rtol=1e-6)
        assert (row[seen] <= before[seen]).all()
    np.testing.assert_array_equal(repetition_penalty(scores, ids, 1.0), scores)


@given(generators)
def test_repetition_penalty_does_not_see_padding(rng):
    scores, ids = draw(rng, B=2, T=6)
    padded = np.concatenate([np.zeros((2, 3), int), ids], axis=1)
    np.testing.assert_array_equal(
        repetition_penalty(scores, padded, 2.0, start=np.array([3, 3])),
        repetition_penalty(scores, ids, 2.0))


@given(generators, st.integers(1, 4))
def test_no_ngram_comes_twice(rng, n):
    scores, ids = draw(rng, kinds=4)
    result = no_repeat_ngram(scores, ids, n)
    for row, tokens in zip(result, ids.tolist()):
        there = {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
        for token in range(len(row)):
            new = tuple((tokens + [token])[-n:])
            assert kept(row)[token] == (new not in there or len(tokens) < n - 1)


@given(generators, st.integers(0, 30))
def test_min_length_forbids_the_end_before(rng, minimum):
    scores, ids = draw(rng, V=20)
    result = min_length(scores, ids.shape[1], minimum, [3, 7])
    allowed = np.ones(20, bool)
    allowed[[3, 7]] = ids.shape[1] >= minimum
    np.testing.assert_array_equal(kept(result), np.broadcast_to(allowed, scores.shape))


# ---- one example each that can be checked by hand

SCORES = np.array([[1.0, -2.0, 3.0, 0.5]], np.float32)


def test_sequence_bias_by_hand():
    biases = {(0,): 1.0, (2, 1): 5.0, (1, 1): 7.0}
    np.testing.assert_array_equal(
        sequence_bias(SCORES, np.array([[3, 2]]), biases), [[2.0, 3.0, 3.0, 0.5]])


def test_bad_words_by_hand():
    ids = np.array([[3, 2]])
    np.testing.assert_array_equal(kept(bad_words(SCORES, ids, [[0], [2, 3], [1, 2]])),
                                  [[False, True, True, False]])


def test_ngrams_of_the_source_by_hand():
    source = np.array([[1, 2, 3, 1, 0]])
    np.testing.assert_array_equal(kept(no_ngram_of(SCORES, np.array([[0, 1]]), source, 2)),
                                  [[False, True, False, True]])
    np.testing.assert_array_equal(kept(no_ngram_of(SCORES, np.array([[0, 1]]), source, 6)),
                                  [[True, True, True, True]])


def test_forced_and_suppressed_by_hand():
    np.testing.assert_array_equal(forced(SCORES, [1, 2]), [[-np.inf, 0, 0, -np.inf]])
    np.testing.assert_array_equal(suppressed(SCORES, [1, 2]), [[1, -np.inf, -np.inf, 0.5]])


def test_exponential_decay_by_hand():
    # Two tokens after the start: |s| (2² - 1) is added to the scores of the ends 1 and 2.
    np.testing.assert_array_equal(
        exponential_decay_length_penalty(SCORES, 7, 5, 2.0, [1, 2]), [[1.0, 4.0, 12.0, 0.5]])
    np.testing.assert_array_equal(
        exponential_decay_length_penalty(SCORES, 5, 5, 2.0, [1, 2]), SCORES)


def test_invalid_values_by_hand():
    largest = np.finfo(np.float32).max
    scores = np.array([[np.nan, np.inf, -np.inf, 2]], np.float32)
    np.testing.assert_array_equal(without_invalid_values(scores), [[0, largest, -largest, 2]])


def test_only_allowed_tokens_are_left():
    scores = np.zeros((4, 3), np.float32)
    scores[2:] = [-np.inf, 1, 1]
    calls = []

    def allowed(batch, ids):
        calls.append((batch, ids.tolist()))
        return [0] if batch == 1 else [1, 2]

    result = allowed_by(allowed, scores, np.arange(4)[:, None], 2)
    assert calls == [(0, [0]), (0, [1]), (1, [2]), (1, [3])]
    np.testing.assert_array_equal(kept(result), [[0, 1, 1], [0, 1, 1], [1, 0, 0], [1, 0, 0]])
    with pytest.raises(ValueError, match="prefix_allowed_tokens_fn gives no token for prompt 0"):
        allowed_by(lambda batch, ids: [], scores, np.arange(4)[:, None], 2)


# ---- all of them


@given(generators)
def test_inputs_stay_as_they_are_and_so_does_the_dtype(rng):
    scores, ids = draw(rng, V=20, T=6, kinds=3)
    before, ids_before = scores.copy(), ids.copy()
    for result in (
        sequence_bias(scores, ids, {(1,): 2.0, (0, 1): 1.0}), bad_words(scores, ids, [[1], [0, 1]]),
        repetition_penalty(scores, ids, 1.3), no_repeat_ngram(scores, ids, 2),
        no_ngram_of(scores, ids, ids, 2), min_length(scores, 6, 9, [1]), forced(scores, [3]),
        suppressed(scores, [3]), without_invalid_values(scores),
        exponential_decay_length_penalty(scores, 9, 4, 1.5, [1, 2]),
        allowed_by(lambda batch, ids: [1], scores, ids, 1),
    ):
        assert result.dtype == np.float32 and not np.shares_memory(result, scores)
    np.testing.assert_array_equal(scores, before)
    np.testing.assert_array_equal(ids, ids_before)


@given(generators)
def test_each_is_what_transformers_does(rng):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("transformers.generation.logits_process")
    scores, ids = draw(rng, B=4, V=30, kinds=8)
    source = rng.integers(0, 12, (2, 9))
    n, T = int(rng.integers(1, 4)), ids.shape[1]
    penalty = rng.uniform(0.5, 2)
    ends = rng.choice(30, 2, replace=False).tolist()
    biases = {tuple(rng.integers(0, 8, rng.integers(1, 4)).tolist()): float(rng.normal())
              for _ in range(6)}
    words = [list(word) for word in biases]
    start, factor = int(rng.integers(0, T)), float(rng.uniform(0.9, 1.3))
    spread = np.repeat(source, 2, axis=0)
    tokens = rng.integers(0, 30, 3).tolist()
    cases = [
        (sequence_bias(scores, ids, biases), theirs.SequenceBiasLogitsProcessor(biases)),
        (bad_words(scores, ids, words), theirs.NoBadWordsLogitsProcessor(words)),
        (repetition_penalty(scores, ids, penalty),
         theirs.RepetitionPenaltyLogitsProcessor(penalty)),
        (repetition_penalty(scores, spread, 1 / penalty),
         theirs.EncoderRepetitionPenaltyLogitsProcessor(penalty, torch.tensor(source))),
        (no_repeat_ngram(scores, ids, n), theirs.NoRepeatNGramLogitsProcessor(n)),
        (no_ngram_of(scores, ids, spread, n),
         theirs.EncoderNoRepeatNGramLogitsProcessor(n, torch.tensor(source))),
        (min_length(scores, T, 15, ends), theirs.MinLengthLogitsProcessor(15, ends)),
        (forced(scores, ends), theirs.ForcedEOSTokenLogitsProcessor(T + 1, ends)),
        (suppressed(scores, tokens), theirs.SuppressTokensLogitsProcessor(tokens)),
        (suppressed(scores, tokens), theirs.SuppressTokensAtBeginLogitsProcessor(tokens, T)),
        (exponential_decay_length_penalty(scores, T, start, factor, ends),
         theirs.ExponentialDecayLengthPenalty((start, factor), ends, 0)),
        (without_invalid_values(scores), theirs.InfNanRemoveLogitsProcessor()),
        (allowed_by(lambda batch, ids: [batch, 2], scores, ids, 2),
         theirs.PrefixConstrainedLogitsProcessor(lambda batch, ids: [batch, 2], 2)),
    ]
    for ours, processor in cases:
        expected = processor(torch.tensor(ids), torch.tensor(scores)).numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6, err_msg=str(processor))
