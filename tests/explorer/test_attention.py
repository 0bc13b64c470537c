"""The attention view, asked directly: its numbers are the library's, for every architecture."""

import functools
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.subjects import MAKERS, TEXT, shaken, write_subject

import minillm
from minillm.explorer.encoding import to_json
from minillm.explorer.views import OFFLINE, VIEWS, attention
from minillm.explorer.views.attention import pooled
from minillm.insight import attention as library
from minillm.insight.anatomy import stacks_of
from minillm.insight.scores import attention_scores
from minillm.insight.subject import Subject


@functools.cache
def subject(kind):
    with tempfile.TemporaryDirectory() as folder:
        return Subject.open(write_subject(kind, folder))


def weights_of(one, text, name):
    """-> (L, H, T, S), by the library"""
    stack, _, kind = name.rpartition(".")
    inputs = one.read(text).inputs
    if kind == "attention":
        return np.stack([W[0] for W in library.attention_weights(one.model, stack=stack, **inputs)])
    return np.stack([scores.weights()[0] for scores in attention_scores(
        one.model, stack=stack, cross=True, **inputs)])


def explained(found, layer, h, query):
    """-> (S,): the weights of a query, computed as the page does, from what it was sent"""
    q, K = found["queries"][layer, h, query], found["key_vectors"][layer]
    T, S = found["weights"].shape[2:]
    K = K[h // (found["heads"] // len(K))]
    scores = found["scale"][layer] * (q.astype(float) * K).sum(axis=1)
    e = np.exp(scores + found["bias"][layer, h, T - 1 - query :][:S])
    return e / e.sum()


@pytest.mark.parametrize("kind", MAKERS)
def test_one_answer_explains_every_weight(kind):
    one = subject(kind)
    start = attention.attention(one, TEXT)
    for each in start["attentions"]:
        found = attention.attention(one, TEXT, each["name"])
        W = weights_of(one, TEXT, each["name"])
        assert found["whole"] and (found["layers"], found["heads"]) == W.shape[:2]
        assert (len(found["tokens"]), len(found["keys"])) == W.shape[2:]
        np.testing.assert_allclose(found["weights"], W, atol=1e-6)
        for layer, h, query in np.ndindex(*W.shape[:3]):
            np.testing.assert_allclose(explained(found, layer, h, query), W[layer, h, query],
                                       atol=1e-5)
        if each["cross"]:
            inputs, stacks = one.read(TEXT).inputs, stacks_of(one.model)
            own = [library.attention_weights(one.model, stack=stack, **inputs) for stack in stacks]
            wanted = library.rollout_across(*own, [w[None] for w in W])
            assert found["induction"] is None
        else:
            wanted = library.rollout([w[None] for w in W])
        np.testing.assert_allclose(found["rollout"], [r[0] for r in wanted], atol=1e-6)
        assert found["rollout"].shape[2] == len(found["rollout_tokens"])
        first = library.summarize_heads([W[0][None]])[0, 1]
        assert found["kinds"]["previous"][0, 1] == pytest.approx(first.previous, rel=1e-4)
        assert found["kinds"]["entropy"][0, 1] == pytest.approx(first.entropy, rel=1e-4)
    to_json(found)


def test_one_head_alone_and_its_norms():
    one = subject("llama")
    found = attention.attention(one, TEXT)
    alone = attention.attention_head(one, TEXT, 1, 3)
    for name in ("queries", "value_norms", "bias"):
        np.testing.assert_array_equal(alone[name], found[name][1, 3])
    np.testing.assert_array_equal(alone["key_vectors"], found["key_vectors"][1, 1])
    with pytest.raises(ValueError, match="^head is 4, wanted 0 to 3$"):
        attention.attention_head(one, TEXT, 1, 4)
    with pytest.raises(ValueError, match="^name is 'x', wanted one of "):
        attention.attention(one, TEXT, "x")


def test_flow_and_rollout():
    one, calls = subject("gpt2"), []
    W = weights_of(one, TEXT, "transformer.h.attention")
    found = attention.attention_flow(one, TEXT, 4, lambda *call: calls.append(call))
    np.testing.assert_allclose(found["flow"], library.flow(list(W), 4), atol=1e-6)
    assert calls[-1] == (W.shape[2], W.shape[2])
    share = attention.attention_reaches(one, TEXT, 0, 3)["share"]
    np.testing.assert_allclose(share, library.rollout([w[None] for w in W])[0][0, 3], atol=1e-6)
    matrix = attention.attention_flows(one, TEXT, lambda *call: calls.append(call))["flows"]
    np.testing.assert_array_equal(matrix[4], found["flow"])
    assert calls[-1] == (len(matrix) ** 2, len(matrix) ** 2)
    crossed = {"name": "model.decoder.layers.cross_attention", "report": lambda *call: None}
    with pytest.raises(ValueError, match="looks into another text: it has no flow$"):
        attention.attention_flows(subject("transformer"), TEXT, **crossed)
    with pytest.raises(ValueError, match="^the text has 49 tokens, wanted at most 48: "):
        attention.attention_flow(thousand()[0], "z" * 49, 0, lambda *call: None)


def test_what_training_changes_is_seen():
    one = subject("gpt2")
    before = attention.attention(one, TEXT)["weights"].copy()
    weight = one.model.transformer.h[0].attention.qkv.weight.data
    weight *= 1.5
    try:
        assert np.abs(attention.attention(one, TEXT)["weights"] - before).max() > 1e-3
    finally:
        weight /= 1.5


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 4, 8]), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_pyramid_keeps_means_and_maxima(T, S, size, seed):
    W = np.random.default_rng(seed).random((2, T, S))
    mean, most = pooled(W, size)
    for i, j in np.ndindex(*mean.shape[1:]):
        part = W[:, i * size : (i + 1) * size, j * size : (j + 1) * size]
        np.testing.assert_allclose(mean[:, i, j], part.mean(axis=(1, 2)), rtol=1e-5)
        np.testing.assert_allclose(most[:, i, j], part.max(axis=(1, 2)), rtol=1e-5)


# ---- a thousand tokens


@functools.cache
def thousand():
    """-> Subject of a random GPT-2 that reads 1,024 tokens, and a text of 1,024 tokens"""
    _, tokenizer = MAKERS["gpt2"]()
    config = minillm.GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=2, n_head=2,
                                n_positions=1024, eos_token_id=0, pad_token_id=0)
    one = Subject(shaken(minillm.GPT2LMHeadModel(config)), tokenizer, "long")
    ids = np.random.default_rng(0).integers(97, 123, size=1024)
    text = "".join(chr(c) for c in ids)
    ids = one.encode(text)
    while len(ids) < 1024:  # merges make fewer tokens
        text += text[: 1024 - len(ids)]
        ids = one.encode(text)
    return one, one.tokenizer.decode(ids[:1024])


@functools.cache
def thousand_weights():
    return weights_of(*thousand(), "transformer.h.attention")


def test_a_thousand_tokens_travel_in_parts():
    one, text = thousand()
    n = len(one.encode(text))
    assert n > 1000
    start = attention.attention(one, text)
    assert not start["whole"] and "weights" not in start
    calls = []
    found = attention.attention_long(one, text, lambda *call: calls.append(call))
    assert calls == [(n, 4) for n in range(1, 5)] and found["thumbnails"].shape == (2, 2, 64, 64)
    W = thousand_weights()
    np.testing.assert_allclose(found["thumbnails"], pooled(W, 16)[1], atol=1e-6)
    for level, row, column in ((0, 896, 640), (2, 100, 60), (3, 0, 0)):
        tile = attention.attention_tile(one, text, 1, level, row, column, head=1)
        size = 2**level
        part = W[1, 1, row * size : (row + 128) * size, column * size : (column + 128) * size]
        np.testing.assert_allclose(tile["mean"], pooled(part, size)[0], atol=1e-6)
        np.testing.assert_allclose(tile["max"], pooled(part, size)[1], atol=1e-6)
        assert max(tile["mean"].shape) <= 128
    R = library.rollout([w[None] for w in W])[1][0]
    tile = attention.attention_tile(one, text, 1, 0, 500, 400, kind="rollout")
    np.testing.assert_allclose(tile["mean"], R[500:628, 400:528], atol=1e-6)
    norms = attention.attention_tile(one, text, 1, 0, 0, 0, head=0, kind="norms")["mean"]
    alone = attention.attention_head(one, text, 1, 0)
    np.testing.assert_allclose(norms, (W[1, 0] * alone["value_norms"])[:128, :128], rtol=1e-5)
    for answer in (start, found, tile, alone):
        assert len(to_json(answer)) < 1_000_000
    with pytest.raises(ValueError, match="^row is 9, wanted 0 to 7$"):
        attention.attention_tile(one, text, 0, 7, 9, 0)


def test_too_many_tokens_are_refused(monkeypatch):
    monkeypatch.setattr(attention, "MOST_TOKENS", 5)
    with pytest.raises(ValueError, match="^the text has 12 tokens, wanted at most 5: "):
        attention.attention(subject("llama"), "q" * 12)


def test_what_a_page_without_a_server_needs():
    one = subject("gpt2")
    asked = list(OFFLINE["attention"](one, TEXT))
    assert len(asked) == 1 + len(one.encode(TEXT))
    sizes = [len(to_json(VIEWS[name].function(
        one, TEXT, **fields, **{"report": lambda *call: None} if VIEWS[name].is_long else {})))
        for name, fields in asked]
    assert sum(sizes) < 300_000
    names = [fields.get("name") for _, fields in OFFLINE["attention"](subject("marian"), TEXT)]
    assert names[:3] == [None, "model.encoder.layers.attention",
                         "model.decoder.layers.cross_attention"]
