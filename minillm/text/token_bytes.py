"""What a token is alone: its bytes, and a text that people can read."""

import re

from minillm.text.byte_level import text_to_bytes

_BYTE = re.compile("<0x([0-9A-F]{2})>")


def token_bytes(tokenizer, id, token):
    """-> the bytes that a token stands for, in UTF-8; a "▁" is a space

    token: its spelling in the vocabulary; None, of an id without a token, has no bytes
    """
    if token is None:
        return b""
    if hasattr(tokenizer, "token_bytes"):
        return tokenizer.token_bytes(id)
    byte = _BYTE.fullmatch(token)
    if byte:
        return bytes([int(byte[1], 16)])
    prefix = getattr(tokenizer.model, "prefix", "")
    return text_to_bytes((token.removeprefix(prefix) if prefix else token).replace("▁", " "))


def token_text(tokenizer, id):
    """-> the text of a token alone; bytes that are no whole character are written as <E8>

    A token whose text is empty alone, such as "▁", is a space, or what the vocabulary calls it.
    """
    text = tokenizer.decode([id])
    if text and "\ufffd" not in text:
        return text
    spelling = tokenizer.convert_ids_to_tokens(id)
    data = token_bytes(tokenizer, id, spelling)
    return _readable(data) if data else spelling or text


def _readable(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"<{byte:02X}>" for byte in data)
