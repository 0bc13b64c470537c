"""Does a text say what it was asked to say, and nothing else?

    coverage        the share of the given attributes that the text mentions
    hallucination   whether it mentions something that wasn't given

    type: chair; color: red; material: oak  ->  "A red chair of pine."   coverage 2/3, invents pine

A value counts as mentioned if it stands in the text as whole words, in upper or lower case, alone
or with a plural s; or one of its other `forms`. A value of a list of known words counts as invented
if it isn't in what was given. So does a number, and a name (a capital letter inside a sentence).
This is exact about words and blind to sense: "not red" mentions red.

The idea is that of the slot error rate of Wen et al. 2015 (section 4.1): slots that are missing,
and slots too many.
"""

import re
from functools import lru_cache

import numpy as np

from minillm.tasks.metrics import Metric, ratio

# A capital that no end of a sentence precedes.
NAME = re.compile(r"(?<=[a-z,;] )[A-Z]\w+")
NUMBER = re.compile(r"(?<!\w)\d+(?:[.,]\d+)*")


def parse_attributes(text):
    """"type=chair; color: red" -> {"type": "chair", "color": "red"}

    Raises ValueError, in one line, for a part without a name or a value, and for a name twice.
    """
    attributes = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, sign, value = re.match(r"([^:=]*)([:=]?)(.*)", part, re.DOTALL).groups()
        name, value = " ".join(name.split()), " ".join(value.split())
        if not (name and sign and value):
            raise ValueError(f"attributes has the part {part.strip()[:40]!r}, wanted name: value")
        if name in attributes:
            raise ValueError(f"attributes has {name!r} twice, wanted one value")
        attributes[name] = value
    if not attributes:
        raise ValueError("attributes is empty, wanted such as type: chair; color: red")
    return attributes


def attributes_text(attributes):
    """{"type": "chair", "color": "red"} -> a text that parse_attributes reads"""
    return "; ".join(f"{name}: {value}" for name, value in attributes.items())


def missing(text, attributes, forms={}):
    """-> list of the names of the attributes that `text` doesn't mention

    forms: {(name, value): list of the ways to say it}, where they aren't the value itself
    """
    return [name for name, value in attributes.items()
            if not any(_mentions(text, form) for form in forms.get((name, value), [value]))]


def coverage(text, attributes, forms={}):
    """-> the share of `attributes` that `text` mentions, 0 to 1"""
    return 1 - len(missing(text, attributes, forms)) / len(attributes)


def invented(text, attributes, known={}, forms={}):
    """-> list of what `text` mentions although it isn't given: known words, numbers, names

    known: {name of an attribute: list of its words}
    """
    given = " ; ".join([*attributes.values(), *(form for item in attributes.items()
                                                for form in forms.get(item, []))])
    # What is given goes first, so that "walnut table lamp" doesn't mention a table.
    rest = text
    for value in sorted(given.split(" ; "), key=len, reverse=True):
        rest = _words(value).sub(" ", rest)
    words = [word for name in known for word in known[name]]
    words += [form for (name, value), others in forms.items() for form in others]
    found = [word for word in words if _mentions(rest, word) and not _mentions(given, word)]
    others = NAME.findall(text) + NUMBER.findall(text)
    return found + [word for word in others
                    if word not in found and not re.search(rf"\b{re.escape(word)}\b", given)]


def distinct(texts, n):
    """The variety of several texts: different n-grams of words / all of them   (Li et al. 2016)"""
    return ratio(*_first_grams(texts, n).sum(axis=0))


class _Distinct(Metric):
    """`distinct` as a sum: each n-gram counts for the text that has it first."""

    def rows(self, predictions, examples):
        return _first_grams(predictions, self.of_example)


def distinct_metric(n):
    """-> Metric: distinct-n of all predictions"""
    return _Distinct(n, lambda sums: ratio(sums[0], sums[1]))


def _first_grams(texts, n):
    """-> float64 (B, 2): how many n-grams of each text no text before it has; how many it has"""
    seen, rows = set(), []
    for text in texts:
        words = re.findall(r"\w+|[^\w\s]", text.lower())
        grams = list(zip(*(words[start:] for start in range(n))))
        rows.append((len(set(grams) - seen), len(grams)))
        seen.update(grams)
    return np.array(rows, np.float64).reshape(-1, 2)


def _mentions(text, value):
    return _words(value).search(text) is not None


@lru_cache(maxsize=1 << 14)
def _words(value):
    """-> the pattern of `value` as whole words"""
    return re.compile(rf"(?<!\w){re.escape(value)}(?:e?s)?(?!\w)", re.IGNORECASE)
