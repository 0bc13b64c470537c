"""BIO tags and entity F1: those of conlleval, also for malformed tags."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.tasks.span_f1 import (
    Score,
    bio_entities,
    bio_tags,
    by_type,
    count,
    macro,
    micro,
)

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "span_f1.json").read_text())
TAGS = st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-A-B", "I-A-B"]))


@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_seqeval(case):
    true = [bio_entities(tags) for tags in case["true"]]
    predicted = [bio_entities(tags) for tags in case["predicted"]]
    assert [[list(entity) for entity in entities] for entities in predicted] == case["entities"]
    if "micro" not in case:
        assert micro(predicted, true) == Score(0, 0, 0) and macro(predicted, true) == (0, 0, 0)
        return
    score = micro(predicted, true)
    np.testing.assert_allclose([score.precision, score.recall, score.f1], case["micro"])
    np.testing.assert_allclose(macro(predicted, true), case["macro"])
    types = {kind: [one.precision, one.recall, one.f1, one.true]
             for kind, one in by_type(predicted, true).items()}
    assert types.keys() == case["types"].keys()
    for kind, numbers in types.items():
        np.testing.assert_allclose(numbers, case["types"][kind])


@given(TAGS)
def test_tags_of_entities_of_tags_are_well_formed_and_mean_the_same(tags):
    entities = bio_entities(tags)
    again = bio_tags(entities, len(tags))
    assert bio_entities(again) == entities
    assert [tag == "O" for tag in again] == [tag == "O" for tag in tags]
    for before, tag in zip(["O", *again], again):
        assert not tag.startswith("I-") or before[2:] == tag[2:]


@given(TAGS, TAGS)
def test_f1_is_symmetric_and_lies_between_precision_and_recall(first, second):
    first, second = bio_entities(first), bio_entities(second)
    score, mirrored = count(first, second), count(second, first)
    assert score.f1 == mirrored.f1 and score.precision == mirrored.recall
    assert count(first, first).f1 == bool(first)
    low, high = sorted((score.precision, score.recall))
    assert low - 1e-12 <= score.f1 <= high + 1e-12


@given(st.lists(st.tuples(TAGS, TAGS), max_size=4))
def test_types_add_up_to_micro(texts):
    predicted, true = ([bio_entities(pair[side]) for pair in texts] for side in (0, 1))
    sums = np.sum([(0, 0, 0), *by_type(predicted, true).values()], axis=0)
    assert micro(predicted, true) == tuple(sums)


def test_half_a_name_is_wrong_twice():
    score = count([(0, 1, "PER")], [(0, 2, "PER")])
    assert score == (0, 1, 1) and score.f1 == 0


@pytest.mark.parametrize("tag", ["B", "I-", "X-PER", "-PER", "", "b-PER"])
def test_other_tags_are_refused(tag):
    with pytest.raises(ValueError, match="wanted O, B-TYPE or I-TYPE"):
        bio_entities(["O", tag])


@pytest.mark.parametrize("entities, problem", [
    ([(0, 4, "PER")], "words 0 to 4, wanted 0 to 3"), ([(2, 2, "PER")], "words 2 to 2"),
    ([(0, 2, "PER"), (1, 3, "LOC")], "overlaps"),
])
def test_entities_that_are_no_tags(entities, problem):
    with pytest.raises(ValueError, match=problem):
        bio_tags(entities, 3)


def test_different_numbers_of_texts_are_refused():
    with pytest.raises(ValueError):
        micro([[]], [[], []])
