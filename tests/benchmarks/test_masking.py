"""Personal data that faker makes, in several countries' forms: what is found of it."""

import pytest

from minillm.trust.generated_data import generate, scores
from minillm.trust.masking import find_personal_data

pytest.importorskip("faker")


@pytest.mark.parametrize("locale, recall_of_phones", [
    ("en_US", 0.88), ("en_GB", 0.97), ("zh_CN", 0.99), ("de_DE", 0.85), ("fr_FR", 0.9),
    ("ja_JP", 0.75), ("es_ES", 0.95)])
def test_precision_and_recall_on_fakers_values(locale, recall_of_phones):
    from benchmarks.masking import values_of

    found = scores(generate(1, 300, values_of(locale)), find_personal_data)
    assert found["PHONE"].recall > recall_of_phones
    assert found["CARD"].recall > 0.8  # faker also makes cards with beginnings that nobody issues
    for kind in found.keys() & {"EMAIL", "IP", "IBAN", "RESIDENT_ID"}:
        assert found[kind].recall == 1
    assert all(score.precision > 0.97 for score in found.values())
