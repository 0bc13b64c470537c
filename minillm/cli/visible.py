"""Text from strangers on a terminal. A module without rich, which is slow to import."""

import re

# Characters that a terminal obeys instead of showing: C0 and C1 controls (ESC starts a command,
# "\r" returns to the start of the line), marks that reverse the direction of text, Unicode's line
# separators. Lone surrogates can't be encoded at all. "\n" and "\t" are text.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text):
    """-> `text` with everything that a terminal would obey written as an escape: "\\x1b[2J"

    Tokens, prompts and the names of tensors and files are untrusted. They may contain commands that
    clear the screen, recolor it or retitle the window.
    """
    return _OBEYED.sub(lambda match: ascii(match[0])[1:-1], text)


def cut(text, limit=1000):
    """-> `text` without its middle if it is longer than `limit`: an argument can be megabytes"""
    return text if len(text) <= limit else f"{text[: limit - 203]}...{text[-200:]}"
