"""Every decoder trains, resumes, evaluates, generates and is fine-tuned as GPT-2 does."""

import numpy as np
import pytest
from small_runs import small_run, small_settings, write_text

from minillm.cli import main
from minillm.models.auto import AutoModelForCausalLM
from minillm.training.architecture import new_config
from minillm.training.checkpoint import list_checkpoints
from minillm.training.run import Run

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "apertus")


class Killed(BaseException):
    """An error that the code under test can't catch by accident."""


def final_state(run):
    newest = list_checkpoints(run.checkpoints)[-1]
    return [(newest / name).read_bytes() for name in
            ("model.safetensors", "optimizer.safetensors", "state.json")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_killed_run_ends_with_the_same_bits(architecture, tmp_path):
    settings = dict(model_type=architecture, n_head=4, n_kv_head=2, dropout=0.1)
    whole = small_run(tmp_path, "whole", **settings)
    whole.trainer().train()
    run = small_run(tmp_path, "killed", **settings)

    def kill(trainer):
        if trainer.step == 5:
            raise Killed

    with pytest.raises(Killed):
        run.trainer(kill).train()
    trainer, _ = Run(run.folder).resumed()
    assert trainer.step == 3
    trainer.train()
    assert final_state(run) == final_state(whole)
    model = AutoModelForCausalLM.from_pretrained(run.model_folder)
    assert model.config.num_key_value_heads == 2 and model.has_tied_head()
    assert model.config.hidden_dropout_prob == 0.1
    records = [record for record in trainer.metrics.records if "loss" in record]
    assert records[-1]["loss"] < records[0]["loss"]


def test_one_run_through_all_commands(tmp_path, capsys):
    text, run = write_text(tmp_path / "text.txt"), str(tmp_path / "run")
    sizes = ["--n-layer", "1", "--n-embd", "16", "--n-head", "2", "--block-size", "16", "--steps",
             "4", "--vocab-size", "280", "--batch-size", "2"]
    assert main(["train", "--arch", "llama", "--text", text, "--out", run, *sizes]) == 0
    assert Run(run).settings.model_type == "llama"
    assert main(["train", "--resume", run, "--steps", "6"]) == 0
    assert not main(["eval", "--model", run])
    assert not main(["eval", "--model", run, "--block-size", "40"])  # rotary positions go on
    capsys.readouterr()
    for extra in ([], ["--dtype", "int8", "--max-new-tokens", "30"], ["--num-beams", "2"]):
        assert not main(["generate", "--model", run, "The cat", "--seed", "1", *extra])
        assert capsys.readouterr().out.startswith("The cat")
    tuned = str(tmp_path / "tuned")
    assert main(["finetune", "--model", run, "--text", text, "--out", tuned, "--steps", "3",
                 "--block-size", "24", "--batch-size", "2"]) == 0
    assert Run(tuned).config.model_type == "llama"


def test_the_command_line_names_what_an_architecture_lacks(tmp_path, capsys):
    text, out = write_text(tmp_path / "text.txt"), str(tmp_path / "run")
    for options, message in (
        (["--arch", "gpt2", "--n-kv-head", "2"],
         "n_kv_head is 2, but gpt2 has one key head for each query head"),
        (["--arch", "lstm"], "arch is 'lstm', wanted one of gpt2, bert, "),
        (["--arch", "transformer"], "model_type is 'transformer', which learns from pairs of texts; "
                                    "wanted one that learns from text alone: gpt2, bert, "),
        (["--positions", "alibis"], "positions is 'alibis', wanted one of learned, sinusoidal, "),
        (["--arch", "gpt2", "--positions", "rotary", "--n-embd", "12"],
         "a head has 3 numbers, wanted an even number"),
        (["--n-embd", "12"], "n_embd is 12 and n_head is 4: head_dim is 3, wanted an even number"),
        (["--arch", "llama", "--n-kv-head", "3"], "num_key_value_heads is 3, wanted a divisor of"),
        (["--arch", "llama", "--n-kv-head", "5"], "n_kv_head is 5, wanted 1 to n_head = 4"),
    ):
        assert main(["train", "--text", text, "--out", out, *options]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "bert"])
def test_other_positions_by_an_option(architecture, tmp_path):
    text = write_text(tmp_path / "text.txt")
    assert main(["train", "--arch", architecture, "--positions", "t5", "--text", text, "--out",
                 str(tmp_path / "run"), "--n-layer", "1", "--n-embd", "16", "--n-head", "2",
                 "--block-size", "16", "--steps", "2", "--vocab-size", "280"]) == 0
    assert Run(tmp_path / "run").config.position_embedding == "t5"


def test_an_architecture_may_have_positions_of_its_own(tmp_path):
    settings = small_settings(tmp_path, model_type="marian", position_embedding="alibi")
    with pytest.raises(ValueError, match="positions is 'alibi', but those of marian can't be exch"):
        new_config(settings, "seq2seq_lm", 300)


def test_the_sizes_of_the_settings(tmp_path):
    settings = small_settings(tmp_path, model_type="llama", n_layer=3, n_embd=48, n_head=6)
    config = new_config(settings, "causal_lm", 300, eos_token_id=7)
    assert (config.hidden_size, config.num_hidden_layers, config.head_dim) == (48, 3, 8)
    assert config.intermediate_size == 128 and config.max_position_embeddings == 16
    assert config.eos_token_id == 7 and np.isclose(config.initializer_range, 96**-0.5)
