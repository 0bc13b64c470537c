"""From the model_type of a config.json to the classes."""

import json
import shutil
from pathlib import Path

import pytest

from minillm import GPT2Config, GPT2LMHeadModel, GPT2Model
from minillm.models.auto import (
    ARCHITECTURES,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    config_class,
    model_class,
)

TINY = Path(__file__).parents[1] / "fixtures" / "gpt2_tiny"


def test_the_classes_of_a_type():
    assert config_class("gpt2") is GPT2Config
    assert model_class("gpt2") is GPT2LMHeadModel
    assert model_class("gpt2", "base") is GPT2Model


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_class_of_the_registry_is_there(model_type):
    assert config_class(model_type)
    for head in ARCHITECTURES[model_type]:
        assert model_class(model_type, head)


@pytest.mark.parametrize("model_type", ["bort", None, 3, ["gpt2"], "\x1b[2J" * 100])
def test_unknown_types(model_type):
    for call in (config_class, model_class):
        with pytest.raises(ValueError, match="^model_type is .*, wanted one of 'gpt2'") as caught:
            call(model_type)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 200


def test_unknown_heads():
    with pytest.raises(ValueError, match="head is 'tail', wanted one of 'base', 'causal_lm', "):
        model_class("gpt2", "tail")


def test_auto_classes(tmp_path):
    assert type(AutoModelForCausalLM.from_pretrained(TINY)) is GPT2LMHeadModel
    assert type(AutoModel.from_pretrained(TINY)) is GPT2Model
    assert AutoConfig.from_pretrained(TINY) == GPT2Config.from_pretrained(TINY)
    folder = shutil.copytree(TINY, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bort"}))
    with pytest.raises(ValueError, match="config.json: model_type is 'bort', wanted one of 'gpt2'"):
        AutoModel.from_pretrained(folder)
