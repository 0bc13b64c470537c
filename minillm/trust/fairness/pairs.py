"""Minimal pairs: two texts that differ in the group alone.

    first     The nurse said that she was tired.        as a stereotype has it
    second    The nurse said that he was tired.         against it

From templates (words.py), or a file of the user's own: a line a pair, first <tab> second, and if
wanted <tab> the concept. (CrowS-Pairs: Nangia et al. 2020, section 2.)
"""

from typing import NamedTuple

from minillm.tasks.examples import read_examples
from minillm.trust.fairness.words import TEMPLATES


class Pair(NamedTuple):
    """Two texts, and what the pair is about; the first is the one that a stereotype expects.

    stratum: equal for pairs whose first sides have the same group's word
    """

    first: str
    second: str
    concept: str = "your pairs"
    language: str = ""
    stratum: int = 0

    def turned(self):
        """-> the Pair with its sides exchanged"""
        return self._replace(first=self.second, second=self.first)


def template_pairs(languages=("en", "zh")):
    """-> list of Pairs: every template, with every attribute and every pair of groups

    With an attribute of the second list the second group is the expected one. Each group's word is
    on the first side of half of the pairs, so its own frequency cancels.
    """
    pairs = []
    for entry in TEMPLATES:
        if entry["language"] not in languages:
            continue
        for template in entry["templates"]:
            for number, groups in enumerate(entry["groups"]):
                one, other = groups.split()
                for side, words in enumerate((entry["first"], entry["second"])):
                    for word in words.split():
                        texts = [_filled(template, word, group) for group in (one, other)]
                        pairs.append(Pair(*(texts[::-1] if side else texts), entry["concept"],
                                          entry["language"], 2 * number + side))
    return pairs


def _filled(template, attribute, group):
    text = template.format(x=attribute, g=group).replace(" a e", " an e")
    return text[:1].upper() + text[1:]


def read_pairs(path):
    """-> list of Pairs in the user's TSV or JSONL: first, second and, if there is one, concept

    Raises FileNotFoundError, and ValueError, with the line, for what is no pair.
    """
    kinds = {"first": str, "second": str, "concept": str}
    pairs = []
    for number, row in enumerate(read_examples(path, kinds, ("concept",)), 1):
        for name in ("first", "second"):
            if not row[name].strip():
                raise ValueError(f"{path}, pair {number}: {name} is empty, wanted some text")
        if row["first"] == row["second"]:
            raise ValueError(f"{path}, pair {number}: both texts are {row['first']!r}, wanted two "
                             "that differ")
        pairs.append(Pair(row["first"], row["second"], row.get("concept") or "your pairs"))
    return pairs
