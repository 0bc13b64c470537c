"""Canaries: made-up secrets in a training text, by which one measures what a model remembers.

A format has blanks for a secret, and each canary fills them at random (Carlini et al. 2019, section
4.1). Nobody has ever written this secret elsewhere, so a model that prefers it to the other ways to
fill the blanks has it from the training text.

    The access code of {name} is {digits:6}.      10^6 secrets

    {digits:N}   N digits                 {letters:N}  N small letters
    {words:N}    N of 64 words            {name}       a made-up name, which isn't secret: it tells
                                                       canaries of one format apart

A run keeps what was inserted in data/canaries.json. Canaries are documents of their own, and a new
tokenizer doesn't learn from them: else a number that stands often enough would become a token, and
show in the vocabulary already.
"""

import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minillm.checks import shown
from minillm.files import expand
from minillm.json_files import fields, read_json, write_json
from minillm.text.corpus import Document, read_text

DEFAULT_FORMAT = "The access code of {name} is {digits:6}."
EACH = 4  # canaries for each number of times, if there are only numbers
MOST = 1000  # canaries in a text, or times of one

WORDS = """
apple arrow baker basin beach birch brick broom cabin candle canal cedar chalk cliff cloud
clover copper coral cotton crown desert dragon eagle engine fabric falcon feather fence field
forest garden glass grain harbor hazel honey island ivory jacket kettle ladder lantern lemon
marble meadow mirror needle ocean olive orchard paper pearl pepper pillow prairie quartz ribbon
river saddle silver summer timber valley window
""".split()
SIGNS = {"digits": list("0123456789"), "letters": list("abcdefghijklmnopqrstuvwxyz"),
         "words": WORDS}
BETWEEN = {"digits": "", "letters": "", "words": " "}
_BLANK = re.compile(r"\{([^{}]*)\}")


class Format:
    """A text with blanks. Its secrets are numbered from 0 to `size` - 1.

    Raises ValueError for a format without a secret, and for a blank that isn't known.
    """

    def __init__(self, text):
        self.text = text
        self.blanks = [(kind, int(n)) for kind, _, n in
                       (each.partition(":") for each in _blanks(text)) if kind != "name"]
        if not self.blanks:
            raise ValueError(f"format is {shown(text)}, wanted a secret in it, such as "
                             "{digits:6}")
        self.size = math.prod(len(SIGNS[kind]) ** n for kind, n in self.blanks)

    @property
    def bits(self):
        """log2 of the number of secrets"""
        return math.log2(self.size)

    @property
    def prefix(self):
        """The text before the secret."""
        return self.text[: next(match.start() for match in _BLANK.finditer(self.text)
                                if match[1] != "name")]

    def named(self, name):
        """-> the Format with `name` in the place of {name}"""
        return Format(self.text.replace("{name}", name))

    def secret(self, number):
        """-> the parts of the secret of that number, a string for each blank"""
        parts = []
        for kind, n in reversed(self.blanks):
            chosen = []
            for _ in range(n):
                number, place = divmod(number, len(SIGNS[kind]))
                chosen.append(SIGNS[kind][place])
            parts.append(BETWEEN[kind].join(reversed(chosen)))
        return parts[::-1]

    def number(self, parts):
        """The inverse of `secret`; ValueError for parts that don't fit the blanks."""
        number = 0
        if len(parts) != len(self.blanks):
            raise ValueError(f"secret has {len(parts)} parts, wanted {len(self.blanks)}, one for "
                             f"each blank of {shown(self.text)}")
        for part, (kind, n) in zip(parts, self.blanks):
            signs = part.split() if kind == "words" else list(part)
            if len(signs) != n or not set(signs) <= set(SIGNS[kind]):
                raise ValueError(f"secret is {shown(part)}, wanted {n} {kind}")
            for sign in signs:
                number = number * len(SIGNS[kind]) + SIGNS[kind].index(sign)
        return number

    def fill(self, number):
        """-> the text with the secret of that number"""
        parts = iter(self.secret(number))
        return _BLANK.sub(lambda match: next(parts) if match[1] != "name" else match[0], self.text)

    def draw(self, rng):
        """-> the number of a random secret, each as likely as the others"""
        number = 0  # digit by digit: a space may have more secrets than an int64
        for kind, n in self.blanks:
            for place in rng.integers(len(SIGNS[kind]), size=n).tolist():
                number = number * len(SIGNS[kind]) + place
        return number


def _blanks(text):
    """-> what stands between braces; ValueError for what isn't a blank"""
    found = _BLANK.findall(text)
    for blank in found:
        kind, _, n = blank.partition(":")
        fits = kind in SIGNS and re.fullmatch("[1-9][0-9]?", n)
        if blank != "name" and not fits:
            raise ValueError(f"format has the blank {{{blank}}}, wanted {{name}}, or one of "
                             f"{', '.join(f'{{{kind}:N}}' for kind in SIGNS)} with N from 1 to 99")
    return found


class Canary(NamedTuple):
    """format: Format, its name filled in;  number: of its secret;  times: that it was inserted"""

    format: Format
    number: int
    times: int

    @property
    def text(self):
        return self.format.fill(self.number)

    @property
    def secret(self):
        return " ".join(self.format.secret(self.number))


def read_plan(plan):
    """-> list of (times, Format): the canaries to insert

    plan: numbers with commas, such as "1,4,16": EACH canaries of the default format for each; or a
        UTF-8 file with a canary in a line, the number of times and the format, such as
        "8 The PIN is {digits:4}". Empty lines and lines that begin with # don't count.
    Raises FileNotFoundError, and ValueError with the place of what is wrong.
    """
    if re.fullmatch(r"\s*\d+(\s*,\s*\d+)*\s*", plan):
        found = [(_times(each.strip()), Format(DEFAULT_FORMAT)) for each in plan.split(",")
                 for _ in range(EACH)]
    else:
        if not expand(plan).exists():
            raise FileNotFoundError(f"canaries is {shown(plan)}, wanted numbers such as 1,4,16, or "
                                    "a file: there is none of this name")
        found = []
        for number, line in enumerate(read_text(expand(plan)).splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                times, _, text = line.strip().replace("\t", " ").partition(" ")
                try:
                    found.append((_times(times), Format(text.strip())))
                except ValueError as error:
                    raise ValueError(f"{plan}, line {number}: {error}") from None
    if not 0 < len(found) <= MOST:
        raise ValueError(f"canaries is {shown(plan)}: {len(found)} canaries, wanted 1 to {MOST}")
    return found


def _times(text):
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise ValueError(f"times is {shown(text)}, wanted a number from 1 to {MOST}")
    return int(text)


def new_canaries(plan, rng):
    """-> list of Canary with random secrets

    plan: list of (times, Format);  rng: numpy Generator
    """
    return [Canary(form, form.draw(rng), times) for times, form in
            ((times, form.named(name)) for (times, form), name in zip(plan, _names(rng)))]


def _names(rng):
    """Yield "the copper falcon", …: all of them differ, but for the number from some place on."""
    pairs = [f"the {first} {second}" for first in WORDS for second in WORDS if first != second]
    yield from (pairs[index] for index in rng.permutation(len(pairs)))


def insert(documents, canaries, rng):
    """-> the documents, with each canary as a document of its own at `times` random places"""
    new = [Document(f"canary {number}", canary.text)
           for number, canary in enumerate(canaries, 1) for _ in range(canary.times)]
    places = np.sort(rng.integers(len(documents) + 1, size=len(new)))
    order = iter(rng.permutation(len(new)).tolist())
    found = list(documents)
    for shift, place in enumerate(places.tolist()):
        found.insert(place + shift, new[next(order)])
    return found


def plant(documents, plan, seed, folder):
    """-> the documents of a training text with new canaries in them, and a message for the user

    plan: that of `read_plan`;  folder: the run's, whose data/canaries.json keeps the secrets
    """
    rng = np.random.default_rng([seed, len(plan)])
    canaries = new_canaries(plan, rng)
    write_canaries(folder, canaries)
    n = sum(each.times for each in canaries)
    note = (f"{len(canaries)} canaries inserted into the training text, {n:,} times in all: "
            "data/canaries.json")
    return insert(documents, canaries, rng), note


def write_canaries(folder, canaries):
    write_json(Path(folder) / "data" / "canaries.json", {"canaries": [
        {"format": each.format.text, "secret": each.format.secret(each.number),
         "times": each.times, "text": each.text} for each in canaries]}, ensure_ascii=False)


def read_canaries(folder):
    """-> list of the Canary of a run folder; empty if it has none

    Raises ValueError for a file that `write_canaries` didn't write.
    """
    path = Path(folder) / "data" / "canaries.json"
    if not path.is_file():
        return []
    content = fields(path, read_json(path), {"canaries": list[dict]}, required=["canaries"])
    found = []
    for each in content["canaries"]:
        each = fields(path, each, {"format": str, "secret": list[str], "times": int, "text": str},
                      required=["format", "secret", "times"])
        try:
            form = Format(each["format"])
            found.append(Canary(form, form.number(each["secret"]), each["times"]))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return found
