import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.text.cleaning import LONG_PARAGRAPH, clean_documents, clean_text, prepare_corpus
from minillm.text.corpus import Document, load_corpus, split_documents

PARAGRAPH = "This paragraph is long enough to be recognized when it comes a second time."
OTHER = "Here is a second paragraph, which says something else, and at a greater length too."


def cleaned(*texts, **options):
    documents = [Document(str(n), text) for n, text in enumerate(texts)]
    return [text for _, text in clean_documents(documents, **options)]


@given(st.text(st.characters(exclude_categories=())))
def test_clean_text(text):
    clean = clean_text(text)
    assert unicodedata.is_normalized("NFC", clean)
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in clean.replace("\n", "")
                   .replace("\t", ""))
    assert clean_text(clean) == clean


def test_examples():
    assert clean_text("e\u0301\x00a\x07\r\nb\rc\td\x7f\x85") == "éa\nb\nc\td"
    assert cleaned("\n  \n    indented\nlast  \n\n") == ["    indented\nlast"]


def test_duplicates_are_dropped():
    texts = cleaned("one text", "two texts", " one  text\n", "two texts")
    assert texts == ["one text", "two texts"]


def test_a_paragraph_of_another_document_is_dropped():
    chapter = f"Title\n\n{PARAGRAPH}\n\n{OTHER}\n\nShort.\n\n{PARAGRAPH}"
    excerpt = f"With words of its own that are more than half of it: {OTHER}\n\n   {PARAGRAPH}"
    for texts in ([chapter, excerpt], [excerpt, chapter]):
        kept = cleaned(*texts)
        assert chapter in kept  # whole, with its own repetition
        assert sum(text.count(PARAGRAPH) for text in kept) == 2
        assert len(kept) == 2
    assert cleaned(chapter, excerpt, drop_repeated_paragraphs=False) == [chapter, excerpt]


def test_what_is_left_of_a_torn_document_is_dropped():
    whole = f"{PARAGRAPH}\n\n{OTHER}"
    assert cleaned(whole, f"Title\n\n{PARAGRAPH}") == [whole]


def test_short_paragraphs_may_repeat():
    assert cleaned("Note:\n\nfirst", "Note:\n\nsecond") == ["Note:\n\nfirst", "Note:\n\nsecond"]


@given(st.lists(st.lists(st.sampled_from([PARAGRAPH, OTHER, "Short.", "x" * 50]), min_size=1)
                .map("\n\n".join), min_size=1))
def test_no_long_paragraph_is_in_two_documents(texts):
    documents = [set(text.split("\n\n")) for text in cleaned(*texts)]
    for n, one in enumerate(documents):
        for other in documents[n + 1:]:
            assert all(len(paragraph) < LONG_PARAGRAPH for paragraph in one & other)


def test_nothing_left_is_an_error():
    with pytest.raises(ValueError, match="no text"):
        cleaned("\x00", "\n \n")


def stretches(documents, length=60):
    for document in documents:
        text = " ".join(document.text.split())
        yield from (text[i : i + length] for i in range(len(text) - length))


def test_validation_text_of_the_default_corpus_is_not_in_its_training_text():
    for seed in range(3):
        splits = split_documents(clean_documents(load_corpus()), seed=seed)
        train = set(stretches(splits.train))
        for held_out in (splits.valid, splits.test):
            found = [stretch in train for stretch in stretches(held_out)]
            assert sum(found) / len(found) < 0.04


def prepared(folder, text):
    (folder / "a.txt").write_text(text, encoding="utf-8")
    return prepare_corpus(folder / "a.txt")


@given(st.text(st.sampled_from("ab \u00e9\u0301\u4e2d\n"), min_size=40).map(lambda s: s + "end"),
       st.integers(1, 60))
def test_any_text_becomes_documents_to_split(tmp_path_factory, text, times):
    documents, notes = prepared(tmp_path_factory.mktemp("text"), text * times)
    splits = split_documents(documents)
    assert all(splits) and notes
    words = "".join(document.text for document in documents).split()
    assert words  # and none of them is empty


def test_what_was_done_to_the_text_is_told(tmp_path):
    words = " ".join(f"word{n}" for n in range(3000))  # one line
    documents, notes = prepared(tmp_path, words)
    assert len(notes) == 1 and notes[0].startswith(f"1 document cut into {len(documents)} pieces of ")
    assert " ".join(document.text for document in documents) == words
    _, notes = prepared(tmp_path, "hello world " * 2000)
    assert "repeats itself" in notes[1] and len(notes) == 2
    texts = [f"Document number {n} of its own kind." for n in range(30)]
    documents, notes = prepared(tmp_path, "<|endoftext|>".join(texts + texts[:2]))
    assert len(documents) == 30
    assert notes == ["dropped as duplicates: 2 documents, and 0 paragraphs of others"]
    parts = [f"{text}\n\n{PARAGRAPH}\n\n{text * 9}" for text in texts]
    documents, notes = prepared(tmp_path, "<|endoftext|>".join(parts))
    assert notes == ["dropped as duplicates: 0 documents, and 29 paragraphs of others"]
    assert sum(document.text.count(PARAGRAPH) for document in documents) == 1


def test_byte_order_marks_are_dropped(tmp_path):
    texts = [f"Document number {n} of its own kind." for n in range(30)]
    documents, _ = prepared(tmp_path, "\ufeff" + "<|endoftext|>\ufeff".join(texts))
    assert [document.text for document in documents] == texts
