"""The steps before BPE: text as bytes, bytes as printable characters, text split into words.

GPT-2 (Radford et al. 2019, section 2.2) runs byte-pair encoding on the bytes of UTF-8, not on
characters: 256 symbols spell every text in every language, so no text is ever out of vocabulary.
"""

import regex


def byte_to_character():
    """-> {byte: character}, one printable character for each of the 256 bytes.

    vocab.json and merges.txt are text files, and merges.txt separates the two halves of a pair by
    a space. So a token must not contain a space, a newline or part of a UTF-8 sequence. GPT-2
    therefore writes every byte as a visible character: the 188 bytes that are visible in Latin-1
    stand for themselves, and the other 68 take the code points from 256 on, in order. The space
    (byte 32) becomes "Ġ" (256 + 32), the newline (byte 10) becomes "Ċ" (256 + 10).
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1),
               *range(ord("®"), ord("ÿ") + 1)]
    table = {byte: chr(byte) for byte in visible}
    hidden = [byte for byte in range(256) if byte not in table]
    table.update({byte: chr(256 + n) for n, byte in enumerate(hidden)})
    return dict(sorted(table.items()))


BYTE_TO_CHARACTER = byte_to_character()
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}

# GPT-2's pattern. A merge never crosses the boundary of a match, so that "dog." and "dog!" share
# the token "dog". A match is the first of these that fits:
#   an English contraction; an optional space and letters; an optional space and digits;
#   an optional space and characters that are neither white space, letters nor digits;
#   white space, without its last character if a word follows (that one belongs to the word);
#   the remaining white space.
# Every character is in exactly one match. \p{L} and \p{N} follow the Unicode version of the
# installed `regex`, so programs may disagree about the letters of newer versions.
PATTERN = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


def split_words(text):
    """-> list of the words ("pre-tokens") of `text`, which join to `text`"""
    return PATTERN.findall(text)


def text_to_bytes(text):
    """-> `text` in UTF-8. A lone surrogate, which UTF-8 forbids, becomes three bytes."""
    return text.encode("utf-8", "surrogatepass")


def bytes_to_text(data, errors="replace"):
    """-> the text of UTF-8 `data`, the inverse of `text_to_bytes`.

    Any sequence of tokens can be decoded, so `data` may end inside a character. Where it isn't
    UTF-8, `errors` decides as in `bytes.decode`; "replace" inserts U+FFFD.
    """
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", errors)


def spell(data):
    """-> the bytes `data` as printable characters: spell(b" a") == "Ġa"."""
    return "".join(map(BYTE_TO_CHARACTER.__getitem__, data))


def unspell(token):
    """-> the bytes that `token` spells, or None if it contains other characters"""
    try:
        return bytes(map(CHARACTER_TO_BYTE.__getitem__, token))
    except KeyError:
        return None
