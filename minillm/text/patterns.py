r"""Regular expressions of foreign files: {"String": "▁"} or {"Regex": "\\p{N}{1,3}"}.

`tokenizers` runs them with Oniguruma, minillm with the module `regex`. The two agree on what the
patterns of tokenizers are made of: classes such as \p{L} and \s, groups, look-ahead, possessive
repeats. Where they don't, the pattern is translated (\w, ^ and $) or refused. One difference stays:
(?i) takes "i" and "İ" for one letter here, and "ss" and "ß" for two.
"""

import regex

from minillm.checks import shown

# What is spelled alike and means something else: escapes of Oniguruma's own, (?m) for "the dot
# matches line ends", and a class within a class.
_FOREIGN_ESCAPES = tuple(rf"\{letter}" for letter in "hHRXyYOKGgNkzZbBW")
_FOREIGN_FLAGS = regex.compile(r"\(\?[a-z]*m")

# \w in Oniguruma: within a class letters, marks, digits and connectors; outside of one also six of
# the numerals of Latin-1. `regex` has the joiners of emoji instead.
_WORD = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"
_NUMERALS = "²³¹¼½¾"


def compile_pattern(pattern):
    """-> the compiled pattern of {"String": …} or {"Regex": …}; ValueError for anything else."""
    if len(pattern) != 1 or not pattern.keys() <= {"String", "Regex"}:
        raise ValueError(f"pattern is {shown(pattern)}, wanted {{'String': …}} or {{'Regex': …}}")
    (kind, text), = pattern.items()
    if kind == "String":
        return regex.compile(regex.escape(text))
    try:
        # In Oniguruma's syntax, ^ and $ always match at line ends, and (?i:ff) matches "ﬀ".
        flags = regex.VERSION0 | regex.MULTILINE | regex.FULLCASE
        return regex.compile(translate(text), flags)
    except regex.error as error:
        raise ValueError(f"pattern {shown(text)} is no regular expression: {error}") from None


def translate(pattern):
    r"""-> `pattern`, written for Oniguruma, as `regex` understands it; ValueError if it can't

    >>> translate(r"\d+|[\w']")
    "\\d+|[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}']"
    """
    parts, in_class = [], False
    for part in regex.findall(r"\\.|\(\?[a-zA-Z]*|&&|.", pattern, regex.DOTALL):
        if part == "[" and not in_class:
            in_class = True
        elif part == "]":
            in_class = False
        elif (part in _FOREIGN_ESCAPES or in_class and part in ("[", "&&")
              or not in_class and _FOREIGN_FLAGS.match(part)):
            if part != r"\W" or in_class:
                raise ValueError(f"pattern {shown(pattern)} uses {shown(part)}, which means "
                                 "something else in Python's regex")
            part = f"[^{_WORD}{_NUMERALS}]"
        elif part == r"\w":
            part = _WORD if in_class else f"[{_WORD}{_NUMERALS}]"
        parts.append(part)
    return "".join(parts)


def matches(pattern, text):
    """Yield (start, end, whether it is a match) of the parts of `text`, in order, all of it

    As in Oniguruma, an empty match directly behind another match is none.
    """
    end = 0
    for match in pattern.finditer(text):
        start, stop = match.span()
        if start == stop == end and end > 0:
            continue
        if end < start:
            yield end, start, False
        yield start, stop, True
        end = stop
    if end < len(text):
        yield end, len(text), False
