"""Cleaning a corpus before a tokenizer or a model sees it."""

import unicodedata
from typing import NamedTuple

import regex

from minillm.text.corpus import Document, cut_documents, read_corpus

LONG_PARAGRAPH = 40  # characters
_CONTROL = regex.compile(r"[^\P{Cc}\n\t]")
_PARAGRAPH_END = regex.compile(r"(\n[ \t]*\n\s*)")


def clean_text(text):
    """-> `text` in Unicode NFC, without control characters other than "\\n" and "\\t".

    NFC (Unicode Standard Annex 15) writes "é" as one code point, where a file may also have "e"
    and a combining accent: for a reader the same letter, for a byte-level tokenizer two different
    words. Windows' and old Mac's line ends become "\\n"; lone surrogates, which no UTF-8 file can
    hold, go with the control characters, and so does a byte-order mark at the beginning.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = regex.sub(r"\p{Cs}", "", _CONTROL.sub("", text)).lstrip("\ufeff")
    return unicodedata.normalize("NFC", text)


class Corpus(NamedTuple):
    """Cleaned documents, and lines for the user about how they were made."""

    documents: list
    notes: list  # such as "1 document cut into 36 pieces", "dropped as duplicates: 5 documents"


def prepare_corpus(path=None):
    """Read the text at `path`, cut it up if it has few documents, and clean it -> Corpus

    For `path` and the errors see `read_corpus`. Pieces that one document was cut into are compared
    with each other too, unless the text repeats itself so much that less than half would be left.
    """
    documents = read_corpus(path)
    pieces = cut_documents(documents)
    cleaned, n_documents, n_paragraphs = _clean(pieces)
    notes = []
    if len(pieces) > len(documents):
        notes.append(f"{_count(len(documents), 'document')} cut into {len(pieces)} pieces of about "
                     f"{_length(pieces) // len(pieces):,} characters, so that some can be held out")
        if _length(cleaned) < _length(pieces) / 2:
            cleaned, n_documents, n_paragraphs = _clean(documents)
            cleaned = cut_documents(cleaned)
            notes.append("the text repeats itself, so what is held out may stand in the training "
                         "text as well")
    if n_documents or n_paragraphs:
        notes.append(f"dropped as duplicates: {_count(n_documents, 'document')}, and "
                     f"{_count(n_paragraphs, 'paragraph')} of others")
    return Corpus(cleaned, notes)


def _count(number, name):
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _length(documents):
    return sum(len(document.text) for document in documents)


def clean_documents(documents, *, drop_repeated_paragraphs=True):
    """Clean every Document and drop what another one has too -> list of Document, in old order.

    Each text is cleaned by `clean_text` and loses the blank lines around it. A document equal to
    an earlier one is dropped. So is a paragraph of at least 40 characters that stands in another
    document, so that a model isn't tested on what it was trained on, whichever document falls into
    which split: the longest document keeps it (of a chapter and an excerpt, the chapter stays
    whole). A paragraph repeated within one document stays, as no split tears a document apart.
    Texts and paragraphs are compared without regard to white space, because quotations are often
    indented. A document that loses more than half of its text is dropped as a whole: what is left
    of it makes no sense alone.

    The default corpus needs it. Its topics are parts of one manual that overlap: of its 465,000
    characters more than 80,000, one in six, are in paragraphs that two topics share. Of all
    stretches of 60 characters in a validation split, those that also stand in the training split
    are about half without this step (0 to 91 %, depending on the seed), and 0 to 2 % with it.
    Raises ValueError if nothing is left.
    """
    cleaned, _, _ = _clean(documents, drop_repeated_paragraphs)
    return cleaned


def _clean(documents, drop_repeated_paragraphs=True):
    """-> (cleaned documents, how many whole ones were dropped, how many paragraphs of others)"""
    texts = [clean_text(document.text) for document in documents]
    keys = [_without_spaces(text) for text in texts]
    seen_texts, seen_paragraphs = set(), set()
    n_documents = n_paragraphs = 0
    for index in sorted(range(len(texts)), key=lambda index: -len(keys[index])):  # longest first
        text = texts[index]
        if not keys[index] or keys[index] in seen_texts:
            texts[index] = ""
            n_documents += bool(keys[index])
            continue
        seen_texts.add(keys[index])
        if drop_repeated_paragraphs:
            rest, paragraphs, dropped = _drop_paragraphs(text, seen_paragraphs)
            seen_paragraphs |= paragraphs
            is_torn = len(rest) <= len(text) / 2
            n_documents += is_torn
            n_paragraphs += 0 if is_torn else dropped
            text = "" if is_torn else rest
        texts[index] = _trim(text)
    cleaned = [Document(document.name, text) for document, text in zip(documents, texts) if text]
    if not cleaned:
        raise ValueError("documents hold no text after cleaning")
    return cleaned, n_documents, n_paragraphs


def _drop_paragraphs(text, seen):
    """-> `text` without its long paragraphs that are in `seen`; the keys of all its long ones; how
    many were dropped"""
    kept, keys, dropped = [], set(), 0
    parts = _PARAGRAPH_END.split(text)  # paragraph, blank lines, paragraph, …
    for paragraph, gap in zip(parts[::2], [*parts[1::2], ""]):
        if len(paragraph.strip()) >= LONG_PARAGRAPH:
            key = _without_spaces(paragraph)
            keys.add(key)
            if key in seen:
                dropped += 1
                continue
        kept += paragraph, gap
    return "".join(kept), keys, dropped


def _without_spaces(text):
    return " ".join(text.split())


def _trim(text):
    """Without blank lines at both ends; the first line keeps its indentation."""
    return regex.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()
