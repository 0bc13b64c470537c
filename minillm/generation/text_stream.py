"""From a stream of tokens to a stream of text, which never breaks a character in two."""

import codecs

from minillm.text.byte_level import text_to_bytes, unspell


def text_pieces(tokenizer, ids, skip_special_tokens=True):
    """Yield the text of each id of the iterable `ids` as soon as it is complete.

    A token stands for bytes, and a character outside ASCII is two to four of them, often in
    different tokens: its bytes wait until the last has come. Bytes that are no UTF-8 become U+FFFD.
    The pieces joined are tokenizer.decode(ids, skip_special_tokens), but for lone surrogates, which
    no terminal can show: they are U+FFFD here too.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    special = set(tokenizer.all_special_ids) if skip_special_tokens else ()
    for id in ids:
        if id in special:
            continue
        token = tokenizer.convert_ids_to_tokens(id)
        data = unspell(token)
        piece = decoder.decode(text_to_bytes(token) if data is None else data)
        if piece:
            yield piece
    rest = decoder.decode(b"", final=True)
    if rest:
        yield rest
