"""Text from strangers on a terminal. A module without rich, which is slow to import."""

import re

# What a terminal obeys instead of showing it: C0 and C1 controls (ESC begins a command, "\r" goes
# back to the start of the line), marks that turn the direction of the text around, line separators
# of Unicode. Lone surrogates can't be written at all. "\n" and "\t" are text.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text):
    """-> `text` with everything that a terminal would obey written as an escape: "\\x1b[2J"

    Tokens, prompts and the names of tensors and files come from strangers, and may hold commands
    that clear the screen, recolour it or retitle the window.
    """
    return _OBEYED.sub(lambda match: ascii(match[0])[1:-1], text)
