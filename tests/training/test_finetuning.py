"""Runs that train a part of a pretrained model: LoRA, frozen layers, a rate for each layer."""

import json

import numpy as np
import pytest
from small_runs import SMALL, small_run

from minillm.models.auto import AutoModelForCausalLM
from minillm.models.layer_order import layer_order
from minillm.models.lora import merge_and_unload
from minillm.models.lora_files import load_adapter
from minillm.models.safetensors_file import read_safetensors
from minillm.nn import no_grad
from minillm.training.checkpoint import list_checkpoints, load_checkpoint
from minillm.training.run import Run, create_run
from minillm.training.settings import Settings

QUIET = dict(eval_every=100)  # only at the start and the end: each one draws a picture
WAYS = {
    "lora": dict(lora_rank=2, lora_alpha=6.0, lora_dropout=0.2, dropout=0.1),
    "frozen": dict(freeze="1", layer_lr_decay=0.5, dropout=0.1),
}


def make_base(folder, model_type):
    run = small_run(folder, model_type=model_type, n_layer=2, steps=20, **QUIET)
    run.trainer().train()
    return run.folder / "model"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The model folder of a short run."""
    return make_base(tmp_path_factory.mktemp("gpt2"), "gpt2")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("llama"), "llama")


class Killed(BaseException):
    """An error that the code under test can't catch by accident."""


def final_state(run):
    newest = list_checkpoints(run.checkpoints)[-1]
    return [(newest / name).read_bytes() for name in
            ("model.safetensors", "optimizer.safetensors", "state.json")]


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_run_ends_with_the_same_bits(way, request, tmp_path):
    base = request.getfixturevalue("llama" if way == "lora" else "base")
    changes = dict(model=str(base), steps=7, lr=0.02, **WAYS[way], **QUIET)
    whole = small_run(tmp_path, "whole", **changes)
    whole.trainer().train()
    run = small_run(tmp_path, "killed", **changes)

    def kill(trainer):
        if trainer.step == 5:
            raise Killed

    with pytest.raises(Killed):
        run.trainer(kill).train()
    trainer, _ = Run(run.folder).resumed()
    assert trainer.step == 3
    trainer.train()
    assert final_state(run) == final_state(whole)
    for name in ("model", *(["adapter"] if "lora" in way else [])):
        files = [sorted((each.folder / name).glob("*.safetensors")) for each in (run, whole)]
        assert files[0][0].read_bytes() == files[1][0].read_bytes()
    assert whole.trainer().settings.to_dict().items() >= WAYS[way].items()


def test_lora_leaves_the_weights_and_saves_little(base, tmp_path):
    run = small_run(tmp_path, model=str(base), lora_rank=2, lr=0.01, steps=6, **QUIET)
    trainer = run.trainer()
    trainer.train()
    before = AutoModelForCausalLM.from_pretrained(base)
    # What isn't an update is the pretrained model, bit for bit.
    for name, parameter in trainer.model.named_parameters():
        if ".lora." not in name:
            np.testing.assert_array_equal(parameter.data, before.state_dict()[name])
    # A checkpoint has the updates and their moments.
    checkpoint = load_checkpoint(list_checkpoints(run.checkpoints)[-1])
    n = trainer.model.num_parameters(only_trainable=True)
    assert all(".lora." in name for name in checkpoint.model)
    assert sum(array.size for array in checkpoint.model.values()) == n
    assert sum(array.size for array in checkpoint.optimizer.values()) == 2 * n
    # model/ is the base with adapter/ merged into it.
    ids = np.array([[3, 9, 4, 8]])
    merged = AutoModelForCausalLM.from_pretrained(run.model_folder)
    again = merge_and_unload(load_adapter(before, run.folder / "adapter"))
    with no_grad():
        np.testing.assert_allclose(again(ids).logits, merged(ids).logits, rtol=0, atol=1e-6)
    facts = json.loads((run.folder / "adapter" / "adapter_config.json").read_text())
    assert facts["lora_alpha"] == 4 and facts["base_model_name_or_path"] == str(base.resolve())


def test_frozen_layers_stay(base, tmp_path):
    run = small_run(tmp_path, model=str(base), freeze="1", lr=0.02, steps=3, **QUIET)
    trainer = run.trainer()
    trainer.train()
    before = AutoModelForCausalLM.from_pretrained(base)
    pairs = zip(layer_order(trainer.model).items(), layer_order(before).values())
    changed = [layer for (layer, ours), theirs in pairs
               if any(not np.array_equal(a.data, b.data) for a, b in zip(ours, theirs))]
    assert changed == list(layer_order(before))[2:]
    assert not (run.folder / "adapter").exists()


def test_layers_learn_at_their_rates(base, tmp_path):
    """In its first step Adam moves each weight by its learning rate."""
    run = small_run(tmp_path, model=str(base), layer_lr_decay=0.5, lr=1e-3, warmup=0, clip=1e9,
                    weight_decay=0.0, dropout=0.0)
    trainer = run.trainer()
    before = [[p.data.copy() for p in ps] for ps in layer_order(trainer.model).values()]
    trainer.training_step()
    moved = [max(np.abs(p.data - b).max() for p, b in zip(ps, bs))
             for ps, bs in zip(layer_order(trainer.model).values(), before)]
    np.testing.assert_allclose(moved, [1e-3 * 0.5**depth for depth in (3, 2, 1, 0)], rtol=0.02)


def test_another_base_is_refused_when_a_run_resumes(base, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(base)
    folder = tmp_path / "base"
    model.save_pretrained(folder)
    for file in base.glob("*token*"):
        (folder / file.name).write_bytes(file.read_bytes())
    for name, changes in (("lora", dict(lora_rank=2)), ("frozen", dict(freeze="embeddings"))):
        run = small_run(tmp_path, name, model=str(folder), steps=4, **changes, **QUIET)
        run.trainer().train()
        model.save_pretrained(folder)
        Run(run.folder).resumed({"steps": 6})
        other = AutoModelForCausalLM.from_pretrained(base)
        other.get_input_embeddings().weight.data[0, 0] += 1
        other.save_pretrained(folder)
        with pytest.raises(ValueError, match="aren't those that this run began with"):
            Run(run.folder).resumed({"steps": 6})
        model.save_pretrained(folder)


@pytest.mark.parametrize("changes, message", [
    (dict(lora_rank=0), "lora_rank is 0, wanted at least 1"),
    (dict(lora_rank=2, lora_alpha=0.0), "lora_alpha is 0.0, wanted a number over 0"),
    (dict(lora_rank=2, lora_dropout=1.0), "lora_dropout is 1.0"),
    (dict(lora_alpha=3.0), "lora_alpha is 3.0, but without a lora_rank"),
    (dict(layer_lr_decay=0.0), "layer_lr_decay is 0.0, wanted a number over 0, at most 1"),
    (dict(layer_lr_decay=1.5), "layer_lr_decay is 1.5"),
    (dict(lora_rank=2, freeze="1"), "freeze is 1, but lora_rank freezes all layers"),
    (dict(lora_rank=2, model=None), "a new model has no weights worth keeping"),
    (dict(freeze="1", model=None), "freeze is 1, but a new model"),
    (dict(freeze="1", resize_vocab=True), "resize_vocab gives the embeddings new rows"),
])
def test_settings_that_contradict_each_other(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{**SMALL, "model": "pydoc-tiny", **changes})


@pytest.mark.parametrize("changes, message", [
    (dict(freeze="3"), "freeze is '3', wanted 'embeddings' or a number from 0 to 2"),
    (dict(lora_rank=2, lora_targets="q_proj,nothing"), "wanted Linears of"),
])
def test_layers_that_the_model_lacks_leave_nothing_behind(changes, message, base, tmp_path):
    with pytest.raises(ValueError, match=message):
        small_run(tmp_path, model=str(base), **changes)
    assert not (tmp_path / "run").exists()


def test_a_task_with_a_new_head(tmp_path):
    """The head isn't pretrained, so it learns as a whole, and is in the adapter."""
    small = dict(n_layer=1, n_head=2, n_embd=16, block_size=24, vocab_size=200, steps=2,
                 batch_size=4, examples=60, valid=0.2, test=0.2, warmup=0, eval_every=2,
                 checkpoint_every=1)
    first = create_run(tmp_path / "first", Settings(model_type="bert", **small), task="sentiment")
    first.trainer().train()
    settings = Settings(model=str(first.folder), lora_rank=2, **small)
    run = create_run(tmp_path / "second", settings, task="sentiment")
    trainer = run.trainer()
    learning = {name for name, parameter in trainer.model.named_parameters() if parameter.trainable}
    assert {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight"} <= learning
    trainer.train()
    assert load_checkpoint(list_checkpoints(run.checkpoints)[-1]).model.keys() == learning
    names = read_safetensors(run.folder / "adapter" / "adapter_model.safetensors")
    assert "base_model.model.classifier.weight" in names
    config = json.loads((run.folder / "adapter" / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS" and "classifier" in config["modules_to_save"]


