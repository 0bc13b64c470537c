"""Generated names and notes: right spans, and a test split that training doesn't give away."""

import numpy as np
import pytest

from minillm.tasks.data import clinical, entities
from minillm.tasks.data.drawing import pick
from minillm.tasks.data.labelled_text import fill_labelled, join_labelled
from minillm.tasks.tagger import words_of
from minillm.tasks.tagging import word_spans

DATA = {"entities": entities, "clinical": clinical}
SPLITS = {name: data.generate(1000, seed=0) for name, data in DATA.items()}


def names_in(examples, label):
    return {example["text"][start:end].lower() for example in examples
            for start, end, kind in example["spans"] if kind == label}


def test_spans_are_those_of_the_slots():
    fillers = {"PER": ["Mira Holt"], "LOC": lambda rng: "Penwick", "thing": ["apple"],
               "drug": ["Velo"]}
    text, spans = fill_labelled(np.random.default_rng(0), "{PER} flew to {LOC} with a {thing}.",
                                fillers)
    assert text == "Mira Holt flew to Penwick with an apple."
    assert spans == [[0, 9, "PER"], [18, 25, "LOC"]]
    assert fill_labelled(None, "", {}) == ("", [])
    text, spans = join_labelled([(text, spans), fill_labelled(np.random.default_rng(0),
                                                              "{DRUG:drug}", fillers)])
    assert [text[start:end] for start, end, _ in spans] == ["Mira Holt", "Penwick", "Velo"]


@pytest.mark.parametrize("name", DATA)
def test_examples_are_different_reproducible_and_well_formed(name):
    splits = SPLITS[name]
    assert DATA[name].generate(50, 3) == DATA[name].generate(50, 3) != DATA[name].generate(50, 4)
    texts = [example["text"] for examples in splits.values() for example in examples]
    assert len(set(texts)) == 1000
    for examples in splits.values():
        lower = np.mean([example["text"] == example["text"].lower() for example in examples])
        assert 0.1 < lower < 0.5
        for example in examples:
            text, words = example["text"], words_of(example["text"])
            spans = word_spans(text, example["spans"])
            assert len(spans) == len(example["spans"]) and "{" not in text and "<" not in text
            # A span begins and ends with a word.
            assert sorted([words[first][0], words[end - 1][1], kind]
                          for first, end, kind in spans) == sorted(example["spans"])


@pytest.mark.parametrize("templates", [entities.TEMPLATES, entities.CHINESE_TEMPLATES,
                                       clinical.NOTES])
def test_no_template_is_in_both_splits(templates):
    train, test = templates
    assert not set(train) & set(test) and len(train) >= 18 and len(test) >= 8


def test_half_of_the_names_in_the_test_split_are_new():
    train = SPLITS["entities"]["train"] + SPLITS["entities"]["valid"]
    known = {word for example in train for word in example["text"].lower().split()}
    for label in ("PER", "LOC", "ORG"):
        names = names_in(SPLITS["entities"]["test"], label)
        new = [name for name in names if any(word not in known for word in name.split())]
        assert len(new) > 0.4 * len(names)
    ambiguous = {word.lower() for lists in (
        entities.AMBIGUOUS_FIRST, entities.AMBIGUOUS_LAST, entities.AMBIGUOUS_PLACES,
        entities.AMBIGUOUS_BRANDS) for word in lists[0]}
    for lists in (entities.FIRST, entities.LAST, entities.INVENTED_LAST, entities.PLACES,
                  entities.INVENTED_PLACES, entities.BRANDS, entities.JOBS, entities.THINGS,
                  entities.LOOKS, entities.CHINESE_PLACES, entities.CHINESE_BRANDS,
                  entities.CHINESE_JOBS, entities.CHINESE_THINGS, entities.GIVEN):
        assert not set(lists[0]) & set(lists[1])
        assert not {word.lower() for word in lists[1]} & ambiguous


def test_ambiguous_words_have_several_roles_in_training():
    train = SPLITS["entities"]["train"]
    words = {label: {word for name in names_in(train, label) for word in name.split()}
             for label in ("PER", "LOC", "ORG", "DATE")}
    assert {"may", "april", "june"} <= words["PER"] & words["DATE"]
    assert {"jordan", "washington", "paris", "georgia"} <= words["PER"] & words["LOC"]
    assert "lantern" in words["ORG"]
    assert any(" lantern" in example["text"] and "lantern" not in names_in([example], "ORG")
               for example in train)


def test_many_findings_and_drugs_of_the_test_split_are_new():
    train = SPLITS["clinical"]["train"] + SPLITS["clinical"]["valid"]
    known = {word for example in train for word in example["text"].lower().split()}
    for label in ("FINDING", "ABSENT", "FAMILY", "DRUG"):
        names = names_in(SPLITS["clinical"]["test"], label)
        new = [name for name in names if any(word not in known for word in name.split())]
        assert len(new) > 0.3 * len(names)
    for lists in (clinical.DRUGS, clinical.PARTS):
        assert not set(lists[0]) & set(lists[1])


def test_every_label_of_a_note_is_common():
    for examples in SPLITS["clinical"].values():
        labels = [label for example in examples for _, _, label in example["spans"]]
        assert min(labels.count(label) for label in clinical.LABELS) > 0.03 * len(labels)


def test_ordinals():
    assert [entities.ordinal(day) for day in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30)] == (
        "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 23rd 30th".split())


def test_pick_takes_every_item():
    rng = np.random.default_rng(0)
    assert {pick(rng, "abc") for _ in range(50)} == set("abc")
