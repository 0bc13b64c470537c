"""python -m benchmarks.masking: how much personal data is found, and how much else is taken for it.

Values of this project (minillm/trust/generated_data.py) and of faker (a test dependency) in several
countries' formats, among near misses. Writes benchmarks/results/DATE-masking.md.
"""

import datetime
import sys
import time
from pathlib import Path

import faker

from minillm.files import atomic_write
from minillm.trust.generated_data import generate, scores
from minillm.trust.masking import find_personal_data

LOCALES = ("en_US", "en_GB", "zh_CN", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR", "ja_JP", "ru_RU",
           "nl_NL", "pl_PL")
N = 2000


def values_of(locale, seed=0):
    """-> {kind: list of functions rng -> value} of a locale of faker"""
    fake = faker.Faker(locale)
    fake.seed_instance(seed)
    values = {"EMAIL": [fake.email], "PHONE": [fake.phone_number], "IBAN": [fake.iban],
              "CARD": [fake.credit_card_number],
              "IP": [fake.ipv4, fake.ipv6]}
    if locale == "zh_CN":  # where faker's IBANs are British ones, a character too short
        values["RESIDENT_ID"] = [fake.ssn]
        del values["IBAN"]
    return {kind: [lambda rng, make=make: make() for make in makes]
            for kind, makes in values.items()}


def table(n=N):
    """-> list of rows (source, kind, Score)"""
    sources = {"minillm": generate(0, n)} | {
        f"faker {locale}": generate(0, n, values_of(locale)) for locale in LOCALES}
    return [(name, kind, score) for name, sentences in sources.items()
            for kind, score in scores(sentences, find_personal_data).items()]


def main():
    started = time.perf_counter()
    rows = table()
    lines = ["# Masking: precision and recall on generated sentences", "",
             f"{N:,} sentences of each source, 30 % of the places filled with near misses. A value "
             "is found if a find of its kind covers all of it.", "",
             "| source | kind | values | recall | precision |",
             "| --- | --- | ---: | ---: | ---: |",
             *(f"| {name} | {kind} | {score.n:,} | {score.recall:.3f} | {score.precision:.3f} |"
               for name, kind, score in rows)]
    text = "\n".join(lines) + "\n"
    path = Path(__file__).parent / "results" / f"{datetime.date.today()}-masking.md"
    with atomic_write(path, "w") as file:
        file.write(text)
    print(text)
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
