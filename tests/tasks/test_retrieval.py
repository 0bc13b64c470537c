"""The FAQ: its data, the baselines, the metrics of a ranking, and a small training."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import BertConfig, BertModel, BertTokenizer, SentenceEncoder
from minillm.cli import main
from minillm.tasks.data import faq
from minillm.tasks.ranking import best_threshold, recall_at, reciprocal_rank
from minillm.tasks.retrieval import Faq, FaqBatches, FaqIndex, is_right, prediction, shared_words
from minillm.tasks.tfidf import BM25, TfIdf
from minillm.training.run import Run, create_run

SMALL = ["--examples", "600", "--vocab-size", "400", "--n-embd", "32", "--n-head", "2", "--steps",
         "60", "--batch-size", "24", "--eval-every", "60", "--checkpoint-every", "60", "--lr",
         "1e-2", "--warmup", "5"]


# ---- the metrics

rankings = st.permutations(list("abcdef"))


@given(rankings, st.sampled_from("abcdefx"))
def test_metrics_of_a_ranking(ranking, wanted):
    rank = ranking.index(wanted) + 1 if wanted in ranking else np.inf
    assert reciprocal_rank(ranking, wanted) == pytest.approx(1 / rank)
    recalls = [recall_at(k, ranking, wanted) for k in range(1, 8)]
    assert recalls == [float(rank <= k) for k in range(1, 8)]


@given(rankings, st.sampled_from("abcdef"))
def test_only_what_is_before_the_right_answer_counts(ranking, wanted):
    place = ranking.index(wanted)
    other = ranking[: place + 1] + ranking[place + 1 :][::-1]
    assert reciprocal_rank(other, wanted) == reciprocal_rank(ranking, wanted)
    assert reciprocal_rank(["new", *ranking], wanted) < reciprocal_rank(ranking, wanted)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()), min_size=1,
                max_size=20))
def test_no_threshold_is_better(questions):
    scores, right, outside = (np.array(column) for column in zip(*questions))
    outside = outside.astype(bool)
    outside[0] = True  # there is a question without an answer
    right = right & ~outside

    def value(threshold):
        answered = (right & (scores >= threshold))[~outside]
        return (answered.mean() if len(answered) else 0) + (scores < threshold)[outside].mean()

    found = best_threshold(scores, right, outside)
    assert value(found) == pytest.approx(max(value(t) for t in np.arange(-1, 12) - 0.5))


def test_without_questions_that_have_no_answer_few_are_refused():
    scores = np.arange(100) / 100
    found = best_threshold(scores, np.ones(100, bool), np.zeros(100, bool))
    assert found == 0.05
    with pytest.raises(ValueError, match="scores is empty"):
        best_threshold([], [], [])


# ---- TF-IDF and BM25


@pytest.mark.parametrize("search", [TfIdf, BM25])
def test_search_by_words(search):
    documents = ["where is my parcel", "how can i pay", "where is the store", "the the the"]
    scores = search(documents).scores(["parcel", "the store", "zebra", "pay pay"])
    assert scores.argmax(axis=1)[[0, 1, 3]].tolist() == [0, 2, 1]
    assert not scores[2].any() and scores.shape == (4, 4)


def test_tf_idf_by_hand():
    scores = TfIdf(["a b", "a c"]).scores(["b", "a b"])
    a, b = 1.0, 1 + np.log(3 / 2)
    assert scores[0, 0] == pytest.approx(b / np.hypot(a, b)) and scores[0, 1] == 0
    assert scores[1, 0] == pytest.approx(1)
    assert scores[1, 1] == pytest.approx(a * a / (a * a + b * b))


def test_bm25_counts_repetitions_less_and_less():
    scores = BM25(["a b", "a a", "b b"], b=0).scores(["a"])[0]
    assert scores[0] < scores[1] < 2 * scores[0] and scores[2] == 0


# ---- the data


def test_the_splits_share_no_text_no_pattern_and_test_has_entries_of_its_own():
    splits = faq.generate(1500, seed=0)
    assert splits == faq.generate(1500, seed=0) != faq.generate(1500, seed=1)
    texts = {split: {example["text"] for example in found} for split, found in splits.items()}
    assert sum(map(len, texts.values())) == sum(map(len, splits.values())) > 1400
    patterns = {split: [] for split in splits}
    for entry in faq.entries():
        assert entry["answer"] and not entry["answer"].startswith(("+", "!", "?"))
        for split, found in entry["patterns"].items():
            patterns[split] += {pattern.strip("~") for pattern in found}
    together = sum(patterns.values(), [])
    assert len(set(together)) == len(together)
    asked = {split: {example["question"] for example in found} for split, found in splits.items()}
    assert len(asked["test"] - asked["train"] - asked["valid"]) >= 10
    assert len(asked["valid"] - asked["train"]) >= 5
    for split in splits:
        outside = np.mean([not example["question"] for example in splits[split]])
        assert 0.05 < outside < 0.25
        patterns = [set(faq.OUTSIDE[s]["patterns"]) for s in splits if s != split]
        assert not set(faq.OUTSIDE[split]["patterns"]) & set().union(*patterns)
    questions = [entry["question"] for entry in faq.entries()]
    assert len(set(questions)) == len(questions) >= 60


def test_many_test_questions_share_no_word_with_their_entry():
    found = [example for example in faq.generate(1500, seed=0)["test"] if example["question"]]
    assert 0.2 < np.mean([not shared_words(example) for example in found]) < 0.8
    assert shared_words({"text": "My PARCEL?", "question": "a parcel", "answer": ""}) == {"parcel"}


def test_a_batch_has_one_example_of_each_entry_and_resumes():
    batches = FaqBatches(faq.generate(1500, seed=0)["train"], 32, 0)
    for _ in range(3):
        batch = next(batches)
        asked = [example["question"] for example in batch if example["question"]]
        assert len(set(asked)) == len(asked) > 16
        assert all(example["partner"] or not example["question"] for example in batch)
    again = FaqBatches(batches.examples, 32, 1)
    again.load_state_dict(json.loads(json.dumps(batches.state_dict())))
    for _ in range(60):  # beyond the end of the epoch
        assert next(again) == next(batches)


# ---- a run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "faq"
    assert main(["train-task", "faq", *SMALL, "--out", str(folder)]) == 0
    return Run(folder)


def test_it_learns_and_reports(run):
    results = json.loads((run.folder / "results.json").read_text())
    metrics, records = results["metrics"], (run.folder / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in records if '"loss"' in line]
    assert np.mean(losses[-3:]) < np.mean(losses[:2])
    assert metrics["MRR@10"]["value"] > 0.05  # of 97 entries; by chance it is 0.03
    assert set(results["baselines"]) == {"TF-IDF", "TF-IDF of all training texts"}
    assert results["baselines"]["TF-IDF"]["recall@1, no shared word"]["value"] < 0.1
    assert (run.folder / "scores.png").read_bytes()[:4] == b"\x89PNG"


def test_predict_finds_an_entry_or_does_not_know(run, capsys):
    index = FaqIndex.load(run.model_folder)
    questions = [entry["question"] for entry in index.entries]
    assert "Can I pay with a gift card?" in questions  # an entry of the test alone

    def answer(threshold):
        FaqIndex(index.entries, index.vectors, threshold).save(run.model_folder)
        try:
            assert main(["predict", "--task", "faq", "--model", str(run.folder), questions[3]]) == 0
        finally:
            index.save(run.model_folder)
        return capsys.readouterr().out.splitlines()[:2]

    assert answer(0.99) == [index.entries[3]["answer"], f"  1.00  {questions[3]}"]
    assert answer(1.01) == ["I don't know. The nearest are:", f"  1.00  {questions[3]}"]


def test_the_model_opens_as_a_sentence_encoder_and_searches_a_file(run, tmp_path, capsys):
    encoder = SentenceEncoder.from_pretrained(run.model_folder)
    index = FaqIndex.load(run.model_folder)
    np.testing.assert_allclose(encoder.encode(index.entries[0]["question"]), index.vectors[0],
                               atol=1e-5)
    path = tmp_path / "lines.txt"
    path.write_text("How can I pay?\n\nWhere is my parcel?\nHow do I wash the rug?\n")
    assert main(["similar", "--model", str(run.folder), "-k", "2", "where is my parcel",
                 str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].endswith("3: Where is my parcel?")
    assert main(["similar", "--model", str(run.folder), "--top", "0", "x", str(path)]) == 2
    assert "--top is 0, wanted at least 1" in capsys.readouterr().err
    path.write_text("\n")
    assert main(["similar", "--model", str(run.folder), "x", str(path)]) == 2
    assert "holds no text" in capsys.readouterr().err


def test_it_resumes_bit_for_bit(run, tmp_path):
    other = create_run(tmp_path / "other", run.settings, task="faq")
    stopped = other.trainer()
    for _ in range(31):  # the epoch has 18 batches
        stopped.training_step()
    stopped.save()
    resumed, problems = Run(other.folder).resumed()
    assert resumed.step == 31 and not problems
    resumed.train()
    whole = run.trainer()
    whole.resume()
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(array, resumed.model.state_dict()[name])


# ---- your own FAQ

ENTRIES = [("How do I open the door?", "With the key.", ["door opening", "the door is shut"]),
           ("When is lunch?", "At noon.", ["what time do we eat", "lunch time"]),
           ("Who are you?", "A program.", ["what is your name", "are you human"])]


def test_own_faq_as_jsonl_and_tsv(tmp_path, capsys):
    jsonl, tsv = tmp_path / "own.jsonl", tmp_path / "own.tsv"
    jsonl.write_text("".join(json.dumps({"question": q, "answer": a, "paraphrases": ways}) + "\n"
                             for q, a, ways in ENTRIES))
    tsv.write_text("".join(f"{q}\t{a}{way}\n" for q, a, ways in ENTRIES
                           for way in ["", *(f"\t{way}" for way in ways)]))
    examples = Faq.read(jsonl)
    assert Faq.read(tsv) == examples and len(examples) == 9
    assert examples[1] == {"text": "door opening", "question": ENTRIES[0][0],
                           "answer": "With the key."}
    small = [value for value in SMALL if value not in ("--examples", "600")]
    small[small.index("--vocab-size") + 1] = "90"
    small[small.index("--steps") + 1] = "10"
    assert main(["train-task", "faq", *small, "--data", str(jsonl), "--valid", "0.2", "--test",
                 "0.2", "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["predict", "--model", str(tmp_path / "run"), "--json", "When is lunch?"]) == 0
    found = json.loads(capsys.readouterr().out)["prediction"]
    assert found["top"][0]["question"] == "When is lunch?" and len(found["top"]) == 3


def test_a_faq_without_paraphrases_answers_its_own_questions(tmp_path, capsys):
    path = tmp_path / "own.tsv"
    path.write_text("question\tanswer\n" + "".join(f"{q}\t{a}\n" for q, a, _ in ENTRIES))
    assert main(["train-task", "faq", "--data", str(path), "--steps", "2", "--n-embd", "8",
                 "--n-head", "2", "--vocab-size", "60", "--out", str(tmp_path / "run")]) == 0
    assert FaqIndex.load(tmp_path / "run" / "model").threshold == 0.5
    capsys.readouterr()
    assert main(["predict", "--model", str(tmp_path / "run"), "When is lunch?"]) == 0
    assert capsys.readouterr().out.startswith("At noon.")


def test_a_pretrained_model_is_trained_further(tmp_path, capsys):
    tokenizer = BertTokenizer.train([question for question, *_ in ENTRIES], 60)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1,
                        num_attention_heads=2, intermediate_size=8, max_position_embeddings=16)
    SentenceEncoder(BertModel(config), tokenizer, "cls").save_pretrained(tmp_path / "base")
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps({"question": q, "answer": a, "paraphrases": ways}) + "\n"
                           for q, a, ways in ENTRIES))
    assert main(["train-task", "faq", "--model", str(tmp_path / "base"), "--data", str(own),
                 "--steps", "3", "--block-size", "16", "--out", str(tmp_path / "run")]) == 0
    assert SentenceEncoder.from_pretrained(tmp_path / "run" / "model").pooling.how == "cls"
    capsys.readouterr()
    assert main(["predict", "--task", "faq", "--model", str(tmp_path / "base"), "hello"]) == 2
    assert "has no faq.json, the index that train-task writes" in capsys.readouterr().err


def test_what_counts_as_right():
    entry = {"question": "q", "answer": "a"}
    known, unknown = prediction([entry], [0.8], 0.5), prediction([entry], [0.4], 0.5)
    assert known["answer"] == "a" and unknown["answer"] is None
    assert is_right(known, {"question": "q"}) and not is_right(known, {"question": "other"})
    assert is_right(unknown, {"question": ""}) and not is_right(unknown, {"question": "q"})


@pytest.mark.parametrize("content, message", [
    ({"threshold": 0.5}, "faq.json has no field entries"),
    ({"threshold": "x", "entries": []}, "threshold is 'x', wanted a number"),
    ({"threshold": 0.5, "entries": [{"question": "q"}]}, "has no field entries\\[0\\].answer"),
    ({"threshold": 0.5, "entries": []}, "doesn't hold a vector for each of the 0 entries"),
])
def test_an_index_that_is_broken(tmp_path, content, message):
    entry = {"question": "q", "answer": "a"}
    FaqIndex([entry], np.ones((1, 3), np.float32), 0.5).save(tmp_path)
    (tmp_path / "faq.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        FaqIndex.load(tmp_path)
