"""Files of examples, splits and batches."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.tasks.data.drawing import fill, generate_splits, with_article
from minillm.tasks.examples import ExampleBatches, read_examples, read_splits, write_examples

import numpy as np

FIELDS = {"text": str, "label": str}
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(st.lists(st.fixed_dictionaries({"text": texts, "label": texts}), min_size=1))
@settings(max_examples=50, deadline=None)
def test_jsonl_keeps_every_text(tmp_path_factory, examples):
    path = tmp_path_factory.mktemp("x") / "a.jsonl"
    write_examples(path, examples)
    assert read_examples(path, FIELDS) == examples


@pytest.mark.parametrize("heading, columns", [("", ("text", "label")),
                                              ("label\ttext\n", ("label", "text"))])
def test_tsv_with_and_without_a_heading(tmp_path, heading, columns):
    path = tmp_path / "a.tsv"
    example = {"text": "\u2028 ab", "label": "c"}
    row = "\t".join(example[name] for name in columns)
    path.write_bytes((heading + row + "\r\n\n").encode())
    assert read_examples(path, FIELDS) == [example]


def test_wrong_files(tmp_path):
    path = tmp_path / "a.tsv"
    with pytest.raises(FileNotFoundError):
        read_examples(path, FIELDS)
    path.write_text("a\tb\tc\n")
    with pytest.raises(ValueError, match="line 1: the number of columns is 3, wanted 2: text, label$"):
        read_examples(path, FIELDS)
    path.write_text("\n")
    with pytest.raises(ValueError, match="no example in it$"):
        read_examples(path, FIELDS)
    with pytest.raises(ValueError, match="a TSV holds only texts, and spans is none"):
        read_examples(path, {**FIELDS, "spans": list})


@given(st.lists(st.integers(0, 12), min_size=8, max_size=40), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_same_question_is_in_one_split(tmp_path_factory, numbers, seed):
    path = tmp_path_factory.mktemp("x") / "a.jsonl"
    examples = [{"text": str(number), "label": str(i)} for i, number in enumerate(numbers)]
    write_examples(path, examples)
    if len(set(numbers)) < 3:
        return
    splits = read_splits(path, lambda file: read_examples(file, FIELDS), ("text",), 0.2, 0.2, seed)
    questions = {split: {example["text"] for example in found} for split, found in splits.items()}
    assert all(questions.values())
    assert sum(map(len, questions.values())) == len(set(numbers))
    together = [example for found in splits.values() for example in found]
    assert sorted(map(json.dumps, together)) == sorted(map(json.dumps, examples))


def test_a_folder_with_a_test_file(tmp_path):
    write_examples(tmp_path / "train.jsonl", [{"text": str(i), "label": "x"} for i in range(20)])
    write_examples(tmp_path / "test.jsonl", [{"text": "3", "label": "x"}])
    splits = read_splits(tmp_path, lambda file: read_examples(file, FIELDS), ("text",), 0.1, 0.5, 0)
    assert [example["text"] for example in splits["test"]] == ["3"]
    assert len(splits["valid"]) == 2 and len(splits["train"]) == 17
    assert "3" not in {example["text"] for example in splits["train"] + splits["valid"]}


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 40))
@settings(deadline=None)
def test_batches_visit_each_example_and_continue_bit_for_bit(n, batch_size, after):
    batches = ExampleBatches(list(range(n)), batch_size, 0)
    first = [next(batches) for _ in range(n // min(batch_size, n))]
    seen = [example for batch in first for example in batch]
    assert len(set(seen)) == len(seen)
    batches = ExampleBatches(list(range(n)), batch_size, 0)
    for _ in range(after):
        next(batches)
    state = json.loads(json.dumps(batches.state_dict()))
    other = ExampleBatches(list(range(n)), batch_size, 1)
    other.load_state_dict(state)
    assert [next(batches) for _ in range(9)] == [next(other) for _ in range(9)]


def test_templates():
    rng = np.random.default_rng(0)
    assert sorted(fill(rng, "{a}{a}", {"a": ["x", "{b}"], "b": ["y"]})) == ["x", "y"]
    assert with_article("a owl and a bat") == "an owl and a bat"
    with pytest.raises(ValueError, match="no more than 2 different ones"):
        generate_splits(9, rng, lambda rng, split: {"t": int(rng.integers(2))}, lambda e: e["t"])
