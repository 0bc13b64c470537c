"""BERT on the command line: pre-training, evaluating, filling in masks."""

import numpy as np
import pytest
from small_runs import write_text

from minillm import BertForMaskedLM, BertForPreTraining, BertTokenizer
from minillm.cli import main
from minillm.generation.fill_mask import fill_mask
from minillm.training.run import Run

SIZES = ["--arch=bert", "--n-layer=1", "--n-head=2", "--n-embd=32", "--block-size=24",
         "--batch-size=8", "--vocab-size=220", "--dropout=0", "--lr=1e-2", "--valid=0.2",
         "--test=0.2", "--checkpoint-every=40"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """The folder of a BERT that has seen a few hundred sentences. Tests only read it."""
    folder = tmp_path_factory.mktemp("bert")
    text = write_text(folder / "text.txt")
    assert main(["train", *SIZES, "--text", text, "--steps", "20", "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_training_and_what_it_reports(tmp_path, capsys):
    text = write_text(tmp_path / "text.txt")
    assert main(["train", *SIZES, "--text", text, "--steps", "4", "--out", "run"]) == 0
    output = capsys.readouterr()
    assert "training 4/4 loss" in output.err and 'minillm fill --model run "The' in output.err
    for words in ("masked accuracy", "next-sentence accuracy", "│ valid", "│ test"):
        assert words in output.out
    assert Run("run").task_class.name == "bert_pretraining"
    assert main(["train", "--resume", "run", "--steps", "6"]) == 0
    assert "after step 4" in capsys.readouterr().err
    assert main(["finetune", "--model", "run", "--text", text, "--steps", "2", "--block-size", "16",
                 "--out", "tuned"]) == 0
    assert Run("tuned").task_class.name == "bert_pretraining"


def test_eval(bert, tmp_path, capsys):
    assert main(["eval", "--model", str(bert)]) == 0
    table = capsys.readouterr().out
    run = Run(bert)
    measured = run.task().measure(BertForPreTraining.from_pretrained(run.model_folder), "valid")
    assert f"{measured.loss:.4f}" in table and f"{measured.masked_accuracy:.1%}" in table
    write_text(tmp_path / "text.txt")
    text = "text.txt"
    for options in ([], ["--dtype", "int8", "--block-size", "16"]):
        assert main(["eval", "--model", str(bert), "--text", text, *options]) == 0
        assert "text.txt" in capsys.readouterr().out
    assert main(["eval", "--model", str(bert), "--text", text, "--block-size", "25"]) == 2
    assert "block_size is 25, wanted 1 … 24" in capsys.readouterr().err
    (tmp_path / "short.txt").write_text("too short")
    assert main(["eval", "--model", str(bert), "--text", "short.txt"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_fill(bert, capsys):
    text = "The cat number 2 sees 4 [MASK] in the garden of [MASK] 14."
    assert main(["fill", "--model", str(bert), "--top", "3", text]) == 0
    output = capsys.readouterr().out
    assert "mask 1 of 2" in output and "mask 2 of 2" in output and "%" in output
    model = BertForMaskedLM.from_pretrained(bert / "model")
    tokenizer = BertTokenizer.from_pretrained(bert / "model")
    first, second = fill_mask(model, tokenizer, text, 3)
    assert len(first) == len(second) == 3 and first[0][1] >= first[1][1] >= first[2][1] > 0
    everything = fill_mask(model, tokenizer, "The [MASK]", model.config.vocab_size)[0]
    assert sum(p for _, p in everything) == pytest.approx(1, abs=1e-5)
    ids = tokenizer("The [MASK]", return_tensors="np")
    logits = model(**ids).logits[0, list(ids["input_ids"][0]).index(tokenizer.mask_token_id)]
    assert everything[0][0] == tokenizer.convert_ids_to_tokens(int(np.argmax(logits)))


@pytest.mark.parametrize("command, message", [
    (["fill", "The cat"], "'The cat' has no [MASK], wanted one where a token is missing"),
    (["fill", "--top", "0", "The [MASK]"], "top is 0, wanted 1 … "),
    (["fill", "[MASK] " * 30], "input_ids reaches 32 tokens, wanted at most"),
    (["generate", "The cat"], "is a bert model, which fills in masked words and can't continue"),
])
def test_errors_in_one_line(bert, command, message, capsys):
    assert main([command[0], "--model", str(bert), *command[1:]]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and message in error[0]


def test_a_model_that_cannot_fill(trained, capsys):
    assert main(["fill", "--model", str(trained), "The [MASK]"]) == 2
    assert "head is 'masked_lm', wanted one of" in capsys.readouterr().err
