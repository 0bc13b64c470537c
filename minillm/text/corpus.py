"""A corpus is a list of documents: read it, and split it into training, validation and test text.

Splits keep documents whole. If they divided them, the neighbors of a validation sentence would be
in the training text, and the validation loss would flatter the model.
"""

import codecs
import os
import stat
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minillm.checks import require_memory
from minillm.files import expand

SEPARATOR = "<|endoftext|>"
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".org", ".adoc", ".tex")
FEW_DOCUMENTS = 20  # with fewer, documents are split, so that 5 % of them can be held out
WANTED_PIECES = 60
SHORTEST_PIECE, LONGEST_PIECE = 500, 20_000  # characters
BYTES_A_BYTE = 12  # memory per byte of text: the bytes, the text, its cleaned copies


class Document(NamedTuple):
    name: str
    text: str


class Splits(NamedTuple):
    train: list
    valid: list
    test: list


def load_corpus(path=None):
    """`read_corpus`, with few documents cut by `cut_documents` -> list of Document"""
    return cut_documents(read_corpus(path))


def read_corpus(path=None):
    """-> list of Document.

    path: None: the topics of Python's `help()`, which are the language reference and the chapter on
            built-in types: real English that every CPython carries (module pydoc_data.topics)
        a file: read as UTF-8, whatever its suffix; also a FIFO, such as /dev/stdin
        a folder: all files in and below it with one of TEXT_SUFFIXES, sorted by path, without
            hidden ones

    <|endoftext|> in a file separates documents; otherwise a file is one document.

    Raises FileNotFoundError for a path that doesn't exist; ValueError for a file that isn't UTF-8
    (naming the file and the place), for a device, a folder without text files, and a corpus without
    text; MemoryError for more text than fits in this machine's memory.
    """
    if path is None:
        documents = load_python_topics()
    else:
        documents = [part for name, file in text_files(expand(path))
                     for part in _split_at_separators(Document(name, read_text(file)))]
    documents = [document for document in documents if document.text.strip()]
    if not documents:
        raise ValueError(f"{path}: no text in it")
    return documents


def cut_documents(documents):
    """If there are fewer than 20 documents, split them, so that some can be held out.

    Together they become about 60 pieces of 500 to 20,000 characters. A text too short for three
    such pieces becomes about 20 shorter ones. `cut_document` chooses the places.
    """
    if len(documents) >= FEW_DOCUMENTS:
        return documents
    total = sum(len(document.text) for document in documents)
    size = min(max(total // WANTED_PIECES, SHORTEST_PIECE), LONGEST_PIECE)
    pieces = [piece for document in documents for piece in cut_document(document, size)]
    if len(pieces) >= 3:  # to train, to validate and to test on
        return pieces
    size = max(1, total // FEW_DOCUMENTS)
    return [piece for document in documents for piece in cut_document(document, size)]


def load_python_topics():
    """-> the topics of pydoc_data.topics as Documents, sorted by name"""
    from pydoc_data.topics import topics

    return [Document(name, text) for name, text in sorted(topics.items())]


def read_text(path):
    """-> the text of a UTF-8 file or a FIFO; ValueError if it isn't UTF-8, or is a device"""
    path = Path(path)
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(f"{path} is a folder, wanted a text file")
    if not stat.S_ISREG(kind) and not stat.S_ISFIFO(kind):
        what = "a device" if stat.S_ISCHR(kind) or stat.S_ISBLK(kind) else "a socket"
        raise ValueError(f"{path} is {what}, wanted a text file, a folder or a FIFO")
    return decode_text(_read_bytes(path), path)


def decode_text(data, name):
    """-> the text of the bytes `data`, without a byte-order mark; ValueError if it isn't UTF-8

    name: the source that an error names, such as "standard input"
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at position {error.start}"
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ValueError(f"{name}: UTF-16 text, wanted UTF-8") from None
        raise ValueError(f"{name}: not UTF-8 text ({byte}: {error.reason})") from None


def _read_bytes(path):
    """-> all of a file; MemoryError if it is too long, which for a FIFO shows only while reading"""
    with open(path, "rb") as file:
        require_memory(f"{path} with its tokens", BYTES_A_BYTE * os.fstat(file.fileno()).st_size)
        parts, size = [], 0
        while part := file.read(1 << 24):
            parts.append(part)
            size += len(part)
            require_memory(f"{path} with its tokens", BYTES_A_BYTE * size)
    return b"".join(parts)


def text_files(path, suffixes=TEXT_SUFFIXES):
    """Yield (name, path) of the file, or of the files below the folder with `suffixes`, sorted.

    Hidden files and folders are left out. Raises FileNotFoundError if `path` doesn't exist, and
    ValueError for a folder without such files, and for a FIFO in one.
    """
    for name, file in files_below(path, suffixes):
        if file.is_fifo() and file != path:  # reading it would wait for a process that writes to it
            raise ValueError(f"{file} is a FIFO: to read it, pass its path")
        yield name, file


def files_below(path, suffixes):
    """-> list of (name, path) as text_files finds them, whatever kind of file each of them is"""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [(path.name, path)]
    found = []
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, name) for name in names
                  if name.lower().endswith(suffixes) and not name.startswith(".")]
    if not found:
        raise ValueError(f"{path}: no text files in it (wanted {', '.join(suffixes)})")
    return [(file.relative_to(path).as_posix(), file) for file in sorted(found)]


def _split_at_separators(document):
    parts = document.text.split(SEPARATOR)
    if len(parts) == 1:
        return [document]
    return [Document(f"{document.name}#{n}", part) for n, part in enumerate(parts, 1)]


def cut_document(document, size):
    """Split a Document into pieces of at least `size` characters (the last may be shorter).

    A piece ends at the first blank line after `size` characters; if there is none within another
    `size` characters, at a newline. A longer line is cut after a space or, if it has none, between
    two characters (but not before a combining mark). The pieces join to the text of the document.
    """
    pieces, piece, length = [], [], 0
    for line in document.text.splitlines(keepends=True):
        for part in _cut_line(line, size):
            piece.append(part)
            length += len(part)
            ends = not part.strip() or part is not line  # a blank line, or a place in a long one
            if length >= 2 * size or (length >= size and ends):
                pieces.append("".join(piece))
                piece, length = [], 0
    if piece:
        pieces.append("".join(piece))
    if len(pieces) <= 1:
        return [document]
    return [Document(f"{document.name}#{n}", text) for n, text in enumerate(pieces, 1)]


def _cut_line(line, size):
    """-> [line]; for a line of more than 2 · size characters, its parts of `size` to 2 · size"""
    parts, start = [], 0
    while len(line) - start > 2 * size:
        end = start + size
        while end < start + 2 * size and not line[end - 1].isspace():
            end += 1
        if not line[end - 1].isspace():
            end = start + size
        while end < len(line) and unicodedata.combining(line[end]):
            end += 1
        parts.append(line[start:end])
        start = end
    return [*parts, line[start:]] if parts else [line]


def split_documents(documents, valid=0.05, test=0.05, seed=0):
    """Split documents into training, validation and test documents -> Splits, three lists.

    valid, test: the share of all *characters* for each, 0 for none. (A share of documents would
        depend on whether a long one happens to be among them.)

    Every document is in exactly one split, in the original order. The same seed gives the same
    split. Raises ValueError for shares out of range, and for too few documents.
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
            "use a longer text, or hold nothing out (valid 0, test 0)"
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
    """-> set of at most `most` indices of `order`, whose texts have about `target` characters

    Go through `order` and take each document that brings the length closer to the target. If all
    are too long for that, take the shortest.
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
