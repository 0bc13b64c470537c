"""`minillm finetune --lora-rank`, `minillm lora`, `--adapter`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_runs import write_text
from tiny_models import FIXTURES

from minillm import GPT2LMHeadModel
from minillm.cli import main
from minillm.models.auto import AutoModelForCausalLM, AutoModelForSequenceClassification
from minillm.nn import no_grad
from minillm.training.run import Run

IDS = np.array([[5, 9, 12, 7]])


def logits(folder):
    with no_grad():
        return AutoModelForCausalLM.from_pretrained(folder)(IDS).logits


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run folder of the packaged model, fine-tuned with LoRA on a small text."""
    folder = tmp_path_factory.mktemp("lora")
    text, out = write_text(folder / "text.txt"), str(folder / "run")
    assert main(["finetune", "--model", "pydoc-tiny", "--text", text, "--out", out, "--steps", "8",
                 "--block-size", "16", "--batch-size", "4", "--lora-rank", "2", "--lr", "5e-3",
                 "--warmup", "0", "--eval-every", "8", "--lora-targets", "c_attn,c_fc",
                 "--dropout", "0"]) == 0
    return out


def test_a_run_with_lora(run, capsys):
    settings = Run(run).settings
    assert (settings.lora_rank, settings.lora_targets) == (2, "c_attn,c_fc")
    valid = [record["valid_loss"] for record in Run(run).trainer().metrics.records
             if "valid_loss" in record]
    assert valid[1] < valid[0] - 0.5
    # generate and eval take the run folder as any other's, or the adapter beside its base.
    for model in (["--model", run], ["--model", "pydoc-tiny", "--adapter", run],
                  ["--model", "pydoc-tiny", "--adapter", f"{run}/adapter", "--dtype", "int8"]):
        assert not main(["generate", *model, "--greedy", "--max-new-tokens", "3", "The cat"])
    outputs = capsys.readouterr().out.splitlines()
    assert outputs[0] == outputs[1] and outputs[0].startswith("The cat")
    assert not main(["eval", "--model", run])
    text = str(Path(run).parent / "text.txt")
    assert not main(["eval", "--model", "pydoc-tiny", "--adapter", run, "--text", text,
                     "--block-size", "16"])
    assert not main(["train", "--resume", run, "--steps", "9"])
    assert "of which" in capsys.readouterr().err


def test_merging(run):
    assert not main(["lora", "merge", "--model", "pydoc-tiny", "--adapter", run, "--out", "merged"])
    np.testing.assert_allclose(logits("merged"), logits(f"{run}/model"), rtol=0, atol=1e-4)
    assert not main(["generate", "--model", "merged", "--max-new-tokens", "2", "The"])  # a tokenizer
    assert main(["lora", "merge", "--model", "pydoc-tiny", "--adapter", run, "--out", "merged"]) == 2


def test_merging_an_adapter_of_a_classifier():
    """adapter_config.json names the task, and with it the head."""
    assert not main(["lora", "merge", "--model", str(FIXTURES / "bert_tiny"), "--adapter",
                     str(FIXTURES / "lora_tiny" / "bert"), "--out", "merged"])
    AutoModelForSequenceClassification.from_pretrained("merged")


def test_extracting(capsys):
    tuned = GPT2LMHeadModel.from_pretrained("pydoc-tiny")
    rng = np.random.default_rng(0)
    for block in tuned.transformer.h:
        W = block.attention.qkv.weight.data
        W += (rng.normal(size=(len(W), 3)) @ rng.normal(size=(3, W.shape[1]))).astype(W.dtype) / 50
    tuned.save_pretrained("tuned")
    assert not main(["lora", "extract", "--model", "pydoc-tiny", "--tuned", "tuned", "--rank", "3",
                     "--out", "adapter"])
    assert "hold 100.0 % of the change" in capsys.readouterr().err
    assert not main(["lora", "merge", "--model", "pydoc-tiny", "--adapter", "adapter", "--out",
                     "again"])
    np.testing.assert_allclose(logits("again"), logits("tuned"), rtol=0, atol=1e-3)
    tuned.transformer.wte.weight.data[:] += 0.01
    tuned.save_pretrained("tuned")
    assert not main(["lora", "extract", "--model", "pydoc-tiny", "--tuned", "tuned", "--rank", "1",
                     "--out", "less"])
    assert "left out: embeddings" in capsys.readouterr().err
    assert np.abs(logits("again") - logits("tuned")).max() > 1e-3
    assert json.loads(Path("less/adapter_config.json").read_text())["r"] == 1


@pytest.mark.parametrize("arguments, message", [
    (["lora", "merge", "--model", "pydoc-tiny", "--adapter", "nowhere", "--out", "x"], "nowhere"),
    (["lora", "merge", "--model", "pydoc-tiny", "--adapter", "LLAMA", "--out", "x"],
     "wanted Linears of GPT2LMHeadModel"),
    (["lora", "extract", "--model", "pydoc-tiny", "--tuned", "GPT2", "--out", "x"],
     "only one of the models has transformer.h.2"),
    (["lora", "extract", "--model", "GPT2", "--tuned", "GPT2", "--rank", "0", "--out", "x"],
     "r is 0, wanted a rank of at least 1"),
    (["generate", "--model", "pydoc-tiny", "--adapter", "LLAMA", "a"],
     "wanted Linears of GPT2LMHeadModel"),
    (["finetune", "--model", "pydoc-tiny", "--lora-rank", "2", "--freeze", "1"], "wanted one of"),
    (["finetune", "--model", "pydoc-tiny", "--freeze", "nine"], "freeze is 'nine', wanted"),
    (["train-task", "sentiment", "--lora-rank", "2"], "a new model has no weights worth keeping"),
])
def test_errors_in_one_line(arguments, message, capsys):
    places = {"LLAMA": FIXTURES / "lora_tiny" / "llama", "GPT2": FIXTURES / "gpt2_tiny"}
    assert main([str(places.get(argument, argument)) for argument in arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("minillm: error: ") and message in error


def test_a_run_folder_without_an_adapter(run, capsys):
    shutil.copytree(run, "plain")
    shutil.rmtree("plain/adapter")
    assert main(["generate", "--adapter", "plain", "a"]) == 2
    assert "plain is a run folder without an adapter" in capsys.readouterr().err
