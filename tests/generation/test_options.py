"""Every option of generation_config.json: obeyed from every source, or refused by name."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from minillm import GPT2LMHeadModel
from minillm.generation import GenerationConfig
from minillm.generation.generation_config import KINDS, METADATA, REFUSED
from minillm.generation.options import DEFAULTS

TINY = Path(__file__).parents[1] / "fixtures" / "gpt2_tiny"
FROZEN = json.loads((TINY / "options.json").read_text())
PROMPT = np.array(FROZEN["prompt"])


@pytest.fixture(scope="module")
def model():
    return GPT2LMHeadModel.from_pretrained(TINY)


@pytest.fixture
def load(tmp_path):
    """-> a function (file, options): the model of TINY with `options` written into `file`"""
    def load(file, options):
        for name in ("config.json", "model.safetensors"):
            shutil.copy(TINY / name, tmp_path)
        stored = json.loads((TINY / "config.json").read_text())
        if file == "generation_config.json":
            stored = {"bos_token_id": 0, "eos_token_id": 0}
        (tmp_path / file).write_text(json.dumps({**stored, **options}))
        return GPT2LMHeadModel.from_pretrained(tmp_path)

    return load


@pytest.mark.parametrize("place", ["call", "object", "generation_config.json", "config.json"])
@pytest.mark.parametrize("name", FROZEN["cases"])
def test_an_option_has_the_effect_that_it_has_in_transformers(model, load, name, place):
    case = FROZEN["cases"][name]
    options = case["options"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if place == "call":
            output = model.generate(PROMPT, **options)
        elif place == "object":
            output = model.generate(PROMPT, GenerationConfig(**options))
        else:
            output = load(place, options).generate(PROMPT)
    np.testing.assert_array_equal(output, case["output"])


def test_the_call_wins_over_its_object_and_that_over_the_checkpoint(load):
    model = load("generation_config.json", {"max_length": 20, "num_beams": 3, "eos_token_id": None})
    assert model.generate(PROMPT).shape == (2, 20)
    config = GenerationConfig(max_length=10)
    assert model.generate(PROMPT, config).shape == (2, 10)
    assert model.generate(PROMPT, config, max_length=8).shape == (2, 8)
    assert config == GenerationConfig(max_length=10)  # it is unchanged
    np.testing.assert_array_equal(model.generate(PROMPT, num_beams=1, max_length=9),
                                  model.generate(PROMPT, num_beams=None, max_length=9))


def test_none_in_the_call_unsets_what_the_checkpoint_says(model, load):
    stored = {"suppress_tokens": [5], "repetition_penalty": 1.8, "bad_words_ids": [[7]]}
    strict = load("generation_config.json", stored)
    plain = model.generate(PROMPT)
    assert (strict.generate(PROMPT) != plain).any()
    np.testing.assert_array_equal(
        strict.generate(PROMPT, **dict.fromkeys(stored)), plain)


def value_that_matters(name):
    """-> a value of `name` that would change what is generated"""
    values = {"dola_layers": "high", "watermarking_config": {"bias": 2.0}, "constraints": [1],
              "force_words_ids": [[1]], "cache_implementation": "quantized",
              "guidance_scale": 1.5, "diversity_penalty": 0.5, "penalty_alpha": 0.6,
              "assistant_ensemble_weight": 0.5}
    return values.get(name, True if bool in KINDS[name].__args__ else 2)


@pytest.mark.parametrize("place", ["call", "generation_config.json"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_implemented_is_refused_by_name(model, load, name, place):
    options = {name: value_that_matters(name), "return_dict_in_generate": True}
    with pytest.raises(ValueError, match=f"^{name} is .* not implemented") as caught:
        if place == "call":
            model.generate(PROMPT, **options)
        else:
            loaded = load(place, options)
            loaded(PROMPT)  # the model still works
            loaded.generate(PROMPT)
    assert "\n" not in str(caught.value)
    for neutral in (None, *REFUSED[name]):
        model.generate(PROMPT, max_new_tokens=1, **{name: neutral})


@pytest.mark.parametrize("name", [
    "assistant_tokenizer", "negative_prompt_ids", "custom_generate",
    "synced_gpus", "position_ids", "token_type_ids", "encoder_outputs"])
def test_arguments_that_are_not_implemented_are_refused_by_name(model, name):
    with pytest.raises(ValueError, match=name):
        model.generate(PROMPT, **{name: object()})
    model.generate(PROMPT, max_new_tokens=1, **{name: None})


def test_the_list_of_options_is_that_of_transformers():
    transformers = pytest.importorskip("transformers")
    theirs = {name for name in vars(transformers.GenerationConfig()) if not name.startswith("_")}
    assert theirs - KINDS.keys() - METADATA == set()
    defaults = transformers.GenerationConfig._get_default_generation_params()
    assert {name: defaults[name] for name in DEFAULTS} == DEFAULTS
    for name in DEFAULTS.keys() | defaults.keys():
        if name not in DEFAULTS and defaults.get(name) is not None and name != "max_length":
            assert name in REFUSED or name not in REFUSED and name in KINDS


# ---- the file


def test_a_file_of_transformers_comes_back(tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.GenerationConfig(
        top_k=7, do_sample=True, sequence_bias={(3, 4): 1.5}, guidance_scale=1.5,
        suppress_tokens=[1, 2], stop_strings=["a"]).save_pretrained(tmp_path)
    ours = GenerationConfig(top_k=7, do_sample=True, sequence_bias={(3, 4): 1.5},
                            guidance_scale=1.5, suppress_tokens=[1, 2], stop_strings=["a"])
    ours.save_pretrained(tmp_path / "ours")
    again = GenerationConfig.from_pretrained(tmp_path / "ours")
    assert again.sequence_bias == [[[3, 4], 1.5]]
    assert {**again.to_dict(), "sequence_bias": None} == {**ours.to_dict(), "sequence_bias": None}
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path / "ours")
    assert theirs.guidance_scale == 1.5 and theirs.sequence_bias == [[[3, 4], 1.5]]


def test_unknown_names_are_told_and_kept(tmp_path):
    (tmp_path / "generation_config.json").write_text(
        '{"chat_format": "chatml", "top_k": 3, "transformers_version": "9"}')
    with pytest.warns(UserWarning, match="'chat_format': not an option of generate"):
        config = GenerationConfig.from_pretrained(tmp_path)
    assert config.top_k == 3
    config.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "generation_config.json").read_text()) == {
        "chat_format": "chatml", "top_k": 3}


@pytest.mark.parametrize("content, message", [
    ("[]", "holds a list"),
    ('{"top_k": "many"}', "top_k is 'many', wanted an integer"),
    ('{"do_sample": 1}', "do_sample is 1, wanted true or false"),
    ('{"eos_token_id": [1, "a"]}', "eos_token_id"),
    ('{"bad_words_ids": [1]}', "bad_words_ids"),
    ('{"top_p": NaN}', "top_p is nan"),
    ("{" * 2000, "generation_config.json"),
])
def test_a_damaged_file_is_named(tmp_path, content, message):
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        GenerationConfig.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value) and "generation_config.json" in str(caught.value)


# ---- bad values


@pytest.mark.parametrize("error, match, options", [
    (ValueError, "sequence_bias is", dict(sequence_bias={"(1, 2)": 2.0})),
    (ValueError, "sequence_bias is", dict(sequence_bias=[[1, 2]])),
    (ValueError, "sequence_bias contains 400", dict(sequence_bias={(400,): 2.0})),
    (ValueError, "bad_words_ids contains 400", dict(bad_words_ids=[[1], [400]])),
    (ValueError, r"bad_words_ids is \[\]", dict(bad_words_ids=[])),
    (ValueError, r"bad_words_ids is \[\[\]\]", dict(bad_words_ids=[[]])),
    (TypeError, "bad_words_ids", dict(bad_words_ids=[3])),
    (ValueError, "forced_eos_token_id is 400", dict(forced_eos_token_id=[3, 400])),
    (ValueError, "forced_bos_token_id is -1", dict(forced_bos_token_id=-1)),
    (ValueError, "exponential_decay_length_penalty", dict(exponential_decay_length_penalty=(1,))),
    (ValueError, "min_p is 1.5", dict(min_p=1.5)),
    (ValueError, "top_h is 0", dict(top_h=0.0)),
    (ValueError, "typical_p is 0", dict(typical_p=0.0)),
    (ValueError, "max_time is 0", dict(max_time=0)),
    (ValueError, "stop_strings needs the tokenizer", dict(stop_strings="a")),
    (TypeError, "logits_processor is", dict(logits_processor=abs)),
    (TypeError, "stopping_criteria is", dict(stopping_criteria=[3])),
    (TypeError, "generation_config is a ndarray", dict(generation_config=np.ones((2, 5)))),
    (TypeError, "past_key_values is a tuple", dict(past_key_values=())),
    (TypeError, "do_sample is 1, wanted true or false", dict(do_sample=1)),
])
def test_bad_values_are_named(model, error, match, options):
    with pytest.raises(error, match=match) as caught:
        model.generate(PROMPT, **options)
    assert "\n" not in str(caught.value)


def test_values_of_numpy_are_values(model):
    plain = model.generate(PROMPT, max_new_tokens=4, eos_token_id=[3, 7], repetition_penalty=1.5)
    np.testing.assert_array_equal(plain, model.generate(
        PROMPT, max_new_tokens=np.int64(4), eos_token_id=np.array([3, 7]),
        repetition_penalty=np.float32(1.5)))
