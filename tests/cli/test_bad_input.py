"""User errors: one line on stderr, exit status 2, no traceback, nothing overwritten."""

import io
import json
import shutil
import sys

import numpy as np
import pytest
from small_runs import write_text

from minillm.cli import main
from minillm.text.dataset import TokenDataset, write_tokens
from minillm.training import checkpoint
from minillm.training.checkpoint import list_checkpoints, load_checkpoint

TINY = ["--n-layer=1", "--n-head=2", "--n-embd=16", "--block-size=16", "--batch-size=2",
        "--vocab-size=280", "--steps=6", "--out=out"]


def error_of(capsys, *arguments):
    """Run a command that must fail -> its line, without "minillm: error: " """
    capsys.readouterr()
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    errors = [line for line in capsys.readouterr().err.splitlines()
              if not line.startswith(("preparing ", "data: ", "model: ", "training ", "evaluating ",
                                      "going on "))]
    assert len(errors) == 1 and errors[0].startswith("minillm: error: ")
    return errors[0].removeprefix("minillm: error: ")


@pytest.fixture
def copy(trained, tmp_path):
    """A trained run that a test may break."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.mark.parametrize("arguments, message", [
    ([], "required: COMMAND"),
    (["fly"], "invalid choice: 'fly'"),
    (["train", "--speed", "9"], "unrecognized arguments: --speed 9"),
    (["train", "--steps", "many"], "argument --steps: invalid int value: 'many'"),
    (["train", "--steps", "0"], "steps is 0, wanted at least 1"),
    (["train", "--grad-accum", "1" + 20 * "0"], "wanted at most 1,000,000 batches a step"),
    (["train", "--lr", "nan"], "lr is nan"),
    (["train", "--n-embd", "30"], "n_embd is 30, wanted a multiple of n_head=4"),
    (["train", "--dropout", "1.5"], "1.5"),
    (["train", "--seed", "-1"], "seed is -1"),
    (["generate", "--seed", "-1", "hi"], "seed is -1"),
    (["train", "--weight-decay", "nan"], "weight_decay is nan"),
    (["train", "--resume", "out", "--text", "a.txt"], "wanted no --text"),
    (["train", "--resume", "nowhere"], "nowhere is not a run folder"),
    (["train", "--resume", ""], "argument --resume: the name is empty"),
    (["train", "--text", ""], "argument --text: the name is empty"),
    (["train", "--out", ""], "argument --out: the name is empty"),
    (["train", "--lr", "inf"], "lr is inf"),
    (["train", "--valid", "2"], "valid is 2.0"),
    (["train", "--valid", "0.5", "--test", "0.5"], "leaves nothing to train on"),
    (["train", "--vocab-size", "10"], "vocab_size is 10, wanted at least 257"),
    (["train", "--block-size", "100000"], "use a longer text or a smaller block_size"),
    (["train", "--block-size", "1000000000000"], "use a longer text or a smaller block_size"),
    (["train", "--text", "~nosuchuser/a.txt"], "--text: ~nosuchuser/a.txt: there is no home"),
    (["train", "--out", "~nosuchuser/a"], "--out: ~nosuchuser/a: there is no home"),
    (["generate", "--model", "~nosuchuser/a", "hi"], "~nosuchuser/a: there is no home directory"),
    (["train", "--text", "/dev/zero"], "/dev/zero is a device, wanted a text file"),
    (["train", "--text", "no\x1b[31m\nwhere"], "no\\x1b[31m where: no such file or folder"),
    (["tra\x1b[31min"], "invalid choice: 'tra\\x1b[31min'"),
    (["train", "--n-embd", "1000000000"], "training this model takes "),
    (["train", "--n-layer", "1000000000"], "training this model takes "),
    (["train", "--text", "nowhere.txt"], "nowhere.txt: no such file"),
    (["generate", "--model", "no/where/at/all", "hi"], "no/where/at/all"),
    (["generate", ""], "the prompt is empty"),
    (["generate", "--model", "", "hi"], "argument --model: the name is empty"),
    (["generate", "--temperature", "-1", "hi"], "temperature"),
    (["generate", "--temperature", "1e-300", "hi"], "temperature is 1e-300, wanted at least"),
    (["generate", "--num-beams", "2", "--num-return-sequences", "3", "hi"],
     "num_return_sequences is 3, wanted at most num_beams = 2"),
    (["generate", "--num-beams", "-1", "hi"], "num_beams is -1"),
    (["generate", "--num-beams", "100000000", "hi"],
     "generating 100000000 sequences at once takes "),
    (["generate", "--num-return-sequences", "100000000", "hi"],
     "generating 100000000 sequences at once takes "),
    (["generate", "--top-p", "2", "hi"], "top_p"),
    (["generate", "--top-k", "-2", "hi"], "top_k"),
    (["generate", "--max-new-tokens", "0", "hi"], "max_new_tokens"),
    (["generate", "--greedy", "--top-k", "3", "hi"], "--greedy leaves nothing to"),
    (["generate", "--model", "pydoc-tiny", "word " * 300], "max_positions"),
    (["eval"], "give --text"),
    (["eval", "--text", "nowhere.txt"], "nowhere.txt"),
    (["eval", "--block-size", "100000"], "block_size is 100000"),
    (["eval", "--block-size", "0"], "block_size is 0"),
    (["finetune", "--text", "nowhere.txt"], "--model"),
    (["tokenizer", "train", "--vocab-size", "3", "--out", "t"], "vocab_size"),
    (["tokenizer", "encode", "--tokenizer", "no/where/at/all", "hi"], "no/where/at/all"),
])
def test_arguments(tmp_path, capsys, arguments, message):
    assert message in error_of(capsys, *arguments)
    assert not list(tmp_path.glob("runs/*"))  # a run that can't begin leaves nothing


def test_nothing_is_written_before_a_mistake_is_found(capsys):
    assert main(["generate", "--max-new-tokens", "-4", "hi"]) == 2
    assert capsys.readouterr().out == ""


def test_a_warning_is_one_line_without_code(capsys):
    assert main(["generate", "--model=pydoc-tiny", "--seed=1", "--max-new-tokens=1000",
                 "word " * 60]) == 0
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith("minillm: warning: a length of ")


@pytest.mark.parametrize("content, message", [
    (b"", "no text in it"),
    (b" \n\n \n", "no text in it"),
    (b"short", "use a longer text or a smaller"),
    (b"a\n<|endoftext|>\nb\n<|endoftext|>\nc\n<|endoftext|>d", "use a longer text or a smaller"),
    (b"caf\xe9", "not UTF-8 text (byte 0xe9 at position 3"),
])
@pytest.mark.parametrize("command", ["train", "finetune"])
def test_texts_that_cannot_be_trained_on(tmp_path, capsys, trained, command, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    options = TINY if command == "train" else ["--model", trained, "--block-size=16", "--out=out"]
    assert message in error_of(capsys, command, "--text", "a.txt", *options)
    assert not (tmp_path / "out").exists()


def test_an_existing_run_is_not_overwritten(tmp_path, capsys, copy):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    text = write_text(tmp_path / "a.txt")
    for command in (["train", *TINY, "--text", text], ["demo", "--quick"],
                    ["finetune", "--model", copy, "--text", text],
                    ["tokenizer", "train", "--text", text]):
        assert "exists and is not an empty folder" in error_of(capsys, *command, "--out", copy)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    message = error_of(capsys, "train", *TINY[:-1], "--out", "file/run")
    assert message == "file/run: Not a directory"


def test_a_folder_that_cannot_be_written_to(capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    assert error_of(capsys, "train", *TINY) == "out can't be written to"


def test_a_disk_that_fills_up_while_training(tmp_path, capsys, monkeypatch):
    write, written = checkpoint._write_through, []

    def fills_up(path, data):
        if len(written) == 6:  # in the middle of the second checkpoint
            path.write_bytes(data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        written.append(path)
        write(path, data)

    monkeypatch.setattr(checkpoint, "_write_through", fills_up)
    text = write_text(tmp_path / "a.txt")
    message = error_of(capsys, "train", *TINY, "--text", text, "--checkpoint-every", "2")
    assert message == "out: No space left on device"
    left = list((tmp_path / "out" / "checkpoints").iterdir())
    assert [path.name for path in left] == ["step-000002"]
    monkeypatch.undo()
    assert load_checkpoint(left[0]).step == 2
    assert main(["train", "--resume", str(tmp_path / "out")]) == 0


def test_a_loss_that_explodes(tmp_path, capsys):
    text = write_text(tmp_path / "a.txt")
    message = error_of(capsys, "train", *TINY, "--text", text, "--lr", "1e30", "--warmup", "0")
    assert "of step 2 is" in message and "model." in message and "smaller lr" in message


@pytest.mark.parametrize("damage, message", [
    (lambda data: data[: len(data) // 2], "model.safetensors is cut off"),
    (lambda data: data[:4], "model.safetensors is cut off"),
    (lambda data: b"\xff" * 64, "cut off, or not a safetensors file"),
    (lambda data: b"", "model.safetensors is cut off"),
])
def test_damaged_weights(capsys, copy, damage, message):
    path = copy / "model" / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    assert message in error_of(capsys, "generate", "--model", copy, "The")
    assert message in error_of(capsys, "eval", "--model", copy)


@pytest.mark.parametrize("change, message", [
    ({"n_embd": 32}, "n_embd is 32, but model.safetensors has wte.weight of shape"),
    ({"n_layer": 2}, "config.json: n_layer is 2, but model.safetensors has 1 layer"),
    ({"n_head": 3}, "n_head is 3"),
    ({"vocab_size": 290}, "vocab_size is 290, but model.safetensors has wte.weight of"),
    ({"model_type": "bert"}, "is a bert model, which fills in masked words"),
])
def test_a_configuration_that_does_not_fit_the_weights(capsys, copy, change, message):
    path = copy / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert message in error_of(capsys, "generate", "--model", copy, "The")


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer.json", "config.json"])
def test_damaged_files_of_a_model(capsys, copy, name):
    (copy / "model" / name).write_bytes(b"\x00{nonsense")
    for other in {"vocab.json", "tokenizer.json"} - {name}:
        # One of the two is enough for a tokenizer, so the other mustn't help.
        if name in ("vocab.json", "merges.txt") and other == "tokenizer.json":
            (copy / "model" / other).unlink()
    assert name in error_of(capsys, "generate", "--model", copy, "The")


def test_an_id_outside_the_vocabulary_of_the_model(capsys, copy):
    path = copy / "data" / "valid.bin"
    write_tokens(path, np.array([3, 500, 4]), 1000, n_bytes=9)
    assert len(TokenDataset(path)) == 3
    message = error_of(capsys, "eval", "--model", copy)
    assert "500" in message and "279" in message


def test_resuming_without_a_whole_checkpoint(capsys, copy):
    for path in list_checkpoints(copy / "checkpoints"):
        (path / "state.json").write_bytes(b"{}")
    message = error_of(capsys, "train", "--resume", copy)
    assert "no checkpoint is whole" in message and "state.json is damaged" in message


def test_resuming_with_one_whole_checkpoint_says_what_is_wrong(capsys, copy):
    newest = list_checkpoints(copy / "checkpoints")[-1]
    (newest / "optimizer.safetensors").write_bytes(b"")
    assert main(["train", "--resume", str(copy)]) == 0
    error = capsys.readouterr().err
    assert f"warning: {newest}/optimizer.safetensors is damaged" in error.replace("\n", "")
    assert "after step 27" in error


def test_a_prompt_that_is_not_utf8(capsys, trained, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\xff"), encoding="utf-8"))
    message = error_of(capsys, "generate", "--model", trained)
    assert "standard input is not UTF-8 text (byte 0xff at position 2)" in message


def test_a_folder_without_text_files(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(bytes(range(256)))
    for command in (["train"], ["eval"], ["tokenizer", "train", "--out", "t"]):
        assert "pictures: no text files in it" in error_of(capsys, *command, "--text", "pictures")


def test_closed_standard_streams(capsys, monkeypatch, trained):
    monkeypatch.setattr(sys, "stdin", None)
    assert "no prompt: give one" in error_of(capsys, "generate")
    for name in ("stdout", "stderr"):
        with monkeypatch.context() as closed:
            closed.setattr(sys, name, None)
            assert main(["generate", "--model", str(trained), "--max-new-tokens", "2", "The"]) == 0
            assert main(["generate", "--model", str(trained), "--max-new-tokens", "-2", "The"]) == 2


def test_the_traceback_is_there_for_who_asks(monkeypatch):
    monkeypatch.setenv("MINILLM_TRACEBACK", "1")
    with pytest.raises(ValueError, match="the prompt is empty"):
        main(["generate", ""])
