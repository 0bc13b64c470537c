"""Texts to learn from, properties of their tokens, what is learned, and all of it in files."""

import json

import numpy as np
import pytest
from tests.helpers.small_runs import small_run
from tests.helpers.subjects import write_subject

from minillm.figures import new_figure
from minillm.insight import ablation, anatomy, attention, attribution, probes, sparse_autoencoder
from minillm.insight.export import export
from minillm.insight.properties import PROPERTIES, label
from minillm.insight.sparse_autoencoder import SparseAutoencoder
from minillm.insight.streams import residual_streams
from minillm.insight.subject import Subject
from minillm.insight.texts import texts_for
from minillm.insight.tuned_lens import TunedLens, plot_divergences
from minillm.json_files import plain


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    return {kind: Subject.open(write_subject(kind, tmp_path_factory.mktemp("model")))
            for kind in ("gpt2", "bert", "transformer")}


def test_texts_are_as_long_as_wanted(subjects):
    texts = texts_for(subjects["gpt2"], 400, length=20)
    assert texts.n_tokens >= 400 and len(texts.words) == texts.n_tokens
    assert all(batch["input_ids"].shape[1] <= 20 for batch in texts.batches)
    again = texts_for(subjects["gpt2"], 400, length=20)
    np.testing.assert_array_equal(texts.words, again.words)
    assert not np.array_equal(texts.words, texts_for(subjects["gpt2"], 400, 20, seed=1).words)
    streams = residual_streams(subjects["gpt2"].model, texts.batches)
    assert len(streams) == 3 and all(len(X) == texts.n_tokens for X in streams)
    (one,) = residual_streams(subjects["gpt2"].model, iter(texts.batches), layers=[1])
    np.testing.assert_array_equal(one, streams[1])
    for row in (0, 21, texts.n_tokens - 1):
        before, id, after = texts.context(row, before=3, after=1)
        assert id == texts.words[row] and len(before) <= 3 and len(after) <= 1
    with pytest.raises(IndexError, match="^row is "):
        texts.context(texts.n_tokens)


def test_special_tokens_and_sources(subjects, tmp_path):
    texts = texts_for(subjects["bert"], 100, length=10)
    tokenizer = subjects["bert"].tokenizer
    for batch in texts.batches:
        assert (batch["input_ids"][:, 0] == tokenizer.cls_token_id).all()
        assert (batch["input_ids"][:, -1] == tokenizer.sep_token_id).all()
    both = subjects["transformer"]
    texts = texts_for(both, 60, length=10, of="encoder")
    assert all((batch["decoder_input_ids"] == both.start_id).all() for batch in texts.batches)
    path = tmp_path / "a.txt"
    path.write_text("a cat and a dog\n" * 4)
    texts = texts_for(both, 30, length=6, path=path)
    assert all(ids.shape == batch["decoder_input_ids"].shape
               for ids, batch in zip(texts.ids, texts.batches))
    with pytest.raises(FileNotFoundError):
        texts_for(both, path=tmp_path / "b.txt")


def test_a_run_looks_at_its_own_data(tmp_path):
    run = small_run(tmp_path)
    run.new_model().eval().save_pretrained(run.model_folder)
    texts = texts_for(Subject.open(run.folder), 100, length=8)
    known = run.dataset("train").ids.tolist()
    window = texts.batches[0]["input_ids"][0].tolist()
    assert any(known[i : i + 8] == window for i in range(len(known)))


# ---- properties


def test_properties_of_tokens():
    tokens = ["", "The", " cat", "fish", ",", " 4", "2", "\n", ""]
    assert label(tokens, "space") == [-100, 0, 1, 0, 0, 1, 0, 1, -100]
    assert label(tokens, "capital") == [-100, 1, 0, 0, 0, 0, 0, 0, -100]
    assert label(tokens, "digit") == [-100, 0, 0, 0, 0, 1, 1, 0, -100]
    assert label(tokens, "previous-capital") == [-100, 0, 1, 0, 0, 0, 0, 0, -100]
    assert label(tokens, "word-goes-on") == [-100, 0, 1, 0, 0, 1, 0, -100, -100]
    assert label(tokens, "punctuation-next") == [-100, 0, 0, 1, 0, 0, -100, -100, -100]
    assert label(["a"] * 8, "position") == [0, 0, 1, 1, 2, 2, 3, 3]
    with pytest.raises(ValueError, match="^property is 'x', wanted one of space, capital"):
        label(tokens, "x")
    assert all(len(each.labels) >= 2 and each.what.endswith("?") for each in PROPERTIES.values())


def test_tokens_as_words_begin(subjects):
    for kind in ("gpt2", "bert"):
        subject = subjects[kind]
        ids = subject.tokenizer.encode("the catdog and", add_special_tokens=False)
        spelled = subject.spelled(ids)
        assert "".join(spelled).strip() == "the catdog and"
    special = [subjects["bert"].tokenizer.cls_token_id]
    assert subjects["bert"].spelled(special) == [""]


# ---- what is learned


def test_features_are_described(subjects):
    rng = np.random.default_rng(0)
    words = rng.integers(6, size=500)
    X = np.eye(8)[words].astype(np.float32) * 3 + 0.1 * rng.normal(size=(500, 8)).astype(np.float32)
    sae = SparseAutoencoder(8, 16, sparsity=0.2)
    sae.fit_normalized(X, steps=200, batch_size=64, lr=1e-2)
    found = sparse_autoencoder.describe(sae, X, words, top=5, densest=0.3)
    assert found.explained > 0.8 and len(found.densities) == 16
    assert found.n_dead == (found.densities == 0).sum()
    for feature in found.features:
        assert (words[feature.rows[:3]] == feature.token).all() and feature.of_token > 0.6
        assert 0 < feature.density <= 1 and (np.diff(feature.values) <= 0).all()
    assert sparse_autoencoder.plot_features(found, ["a"] * len(found.features)).axes


def test_a_scale_changes_nothing_but_the_scale():
    X = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    small, large = (SparseAutoencoder(5, 9, sparsity=0.5) for _ in range(2))
    small.fit_normalized(X, steps=20)
    large.fit_normalized(100 * X, steps=20)
    np.testing.assert_allclose(large.features(100 * X), 100 * small.features(X), rtol=1e-2,
                               atol=1e-2)
    assert large.sparsity == pytest.approx(100 * small.sparsity, rel=1e-4)


def test_what_is_saved(tmp_path, subjects):
    sae = SparseAutoencoder(5, 9, sparsity=0.5, seed=3)
    sae.save(tmp_path / "sae.safetensors")
    again = SparseAutoencoder.load(tmp_path / "sae.safetensors", 5)
    np.testing.assert_array_equal(again.W_d.data, sae.W_d.data)
    assert again.sparsity == 0.5
    with pytest.raises(ValueError, match=r"W_d has shape \(9, 5\), wanted \(9, 4\)$"):
        SparseAutoencoder.load(tmp_path / "sae.safetensors", 4)
    for kind, n in (("gpt2", 2), ("bert", 1), ("transformer", 1)):
        subject = subjects[kind]
        batches = texts_for(subject, 24, length=8).batches
        streams = residual_streams(subject.model, batches)
        lens = TunedLens(subject.model)
        lens.fit_streams(streams, steps=3, batch_size=8)
        lens.save(tmp_path / "lens.safetensors")
        again = TunedLens(subject.model).load(tmp_path / "lens.safetensors")
        assert len(again.translators) == n
        for one, other in zip(lens.logits(streams), again.logits(streams)):
            np.testing.assert_array_equal(one, other)
        found = lens.divergences(streams)
        assert found.shape == (2, n + 1)
        assert found[0, -1] == found[1, -1] == pytest.approx(0, abs=1e-6)
        assert plot_divergences(found, range(n + 1)).axes


def test_probes_need_two_labels():
    X = [np.zeros((4, 2))]
    with pytest.raises(ValueError, match="^labels has 1 different labels, wanted two or more"):
        probes.probe_streams(X, [1, 1, -100, 1], [0, 1, 2, 3])


# ---- pictures and files


def test_pictures(subjects):
    summaries = {(0, 0): attention.HeadSummary(0.1, 0.2, 0.3, 0.4, 0.5)}
    table = anatomy.Anatomy(subjects["gpt2"].model).by_head({(0, 1): 2.0})
    assert table.shape == (2, 2) and table[0, 1] == 2 and np.isnan(table[1, 1])
    deletion = attribution.Deletion(np.arange(3), {"a": np.arange(3.0)}, np.zeros(3))
    for figure in (attention.plot_summaries(summaries),
                   anatomy.plot_heads(table, "title", signed=True),
                   attention.plot_reach(np.ones(3), np.ones(3), list("abc")),
                   attention.plot_reach(np.ones(3), None, list("abc")),
                   anatomy.plot_anatomy(subjects["transformer"].model),
                   attribution.plot_deletion(deletion),
                   ablation.plot_ablation(["a", "b"], {"zero": np.ones(2)}, {"zero": np.zeros(2)})):
        assert figure.axes


def test_names_for_people(subjects):
    labels = [anatomy.Anatomy(subjects["transformer"].model).label(f"model.decoder.layers.1{rest}")
              for rest in ("", ".feed_forward", ".attention.head_3", ".cross_attention.head_0")]
    assert labels == ["block 1", "1.feed_forward", "1.head 3", "1.cross head 0"]


def test_results_in_files(tmp_path):
    summary = attention.HeadSummary(0.5, float("nan"), 0, 1)
    result = {(0, 1): summary, "a": np.arange(2), "b": (1, None)}
    path = export(tmp_path / "a.json", result)
    want = {"0.1": {"previous": 0.5, "first": None, "itself": 0, "entropy": 1, "induction": None},
            "a": [0, 1], "b": [1, None]}
    assert json.loads(path.read_text()) == plain(result) == want
    assert json.loads(export(tmp_path / "b.json", np.eye(2)).read_text()) == {
        "values": [[1.0, 0.0], [0.0, 1.0]]}
    figure, _ = new_figure(1, 1)
    assert export(tmp_path / "a.svg", figure).read_text().lstrip().startswith("<?xml")
    with pytest.raises(ValueError, match=r"^path is '.*a.gif', wanted a name that ends in .png or"):
        export(tmp_path / "a.gif", figure)
    with pytest.raises(TypeError, match="has no form in JSON$"):
        plain({"a": object()})
