"""Regular expressions of foreign files: {"String": "▁"} or {"Regex": "\\\\p{N}{1,3}"}.

`tokenizers` runs them with Oniguruma, minillm with the module `regex`. The two agree on what the
patterns of tokenizers are made of (classes such as \\\\p{L} and \\\\s, groups, look-ahead, possessive
repeats); where one spelling means two things, the pattern is refused.
"""

import regex

from minillm.checks import shown

# Oniguruma's own: && and [ within a class, \h for a hexadecimal digit, (?m) for "the dot matches
# line ends", and so on. A backslash that is itself escaped begins none of them.
_OTHER_MEANING = regex.compile(
    r"(?<!\\)(?:\\\\)*(?:(\\[hHRXyYOKGgNkzZ])|(\(\?[a-z]*m)|(\[[^\]\\]*(?:\\.[^\]\\]*)*(?:&&|\[(?!:))))"
)


def compile_pattern(pattern):
    """-> the compiled pattern of {"String": …} or {"Regex": …}; ValueError for anything else."""
    if len(pattern) != 1 or not pattern.keys() <= {"String", "Regex"}:
        raise ValueError(f"pattern is {shown(pattern)}, wanted {{'String': …}} or {{'Regex': …}}")
    (kind, text), = pattern.items()
    if kind == "String":
        return regex.compile(regex.escape(text))
    foreign = _OTHER_MEANING.search(text)
    if foreign:
        found = next(filter(None, foreign.groups()))
        raise ValueError(f"pattern {shown(text)} uses {shown(found)}, which means something else "
                         "in Python's regex")
    try:
        # In Oniguruma's syntax, ^ and $ always match at line ends.
        return regex.compile(text, regex.VERSION0 | regex.MULTILINE)
    except regex.error as error:
        raise ValueError(f"pattern {shown(text)} is no regular expression: {error}") from None


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
