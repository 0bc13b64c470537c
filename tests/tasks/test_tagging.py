"""Tagging: from texts to pieces and back, the user's files, training, and negation."""

import functools
import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import BertConfig, BertForTokenClassification, BertTokenizer, GPT2Tokenizer
from minillm.cli import main
from minillm.tasks.base import label_fields
from minillm.tasks.bio_files import read_bio
from minillm.tasks.data.labelled_text import fill_labelled
from minillm.tasks.negation import is_negated
from minillm.tasks.span_f1 import bio_entities, bio_tags, micro
from minillm.tasks.tagger import (
    batch_of,
    find_all_entities,
    find_entities,
    rows_of,
    windows,
    words_of,
)
from minillm.tasks.tagging import (
    Clinical,
    Entities,
    bio_labels,
    bracketed,
    kinds_of,
    most_frequent_tag,
    negation_rule,
    negations_right,
    span_metrics,
    tags_of,
    word_spans,
)
from minillm.tasks.viterbi import best_path, bio_transitions
from minillm.tasks.word_dropout import (
    Disguise,
    DisguisedBatches,
    kind_of,
    new_word,
    pieces_of_words,
)
from minillm.training.run import Run

TEXT = "Mira Holtby moved to New Penwick, in 1999. 王小明去了北京。"
SPANS = [[0, 11, "PER"], [21, 32, "LOC"], [37, 41, "DATE"], [43, 46, "PER"], [48, 50, "LOC"]]
TOKENIZER = BertTokenizer.train([TEXT, "Mira moved", "New York"], 80, do_lower_case=False)


# ---- words, spans and tags

def test_words_are_berts():
    words = words_of("Dr. O'Neil, 小明 5mg\u00adx")
    assert ["Dr. O'Neil, 小明 5mg\u00adx"[start:end] for start, end in words] == [
        "Dr", ".", "O", "'", "Neil", ",", "小", "明", "5mg\u00adx"]
    assert words_of("") == words_of(" \n") == []


@settings(max_examples=40)
@given(st.text())
def test_words_are_in_order_and_cover_what_is_not_white(text):
    words = words_of(text)
    assert all(0 <= start < end <= len(text) for start, end in words)
    assert all(one[1] <= other[0] for one, other in zip(words, words[1:]))
    kept = "".join(text[start:end] for start, end in words)
    letters = [character for character in text if character.isalnum()]
    assert [character for character in kept if character.isalnum()] == letters


def test_spans_to_tags_and_back():
    words, tags = tags_of({"text": TEXT, "spans": SPANS})
    assert list(zip(words, tags))[:8] == [
        ("Mira", "B-PER"), ("Holtby", "I-PER"), ("moved", "O"), ("to", "O"), ("New", "B-LOC"),
        ("Penwick", "I-LOC"), (",", "O"), ("in", "O")]
    places = words_of(TEXT)
    assert [[places[first][0], places[end - 1][1], kind]
            for first, end, kind in bio_entities(tags)] == SPANS


def test_a_span_inside_a_word_takes_the_word():
    assert word_spans("20mg daily", [[0, 2, "DOSE"]]) == [(0, 1, "DOSE")]


@pytest.mark.parametrize("span, problem", [
    ([0, 99, "PER"], "wanted 0 ≤ start < end ≤ "), ([3, 3, "PER"], "wanted 0 ≤ start < end"),
    ([-1, 3, "PER"], "wanted 0 ≤ start"), ([0, 4], 'wanted [start, end, "LABEL"]'),
    (["0", 4, "PER"], "wanted [start"), ([0, 4, ""], "wanted [start"), (7, "wanted [start"),
    ([True, 4, "PER"], "wanted [start"), ([4, 5, "PER"], "has no word: ' '"),
    ([5, 8, "PER"], "shares a word"),
])
def test_spans_that_are_refused(span, problem):
    with pytest.raises(ValueError) as error:
        word_spans(TEXT, [[5, 11, "PER"], span])
    assert problem in str(error.value) and "\n" not in str(error.value)


def test_labels_and_types():
    assert bio_labels(["LOC", "PER"]) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert kinds_of(["O", "B-LOC", "I-LOC", "I-A-B"]) == ["LOC", "A-B"]
    assert bracketed(TEXT[:12], [[0, 11, "PER", 0.9]]) == "[Mira Holtby PER] "


# ---- rows

@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(1, 12), st.data())
def test_windows_cover_all_words_and_fit(sizes, room, data):
    overlap = data.draw(st.integers(0, room - 1))
    found = windows(sizes, room, overlap)
    assert {word for window in found for word in window} == set(range(len(sizes)))
    for window in found:
        assert len(window) == 1 or sum(sizes[word] for word in window) <= room
    for one, other in zip(found, found[1:]):
        assert one.start < other.start <= one.stop < other.stop
        assert sum(sizes[word] for word in range(other.start, one.stop)) <= overlap


def test_only_first_pieces_have_labels():
    words = words_of(TEXT)
    [row] = rows_of(TEXT, words, TOKENIZER, 200)
    batch = batch_of([row], TOKENIZER, [list(range(len(words)))])
    assert TOKENIZER.decode(row.ids).startswith("[CLS] Mira Holtby moved to New")
    labels = batch["labels"][0]
    assert labels[0] == labels[-1] == -100 and (labels != -100).sum() == len(words)
    tokens = TOKENIZER.convert_ids_to_tokens(row.ids)
    for token, label in zip(tokens, labels):
        assert (label != -100) == (not token.startswith(("##", "[CLS]", "[SEP]")))


def test_a_byte_level_tokenizer_reads_the_words_as_in_the_text():
    tokenizer, text = GPT2Tokenizer.from_pretrained("pydoc-tiny"), "The list, in 'Oslo' 王."
    words = words_of(text)
    [row] = rows_of(text, words, tokenizer, 64)
    assert row.ids == tokenizer.encode(text) and row.words == list(range(len(words)))


def test_rows_of_a_batch_are_padded():
    rows = [rows_of(text, words_of(text), TOKENIZER, 200)[0] for text in (TEXT, "New")]
    batch = batch_of(rows, TOKENIZER, [[1] * len(row.words) for row in rows])
    assert batch["attention_mask"].sum(axis=1).tolist() == [len(row.ids) for row in rows]
    assert (batch["input_ids"][1, 3:] == TOKENIZER.pad_token_id).all()
    assert (batch["labels"][1, 3:] == -100).all()


class Reader:
    """A model that names what it reads: "New Penwick" is a place, Mira a person."""

    training = False
    config = BertConfig().replace(**label_fields(bio_labels(["LOC", "PER"])))

    def eval(self):
        return self

    def train(self, mode=True):
        return self

    def __call__(self, input_ids, attention_mask):
        tag = {"New": 1, "Pen": 2, "P": 2, "Mira": 3}
        tokens = [TOKENIZER.convert_ids_to_tokens(ids.tolist()) for ids in input_ids]
        numbers = np.array([[next((tag[name] for name in tag if token.startswith(name)), 0)
                             for token in row] for row in tokens])
        return SimpleNamespace(logits=20.0 * np.eye(5)[numbers])


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["Mira", "New Penwick", "moved", "to", "in", ",", "1999"]),
                max_size=40))
def test_windows_find_what_one_window_finds(words):
    text = " ".join(words)
    whole = find_all_entities(Reader(), TOKENIZER, [text])
    assert find_all_entities(Reader(), TOKENIZER, ["", text, "moved"], max_length=24) == [
        [], *whole, []]
    assert [text[start:end] for start, end, *_ in whole[0]] == [
        word for word in words if word in ("Mira", "New Penwick")]
    assert all(probability > 0.99 for *_, probability in whole[0])


def test_a_window_without_room_is_refused():
    with pytest.raises(ValueError, match="max_length is 2, wanted room for one token"):
        rows_of("a b", words_of("a b"), TOKENIZER, 2)


# ---- word dropout

@functools.cache
def disguise_of(share):
    return Disguise([TEXT[start:end] for start, end in words_of(TEXT)], TOKENIZER, share,
                    n=50)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 20))
def test_new_words_stand_where_the_old_ones_stood(seed, share, room):
    words = words_of(TEXT)
    [row] = rows_of(TEXT, words, TOKENIZER, 200)
    disguise = disguise_of(share)
    kinds = [kind_of(TEXT[start:end]) for start, end in words]
    new = disguise(row, kinds, np.random.default_rng(seed), room)
    assert new.words == row.words and len(new.ids) <= len(row.ids) + room
    assert (new.ids[0], new.ids[-1]) == (row.ids[0], row.ids[-1])
    changed = [one != other for one, other in zip(pieces_of_words(row), pieces_of_words(new))]
    assert not any(kinds[word] is None for word, differs in zip(row.words, changed) if differs)
    assert new == row if share == 0 else sum(changed) > 2 if share == 1 else True
    again = disguise(row, kinds, np.random.default_rng(seed), room)
    assert again == new


def test_kinds_and_new_words():
    assert list(map(kind_of, ["Mira", "mira", "王", "7", ","])) == [
        "capital", "small", "letter", None, None]
    rng = np.random.default_rng(0)
    for known, kind in ((["Mira", "Ann"], "capital"), (["mira"], "small"), (["王"], "letter")):
        new = {new_word(known, rng) for _ in range(20)}
        assert len(new) > 3 and {kind_of(word) for word in new} == {kind}


def test_a_resumed_run_disguises_alike():
    examples = [{"text": str(number), "spans": []} for number in range(7)]
    batches = DisguisedBatches(examples, 3, 0)
    first = [next(batches) for _ in range(3)]
    state = batches.state_dict()
    resumed = DisguisedBatches(examples, 3, 1)
    resumed.load_state_dict(json.loads(json.dumps(state)))
    assert [next(batches) for _ in range(4)] == [next(resumed) for _ in range(4)]
    seeds = [example["disguise"] for batch in first for example in batch]
    assert len(set(seeds)) == 9


# ---- the best row of tags

@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32))
def test_the_best_path_is_that_of_a_search_through_all(n, K, seed):
    rng = np.random.default_rng(seed)
    scores, transitions = rng.normal(size=(n, K)), rng.normal(size=(K, K))
    start = rng.normal(size=K)

    def total(path):
        return (scores[range(n), path].sum() + start[path[0]]
                + transitions[list(path[:-1]), list(path[1:])].sum())

    best = max(itertools.product(range(K), repeat=n), key=total)
    assert tuple(best_path(scores, transitions, start)) == best
    free = best_path(scores, np.zeros((K, K)), np.zeros(K))
    np.testing.assert_array_equal(free, scores.argmax(axis=1))


@given(st.lists(st.lists(st.floats(0.2, 1), min_size=5, max_size=5), min_size=1, max_size=12))
def test_probable_tags_are_well_formed(P):
    tags = bio_labels(["LOC", "PER"])
    path = best_path(np.log(P), *bio_transitions(tags))
    found = [tags[number] for number in path]
    assert bio_tags(bio_entities(found), len(found)) == found


# ---- files

def test_tagged_words_and_jsonl_say_the_same(tmp_path):
    words, tags = tags_of({"text": TEXT[:42], "spans": SPANS[:3]})
    lines = "\n".join(f"{word}\tX\t{tag}" for word, tag in zip(words, tags))
    (tmp_path / "a.tsv").write_text(f"-DOCSTART-\tO\n\n{lines}\n\n\nOslo\tI-LOC\r\n")
    (tmp_path / "a.bio").write_text(lines.replace("\t", " ") + "\n\nOslo I-LOC")
    first, second = examples = read_bio(tmp_path / "a.tsv")
    assert read_bio(tmp_path / "a.bio") == examples == Entities.read(tmp_path / "a.tsv")
    assert tags_of(first) == (words, tags) and second == {"text": "Oslo", "spans": [[0, 4, "LOC"]]}
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(example) + "\n" for example in examples))
    assert Entities.read(tmp_path / "a.jsonl") == examples


@pytest.mark.parametrize("name, content, problem", [
    ("a.tsv", "Oslo\tB-LOC\nPenwick\n", "line 2: is 'Penwick', wanted a word and a tag"),
    ("a.bio", "Oslo LOC\n", "line 1: a tag is 'LOC', wanted O, B-TYPE or I-TYPE"),
    ("a.conll", "\n\n", "no example in it"),
    ("a.jsonl", '{"text": "Oslo", "spans": [[0, 9, "LOC"]]}', "example 1: a span is [0, 9, 'LOC']"),
    ("a.jsonl", '{"text": " ", "spans": []}', "example 1: text is empty, wanted some text"),
    ("a.jsonl", '{"text": "Oslo", "spans": 3}', "line 1"),
    ("a.jsonl", '{"text": "Oslo"}', "line 1"),
])
def test_files_that_are_refused(tmp_path, name, content, problem):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError) as error:
        Entities.read(tmp_path / name)
    assert problem in str(error.value) and "\n" not in str(error.value)


def test_examples_without_any_span_are_refused():
    with pytest.raises(ValueError, match="no span"):
        Entities.configure(BertConfig(), None, {"train": [{"text": "Oslo", "spans": []}]})


# ---- baseline, metrics, negation

def test_the_most_frequent_tag_of_a_word():
    train = [{"text": "May came in May, in May", "spans": [[0, 3, "PER"], [12, 15, "DATE"],
                                                           [20, 23, "DATE"]]}]
    predict = most_frequent_tag(train)
    assert predict([{"text": "may May be in Oslo"}]) == [[[4, 7, "DATE"]]]


def test_metrics_are_those_of_whole_entities():
    examples = [{"text": TEXT, "spans": SPANS}, {"text": "Oslo", "spans": [[0, 4, "LOC"]]}]
    predictions = [[[0, 11, "PER", 0.9], [21, 24, "LOC", 0.8]], [[0, 4, "LOC", 1.0]]]
    metrics = span_metrics(["DATE", "LOC", "PER"])
    score = micro(predictions, [example["spans"] for example in examples])
    values = {name: metric.value(predictions, examples) for name, metric in metrics.items()}
    assert values["entity F1"] == score.f1 == 4 / 9
    assert (values["precision"], values["recall"]) == (score.precision, score.recall)
    assert values["F1 of LOC"] == 2 / 5 and values["F1 of DATE"] == 0
    assert values["macro F1"] == pytest.approx((0 + 2 / 5 + 2 / 3) / 3)


@pytest.mark.parametrize("text, finding, negated", [
    ("denies fever", "fever", True), ("denies fever and cough", "cough", True),
    ("No cough, fever, chills, rash", "rash", False), ("cough but no fever", "cough", False),
    ("pneumonia was ruled out", "pneumonia", True), ("fever is absent", "fever", True),
    ("has fever", "fever", False), ("no fever but cough", "cough", True),  # the rule is wrong
])
def test_the_rule_of_negation(text, finding, negated):
    words = [text[start:end] for start, end in words_of(text)]
    place = words.index(finding)
    assert is_negated(words, place, place + 1) == negated
    start = text.index(finding)
    example = {"text": text, "spans": [[start, start + len(finding), "FINDING"]]}
    assert negation_rule([])([example]) == [[[start, start + len(finding),
                                              "ABSENT" if negated else "FINDING"]]]


def test_negation_is_right_if_the_overlapping_span_says_so():
    example = {"text": "no knee pain, fever, Velo, gout",
               "spans": [[3, 12, "ABSENT"], [14, 19, "FINDING"], [21, 25, "DRUG"]]}
    right = negations_right([[8, 12, "ABSENT", 1.0], [14, 19, "ABSENT", 1.0]], example)
    assert right == (1, 2) and negations_right([], example) == (0, 2)
    assert negations_right(example["spans"], example) == (2, 2)


# ---- a small training, on the user's own examples

SMALL = ["--vocab-size", "90", "--n-layer", "1", "--n-head", "2", "--n-embd", "32", "--block-size",
         "24", "--steps", "120", "--batch-size", "16", "--lr", "1e-2", "--eval-every", "120",
         "--checkpoint-every", "120", "--warmup", "5", "--valid", "0.1", "--test", "0.2"]


def notes():
    findings = "fever cough pain rash nausea edema gout vertigo chills tremor".split()
    for one in findings:
        for other in findings:
            for template in ("Denies {ABSENT}. Reports {FINDING}.", "No {ABSENT} but {FINDING}.",
                             "{FINDING}, no {ABSENT}."):
                if one != other:
                    fillers = {"ABSENT": [one], "FINDING": [other]}
                    text, spans = fill_labelled(np.random.default_rng(0), template, fillers)
                    yield {"text": text, "spans": spans}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "notes.jsonl").write_text("".join(json.dumps(note) + "\n" for note in notes()))
    assert main(["train-task", "clinical", *SMALL, "--data", str(folder / "notes.jsonl"), "--out",
                 str(folder / "clinical")]) == 0
    return Run(folder / "clinical")


def test_it_learns_more_than_the_words(run):
    results = json.loads((run.folder / "results.json").read_text())
    f1, new = results["metrics"]["entity F1"], results["metrics"]["recall of new words"]
    assert results["baselines"]["most frequent tag"]["entity F1"]["high"] < f1["low"]
    assert f1["low"] <= f1["value"] <= f1["high"] and new["value"] == 0  # there are no new words
    assert "negation accuracy" in results["baselines"]["negation rule, given the spans"]
    for name in ("confusion.png", "f1_of_types.png"):
        assert (run.folder / name).read_bytes()[:4] == b"\x89PNG"


def test_predict_shows_spans(run, capsys):
    text = "No gout but cough."
    assert main(["predict", "--model", str(run.folder), text]) == 0
    assert "No [gout ABSENT] but [cough FINDING]." in capsys.readouterr().out
    assert main(["predict", "--json", "--model", str(run.folder), text]) == 0
    prediction = json.loads(capsys.readouterr().out)["prediction"]
    assert [span[:3] for span in prediction] == [[3, 7, "ABSENT"], [12, 17, "FINDING"]]
    for entity, span in zip(find_entities(run.folder, text), prediction):
        assert list(entity[:3]) == span[:3] and 0.3 < span[3] <= 1
        assert entity.probability == pytest.approx(span[3], abs=1e-4)


def test_long_texts_are_tagged_to_the_end(run):
    text = "No gout but cough. " * 30
    found = find_entities(run.folder, text)
    assert [text[start:end] for start, end, *_ in found] == ["gout", "cough"] * 30
    task = run.task()
    assert task.tokenizer.model_max_length == 24  # windows are as long as training's
    model = task.load_model(run.model_folder, run.config.model_type)
    [same] = task.predict(model, [{"text": text}])
    assert [list(entity[:3]) for entity in found] == [span[:3] for span in same]
    batch = task.encode([{"text": text, "spans": [[3, 7, "ABSENT"]]}], run.config)
    assert len(batch["input_ids"]) >= 4 and batch["input_ids"].shape[1] <= 40


def test_a_pretrained_model_reads_the_words_as_they_are(run):
    settings = replace(run.settings, model="somewhere")
    assert "disguise" in next(run.task().batches(run.settings))[0]
    assert "disguise" not in next(run.task().batches(settings))[0]


def test_a_checkpoint_with_other_tags(tmp_path, capsys):
    tags = ["B-ORG", "O", "I-ORG"]
    config = BertConfig(vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=1,
                        num_attention_heads=2, intermediate_size=32, max_position_embeddings=24)
    config = config.replace(**label_fields(tags))
    BertForTokenClassification(config, seed=1).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    asked = ["predict", "--json", "--task", "entities", "--model", str(tmp_path), TEXT * 3]
    assert main(asked) == 0
    prediction = json.loads(capsys.readouterr().out)["prediction"]
    assert [list(entity[:3]) for entity in find_entities(tmp_path, TEXT * 3)] == [
        span[:3] for span in prediction]
    assert {label for _, _, label, _ in prediction} <= {"ORG"}


def test_defaults_are_settings():
    for task in (Entities, Clinical):
        assert task.defaults["n_embd"] % task.defaults["n_head"] == 0
