"""Both sides of the benchmark's comparisons with Hugging Face do the same work."""

import shutil

import pytest

pytest.importorskip("transformers")

from benchmarks import with_hugging_face, with_minillm  # noqa: E402


@pytest.fixture(scope="module")
def texts():
    made = with_minillm.train_tokenizer(vocab_size=300, megabytes=0.02)
    yield made
    shutil.rmtree(made["folder"])


@pytest.mark.parametrize("cold", [False, True])
def test_both_encode_the_same_texts_to_the_same_ids(texts, cold):
    arguments = {"folder": texts["folder"], "file": texts["file"], "cold": cold}
    ours, theirs = (library.encode(**arguments) for library in (with_minillm, with_hugging_face))
    if cold:
        (load, ours), (load_theirs, theirs) = ours, theirs
        load()
        load_theirs()
    ids = ours()
    assert ids == theirs()
    assert sum(map(len, ids)) == texts["tokens"] > 0


def test_both_generate_as_many_tokens_as_asked_for(monkeypatch):
    tiny = {"n_layer": 1, "n_embd": 8, "n_head": 2, "V": 20, "n_positions": 32}
    from benchmarks import cases

    for name, value in tiny.items():
        monkeypatch.setitem(cases.GPT2_124M, name, value)
    generated = with_minillm.generate(n_tokens=5, prompt=3, num_return_sequences=2, top_k=5)()
    assert generated.shape == (2, 8)
    theirs = with_hugging_face.generate(n_tokens=5, prompt=3, num_return_sequences=2, top_k=5)()
    assert tuple(theirs.shape) == (2, 8)
