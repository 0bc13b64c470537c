"""The numbers in a chapter's prose are computed again: an HTML comment behind each says how.

    *apple* gets 0.572<!-- = P[0, 2] --> of it         agrees to the digits shown
    57 %<!-- = P[0, 2] -->                             a percentage is 100 times the value
    0.142, 0.285 and 0.572<!-- = P[0] -->              the last numbers, in order
    about 2.1<!-- ≈ losses[-1] ± 0.2 -->               within 0.2: training differs between chips
    a rate of 0.1<!-- given -->                        a setting, or a fact with its source

Renderings of Markdown leave comments out. The expressions are evaluated after the cell above.
"""

import re
from dataclasses import dataclass

import numpy as np

_NUMBER = (
    r"(?<![\w.])[-−]?\d+(?:(?:,|\{,\})\d{3})*(?:\.\d+)?(?!\.?\d)"
    r"(?:\s*(?:\\times|\\cdot|×|·)\s*10"
    r"(?:\^\{?(?P<exponent>-?\d+)\}?|(?P<power>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)))?"
    r"(?P<percent>\s*\\?%)?"
)
_PLACES = (r"sec|secs|section|sections|eq|eqs|fig|figure|table|alg|appendix|chapter|chapters|"
           r"exercise|exercises|version|python|arxiv:|pp?\.")  # "sec. 3.2" is no number
_TOKEN = re.compile(
    "|".join([
        r"(?P<skipped>^```.*?^```[^\n]*$",  # code in other languages
        r"^\#[^\n]*$",  # headings
        r"(?P<ticks>`+).*?(?P=ticks)",  # inline code
        r"<summary>.*?</summary>",
        r"</?[a-zA-Z][^>]*>",
        r"\]\([^)]*\)",  # the target of a link
        rf"\b(?:{_PLACES})\.?\s*[\d.]+\d(?:\s*(?:and|to|,|–)\s*[\d.]+\d)*)",
        r"(?P<check><!--\s*[=≈](?P<expression>.*?)-->)",
        r"(?P<given><!--\s*given\b.*?-->)",
        r"(?P<comment><!--.*?-->)",
        r"(?P<math>\$\$.*?\$\$|(?<!\\)\$[^$\n]+?(?:\n[^$\n]+?)*\$)",
        r"(?P<paragraph>\n\s*\n(?!\s*<!--))",  # a comment alone belongs to the formula above it
        rf"(?P<number>{_NUMBER})",
    ]),
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_SOURCES = re.compile(r"^## Sources$.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_RESULT = re.compile(r".*(?:=|≈|\\approx|\\simeq)", re.DOTALL)  # all before a formula's result
_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


@dataclass
class Number:
    """A number as the prose shows it."""

    text: str
    value: float
    half_digit: float  # half a unit of the last digit
    scale: float  # 100 for a percentage
    needs_check: bool
    line: int


@dataclass
class NumberCheck:
    """Numbers, and the expression that computes them."""

    numbers: list  # those in front of it, since the last check
    expression: str
    tolerance: float | None  # None: to the digits shown
    line: int

    def problems(self, namespace):
        """Compute the expression -> list of sentences, one for each number that doesn't agree"""
        where = f"line {self.line}"
        try:
            values = np.ravel(np.asarray(eval(self.expression, namespace), dtype=float)).tolist()
        except Exception as error:
            self.numbers.clear()
            return [f"{where}: {self.expression}: {type(error).__name__}: {error}"]
        if len(values) > len(self.numbers):
            count = len(self.numbers)
            self.numbers.clear()
            return [f"{where}: {self.expression} has {len(values)} values for {count} numbers in "
                    "front of it"]
        found = []
        for number, value in zip(self.numbers[len(self.numbers) - len(values):], values):
            allowed = number.half_digit * (1 + 1e-6) if self.tolerance is None else self.tolerance
            if not abs(number.scale * value - number.value) <= allowed:
                found.append(f"{where}: the prose says {number.text}, but {self.expression} is "
                             f"{number.scale * value:.7g}")
            number.needs_check = False
        return found


def read_numbers(prose):
    """Prose -> list of NumberCheck, list of Numbers that no comment vouches for

    The numbers in front of a check are in the check. How many of them it covers is known when its
    expression has been computed.
    """
    text = _SOURCES.sub(lambda match: "\n" * match[0].count("\n"), prose.text)
    checks, pending, unchecked = [], [], []
    for match in _TOKEN.finditer(text):
        line = prose.line + text.count("\n", 0, match.start())
        if match["check"]:
            expression, _, tolerance = match["expression"].partition("±")
            checks.append(NumberCheck(pending, expression.strip(),
                                      float(tolerance) if tolerance.strip() else None, line))
            pending = []
        elif match["given"]:
            pending = []
        elif match["math"]:
            formula = match["math"].strip("$")
            before = _RESULT.match(formula)
            numbers = re.finditer(_NUMBER, formula[before.end() if before else 0 :])
            pending += [_number(number, line) for number in numbers]
        elif match["paragraph"]:
            unchecked += pending
            pending = []
        elif match["number"]:
            pending.append(_number(match, line))
    return checks, [number for number in unchecked + pending if number.needs_check]


def _number(match, line):
    text = re.sub(r"\s*(\\times|\\cdot|×|·).*", "", match[0], flags=re.DOTALL)
    text = text.rstrip("\\% \n").replace("−", "-")
    plain = text.replace("{,}", "").replace(",", "")
    exponent = match["exponent"] or (match["power"] or "0").translate(_SUPERSCRIPTS)
    factor = 10.0 ** int(exponent)
    decimals = len(plain.partition(".")[2])
    computed = bool(decimals or match["percent"] or "," in text)
    return Number(match[0].strip(), float(plain) * factor, 0.5 * 10.0**-decimals * factor,
                  100.0 if match["percent"] else 1.0, computed, line)


def run_checks(prose, namespace):
    """Compute all numbers of a part of a chapter again -> list of problems, each a sentence"""
    checks, unchecked = read_numbers(prose)
    problems = []
    for check in checks:
        problems += check.problems(namespace)
        unchecked += [number for number in check.numbers if number.needs_check]
    return problems + [
        f"line {number.line}: nothing checks the number {number.text}: write "
        "<!-- = expression --> behind it, or <!-- given -->" for number in unchecked
    ]
