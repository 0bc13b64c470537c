"""What a text mentions of its attributes, and what it makes up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.tasks.coverage import (
    attributes_text,
    coverage,
    distinct,
    distinct_metric,
    invented,
    missing,
    parse_attributes,
)
from minillm.tasks.intervals import score

KNOWN = {"type": ["chair", "table", "table lamp"], "color": ["red", "blue"], "material": ["oak"]}
FORMS = {("price", "low"): ["affordable", "low price"], ("price", "high"): ["luxury"]}
words = st.text(st.sampled_from("abcdef"), min_size=1, max_size=6)


def test_values_count_as_whole_words_in_any_case():
    given_attributes = {"type": "chair", "color": "red", "material": "oak"}
    assert missing("Red chairs of pine.", given_attributes) == ["material"]
    assert missing("A bored armchair on a cloak.", given_attributes) == ["type", "color",
                                                                         "material"]
    assert coverage("A red chair of pine", given_attributes) == pytest.approx(2 / 3)


def test_other_forms_of_a_value():
    assert missing("It has a low price.", {"price": "low"}, FORMS) == []
    assert missing("The price is low.", {"price": "low"}, FORMS) == ["price"]
    assert invented("A luxury.", {"price": "low"}, KNOWN, FORMS) == ["luxury"]
    assert invented("Affordable!", {"price": "low"}, KNOWN, FORMS) == []


def test_what_is_made_up():
    lamp = {"type": "table lamp", "brand": "Velora Works", "size": "45 cm"}
    assert invented("Velora Works has made a table lamp of 45 cm. It lasts.", lamp, KNOWN) == []
    assert invented("A red table lamp on a chair.", lamp, KNOWN) == ["chair", "red"]
    assert invented("A lamp by Velorra Works, 46 cm.", lamp, KNOWN) == ["Velorra", "46"]
    # A part of what is given is no invention.
    assert invented("A table lamp for your table.", lamp, KNOWN) == []
    assert invented("It is blue.", {"color": "dark blue"}, KNOWN) == []


@given(st.dictionaries(words, words, min_size=1, max_size=5))
def test_attributes_are_read_as_they_are_written(attributes):
    text = attributes_text(attributes)
    assert parse_attributes(text) == attributes == parse_attributes(text.replace(":", "="))
    sentence = " ".join(attributes.values())
    assert missing(sentence, attributes) == [] == invented(sentence, attributes, KNOWN)


@pytest.mark.parametrize("text, error", [
    ("", "attributes is empty"), (" ; ", "attributes is empty"),
    ("chair", "has the part 'chair', wanted name: value"),
    ("type: chair; color:", "has the part 'color:', wanted name: value"),
    ("a: 1; a: 2", "has 'a' twice"),
])
def test_wrong_attributes(text, error):
    with pytest.raises(ValueError, match=error):
        parse_attributes(text)


@given(st.lists(st.text("ab ", max_size=12), min_size=1, max_size=6), st.integers(1, 3))
def test_distinct_is_the_share_of_different_ngrams(texts, n):
    grams = [tuple(text.split()[i : i + n]) for text in texts
             for i in range(len(text.split()) - n + 1)]
    share = len(set(grams)) / len(grams) if grams else 0
    assert distinct(texts, n) == pytest.approx(share)
    found = score(distinct_metric(n), texts, [None] * len(texts))
    assert found.value == pytest.approx(share) and found.low <= found.value + 1e-9
    assert np.isfinite(found).all()
