"""The tokenizer's view: the steps of a text, and what there is to know about a token."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from view_models import subjects_of_every_kind

from minillm.explorer.encoding import to_json
from minillm.explorer.views.tokenizer import LONGEST, tokenizer_replay, tokenizer_token
from minillm.insight.geometry import nearest


@pytest.fixture(scope="module")
def subjects(subject):
    return {"packaged": subject, **subjects_of_every_kind()}


@given(st.text(st.one_of(st.sampled_from("the pieces é语👩🏽"),
                         st.characters(exclude_categories=("Cs",))), max_size=30))
@settings(max_examples=25)
def test_the_pieces_of_the_answer_are_the_ids(subjects, text):
    for name, subject in subjects.items():
        found = tokenizer_replay(subject, text)
        assert found["ids"].tolist() == subject.tokenizer.encode(text), name
        inside = [row[0] for part in found["parts"] for word in part["words"]
                  for row in word["pieces"].tolist()]
        around = [each for ids in found["template"] if ids is not None for each in ids]
        assert sorted([*inside, *around]) == sorted(found["ids"].tolist())
        assert found["tokens"].keys() >= set(found["ids"].tolist())
        assert found["counts"]["bytes"] == len(text.encode())
        to_json(found)


def test_the_merges_of_a_word(subject):
    found = tokenizer_replay(subject, "assignment")
    word, = found["parts"][0]["words"]
    assert word["kind"] == "merges" and found["byte_level"]
    assert bytes(byte for row in word["symbols"] for byte in found["tokens"][row[0]]["bytes"]
                 ) == b"assignment"
    merges = {rank: pair for rank, pair in enumerate(subject.tokenizer._merges)}
    names = [found["tokens"][row[0]]["token"] for row in word["symbols"].tolist()]
    for place, after, merged, rank, *_ in word["steps"].tolist():
        assert (names[place], names[after]) == merges[rank]
        names[place], names[after] = found["tokens"][merged]["token"], None
    assert [name for name in names if name] == subject.tokenizer.tokenize("assignment")


def test_bytes_of_tokens(subjects):
    found = tokenizer_replay(subjects["packaged"], "é<|endoftext|>")
    assert b"".join(bytes(found["tokens"][id]["bytes"]) for id in found["ids"].tolist()[:-1]
                    ) == "é".encode()
    last = found["tokens"][found["ids"].tolist()[-1]]
    assert last["special"] and last["added"] and found["parts"][-1]["added"]
    found = tokenizer_replay(subjects["Llama"], "語 a")
    bytes_of = [bytes(found["tokens"][row[0]]["bytes"]) for row in
                found["parts"][0]["words"][0]["symbols"].tolist()]
    assert b"".join(bytes_of).decode().strip() == "語 a"


def test_a_word_with_an_unknown_part(subjects):
    for text, unknown in (("pieces", False), ("pieces語x☃", True), ("a" * 101, True)):
        words = tokenizer_replay(subjects["BERT"], text)["parts"][0]["words"]
        assert any(word["unknown"] for word in words) == unknown


def test_a_token(subject):
    tokenizer, table = subject.tokenizer, subject.model.get_input_embeddings().weight.data
    id, = tokenizer.encode(" statement")
    found = tokenizer_token(subject, id)
    rows, cosines = nearest(table.astype(np.float32), id, 8)
    assert [row for row, *_ in found["neighbors"]] == rows.tolist()
    np.testing.assert_allclose([cosine for *_, cosine in found["neighbors"]], cosines, rtol=1e-6)
    assert "".join(tokenizer._merges[found["rank"]]) == tokenizer.convert_ids_to_tokens(id)
    assert found["merges"]["steps"][-1, 2] == id
    inside = [each for each in tokenizer.get_vocab() if found["token"] in each]
    assert found["n_containing"] == len(inside) - 1
    assert found["bytes"] == list(b" statement")


def test_any_token_of_any_vocabulary(subjects):
    for name, subject in subjects.items():
        for id in range(0, len(subject.tokenizer), 37):
            found = tokenizer_token(subject, id)
            assert found["id"] == id and len(found["neighbors"]) == 8, name


def test_errors(subject):
    with pytest.raises(ValueError, match="id is 2048, wanted 0 … 2047"):
        tokenizer_token(subject, 2048)
    with pytest.raises(ValueError, match=f"characters, wanted at most {LONGEST:,}"):
        tokenizer_replay(subject, "a" * (LONGEST + 1))
