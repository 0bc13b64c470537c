"""The tiny model that ships in the package, and the recipe that makes it."""

import math
import re

import pytest
from safetensors import safe_open

from minillm import GPT2LMHeadModel, GPT2Tokenizer
from minillm.cli.pretrained import RECIPE, publish
from minillm.hub import PACKAGED, packaged_names
from minillm.text.dataset import TokenDataset, write_documents
from minillm.text.corpus import Document
from minillm.training.evaluate import evaluate
from minillm.training.run import Run

# Sentences in the style of a language reference.
TEXT = """The "return" statement leaves the current function call with the expression list as its
value. If the class defines a method with that name, it is called with the object as its first
argument. An exception is raised when the value of the expression is not an integer."""


def test_it_is_small_and_the_model_of_the_recipe():
    folder = PACKAGED / "pydoc-tiny"
    assert "pydoc-tiny" in packaged_names()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3_000_000
    with safe_open(folder / "model.safetensors", "np") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}
    config = GPT2LMHeadModel.from_pretrained("pydoc-tiny").config
    assert config.vocab_size == RECIPE.vocab_size == len(GPT2Tokenizer.from_pretrained("pydoc-tiny"))
    assert (config.n_layer, config.n_head, config.n_embd, config.n_positions) == (
        RECIPE.n_layer, RECIPE.n_head, RECIPE.n_embd, RECIPE.block_size)


def test_it_knows_the_language_of_its_text(tmp_path):
    model = GPT2LMHeadModel.from_pretrained("pydoc-tiny")
    write_documents(tmp_path / "tokens.bin", [Document("reference", TEXT)],
                    GPT2Tokenizer.from_pretrained("pydoc-tiny"))
    result = evaluate(model, TokenDataset(tmp_path / "tokens.bin"), block_size=128)
    assert result.loss < 0.7 * math.log(model.config.vocab_size)


def test_the_model_card_tells_the_loss_on_held_out_text():
    card = (PACKAGED / "pydoc-tiny" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (validation|test) \| ([\d.]+) \| ([\d.]+) \|", card, re.MULTILINE)
    assert [name for name, _, _ in rows] == ["validation", "test"]
    for _, loss, perplexity in rows:
        assert math.exp(float(loss)) == pytest.approx(float(perplexity), rel=1e-3)


def test_publishing_a_run(trained, tmp_path):
    run, folder = Run(trained), tmp_path / "models" / "small"
    for _ in range(2):  # the second replaces the first
        publish(run, folder)
    best = GPT2LMHeadModel.from_pretrained(run.model_folder)
    published = GPT2LMHeadModel.from_pretrained(folder)
    for one, other in zip(best.parameters(), published.parameters()):
        assert abs(one.data - other.data).max() < 1e-3 * max(1, abs(one.data).max())
    assert GPT2Tokenizer.from_pretrained(folder).get_vocab() == run.tokenizer().get_vocab()
    valid = evaluate(published, run.dataset("valid"), block_size=16)
    assert f"| validation | {valid.loss:.4f} |" in (folder / "README.md").read_text()
    assert [path.name for path in folder.parent.iterdir()] == ["small"]
