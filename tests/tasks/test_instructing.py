"""Instruction fine-tuning: orders, and a tokenizer with a chat template."""

import json

import numpy as np
import pytest

from minillm import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer
from minillm.cli import main
from minillm.tasks.data import instructions
from minillm.training.run import Run

TEMPLATE = ("{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
            "<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def test_the_orders():
    splits = instructions.generate(1000, seed=0)
    assert splits == instructions.generate(1000, seed=0)
    prompts = [example["prompt"] for found in splits.values() for example in found]
    assert len(set(prompts)) == 1000
    for split, found in splits.items():
        for example in found:
            *_, last = example["prompt"].strip("?").split()
            if "swap" in example["prompt"].lower():
                assert example["completion"].split()[0] == last
            if "last word" in example["prompt"]:
                assert example["completion"] == last
            assert example["completion"]
            wording = example["prompt"].startswith(("Please", "Tell me"))
            assert wording == (split == "test")


def test_train_and_predict(tmp_path, capsys):
    assert main(["train-task", "instructions", "--examples", "120", "--vocab-size", "300",
                 "--n-layer", "1", "--n-head", "2", "--n-embd", "16", "--steps", "10",
                 "--batch-size", "8", "--out", str(tmp_path / "run")]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["metrics"].keys() == {"exact match"}
    assert results["baselines"]["echo"]["exact match"]["value"] > 0.05
    capsys.readouterr()
    assert main(["predict", "--model", str(tmp_path / "run"), "Please swap: a b"]) == 0
    assert capsys.readouterr().out


def test_with_a_chat_template(tmp_path):
    pytest.importorskip("jinja2")
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Say {i}", "completion": f"{i}"}) + "\n"
                            for i in range(20)))
    tokenizer = GPT2Tokenizer.train(["Say 1 user assistant"] * 2, 270, special_tokens=(
        "<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(tmp_path / "model")
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1,
                               n_head=2)).save_pretrained(tmp_path / "model")
    assert main(["train-task", "instructions", "--model", str(tmp_path / "model"), "--data",
                 str(path), "--block-size", "64", "--steps", "3", "--batch-size", "4", "--out",
                 str(tmp_path / "run")]) == 0
    task = Run(tmp_path / "run").task()
    example = {"prompt": "Say 7", "completion": "7"}
    batch = task.encode([example], None)
    text = task.tokenizer.decode(batch["input_ids"][0])
    assert text == "<|im_start|>user\nSay 7<|im_end|>\n<|im_start|>assistant\n7<|im_end|>"
    labels = batch["labels"][0]
    assert task.tokenizer.decode(labels[labels != -100]) == "7<|im_end|>"
    end = task.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert task.end_ids == [end, task.tokenizer.eos_token_id]
    assert np.isin(end, labels)
