"""Byte-level BPE in the styles of Llama 3, Qwen2 and SmolLM2, and their chat templates."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from minillm.text.auto import AutoTokenizer
from minillm.text.chat_template import plain, render

FOLDER = Path(__file__).parents[1] / "fixtures" / "chat"
KINDS = ("llama3", "qwen2", "smollm")
EXPECTED = {kind: json.loads((FOLDER / kind / "expected.json").read_text()) for kind in KINDS}
CASES = [(kind, name) for kind in KINDS for name in EXPECTED[kind]["chats"]]
HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def tokenizers():
    return {kind: AutoTokenizer.from_pretrained(FOLDER / kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_tokenizers(kind, tokenizers, tmp_path):
    tokenizer = tokenizers[kind]
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text, ids in EXPECTED[kind]["encoded"]:
        assert tokenizer.encode(text) == ids, text
        assert again.encode(text) == ids, text
        assert tokenizer(text, return_offsets_mapping=True)["input_ids"] == ids
    assert again.chat_template == tokenizer.chat_template


def test_qwen2_without_a_tokenizer_json(tokenizers, tmp_path):
    model = json.loads((FOLDER / "qwen2" / "tokenizer.json").read_text())["model"]
    shutil.copy(FOLDER / "qwen2" / "tokenizer_config.json", tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text, ids in EXPECTED["qwen2"]["encoded"]:
        assert tokenizer.encode(text) == ids, text


@pytest.mark.parametrize("kind, name", CASES)
def test_conversations_are_those_of_transformers(kind, name, tokenizers):
    pytest.importorskip("jinja2")
    case, tokenizer = EXPECTED[kind]["chats"][name], tokenizers[kind]
    before = json.dumps(case["messages"])
    text = tokenizer.apply_chat_template(case["messages"], tokenize=False, **case["options"])
    assert text == case["text"]
    encoding = tokenizer.apply_chat_template(case["messages"], **case["options"])
    assert encoding["input_ids"] == case["ids"]
    ids = tokenizer.apply_chat_template(case["messages"], return_dict=False, **case["options"])
    assert ids == case["ids"] and json.dumps(case["messages"]) == before


def test_arrays_padding_and_truncation(tokenizers):
    pytest.importorskip("jinja2")
    tokenizer = tokenizers["smollm"]
    encoding = tokenizer.apply_chat_template([HI, HI + HI], return_tensors="np", padding=True)
    assert encoding["input_ids"].shape == encoding["attention_mask"].shape
    assert encoding["attention_mask"][0].sum() < encoding["attention_mask"][1].sum()
    short = tokenizer.apply_chat_template(HI, max_length=3, truncation=True, return_tensors="np")
    assert short["input_ids"].shape == (1, 3)


def test_templates_with_names(tokenizers):
    pytest.importorskip("jinja2")
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "smollm")
    tokenizer.chat_template = {"default": "one", "tool_use": "two", "rag": "three"}
    write = lambda **options: tokenizer.apply_chat_template(HI, tokenize=False, **options)
    assert write() == "one" and write(tools=[{"name": "f"}]) == "two"
    assert write(chat_template="rag") == "three" and write(chat_template="{{ eos_token }}") == (
        "<|im_end|>")
    tokenizer.chat_template = {"rag": "three"}
    with pytest.raises(ValueError, match=r"wanted one of \['rag'\]"):
        write()
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="the tokenizer has no chat_template"):
        write()


@pytest.mark.parametrize("template, match", [
    ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    ("{{ messages.append(1) }}", "unsafe|not safely callable"),
    ("{{ namespace(_x=1) }}", "can't hold '_x'"),
    ("{{ raise_exception('no\nrole') }}", "no role"),
    ("{% if %}", "Expected an expression"),
    ("{{ 1 / 0 }}", "division by zero"),
    ("{{ 1 + 'a' }}", "unsupported operand"),
    ("{{ range(10**9) | list }}", "Range too big"),
])
def test_bad_templates_are_one_line(template, match):
    pytest.importorskip("jinja2")
    with pytest.raises(ValueError, match=match) as caught:
        render(template, HI)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("messages, options, error, match", [
    ([], {}, ValueError, "the conversation is empty"),
    (["Hi"], {}, TypeError, "a message is 'Hi', wanted a dict"),
    (HI, dict(add_generation_prompt=True, continue_final_message=True), ValueError, "both set"),
    (HI, dict(continue_final_message="thinking"), ValueError, "has no 'thinking'"),
    (HI, dict(tools=[print]), ValueError, "wanted JSON schemas"),
    (HI, dict(sanitize_control_tokens=True), ValueError, "only False is implemented"),
    (HI, dict(return_assistant_tokens_mask=True), ValueError, "only False is implemented"),
])
def test_bad_arguments_are_named(messages, options, error, match, tokenizers):
    pytest.importorskip("jinja2")
    with pytest.raises(error, match=match):
        tokenizers["smollm"].apply_chat_template(messages, **options)


def test_the_template_sees_only_plain_copies():
    class Secret(str):
        def reveal(self):
            return "secret"

    message = {"role": Secret("user"), "content": np.float64(1.5), "image": np.zeros(3)}
    copy = plain(message)
    assert copy == {"role": "user", "content": 1.5, "image": "<ndarray>"}
    assert type(copy["role"]) is str and type(copy["content"]) is float
    pytest.importorskip("jinja2")
    with pytest.raises(ValueError, match="has no attribute 'reveal'"):
        render("{{ messages[0].role.reveal() }}", [message])


def test_without_jinja(monkeypatch, tokenizers):
    from minillm.text import chat_template

    chat_template._compiled.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r'pip install "minillm\[chat\]"'):
        tokenizers["qwen2"].apply_chat_template(HI)
