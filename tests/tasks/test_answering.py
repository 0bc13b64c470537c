"""Question answering: spans, windows, data, files, threshold, and a small training run."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import BertConfig, BertForQuestionAnswering, BertTokenizer
from minillm.cli import main
from minillm.tasks.answering import Answering, golds, precision_recall
from minillm.tasks.data import answers
from minillm.tasks.shared_words import with_shared_words
from minillm.tasks.spans import best_spans, span_scores
from minillm.training.run import Run
from minillm.training.settings import Settings

SMALL = ["--examples", "300", "--vocab-size", "450", "--n-layer", "1", "--n-head", "2", "--n-embd",
         "16", "--block-size", "96", "--steps", "30", "--batch-size", "8", "--lr", "5e-3",
         "--eval-every", "30", "--warmup", "5"]


# ---- spans


@given(st.integers(1, 9).flatmap(lambda T: st.tuples(
    *[st.lists(st.integers(-8, 8).map(float), min_size=T, max_size=T) for _ in range(2)],
    st.lists(st.booleans(), min_size=T, max_size=T), st.integers(1, 5), st.integers(1, 6))))
def test_the_best_spans_by_trying_all(case):
    start, end, inside, max_tokens, n = case
    pairs = [(start[i] + end[j], i, j) for i in range(len(start)) for j in range(i, len(start))
             if j < i + max_tokens and inside[i] and inside[j]]
    S = span_scores(np.array(start), np.array(end), np.array(inside), max_tokens)
    found = best_spans(S, n)
    assert [score for score, _, _ in found] == sorted((p[0] for p in pairs), reverse=True)[:n]
    assert set(found) <= set(pairs) and len(set(found)) == len(found)


# ---- data


def test_generated_answers_stand_where_they_say_and_splits_share_no_pattern():
    splits = answers.generate(600, seed=0)
    assert splits == answers.generate(600, seed=0) != answers.generate(600, seed=1)
    assert sum(map(len, splits.values())) == 600
    for examples in splits.values():
        for example in examples:
            for answer in example["answers"]:
                assert example["context"].startswith(answer["text"], answer["start"])
        assert 0.2 < np.mean([not example["answers"] for example in examples]) < 0.45
    for relations in answers.RELATIONS.values():
        for relation in relations.values():
            for kind in (relation.statements, relation.questions):
                assert len(set(kind)) == len(kind) == 9
    words = {split: answers.words_of(split) for split in answers.SPLITS}
    for kind in words["train"]:
        for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
            assert not set(words[one][kind]) & set(words[other][kind])
    for phrases in (answers.OPENINGS, answers.ASIDES, answers.CLOSINGS, answers.FILLERS,
                    answers.BEFORE_QUESTIONS):
        assert not set(phrases["train"]) & set(phrases["test"])


# ---- windows


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An untrained model, and the task on it, which reads 32 tokens at once"""
    folder = tmp_path_factory.mktemp("answering")
    examples = answers.generate(120, seed=0)["train"]
    BertTokenizer.train(Answering.texts(examples), 400).save_pretrained(folder)
    config = BertConfig(vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=64, type_vocab_size=3,
                        initializer_range=0.3)
    model = BertForQuestionAnswering(config).eval()
    model.save_pretrained(folder)
    return Answering.for_checkpoint(folder, Settings(block_size=40)), model, examples


def test_windows_cover_the_paragraph_and_overlap(small):
    task, _, examples = small
    long = max(examples, key=lambda example: len(example["context"]))
    arrays, offsets, samples = task.windows([examples[0], long], 3)
    rows = np.flatnonzero(samples == 1)
    assert len(rows) > 2
    assert arrays["input_ids"].shape[1] <= 40
    covered = np.zeros(len(long["context"]), int)
    for row in rows:
        places = offsets[row][offsets[row][:, 1] > 0]
        covered[places[0, 0] : places[-1, 1]] += 1
    assert covered.min() == 1 and covered.max() >= 2  # no character is left out


def test_labels_mark_the_answer_in_each_window_that_holds_it(small):
    task, model, examples = small
    arrays = task.encode(examples, model.config)
    _, offsets, samples = task.windows(examples, 3)
    found = set()
    for window, sample in enumerate(samples):
        start, end = (arrays[f"{name}_positions"][window] for name in ("start", "end"))
        if start == 0:
            assert end == 0
            continue
        (answer,) = examples[sample]["answers"]
        first, last = offsets[window, start, 0], offsets[window, end, 1]
        assert examples[sample]["context"][first:last] == answer["text"]
        found.add(sample)
    assert found == {n for n, example in enumerate(examples) if example["answers"]}


def test_answers_are_pieces_of_the_text_whatever_the_text(small):
    task, model, _ = small
    task.threshold = np.inf
    texts = ["Ünïcode — “quotes”  and   spaces\n北京 is it?", "x", "…", "a" * 300, "b c " * 200]
    examples = [{"question": question, "context": context} for context in texts
                for question in ("Where is 北京?", "who " * 60)]
    together = task.predict(model, examples)
    for example, prediction in zip(examples, together):
        for span in prediction["best"]:
            assert example["context"].startswith(span["text"], span["start"]) and span["text"]
        shares = [span["probability"] for span in prediction["best"]]
        assert shares == sorted(shares, reverse=True) and 0 < sum(shares) < 1.001
        (alone,) = task.predict(model, [example])
        assert alone["answer"] == prediction["answer"]
    task.threshold = -np.inf
    assert {p["answer"] for p in task.predict(model, examples)} == {""}


def test_shared_words_get_the_third_type():
    first, second = "What color is THE lamp?", "The lamp-post: color 1,200."
    offsets = np.array([(0, 0), (0, 3), (4, 6), (6, 8), (8, 9), (9, 13), (13, 14), (15, 20),
                        (21, 26)])
    types = np.array([0, 1, 1, 1, 1, 1, 1, 1, 1])
    assert with_shared_words(types, offsets, first, second).tolist() == [0, 2, 2, 2, 1, 1, 1, 2, 1]
    assert with_shared_words(types, offsets, "nothing", second).tolist() == types.tolist()


# ---- the threshold


def test_precision_and_recall_by_hand():
    examples = [{"answers": [{"text": "a"}]}, {"answers": []}, {"answers": [{"text": "b"}]}]
    predictions = [{"no_answer": -3.0, "best": [{"text": "a"}]},
                   {"no_answer": -2.0, "best": [{"text": "x"}]},
                   {"no_answer": 1.0, "best": [{"text": "B!"}]}]
    precision, recall, thresholds = precision_recall(predictions, examples)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(recall, [1 / 2, 1 / 2, 1])
    assert thresholds.tolist() == [-3, -2, 1]


# ---- the user's files


def test_files_of_squad_and_of_datasets(tmp_path):
    context = "Ada lives in Bonn."
    answer = {"text": "Bonn", "answer_start": 13}
    qas = [{"question": "Where does Ada live?", "id": "1", "answers": [answer, answer],
            "is_impossible": False},
           {"question": "Where does Bob live?", "id": "2", "answers": [], "is_impossible": True,
            "plausible_answers": [answer]}]
    path = tmp_path / "dev-v2.0.json"
    path.write_text(json.dumps({"version": "v2.0", "data": [
        {"title": "Ada", "paragraphs": [{"context": context, "qas": qas}]}]}))
    first, second = Answering.read(path)
    assert golds(first) == ["Bonn", "Bonn"] and first["answers"][0]["start"] == 13
    assert golds(second) == [] and second["context"] == context
    lines = tmp_path / "data.jsonl"
    lines.write_text(json.dumps({"question": "Where?", "context": context,
                                 "answers": {"text": ["Bonn"], "answer_start": [13]}}))
    assert Answering.read(lines)[0]["answers"] == [{"text": "Bonn", "start": 13}]


@pytest.mark.parametrize("change, message", [
    ({"answers": [{"text": "Bonn", "start": 12}]}, "the answer 'Bonn' isn't at character 12"),
    ({"answers": [{"text": "", "start": 0}]}, "the answer '' isn't at"),
    ({"answers": [{"text": "Bonn"}]}, "has no field answers.start"),
    ({"question": " "}, "example 1: question is empty"),
    ({"answers": "Bonn"}, "answers is 'Bonn', wanted a list or an object"),
])
def test_wrong_examples_are_refused_in_one_line(tmp_path, change, message):
    example = {"question": "Where?", "context": "Ada lives in Bonn.", "answers": []}
    (tmp_path / "data.jsonl").write_text(json.dumps({**example, **change}))
    with pytest.raises(ValueError) as error:
        Answering.read(tmp_path / "data.jsonl")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_broken_squad_file_is_refused(tmp_path):
    path = tmp_path / "train.json"
    path.write_text('{"data": [{"paragraphs": [{"context": "x", "qas": [{"id": 1}]}]}]}')
    with pytest.raises(ValueError, match=r"no field data\[0\].paragraphs\[0\].qas\[0\].question"):
        Answering.read(path)


# ---- a run


def test_a_run_measures_calibrates_and_answers(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train-task", "answers", *SMALL, "--out", str(folder)]) == 0
    results = json.loads((folder / "results.json").read_text())
    assert set(results["metrics"]) == {"exact match", "F1", "exact match, answerable",
                                       "exact match, unanswerable"}
    assert results["metrics"]["exact match"]["value"] <= results["metrics"]["F1"]["value"] + 1e-9
    assert results["baselines"]["never an answer"]["exact match, unanswerable"]["value"] == 1
    assert (folder / "threshold.png").read_bytes()[:4] == b"\x89PNG"
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [record["valid_loss"] for record in records if "valid_loss" in record]
    assert losses[-1] < losses[0] - 0.5
    run = Run(folder)
    assert run.config.type_vocab_size == 3 and run.config.position_embedding == "rotary"
    threshold = json.loads((folder / "model" / "answering.json").read_text())["threshold"]
    assert run.task().threshold == threshold
    capsys.readouterr()
    arguments = ["predict", "--json", "--model", str(folder), "Where is Ada?", "Ada is in Bonn."]
    assert main(arguments) == 0
    prediction = json.loads(capsys.readouterr().out)["prediction"]
    assert (prediction["answer"] == "") == (prediction["no_answer"] > threshold)
