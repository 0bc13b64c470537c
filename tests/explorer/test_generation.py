"""The view of generation, against the library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from view_models import subjects_of_every_kind

from minillm.explorer.encoding import to_json
from minillm.explorer.views import VIEWS
from minillm.explorer.views.generation import (
    ALTERNATIVES,
    NEUTRAL,
    STEPS,
    generation_beams,
    generation_cache,
    generation_draws,
    generation_hidden,
    generation_next,
    generation_stream,
    offline_generation,
)
from minillm.generation.fill_mask import fill_mask
from minillm.generation.sampling import sample
from minillm.ops.softmax import log_softmax, softmax

TEXT = "The pieces are"


def quiet(done, total, partial=None):
    pass


@pytest.fixture(scope="module")
def subjects(subject):
    return {"packaged": subject, **subjects_of_every_kind()}


def decoders(subjects):
    return [subjects[name] for name in ("packaged", "Llama", "Marian")]


def forward(subject, text, ids):
    """-> logits (T, V) after each of ids, from the model itself"""
    if subject.is_encoder_decoder:
        return subject.model(input_ids=subject.encode(text)[None],
                             decoder_input_ids=np.array([ids])).logits[0]
    return subject.model(np.array([ids])).logits[0]


@given(st.integers(0, 1000), st.integers(0, 10))
@settings(max_examples=6)
def test_the_next_token_is_what_the_model_says(subjects, seed, n_more):
    for subject in decoders(subjects):
        start = generation_next(subject, TEXT)["ids"].tolist()
        more = np.random.default_rng(seed).integers(3, 200, n_more).tolist()
        found = generation_next(subject, TEXT, ids=start + more)
        logits = forward(subject, TEXT, start + more)
        allowed = np.isfinite(found["logits"])
        np.testing.assert_allclose(found["logits"][allowed], logits[-1][allowed], rtol=1e-5,
                                   atol=1e-5)
        log_p = log_softmax(logits.astype(np.float64))[0]
        for place, own, rank, likeliest in zip(found["shown"], found["log_p"], found["rank"],
                                               found["alternatives"]):
            row = log_p[place - 1]
            token = (start + more)[place]
            assert own == pytest.approx(row[token], abs=1e-4)
            assert abs(rank - (row > row[token]).sum()) <= 1  # but for rounding
            assert len(likeliest) == ALTERNATIVES
        assert len(found["shown"]) == len(start + more) - 1
        assert found["names"].keys() >= set(start + more)
        to_json(found)


def test_words_that_a_model_never_says(subjects):
    found = generation_next(subjects["Marian"], TEXT)
    assert found["own_rules"] == ["bad_words_ids"] and found["kind"] == "encoder-decoder"
    never = np.flatnonzero(np.isneginf(found["logits"])).tolist()
    assert [never] == subjects["Marian"].model.generation_config.bad_words_ids
    assert generation_next(subjects["packaged"], TEXT)["own_rules"] == []


def test_the_cache_is_what_the_model_keeps(subjects):
    for subject in decoders(subjects):
        first = generation_next(subject, TEXT)["ids"].tolist()
        ids = first + [5, 6, 7]
        cache = generation_next(subject, TEXT, ids=ids)["cache"]
        assert len(cache["difference"]) == min(len(ids), STEPS + 1)
        assert cache["difference"].max() <= cache["tolerance"] < 1e-3
        heads, length, width = cache["shape"]
        assert length == len(ids) and cache["bytes"] == 2 * 4 * heads * length * width * cache[
            "n_layers"]
        last = cache["n_layers"] - 1
        rows = generation_cache(subject, TEXT, ids=ids, layer=last)
        assert rows["K"].shape == (heads, length, width) and len(rows["tokens"]) == length
        for i, name in enumerate("KV"):
            np.testing.assert_allclose(
                np.sqrt((rows[name].astype(float) ** 2).sum(axis=(0, 2))), cache["norms"][last, i],
                rtol=1e-5)
    block = subjects["packaged"].model.base_model.h[0].attention
    assert (heads, width) != (0, 0) and cache["memory"] is not None
    assert block.n_kv_heads == 4
    assert generation_next(subjects["Llama"], TEXT)["cache"]["n_heads"] == 9  # of 3 key heads
    memory = generation_cache(subjects["Marian"], TEXT, layer=0, memory=True)
    assert memory["K"].shape[1] == len(memory["tokens"]) == len(
        subjects["Marian"].encode(TEXT))


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
@settings(max_examples=15)
def test_the_draws_are_those_of_the_library(seed, n):
    draws, rng = generation_draws(seed)["draws"], np.random.default_rng(seed)
    for u in draws[:n]:
        scores = np.log(np.arange(1, 9, dtype=np.float32))[None]
        ends = np.cumsum(softmax(scores.astype(np.float64))[0])
        assert sample(scores, rng)[0] == min(np.searchsorted(ends, u * ends[-1], "right"), 7)


def test_a_stream_is_generate(subjects):
    for subject in decoders(subjects):
        seen = []
        options = {"temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.2}
        found = generation_stream(subject, TEXT, lambda *call: seen.append(call), n=7, seed=3,
                                  options=options)
        config = dict(do_sample=True, num_beams=1, max_new_tokens=7, seed=3, **{
            **NEUTRAL, **options})
        ids = subject.encode(TEXT)[None]
        expected = subject.model.generate(ids, **config)[0]
        n = 1 if subject.is_encoder_decoder else ids.shape[1]
        assert found["ids"] == expected[n:].tolist()
        assert [partial["id"] for _, _, partial in seen] == found["ids"]
        greedy = generation_stream(subject, TEXT, quiet, n=4, do_sample=False)["ids"]
        assert greedy == subject.model.generate(ids, do_sample=False, num_beams=1,
                                                max_new_tokens=4)[0, n:].tolist()


@given(st.integers(2, 5), st.sampled_from([-1.0, 0.0, 1.0, 2.0]), st.booleans())
@settings(max_examples=5)
def test_beams_are_those_of_generate(subjects, n_beams, penalty, early):
    for subject in decoders(subjects):
        found = generation_beams(subject, TEXT, quiet, n=6, n_beams=n_beams,
                                 length_penalty=penalty, early_stopping=early)
        ids = subject.encode(TEXT)[None]
        n = 1 if subject.is_encoder_decoder else ids.shape[1]
        expected = subject.model.generate(
            ids, do_sample=False, num_beams=n_beams, max_new_tokens=6, length_penalty=penalty,
            early_stopping=early, return_dict_in_generate=True, output_scores=True)
        best = found["sequences"][0]
        assert best["ids"].tolist() == expected.sequences[0, n:n + len(best["ids"])].tolist()
        assert best["score"] == pytest.approx(float(expected.sequences_scores[0]), abs=1e-6)
        assert found["names"].keys() >= set(best["ids"].tolist())
        to_json(found)


def test_a_masked_model_fills_in(subjects):
    subject = subjects["BERT"]
    text = "the pieces [MASK] small"
    found = generation_next(subject, text)
    best = np.argsort(-found["logits"], kind="stable")[:5]
    expected = fill_mask(subject.model, subject.tokenizer, text)[0]
    assert [subject.tokenizer.convert_ids_to_tokens(int(id)) for id in best] == [
        token for token, _ in expected]
    assert found["kind"] == "masked" and found["position"] == found["masks"][0]
    assert generation_next(subject, "the pieces are")["logits"] is None

    hidden = generation_hidden(subject, "the pieces are", quiet)
    for place, log_p in zip(hidden["shown"], hidden["log_p"]):
        one = generation_next(subject, "the pieces are", position=int(place))
        expected = log_softmax(one["logits"].astype(np.float64)[None])[0][0]
        assert log_p == pytest.approx(expected[hidden["ids"][place]], abs=1e-4)
    with pytest.raises(ValueError, match="doesn't generate from left to right"):
        generation_stream(subject, text, quiet)


def test_a_page_without_a_server_asks_what_can_be_answered(subjects):
    for name, text in (("packaged", TEXT), ("packaged", " a" * 127 + " b"), ("Marian", TEXT),
                       ("BERT", TEXT)):
        subject = subjects[name]
        for view, fields in offline_generation(subject, text):
            question = VIEWS[view]
            given = {"text": text} if question.needs("text") else {}
            filled = {name: value for name, value in (("subject", subject), ("report", quiet))
                      if question.needs(name)}
            to_json(question.function(**filled, **question.arguments({**given, **fields})))


def test_errors(subject):
    for match, ask in (
        ("ids is .*, wanted one or more ids below 2048", lambda: generation_next(
            subject, TEXT, ids=[2048])),
        ("129 tokens, wanted at most 128", lambda: generation_next(subject, TEXT, ids=[1] * 129)),
        ("reads 128 tokens", lambda: generation_stream(subject, TEXT, quiet, ids=[1] * 128)),
        ("options has 'num_beams'", lambda: generation_stream(subject, TEXT, quiet,
                                                              options={"num_beams": 2})),
        ("top_k is 'all'", lambda: generation_stream(subject, TEXT, quiet,
                                                     options={"top_k": "all"})),
        ("seed is -1", lambda: generation_stream(subject, TEXT, quiet, seed=-1)),
        ("length_penalty is 1e", lambda: generation_beams(subject, TEXT, quiet,
                                                          length_penalty=1e300)),
        ("n_beams is 1", lambda: generation_beams(subject, TEXT, quiet, n_beams=1)),
        ("layer is 4", lambda: generation_cache(subject, TEXT, layer=4)),
        ("n is 0", lambda: generation_stream(subject, TEXT, quiet, n=0)),
    ):
        with pytest.raises(ValueError, match=match):
            ask()
