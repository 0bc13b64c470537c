"""Properties of tokens that need no labels: what a probe may look for.

They are about how tokens are written: `tokens` are T strings, with a space in front where a word
begins and "" for special tokens, as `Subject.spelled` gives them.
"""

from typing import NamedTuple


class Property(NamedTuple):
    """what: in a few words;  labels: their names;  rule(tokens, t) -> number of a label, or None"""

    what: str
    labels: list
    rule: object


def label(tokens, name):
    """-> list of T integers: a property of each token of a text, -100 where it can't be told

    name: of PROPERTIES
    """
    if name not in PROPERTIES:
        raise ValueError(f"property is {name!r}, wanted one of {', '.join(PROPERTIES)}")
    rule = PROPERTIES[name].rule
    found = [rule(tokens, t) if tokens[t] else None for t in range(len(tokens))]
    return [-100 if value is None else int(value) for value in found]


def _goes_on(tokens, t):
    """Does the next token belong to the same word?"""
    if t + 1 == len(tokens) or not tokens[t + 1]:
        return None
    return tokens[t][-1:].isalnum() and tokens[t + 1][:1].isalnum()


def _punctuation_next(tokens, t):
    following = tokens[t + 1].strip() if t + 1 < len(tokens) else ""
    return None if not following else not following[0].isalnum()


def _capital(token):
    return any(c.isupper() for c in token)


NO_YES = ["no", "yes"]
PROPERTIES = {
    "space": Property("does it begin with a space?", NO_YES,
                      lambda tokens, t: tokens[t][0].isspace()),
    "capital": Property("has it a capital letter?", NO_YES, lambda tokens, t: _capital(tokens[t])),
    "digit": Property("has it a digit?", NO_YES,
                      lambda tokens, t: any(c.isdigit() for c in tokens[t])),
    "previous-capital": Property("had the token before it a capital letter?", NO_YES,
                                 lambda tokens, t: _capital(tokens[t - 1]) if t else None),
    "position": Property("in which quarter of its text is it?",
                         ["first", "second", "third", "last"],
                         lambda tokens, t: 4 * t // len(tokens)),
    "word-goes-on": Property("is the next token of the same word?", NO_YES, _goes_on),
    "punctuation-next": Property("is the next token punctuation?", NO_YES, _punctuation_next),
}
