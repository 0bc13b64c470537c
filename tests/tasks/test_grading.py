"""Short-answer grading: kappa equal to scikit-learn's, data, erased words, files, a small run."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.cli import main
from minillm.tasks.data import grading
from minillm.tasks.grading import Grading
from minillm.tasks.kappa import kappa_metric, quadratic_kappa
from minillm.tasks.shared_words import stem, with_compared_words, words
from minillm.training.run import Run

FIXTURE = json.loads((Path(__file__).parent.parent / "fixtures" / "kappa.json").read_text())
SMALL = ["--examples", "400", "--vocab-size", "450", "--n-layer", "1", "--n-head", "2", "--n-embd",
         "16", "--block-size", "64", "--steps", "40", "--batch-size", "8", "--lr", "5e-3",
         "--eval-every", "40", "--warmup", "5"]
grades = st.integers(0, 2)


def test_kappa_of_scikit_learn():
    assert len(FIXTURE) > 30
    for case in FIXTURE:
        metric = kappa_metric(list(range(case["K"])), wanted=int, predicted=int)
        assert metric.value(case["other"], case["one"]) == pytest.approx(case["kappa"], abs=1e-12)


@given(st.lists(st.tuples(grades, grades), min_size=1, max_size=20))
def test_what_holds_for_any_two_graders(pairs):
    O = np.zeros((3, 3))
    for one, other in pairs:
        O[one, other] += 1
    kappa = quadratic_kappa(O)
    assert -1 - 1e-9 <= kappa <= 1 + 1e-9
    assert quadratic_kappa(O.T) == pytest.approx(kappa)  # no grader is the right one
    assert quadratic_kappa(O[::-1, ::-1]) == pytest.approx(kappa)  # nor is there an up and down
    assert quadratic_kappa(3 * O) == pytest.approx(kappa)
    both = np.diag(O.sum(axis=1))
    if (both > 0).sum() > 1:
        assert quadratic_kappa(both) == pytest.approx(1)


def test_generated_splits_share_no_thing_and_no_phrasing():
    splits = grading.generate(900, seed=0)
    assert splits == grading.generate(900, seed=0) != grading.generate(900, seed=1)
    assert sum(map(len, splits.values())) == 900
    keys = {split: {example["key"] for example in found} for split, found in splits.items()}
    assert not keys["train"] & keys["test"] and not keys["train"] & keys["valid"]
    assert not keys["valid"] & keys["test"] and len(keys["test"]) == 16
    for phrasings in (grading.QUESTIONS, grading.BOTH, grading.ALONE, grading.NOTHING):
        assert not set(phrasings["train"]) & set(phrasings["test"])
    for found in splits.values():
        counts = [sum(example["grade"] == grade for example in found) for grade in grading.GRADES]
        assert min(counts) > 0.15 * len(found)


def test_invented_facts_are_no_facts_of_the_test_and_have_two_wordings():
    patterns, nouns = grading._patterns()
    assert len(nouns) == len(set(nouns)) and all(len(pair) == 2 for pair in patterns)
    assert all(("{a}" in one, "{b}" in one) == ("{a}" in other, "{b}" in other)
               for one, other in patterns)
    held_out = {wording for split in ("valid", "test") for thing in grading._things(split)
                for fact in thing.facts for wording in fact}
    rng = np.random.default_rng(0)
    assert not held_out & {wording for _ in range(2000) for wording in grading._invented(rng)}


def test_disguised_words_are_the_same_everywhere_and_negations_and_opposites_stay():
    rng, coined = np.random.default_rng(0), {}
    one = grading.disguised("hide the tokens that come later", rng, coined)
    assert one == grading.disguised("hide the tokens that come later", rng, coined)
    assert one.split()[0] == "hide" and one.endswith("later")
    several = [grading.disguised("token tokens", np.random.default_rng(seed), {})
               for seed in range(20)]
    assert all(both.split()[1] == both.split()[0] + "s" for both in several)
    assert len(set(several)) > 5


def test_key_and_answer_are_compared_in_both_directions():
    question, key, answer = "What is rust?", "It covers iron. It is red.", "Rust will cover iron"
    first = f"{question} {key}"
    spans = [(0, 0)] + [span[1:] for span in words(first)] + [(0, 0)]
    n = len(spans)
    spans += [span[1:] for span in words(answer)] + [(0, 0)]
    types = np.array([0] * n + [1] * (len(spans) - n))
    found = with_compared_words(types, np.array(spans), question, key, answer).tolist()
    assert found == [0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 4, 1, 2, 2, 1]
    assert {stem(word) for word in ("carry", "carries")} == {"carr"}
    assert {stem(word) for word in ("make", "makes", "making", "mak")} == {"mak"}


@pytest.mark.parametrize("phrase, third, denied, turned", [
    ("carry a charge", "carries a charge", "does not carry a charge", None),
    ("be lighter", "is lighter", "is not lighter", "be heavier"),
    ("have eight legs", "has eight legs", "does not have eight legs", "have six legs"),
    ("pass on all heat", "passes on all heat", "does not pass on all heat", "pass on no heat"),
    ("not pass", "does not pass", "passes", None),
])
def test_verbs(phrase, third, denied, turned):
    assert grading.third_person(phrase) == third
    assert grading.negated(phrase) == denied
    assert grading.opposite(phrase) == turned


def test_files_and_their_errors(tmp_path):
    example = {"question": "Why?", "key": "It rains.", "answer": "Rain.", "grade": 2}
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(example))
    assert Grading.read(path)[0]["grade"] == "2"
    (tmp_path / "data.tsv").write_text("Why?\tIt rains.\tRain.\t1\n")
    assert Grading.read(tmp_path / "data.tsv")[0]["grade"] == "1"
    for wrong, message in (("good", "grade is 'good', wanted a whole number"),
                           (1.5, "grade is 1.5, wanted"), (-1, "grade is '-1', wanted")):
        path.write_text(json.dumps({**example, "grade": wrong}))
        with pytest.raises(ValueError, match=message):
            Grading.read(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "grading"
    assert main(["train-task", "grading", *SMALL, "--out", str(folder)]) == 0
    return Run(folder)


def test_a_run_measures_and_draws(run):
    results = json.loads((run.folder / "results.json").read_text())
    assert set(results["baselines"]) == {"majority", "word overlap", "bag of words"}
    assert results["baselines"]["majority"]["quadratic kappa"]["value"] == 0
    kappa = results["metrics"]["quadratic kappa"]
    assert kappa["low"] <= kappa["value"] <= kappa["high"]
    assert (run.folder / "confusion.png").read_bytes()[:4] == b"\x89PNG"
    assert run.config.type_vocab_size == 5


def test_the_effect_of_a_word_is_the_grade_with_it_minus_without(run, capsys):
    task = run.task()
    model = task.load_model(run.model_folder, "bert")
    example = min(task.examples("test"), key=lambda example: sum(map(len, example.values())))
    (prediction,) = task.predict(model, [example])
    word, effect = prediction["effects"][0]
    shorter = {**example, "answer": example["answer"].replace(word, "", 1)}
    (without,) = task.predict(model, [shorter])
    assert prediction["expected"] - without["expected"] == pytest.approx(effect, abs=2e-3)
    assert main(["predict", "--model", str(run.folder), "Why?", "It rains.", "It rains."]) == 0
    assert capsys.readouterr().out.startswith("grade ")
    (empty,) = task.predict(model, [{**example, "answer": "…"}])
    assert empty["effects"] == []
