"""Cleaning a corpus before a tokenizer or a model sees it."""

import unicodedata

import regex

from minillm.text.corpus import Document

LONG_PARAGRAPH = 80  # characters
_CONTROL = regex.compile(r"[^\P{Cc}\n\t]")
_PARAGRAPH_END = regex.compile(r"(\n[ \t]*\n\s*)")


def clean_text(text):
    """-> `text` in Unicode NFC, lines ended by "\\n", without control characters but "\\n" and "\\t".

    NFC (Unicode Standard Annex 15) writes "é" as one code point, where a file may also have "e"
    and a combining accent: for a reader the same letter, for a byte-level tokenizer two different
    words. Line ends come first, because a "\\r" is a control character too; lone surrogates, which
    no UTF-8 file can hold, go with them.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = regex.sub(r"\p{Cs}", "", _CONTROL.sub("", text))
    return unicodedata.normalize("NFC", text)


def clean_documents(documents, *, drop_repeated_paragraphs=True):
    """Clean every Document and drop what was there before -> list of Document.

    Each text is cleaned by `clean_text` and loses the blank around it. Then, in order: a document
    equal to an earlier one is dropped; so is every paragraph of at least 80 characters that an
    earlier document has, so that a model isn't tested on what it was trained on, whichever
    document falls into which split. (Paragraphs that repeat within one document stay: a document
    is never torn apart by a split.) Texts and paragraphs are compared without regard to white
    space, because quotations are often indented. Documents of which nothing is left are dropped.

    The default corpus needs it. Its topics are parts of one manual that overlap: of its 465,000
    characters 79,000, one in six, are in paragraphs that an earlier topic has. Without this
    step a validation split held at random consists to a large part of training text.
    Raises ValueError if nothing is left.
    """
    seen_texts, seen_paragraphs, cleaned = set(), set(), []
    for document in documents:
        text = clean_text(document.text)
        key = _without_spaces(text)
        if key in seen_texts:
            continue
        seen_texts.add(key)
        if drop_repeated_paragraphs:
            text, paragraphs = _drop_paragraphs(text, seen_paragraphs)
            seen_paragraphs |= paragraphs
        text = _trim(text)
        if text:
            cleaned.append(Document(document.name, text))
    if not cleaned:
        raise ValueError("documents hold no text after cleaning")
    return cleaned


def _drop_paragraphs(text, seen):
    """-> `text` without the long paragraphs whose keys are in `seen`; keys of its long paragraphs."""
    kept, keys = [], set()
    parts = _PARAGRAPH_END.split(text)  # paragraph, blank lines, paragraph, …
    for paragraph, gap in zip(parts[::2], [*parts[1::2], ""]):
        if len(paragraph.strip()) >= LONG_PARAGRAPH:
            key = _without_spaces(paragraph)
            keys.add(key)
            if key in seen:
                continue
        kept += paragraph, gap
    return "".join(kept), keys


def _without_spaces(text):
    return " ".join(text.split())


def _trim(text):
    """Without blank lines at both ends; the first line keeps its indentation."""
    return regex.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()
