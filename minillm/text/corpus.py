"""A corpus is a list of documents: where they come from, and how they are split.

Splits are made by document. If single sentences were dealt out, the neighbours of a validation
sentence would be in the training text, and the validation loss would flatter the model.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

SEPARATOR = "<|endoftext|>"
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".org", ".adoc", ".tex")
FEW_DOCUMENTS = 20  # with fewer, documents are cut up, so that 5 % of them can be held out
WANTED_PIECES = 60
SHORTEST_PIECE, LONGEST_PIECE = 500, 20_000  # characters


class Document(NamedTuple):
    name: str
    text: str


class Splits(NamedTuple):
    train: list
    valid: list
    test: list


def load_corpus(path=None):
    """-> list of Document.

    path None: the topics of `help()` in Python, that is the language reference and the chapter on
    built-in types: real English that every CPython carries (module pydoc_data.topics).
    path of a file: that file, as UTF-8, whatever its suffix.
    path of a folder: all files in it and below it with a suffix of TEXT_SUFFIXES, in order of
    their paths; hidden ones are left out.

    A file in which <|endoftext|> occurs holds several documents, separated by it. Else a file is
    one document; but if there are fewer than 20 documents then, they are cut into about 60 pieces
    at blank lines (see `cut_document`), so that some can be held out for validation.

    Raises FileNotFoundError for a path that isn't there; ValueError for a file that isn't UTF-8
    (the line names it and the place), a folder without text files, and a corpus without text.
    """
    if path is None:
        documents = load_python_topics()
    else:
        documents = [part for name, file in _text_files(Path(path))
                     for part in _split_at_separators(Document(name, read_text(file)))]
    documents = [document for document in documents if document.text.strip()]
    if not documents:
        raise ValueError(f"{path}: no text in it")
    if len(documents) < FEW_DOCUMENTS:
        total = sum(len(document.text) for document in documents)
        size = min(max(total // WANTED_PIECES, SHORTEST_PIECE), LONGEST_PIECE)
        documents = [piece for document in documents for piece in cut_document(document, size)]
    return documents


def load_python_topics():
    """-> the topics of pydoc_data.topics as Documents, in alphabetical order of their names."""
    from pydoc_data.topics import topics

    return [Document(name, text) for name, text in sorted(topics.items())]


def read_text(path):
    """-> the text of a UTF-8 file (a byte-order mark is dropped); ValueError if it isn't UTF-8."""
    data = Path(path).read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at position {error.start}"
        raise ValueError(f"{path}: not UTF-8 text ({byte}: {error.reason})") from None


def _text_files(path):
    """Yield (name, path) of the file, or of the text files below the folder, sorted."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not path.is_dir():
        yield path.name, path
        return
    found = []
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, name) for name in names
                  if name.lower().endswith(TEXT_SUFFIXES) and not name.startswith(".")]
    if not found:
        raise ValueError(f"{path}: no text files in it (wanted {', '.join(TEXT_SUFFIXES)})")
    for file in sorted(found):
        yield file.relative_to(path).as_posix(), file


def _split_at_separators(document):
    parts = document.text.split(SEPARATOR)
    if len(parts) == 1:
        return [document]
    return [Document(f"{document.name}#{n}", part) for n, part in enumerate(parts, 1)]


def cut_document(document, size):
    """Cut a Document into pieces of at least `size` characters each (but for the last).

    A piece ends at the first blank line after `size` characters, or, if no blank line comes within
    another `size` characters, at a line end; a text without line ends stays whole. The texts of
    the pieces, joined, are the text of the document.
    """
    pieces, piece, length = [], [], 0
    for line in document.text.splitlines(keepends=True):
        piece.append(line)
        length += len(line)
        if length >= 2 * size or (length >= size and not line.strip()):
            pieces.append("".join(piece))
            piece, length = [], 0
    if piece:
        pieces.append("".join(piece))
    if len(pieces) <= 1:
        return [document]
    return [Document(f"{document.name}#{n}", text) for n, text in enumerate(pieces, 1)]


def split_documents(documents, valid=0.05, test=0.05, seed=0):
    """Split documents into training, validation and test documents -> Splits, three lists.

    valid, test: the share of all *characters* that each is to have (a count of documents would
    leave it to chance whether one long document falls among them); 0 for none. Every document is
    in exactly one split, in its old order. The same seed gives the same split.
    Raises ValueError if the shares are no shares, or there are too few documents for that.
    """
    for name, share in (("valid", valid), ("test", test)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} is {share}, wanted a share of at least 0 and less than 1")
    if valid + test >= 1:
        raise ValueError(f"valid + test is {valid + test}, which leaves nothing to train on")
    needed = 1 + (valid > 0) + (test > 0)
    if len(documents) < needed:
        raise ValueError(
            f"documents has {len(documents)} document(s), wanted at least {needed} for the splits: "
            f"separate them by a line {SEPARATOR}, or use a longer text with blank lines in it"
        )
    total = sum(len(document.text) for document in documents)
    remaining = np.random.default_rng(seed).permutation(len(documents)).tolist()
    held_out = []
    for others, share in ((1 + (test > 0), valid), (1, test)):
        chosen = _choose(documents, remaining, share * total, len(remaining) - others)
        held_out.append(chosen)
        remaining = [index for index in remaining if index not in chosen]
    groups = [set(remaining), *held_out]
    return Splits(*([documents[index] for index in sorted(group)] for group in groups))


def _choose(documents, order, target, most):
    """-> set of at most `most` indices out of `order` whose texts are together about `target` long.

    Going through `order`, a document is taken if that brings the length nearer to the target; if
    all are too long for that, the shortest one is.
    """
    chosen, length = set(), 0
    for index in order:
        size = len(documents[index].text)
        if len(chosen) < most and abs(length + size - target) < abs(length - target):
            chosen.add(index)
            length += size
    if not chosen and target > 0:
        chosen.add(min(order, key=lambda index: (len(documents[index].text), index)))
    return chosen
