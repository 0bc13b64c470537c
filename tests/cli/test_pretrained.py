"""The models that ship in the package, and the recipes that make them."""

import math
import re

import pytest
from safetensors import safe_open

from minillm import GPT2LMHeadModel, GPT2Tokenizer
from minillm.cli.pretrained import RECIPES, held_out_topics, publish
from minillm.hub import PACKAGED, packaged_names
from minillm.models.auto import AutoModelForCausalLM
from minillm.text.auto import AutoTokenizer
from minillm.text.dataset import TokenDataset, write_documents
from minillm.text.corpus import Document, load_python_topics
from minillm.training.evaluate import evaluate
from minillm.training.run import Run

# Sentences in the style of a language reference.
TEXT = """The "return" statement leaves the current function call with the expression list as its
value. If the class defines a method with that name, it is called with the object as its first
argument. An exception is raised when the value of the expression is not an integer."""


MODELS = pytest.mark.parametrize("name", RECIPES)


@MODELS
def test_it_is_small_and_the_model_of_the_recipe(name):
    folder, settings = PACKAGED / name, RECIPES[name].settings
    assert name in packaged_names()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 6_000_000
    with safe_open(folder / "model.safetensors", "np") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}
    config = AutoModelForCausalLM.from_pretrained(name).config
    assert config.model_type == settings.model_type
    assert config.vocab_size == settings.vocab_size == len(AutoTokenizer.from_pretrained(name))
    assert config.max_position_embeddings == settings.block_size
    assert (config.num_hidden_layers, config.num_attention_heads, config.hidden_size) == (
        settings.n_layer, settings.n_head, settings.n_embd)


@MODELS
def test_it_knows_the_language_of_its_text(name, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(name)
    write_documents(tmp_path / "tokens.bin", [Document("reference", TEXT)],
                    AutoTokenizer.from_pretrained(name))
    result = evaluate(model, TokenDataset(tmp_path / "tokens.bin"), block_size=128)
    assert result.loss < 0.7 * math.log(model.config.vocab_size)


def test_the_better_one_predicts_what_neither_was_trained_on_with_fewer_bits(tmp_path):
    topics = [each for each in load_python_topics() if each.name in held_out_topics()][:3]
    bits = []
    for name in ("pydoc-small", "pydoc-tiny"):
        write_documents(tmp_path / "tokens.bin", topics, AutoTokenizer.from_pretrained(name))
        model = AutoModelForCausalLM.from_pretrained(name)
        bits.append(evaluate(model, TokenDataset(tmp_path / "tokens.bin"), block_size=128)
                    .bits_per_byte)
    assert bits[0] < bits[1]


@MODELS
def test_the_model_card_tells_the_loss_on_held_out_text(name):
    card = (PACKAGED / name / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (validation|test) \| ([\d.]+) \| ([\d.]+) \|", card, re.MULTILINE)
    assert [title for title, _, _ in rows] == ["validation", "test"]
    for _, loss, perplexity in rows:
        assert math.exp(float(loss)) == pytest.approx(float(perplexity), rel=1e-3)


def test_publishing_a_run(trained, tmp_path):
    run, folder = Run(trained), tmp_path / "models" / "small"
    for _ in range(2):  # the second replaces the first
        publish(run, folder, "pydoc-tiny")
    best = GPT2LMHeadModel.from_pretrained(run.model_folder)
    published = GPT2LMHeadModel.from_pretrained(folder)
    for one, other in zip(best.parameters(), published.parameters()):
        assert abs(one.data - other.data).max() < 1e-3 * max(1, abs(one.data).max())
    assert GPT2Tokenizer.from_pretrained(folder).get_vocab() == run.tokenizer().get_vocab()
    valid = evaluate(published, run.dataset("valid"), block_size=16)
    assert f"| validation | {valid.loss:.4f} |" in (folder / "README.md").read_text()
    assert [path.name for path in folder.parent.iterdir()] == ["small"]
