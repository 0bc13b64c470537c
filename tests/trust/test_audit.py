"""Extraction, and the audit of whole runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.cli import main
from minillm.models.auto import AutoModelForCausalLM
from minillm.text.canaries import read_canaries
from minillm.training.run import Run, create_run
from minillm.training.settings import Settings
from minillm.trust.audit import audit, open_reader, windows_of, worst
from minillm.trust.audit_page import page
from minillm.trust.extraction import continued, count, extract, prefix_lengths
from minillm.trust.model_card import card
from tests.helpers.small_runs import small_run

SIZES = {"vocab_size": 300, "n_layer": 1, "n_head": 2, "n_embd": 48, "block_size": 24,
         "dropout": 0.0, "batch_size": 8, "lr": 1e-2, "warmup": 10, "eval_every": 1000,
         "checkpoint_every": 1000, "valid": 0.15, "test": 0.15}


def train(folder, **changes):
    run = create_run(folder / "run", Settings(**{**SIZES, **changes}))
    run.trainer().train()
    return run


@pytest.fixture(scope="module")
def memorized(tmp_path_factory):
    """A run whose model has read its text, random numbers, a few hundred times, and canaries too"""
    folder, rng = tmp_path_factory.mktemp("memorized"), np.random.default_rng(0)
    texts = [" ".join(map(str, rng.integers(1000, 9999, size=24))) for _ in range(16)]
    (folder / "text.txt").write_text("<|endoftext|>".join(texts))
    (folder / "plan.txt").write_text("12 My PIN is {digits:3}.\n1 A word: {words:1}\n")
    # Without validation text the last model is kept, not the one that generalizes best.
    return train(folder, text=str(folder / "text.txt"), steps=400, valid=0.0, test=0.5,
                 canaries=str(folder / "plan.txt"))


@pytest.fixture(scope="module")
def report(memorized):
    return audit(memorized, n_windows=100, n_samples=50)


def test_what_is_memorized_is_found(report):
    often, once = report["exposure"]["canaries"]
    assert often["greedy"] and often["bits"] == often["exact"] > 8 > 7 > once["most"]
    assert [each["times"] for each in report["exposure"]["by_times"]] == [1, 12]
    longest = report["extraction"]["prefixes"][-1]
    assert longest["training"]["share"] > 0.5 > 0.1 > longest["held_out"]["share"]
    assert report["extraction"]["longest"] == report["extraction"]["suffix"] == 12
    attacks = report["membership"]["attacks"]
    assert attacks["loss"]["auc"] > 0.95 and list(attacks) == ["loss", "zlib", "min-k", "blind"]
    found = worst(report)
    assert found["auc"] > 0.95 and found["exposure"] > 8
    assert found["extracted"] >= longest["training"]["share"]


def test_an_audit_can_be_repeated(memorized, report):
    assert audit(memorized, n_windows=100, n_samples=50) == report
    assert json.loads(json.dumps(report)) == report


def test_the_losses_are_those_of_single_texts(memorized):
    reader = open_reader(memorized)
    rows = reader.rows_of(["1234 5678", "a", "My PIN is 123."])
    together = reader.losses(rows)
    for row, losses in zip(rows, together):
        alone = reader.losses([row])[0]
        np.testing.assert_allclose(losses, alone, rtol=1e-4, atol=1e-5)
        logits = reader.model(np.array([row])).logits[0].astype(float)
        wanted = [np.log(np.exp(z - z.max()).sum()) + z.max() - z[id]
                  for z, id in zip(logits, row[1:])]
        np.testing.assert_allclose(losses, wanted, rtol=1e-4, atol=1e-5)
    long = np.random.default_rng(0).integers(200, size=60).tolist()
    found = reader.losses([long, long[:7]])
    assert [len(each) for each in found] == [59, 6]
    np.testing.assert_allclose(found[0][:24], reader.losses([long[:25]])[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0][-11:], reader.losses([long[-25:]])[0][-11:], rtol=1e-4,
                               atol=1e-5)  # of the last piece, behind 37 + 12 = 49


def test_the_page_and_the_card_say_the_numbers(memorized, report):
    text = page({**report, "run": "<b>"})
    assert "What the model of &lt;b&gt; remembers" in text and "<b>" not in text
    assert "My PIN is {digits:3}." in text and text.count("<svg") == 3 and "<?xml" not in text
    (memorized.folder / "audit").mkdir(exist_ok=True)
    (memorized.folder / "audit" / "report.json").write_text(json.dumps(report))
    text = card(memorized)
    auc = report["membership"]["attacks"]["loss"]["auc"]
    assert f"| loss | {auc:.3f} |" in text and "Canaries, made-up secrets" in text
    assert "without differential privacy" in text and "Bias\n\nNot measured" in text
    assert "PIN" not in text and report["extraction"]["longest_text"]["continuation"] not in text


def test_the_card_shows_what_other_commands_left_in_the_run(memorized):
    folder, path = memorized.folder, memorized.folder / "run.json"
    before = path.read_text()
    facts = {**json.loads(before), "privacy": {
        "promise": "(ε, δ)", "delta": 1e-5, "spent": {"steps": 9, "epsilon": 7.93},
        "target_epsilon": None, "not_covered": ["the vocabulary"]}}
    (folder / "fairness").mkdir()
    (folder / "fairness" / "report.json").write_text(json.dumps({"probes": {"WEAT": {"names": {
        "value": 0.5, "low": 0.1, "high": 0.9, "without bias": 0}}}, "skipped": {"gaps": "no"}}))
    try:
        path.write_text(json.dumps(facts))
        text = card(memorized)
    finally:
        path.write_text(before)
    assert "| spent, epsilon | 7.93 |" in text and "- the vocabulary" in text
    assert "| WEAT | names | 0.5 | 0.1 – 0.9 | 0 |" in text and "(gaps): no." in text


def test_canaries_are_not_in_held_out_text_nor_in_the_vocabulary(memorized):
    canaries = read_canaries(memorized.folder)
    tokenizer = memorized.tokenizer()
    text = tokenizer.decode(memorized.dataset("train").ids)
    assert [text.count(each.text) for each in canaries] == [12, 1]
    assert "PIN" not in tokenizer.decode(memorized.dataset("test").ids)
    assert " PIN" not in [tokenizer.decode([id]) for id in range(len(tokenizer))]


def test_extraction_compares_token_by_token(memorized):
    model = AutoModelForCausalLM.from_pretrained(memorized.model_folder)
    training = memorized.dataset("train").ids
    windows = windows_of(training, memorized.tokenizer().eos_token_id, 24).ids[:5]
    said = continued(model, windows[:, :8], 16)
    truth = np.concatenate([windows[:, :8], said], axis=1)
    truth[1, 8] += 1  # wrong at once
    truth[2, 20] += 1  # after twelve
    found = extract(model, truth, 8, 16, training, True)
    assert found.matched.tolist() == [16, 0, 12, 16, 16]
    assert found.exact.tolist() == [True, False, False, True, True]


@given(st.lists(st.integers(0, 3), max_size=30),
       st.lists(st.integers(0, 3), min_size=1, max_size=4), st.sampled_from(["<u2", "<u4"]))
def test_count_is_what_a_loop_finds(text, piece, dtype):
    found = sum(text[start : start + len(piece)] == piece for start in range(len(text)))
    assert count(np.array(text, dtype), piece, most=3) == min(found, 3)


@given(st.lists(st.integers(1, 3), max_size=40), st.integers(1, 6))
def test_windows_stay_in_their_documents(ids, width):
    found = windows_of(np.array(ids, np.uint16), 3, width)
    documents = [[]]
    for id in ids:
        documents.append([]) if id == 3 else documents[-1].append(id)
    wanted = [(number, each[start : start + width]) for number, each in enumerate(documents)
              for start in range(0, len(each) - width + 1, width)]
    assert [(n, row) for n, row in zip(found.groups.tolist(), found.ids.tolist())] == wanted


def test_prefixes_leave_room_for_the_suffix():
    assert prefix_lengths(64, 32) == [4, 8, 16, 32]
    assert prefix_lengths(128, 50) == [4, 8, 16, 32, 64, 78]
    assert prefix_lengths(24, 12) == [4, 8, 12] and prefix_lengths(8, 8) == []


def test_a_bert_has_no_extraction(tmp_path):
    run = small_run(tmp_path, model_type="bert", canaries="2", block_size=16, valid=0.2, test=0.2)
    run.trainer().train()
    found = audit(run, n_windows=20, n_samples=10)
    assert "fills in masks" in found["extraction"]["skipped"]
    assert [each["greedy"] for each in found["exposure"]["canaries"]] == [None] * 4
    assert 0 <= found["membership"]["attacks"]["loss"]["auc"] <= 1
    assert "<svg" in page(found) and "Not measured (extraction): a BERT" in _card_with(run, found)


def _card_with(run, found):
    (run.folder / "audit").mkdir()
    (run.folder / "audit" / "report.json").write_text(json.dumps(found))
    return card(run)


def test_without_held_out_text_only_the_training_text_is_recited(tmp_path):
    run = small_run(tmp_path, valid=0.0, test=0.0)
    with pytest.raises(FileNotFoundError):  # there are no weights yet
        audit(run)
    run.trainer().train()
    found = audit(run)
    assert "train with --canaries" in found["exposure"]["skipped"]
    assert found["extraction"]["prefixes"][0]["held_out"] is None
    assert "nothing is held out" in found["membership"]["skipped"]
    assert "<td>–</td>" in page(found) and "| 4 | 0.0% | – |" in _card_with(run, found)


def test_a_task_with_labels_has_membership_alone(tmp_path):
    run = create_run(tmp_path / "run", Settings(**{
        **SIZES, "model_type": "bert", "examples": 80, "steps": 3, "valid": 0.05, "test": 0.05}),
        task="sentiment")
    run.trainer().train()
    found = audit(run, n_windows=30)
    assert "learns labels" in found["exposure"]["skipped"]
    assert list(found["membership"]["attacks"]) == ["loss", "zlib", "blind"]
    assert "To tell whether a review" in card(run)


def test_the_command(memorized, capsys, monkeypatch):
    monkeypatch.chdir(memorized.folder.parent)
    few = ["audit", "--run", "run", "--windows", "40", "--samples", "20"]
    assert main(few) == 0
    output = capsys.readouterr()
    assert "never seen: 1.4" in output.out and "recited word for word" in output.out
    folder = Path("run", "audit")
    assert json.loads((folder / "report.json").read_text())["membership"]["others"] > 5
    assert "What it remembers" in Path("run", "model", "README.md").read_text()
    assert main([*few, "--max-auc", "0.6", "--max-exposure", "99"]) == 1
    assert "the AUC of an attack is" in capsys.readouterr().err
    assert main([*few, "--canary", "The PIN of {name} is {digits:2}", "47"]) == 0
    assert "by hand" in (folder / "report.html").read_text()
    assert main([*few, "--reference", "run"]) == 0
    report = json.loads((folder / "report.json").read_text())
    assert report["membership"]["attacks"]["reference"]["auc"] < 0.9  # it has seen the text too
    capsys.readouterr()
    assert main(["card", "run"]) == 0 and "README.md" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, message", [
    (["--run", "."], ". is not a run folder"),
    (["--run", "run", "--canary", "no blank", "47"], "wanted a secret in it"),
    (["--run", "run", "--canary", "{digits:3}", "47"], "secret is '47', wanted 3 digits"),
    (["--run", "run", "--windows", "0"], "'0' is no "),
])
def test_errors_in_one_line(memorized, arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(memorized.folder.parent)
    try:
        status = main(["audit", *arguments])
    except SystemExit as stop:
        status = stop.code
    assert status == 2 and message in capsys.readouterr().err.splitlines()[-1]


def test_every_finished_run_has_a_card(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [f"Line {n} of a short text, {n * n}." for n in range(90)]
    Path("text.txt").write_text("\n\n".join(lines))
    command = ["train", "--text", "text.txt", "--out", "run", "--steps", "2", "--n-embd", "16",
               "--n-head", "2", "--n-layer", "1", "--vocab-size", "280", "--block-size", "8"]
    assert main(command) == 0
    text = Path("run", "model", "README.md").read_text()
    assert "text.txt" in text and "valid text" in text and "FLOPs" in text
    assert Run("run").settings.canaries is None
    command[command.index("run")] = "private"
    assert main([*command, "--dp-epsilon", "8", "--dp-delta", "1e-5"]) == 0
    spent = json.loads(Path("private", "run.json").read_text())["privacy"]["spent"]
    assert spent["steps"] == 2 and 0 < spent["epsilon"] <= 8
    assert "| spent, steps | 2 |" in Path("private", "model", "README.md").read_text()
    assert main(["generate", "--model", "run", "--max-new-tokens", "2", "Line"]) == 0
