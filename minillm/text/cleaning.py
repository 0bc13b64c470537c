"""Cleaning a corpus before training: Unicode form, control characters, duplicates."""

import unicodedata
from typing import NamedTuple

import regex

from minillm.text.corpus import Document, cut_documents, read_corpus

LONG_PARAGRAPH = 40  # characters
_CONTROL = regex.compile(r"[^\P{Cc}\n\t]")
_PARAGRAPH_END = regex.compile(r"(\n[ \t]*\n\s*)")


def clean_text(text):
    """-> `text` in Unicode NFC, without control characters other than "\\n" and "\\t".

    NFC (Unicode Standard Annex 15) writes "é" as one code point. A file may also have "e" with a
    combining accent: the same letter for a reader, but a different word for a byte-level tokenizer.
    The newlines of Windows and old Macs become "\\n". Lone surrogates, which UTF-8 can't encode,
    and a byte-order mark at the beginning are removed, too.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = regex.sub(r"\p{Cs}", "", _CONTROL.sub("", text)).lstrip("\ufeff")
    return unicodedata.normalize("NFC", text)


class Corpus(NamedTuple):
    """Cleaned documents, and messages for the user about the cleaning."""

    documents: list
    notes: list  # such as "1 document cut into 36 pieces", "dropped as duplicates: 5 documents"


def prepare_corpus(path=None):
    """Read the text at `path`, split it if it has few documents, and clean it -> Corpus

    For `path` and the errors see `read_corpus`. Pieces of one document are compared with each other
    for duplicates, too, unless that would remove more than half of a repetitive text, or leave
    fewer pieces than the splits need.
    """
    documents = read_corpus(path)
    pieces = cut_documents(documents)
    cleaned, n_documents, n_paragraphs = _clean(pieces)
    notes = []
    if len(pieces) > len(documents):
        notes.append(f"{_count(len(documents), 'document')} cut into {len(pieces)} pieces of about "
                     f"{_length(pieces) // len(pieces):,} characters, so that some can be held out")
        if _length(cleaned) < _length(pieces) / 2 or len(cleaned) < 3:
            cleaned, n_documents, n_paragraphs = _clean(documents)
            cleaned = cut_documents(cleaned)
            notes.append("the text repeats itself, so held-out text may occur in the training text "
                         "as well")
    if n_documents or n_paragraphs:
        notes.append(f"dropped as duplicates: {_count(n_documents, 'document')}, and "
                     f"{_count(n_paragraphs, 'paragraph')} of others")
    return Corpus(cleaned, notes)


def _count(number, name):
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _length(documents):
    return sum(len(document.text) for document in documents)


def clean_documents(documents, *, drop_repeated_paragraphs=True):
    """Clean every Document, and drop duplicates between them -> list of Document, in the same order

    `clean_text` cleans each text, and blank lines around it are removed. A document equal to an
    earlier one is dropped. So is a paragraph of at least 40 characters that occurs in another
    document: otherwise a model could be tested on text that it was trained on. The longest document
    keeps it (of a chapter and an excerpt, the chapter stays whole). A paragraph repeated within one
    document stays, because no split divides a document. Comparisons ignore white space, because
    quotations are often indented. A document that loses more than half of its text is dropped: the
    rest makes no sense alone.

    The default corpus needs this. Its topics are overlapping parts of one manual: of its 465,000
    characters more than 80,000, one in six, are in paragraphs that two topics share. Without this
    step, about half of all 60-character stretches in a validation split also occur in the training
    split (0 to 91 %, depending on the seed); with it, 0 to 2 % do.
    Raises ValueError if nothing is left.
    """
    cleaned, _, _ = _clean(documents, drop_repeated_paragraphs)
    return cleaned


def _clean(documents, drop_repeated_paragraphs=True):
    """-> (cleaned documents, number of documents dropped, number of paragraphs dropped in others)"""
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
    """-> (`text` without long paragraphs in `seen`, keys of all its long ones, number dropped)"""
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
    """Remove blank lines at both ends; the first line keeps its indentation."""
    return regex.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()
