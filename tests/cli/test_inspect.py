"""minillm inspect: each view on the packaged model, its numbers against the library's."""

import json

import pytest

from minillm import BertConfig, BertForMaskedLM, BertTokenizer
from minillm.cli import main
from minillm.cli.arguments import INSPECTIONS

TEXT = "The class statement defines"
OPTIONS = {"patch": ["--corrupt", "The for statement defines"], "contributions": ["--token", " a"]}


@pytest.mark.parametrize("what", [name for name in INSPECTIONS if name != "anatomy"])
def test_every_view_prints_draws_and_writes(what, tmp_path, capsys):
    picture, numbers = tmp_path / "a.svg", tmp_path / "a.json"
    assert main(["inspect", what, *OPTIONS.get(what, []), "--picture", str(picture), "--json",
                 str(numbers), TEXT]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 4
    assert picture.read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert json.loads(numbers.read_text(encoding="utf-8"))["model"] == "pydoc-tiny"


def test_the_shares_are_those_of_the_logit(tmp_path):
    from minillm import GPT2LMHeadModel, GPT2Tokenizer

    path = tmp_path / "a.json"
    assert main(["inspect", "contributions", "--json", str(path), TEXT]) == 0
    found = json.loads(path.read_text())
    ids = GPT2Tokenizer.from_pretrained("pydoc-tiny").encode(TEXT, return_tensors="np")
    logits = GPT2LMHeadModel.from_pretrained("pydoc-tiny")(ids).logits[0, -1]
    assert found["token"] == logits.argmax()
    assert sum(found["shares"].values()) == pytest.approx(logits.max(), abs=1e-3)


def test_anatomy(capsys):
    assert main(["inspect", "anatomy", "x"]) == 0
    assert "transformer.h.0" in capsys.readouterr().out


def test_a_bert_is_asked_about_its_mask(tmp_path, capsys):
    tokenizer = BertTokenizer.train(["a cat and a dog"] * 3, 40)
    tokenizer.save_pretrained(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1,
                               num_attention_heads=2, intermediate_size=8,
                               max_position_embeddings=16)).save_pretrained(tmp_path)
    model = ["--model", str(tmp_path)]
    assert main(["inspect", "lens", *model, "a [MASK] and"]) == 0
    assert "[MASK]" in capsys.readouterr().out
    assert main(["inspect", "attribution", *model, "a [MASK] and"]) == 0
    capsys.readouterr()
    for arguments, error in (
        (["attribution", *model, "a cat"], "the text has no [MASK], wanted one"),
        (["contributions", *model, "a [MASK]"], "wanted a pre-norm model"),
        (["importance", *model, "a cat"], "predicts masks, wanted a decoder"),
    ):
        assert main(["inspect", *arguments]) == 2
        assert error in capsys.readouterr().err


@pytest.mark.parametrize("arguments, error", [
    (["lens", ""], "the text is empty"),
    (["contributions", "--token", "a long text", "x"], "tokens, wanted one; a word within a text"),
    (["patch", "--corrupt", "x", "The class"], "corrupt has 1 tokens, wanted"),
    (["lens", "--picture", "a.gif", "x"], "wanted a name that ends in .png or .svg"),
    (["importance", "x"], "the text has one token, wanted two or more"),
])
def test_one_line_errors(arguments, error, capsys):
    assert main(["inspect", *arguments]) == 2
    message = capsys.readouterr().err
    assert error in message and message.count("\n") == 1
