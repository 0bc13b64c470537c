import os
import re
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.text.corpus import (
    Document,
    cut_document,
    load_corpus,
    read_corpus,
    read_text,
    split_documents,
)


def documents_of(sizes):
    return [Document(f"d{n}", "x" * size) for n, size in enumerate(sizes)]


# ---- loading

def test_the_default_corpus_is_real_english():
    documents = load_corpus()
    assert len(documents) > 50 and sum(len(document.text) for document in documents) > 300_000
    assert [document.name for document in documents] == sorted(d.name for d in documents)
    assert any("assert statement" in document.text.lower() for document in documents)


def test_a_folder_is_read_recursively_and_in_order(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("z.txt", "b/a.md", "b/B.TXT", "a.rst", "image.png", ".hidden/c.txt", "b/.d.txt"):
        (tmp_path / name).write_text(f"This is {name}.\n")
    assert load_corpus(tmp_path) == [
        Document(name, f"This is {name}.\n") for name in ("a.rst", "b/B.TXT", "b/a.md", "z.txt")
    ]
    assert read_corpus(str(tmp_path / "image.png")) == [("image.png", "This is image.png.\n")]


def test_separators_make_documents(tmp_path):
    path = tmp_path / "three.txt"
    path.write_text("one\n<|endoftext|>\ntwo<|endoftext|>three<|endoftext|>\n")
    assert load_corpus(path) == [
        ("three.txt#1", "one\n"), ("three.txt#2", "\ntwo"), ("three.txt#3", "three")]


def test_one_long_file_is_cut_at_blank_lines(tmp_path):
    path = tmp_path / "book.txt"
    text = "".join(f"Paragraph {n} " + "word " * 50 + "\n\n" for n in range(400))
    path.write_text(text)
    documents = load_corpus(path)
    assert 40 <= len(documents) <= 60
    assert "".join(document.text for document in documents) == text
    assert all(document.text.endswith("\n\n") for document in documents)
    splits = split_documents(documents)
    assert all(splits)


@given(st.lists(st.sampled_from(["\n", "  \n", "word\n", "a longer line\n", "end"])).map("".join),
       st.integers(1, 30))
def test_pieces_joined_are_the_document(text, size):
    pieces = cut_document(Document("d", text), size)
    assert "".join(piece.text for piece in pieces) == text
    assert all(len(piece.text) >= size for piece in pieces[:-1])


def test_byte_order_mark_is_dropped(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffé".encode())
    assert read_text(tmp_path / "a.txt") == "é"


def test_bad_corpora(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_corpus(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no text files in it"):
        load_corpus(tmp_path)
    (tmp_path / "empty.txt").write_text(" \n ")
    for path in (tmp_path, tmp_path / "empty.txt"):
        with pytest.raises(ValueError, match="no text in it"):
            load_corpus(path)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match="latin.txt: not UTF-8 text .byte 0xe9 at position 3") as e:
        load_corpus(tmp_path)
    assert "\n" not in str(e.value)


# ---- splitting

@given(st.lists(st.integers(1, 5000), min_size=3, max_size=80), st.floats(0.01, 0.4),
       st.floats(0.01, 0.4), st.integers(0, 2**32))
def test_every_document_is_in_exactly_one_split(sizes, valid, test, seed):
    documents = documents_of(sizes)
    splits = split_documents(documents, valid, test, seed)
    assert all(splits)
    assert sorted(sum(splits, [])) == sorted(documents)
    for split in splits:
        assert split == [document for document in documents if document in split]  # old order
    assert split_documents(documents, valid, test, seed) == splits


@given(st.lists(st.integers(50, 150), min_size=100, max_size=200), st.integers(0, 2**32))
def test_shares_are_shares_of_the_characters(sizes, seed):
    splits = split_documents(documents_of(sizes), 0.05, 0.1, seed)
    lengths = [sum(len(document.text) for document in split) for split in splits]
    for length, share in zip(lengths, (0.85, 0.05, 0.1)):
        assert abs(length - share * sum(sizes)) <= 150


def test_a_very_long_document_stays_in_the_training_split():
    for seed in range(30):
        splits = split_documents(documents_of([100_000] + [100] * 100), seed=seed)
        assert len(splits.train[0].text) == 100_000


def test_seeds_differ_and_a_share_of_nothing_is_empty():
    documents = documents_of([100] * 50)
    assert split_documents(documents, seed=0) != split_documents(documents, seed=1)
    assert split_documents(documents, valid=0, test=0) == (documents, [], [])
    assert split_documents(documents[:2], test=0)[2] == []


@pytest.mark.parametrize("sizes, options, named", [
    ([5, 5], {}, "2 document.*at least 3"), ([], {"valid": 0, "test": 0}, "at least 1"),
    ([5] * 9, {"valid": -0.1}, "valid is -0.1"), ([5] * 9, {"test": 1.0}, "test is 1.0"),
    ([5] * 9, {"valid": 0.5, "test": 0.5}, "nothing to train on"),
])
def test_bad_splits(sizes, options, named):
    with pytest.raises(ValueError, match=named):
        split_documents(documents_of(sizes), **options)


@given(st.text(st.sampled_from("ab \u0301\u4e2d\n"), max_size=400), st.integers(1, 50))
def test_pieces_of_any_text_are_of_the_wanted_size(text, size):
    pieces = [piece.text for piece in cut_document(Document("d", text), size)]
    assert "".join(pieces) == text
    marks = max(map(len, re.findall("\u0301+", text)), default=0)
    for piece in pieces:
        assert len(piece) < 4 * size + marks + 1
    for before, after in zip(pieces, pieces[1:]):
        assert not after.startswith("\u0301") or before.endswith("\n")


def test_a_long_line_is_cut_behind_a_space():
    pieces = cut_document(Document("d", "12345 " * 20), 20)
    assert {piece.text for piece in pieces} == {"12345 " * 4}
    pieces = cut_document(Document("d", "x" * 100), 20)
    assert [len(piece.text) for piece in pieces] == [20, 20, 20, 40]


@pytest.mark.parametrize("name, message", [
    ("/dev/null", "is a device"), ("/dev/zero", "is a device"), ("folder", "folder/x.txt is a FIFO"),
    ("socket", "is a socket"),
])
def test_what_is_no_text_is_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "x.txt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(ValueError, match=message):
            read_corpus(name)


def test_a_fifo_is_read_by_its_name_but_not_for_ever(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")

    def read(n_bytes):
        writer = threading.Thread(target=write, args=[n_bytes])
        writer.start()
        try:
            return read_corpus(tmp_path / "fifo")
        finally:
            writer.join()

    def write(n_bytes):
        try:
            (tmp_path / "fifo").write_bytes(b"word " * (n_bytes // 5))
        except BrokenPipeError:
            pass  # the reader has seen enough

    assert read(1000) == [Document("fifo", "word " * 200)]
    monkeypatch.setattr("minillm.text.corpus.BYTES_A_BYTE", 10**6)
    with pytest.raises(MemoryError, match="fifo with its tokens takes "):
        read(10**8)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_called_by_its_name(tmp_path, encoding):
    path = tmp_path / "text.txt"
    path.write_text("\ufeff" * (encoding != "utf-16") + "Some text.", encoding=encoding)
    with pytest.raises(ValueError, match=f"^{path}: UTF-16 text, wanted UTF-8"):
        read_corpus(path)
