r"""Regular expressions in tokenizer.json: {"String": "▁"} or {"Regex": "\\p{N}{1,3}"}.

`tokenizers` runs them with Oniguruma, minillm with the module `regex`. The two agree on most of the
syntax in use: classes such as \p{L} and \s, groups, look-ahead, possessive repeats. Where they
don't, minillm translates the pattern (\w, ^ and $) or refuses it. One difference remains: here (?i)
matches "i" with "İ", but not "ss" with "ß".
"""

import regex

from minillm.checks import shown

# Syntax with a different meaning in the two: some escapes, (?m) for "the dot matches newlines", and
# a class within a class.
_FOREIGN_ESCAPES = tuple(rf"\{letter}" for letter in "hHRXyYOKGgNkzZbBW")
_FOREIGN_FLAGS = regex.compile(r"\(\?[a-z]*m")

# \w in Oniguruma: letters, marks, digits and connectors within a class; outside of one, also six
# numerals of Latin-1. In `regex` it includes the joiners of emoji instead.
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
    r"""-> a pattern of Oniguruma in the syntax of `regex`; ValueError if that isn't possible

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
    """Yield (start, end, whether it is a match) for the matches in `text` and the parts between

    As in Oniguruma, an empty match right after another match is ignored.
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
