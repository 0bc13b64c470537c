"""Each command on valid input."""

import io
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
from matplotlib.image import imread
from small_runs import write_text

from minillm import GPT2LMHeadModel, GPT2Tokenizer, __version__
from minillm.models.auto import AutoModelForCausalLM
from minillm.cli import main
from minillm.training.checkpoint import list_checkpoints, load_checkpoint
from minillm.training.run import Run

TINY = ["--n-layer=1", "--n-head=2", "--n-embd=16", "--block-size=16", "--batch-size=2",
        "--vocab-size=280", "--steps=6"]
COMMANDS = ["demo", "train", "finetune", "generate", "fill", "eval", "lora merge", "lora extract",
            "tokenizer train", "tokenizer encode", "info"]


def give_stdin(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    assert f"examples:\n  minillm {command}" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"minillm {__version__}\n"


def test_demo_leaves_a_run_folder_with_everything_in_it(tmp_path, capsys):
    for number, n_snapshots in ((1, 20), (2, 3)):  # the second doesn't touch the first
        given = [] if n_snapshots == 20 else ["--snapshots", str(n_snapshots)]
        assert main(["demo", "--quick", *given]) == 0
        folder = tmp_path / "runs" / f"demo-{number}"
        output = capsys.readouterr()
        assert f"In runs/demo-{number}:" in output.err
        for picture in ("loss.png", "attention.png"):
            assert imread(folder / picture).shape[0] > 200
        samples = (folder / "samples.txt").read_text()
        assert samples in output.out and samples.count("--- ") == 3
        assert AutoModelForCausalLM.from_pretrained(folder / "model").config.model_type == "apertus"
        facts = json.loads((folder / "run.json").read_text())
        assert facts["data"]["train"]["documents"] > 10
        assert len(list((folder / "snapshots").iterdir())) == n_snapshots
        assert "bits per byte" in output.out
    both = [Run(tmp_path / "runs" / name).model_folder / "model.safetensors"
            for name in ("demo-1", "demo-2")]
    assert both[0].read_bytes() == both[1].read_bytes()  # the same seed, the same model


def test_train_on_a_text_of_ones_own(tmp_path, capsys):
    assert main(["train", "--text", write_text(tmp_path / "a.txt"), *TINY, "--out", "mine"]) == 0
    run = Run(tmp_path / "mine")
    assert run.settings.n_embd == 16 and run.settings.steps == 6
    output = capsys.readouterr()
    assert "training 6/6 loss" in output.err and "tokens/s" in output.err
    assert "│ valid" in output.out and "│ test" in output.out


def test_finetune_goes_on_from_a_model(tmp_path, trained, capsys):
    text = write_text(tmp_path / "a.txt")
    assert main(["finetune", "--model", str(trained), "--text", text, "--block-size", "16",
                 "--steps", "20", "--out", "tuned"]) == 0
    run = Run(tmp_path / "tuned")
    first = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[0])
    assert first["step"] == 0 and first["valid_loss"] < 0.7 * np.log(280)  # what it knew already
    assert run.settings.lr == 3e-4


def test_train_with_the_tokenizer_of_another_run(tmp_path, trained):
    text = write_text(tmp_path / "a.txt")
    assert main(["train", "--text", text, "--tokenizer", str(trained), *TINY, "--out", "b"]) == 0
    one, other = (GPT2Tokenizer.from_pretrained(folder / "model")
                  for folder in (trained, tmp_path / "b"))
    assert one.get_vocab() == other.get_vocab()


def test_generate_writes_the_prompt_and_goes_on(trained, capsys):
    command = ["generate", "--model", str(trained), "--max-new-tokens", "8", "The cat"]
    outputs = []
    for seed in ("1", "1", "2"):
        assert main([*command, "--seed", seed]) == 0
        outputs.append(capsys.readouterr().out)
    assert all(output.startswith("The cat") and len(output) > 8 for output in outputs)
    assert outputs[0] == outputs[1] != outputs[2]


def test_generate_streams_what_the_model_generates(trained, capsys):
    model, tokenizer = (cls.from_pretrained(trained / "model")
                        for cls in (AutoModelForCausalLM, GPT2Tokenizer))
    ids = tokenizer.encode("The owl", return_tensors="np")
    wanted = tokenizer.decode(model.generate(ids, max_new_tokens=10, do_sample=False)[0])
    assert main(["generate", "--model", str(trained), "--greedy", "--max-new-tokens", "10",
                 "The owl"]) == 0
    assert capsys.readouterr().out == wanted + "\n"


def test_generate_several(trained, capsys):
    for options in (["--num-return-sequences", "3"], ["--num-beams", "3",
                                                      "--num-return-sequences", "3"]):
        assert main(["generate", "--model", str(trained), "--seed", "1", *options,
                     "--max-new-tokens", "8", "The cat"]) == 0
        output = capsys.readouterr().out
        assert [f"--- {n}\nThe cat" in output for n in (1, 2, 3, 4)] == [True] * 3 + [False]


def test_generate_with_drafts_writes_the_same_text(capsys):
    def output(*options):
        assert main(["generate", "An iterator is", "--model", "pydoc-tiny", "--greedy",
                     "--max-new-tokens", "20", *options]) == 0
        return capsys.readouterr()

    plain = output("--stats")
    assert plain.err.startswith("20 tokens in ") and "drafted" not in plain.err
    for drafts in (["--prompt-lookup", "4"], ["--draft", "pydoc-tiny"]):
        found = output(*drafts, "--stats")
        assert found.out == plain.out
        assert re.search(r"; \d+ of \d+ drafted tokens accepted( \(\d+%\))?, \d+ forwards",
                         found.err)


def test_generate_refuses_drafts_in_one_line(trained, capsys):
    for options, match in (
            (["--prompt-lookup", "0"], "prompt_lookup_num_tokens is 0"),
            (["--prompt-lookup", "4", "--draft", "pydoc-tiny"], "give one of them"),
            (["--draft", "pydoc-tiny"], "another vocabulary"),
            (["--stats", "--num-beams", "2"], "--stats is about one text")):
        assert main(["generate", "x", "--model", str(trained), *options]) == 2
        error = capsys.readouterr().err
        assert match in error and error.count("\n") == 1


def test_generate_reads_the_prompt_from_stdin(trained, capsys, monkeypatch):
    give_stdin(monkeypatch, "The bee é 中\n".encode())
    assert main(["generate", "--model", str(trained), "--max-new-tokens", "3"]) == 0
    assert capsys.readouterr().out.startswith("The bee é 中")


def test_generate_drops_a_byte_order_mark(trained, capsys, monkeypatch):
    give_stdin(monkeypatch, "\ufeffThe bee\n".encode())
    assert main(["generate", "--model", str(trained), "--max-new-tokens", "3"]) == 0
    assert capsys.readouterr().out.startswith("The bee")


def test_generate_stops_at_a_text(trained, capsys):
    command = ["generate", "--model", str(trained), "--greedy", "--max-new-tokens", "20", "The owl"]
    assert main(command) == 0
    whole = capsys.readouterr().out
    stop = whole[12:15]
    assert main([*command, "--stop", "no such text", "--stop", stop]) == 0
    text = capsys.readouterr().out
    assert whole.startswith(text[:-1]) and stop in text[7:]
    assert len(text) <= whole.index(stop, 7) + len(stop) + 12  # no longer than its last token


def test_generate_obeys_the_generation_config(trained, tmp_path, capsys):
    folder = shutil.copytree(trained / "model", tmp_path / "copy")
    path = folder / "generation_config.json"
    stored = json.loads(path.read_text())
    command = ["generate", "--model", str(folder), "The owl"]

    def output(*options, **changes):
        path.write_text(json.dumps({**stored, **changes}))
        assert main([*command, *options]) == 0
        return capsys.readouterr().out

    greedy = output("--greedy", max_new_tokens=6)
    assert output(max_new_tokens=6, do_sample=False) == greedy
    assert output(max_new_tokens=6, top_k=1) == greedy
    assert output("--max-new-tokens", "6", do_sample=False, temperature=0.0) == greedy
    beams = output("--beams", "3", "--max-new-tokens", "6")
    assert output(max_new_tokens=6, num_beams=3) == beams


def test_generate_shows_control_characters_on_a_terminal(trained, capsys, monkeypatch):
    command = ["generate", "--model", str(trained), "--max-new-tokens", "2", "--seed", "0",
               "The \x1b[2J owl"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("The \x1b[2J owl")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for options in ([], ["--num-return-sequences", "2"]):
        assert main([*command, *options]) == 0
        output = capsys.readouterr().out
        assert "\x1b" not in output and "The \\x1b[2J owl" in output


def test_generate_with_the_packaged_model(capsys):
    assert main(["generate", "The assignment statement", "--seed", "0"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("The assignment statement") and len(output.split()) > 20


def test_eval_of_a_run_measures_its_held_out_text(trained, capsys):
    assert main(["eval", "--model", str(trained)]) == 0
    table = capsys.readouterr().out
    records = map(json.loads, (trained / "metrics.jsonl").read_text().splitlines())
    best = min(record["valid_loss"] for record in records if "valid_loss" in record)
    assert f"{best:.4f}" in table and f"{np.exp(best):.2f}" in table
    assert "│ valid" in table and "│ test" in table


def test_eval_of_a_text(tmp_path, trained, capsys):
    write_text(tmp_path / "a.txt")
    losses = []
    for block_size in ("16", "2"):
        assert main(["eval", "--model", str(trained), "--text", "a.txt", "--block-size",
                     block_size]) == 0
        row = next(line for line in capsys.readouterr().out.splitlines() if "a.txt" in line)
        losses.append(float(row.split("│")[2]))
    assert losses[0] < losses[1]  # more context, lower loss


def test_tokenizer_train_and_encode(tmp_path, capsys, monkeypatch):
    text = write_text(tmp_path / "a.txt")
    assert main(["tokenizer", "train", "--text", text, "--vocab-size", "300", "--out", "tok"]) == 0
    tokenizer = GPT2Tokenizer.from_pretrained(tmp_path / "tok")
    assert len(tokenizer) == 300 and "300 tokens in tok" in capsys.readouterr().err

    assert main(["tokenizer", "encode", "--ids", "--tokenizer", "tok", "The café"]) == 0
    assert [int(id) for id in capsys.readouterr().out.split()] == tokenizer.encode("The café")

    give_stdin(monkeypatch, "The café".encode())
    assert main(["tokenizer", "encode", "--tokenizer", "tok"]) == 0
    output = capsys.readouterr().out
    assert f"{len(tokenizer.encode('The café'))} tokens" in output and "Ã" in output
    assert "<C3>" in output and "<A9>" in output and "\ufffd" not in output


def test_tokenizer_encode_of_a_long_text_is_lines(tmp_path, capsys, monkeypatch):
    tokenizer = GPT2Tokenizer.train("some text\n" * 9, 270, ["<|endoftext|>", "\x1b[2J"])
    tokenizer.save_pretrained(tmp_path / "tok")
    text = "\ufeffsome\x1b[2J text é\n" * 1000
    give_stdin(monkeypatch, text.encode())
    assert main(["tokenizer", "encode", "--tokenizer", "tok"]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    lines = output.splitlines()
    ids = tokenizer.encode(text[1:].rstrip("\n"))  # the mark at the start of the file is no text
    assert lines[0] == f"{len(ids)} tokens" and len(lines) == len(ids) + 2
    assert [int(line.split("\t")[2]) for line in lines[2:]] == ids
    assert "\\x1b[2J\t\\x1b[2J\t264" in lines and "\\ufeff" not in lines[2]


def test_info_names_the_kernels(capsys, monkeypatch):
    from minillm import kernels

    assert main(["info"]) == 0
    output = capsys.readouterr().out
    for value in (__version__, kernels.current(), str(kernels.get_num_threads()), np.__version__):
        assert value in output
    with kernels.use("numpy"):
        assert main(["info"]) == 0
    assert "numpy" in capsys.readouterr().out.split("implementation")[1].splitlines()[0]


@pytest.fixture
def more_tokens(trained, tmp_path):
    """A model whose tokenizer has three tokens more than it has rows."""
    folder = shutil.copytree(trained / "model", tmp_path / "more")
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<one>", "<two>", "<three>"])
    tokenizer.save_pretrained(folder)
    return folder


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows(tmp_path, more_tokens, capsys):
    text = write_text(tmp_path / "a.txt")
    command = ["finetune", "--model", str(more_tokens), "--text", text, "--block-size", "16",
               "--steps", "4", "--out", "tuned"]
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "has 283 tokens, but the model has 280 rows" in error and "--resize-vocab" in error
    assert not (tmp_path / "tuned").exists()

    assert main([*command, "--resize-vocab"]) == 0
    model = GPT2LMHeadModel.from_pretrained("tuned/model")
    assert model.config.vocab_size == 283 == len(Run("tuned").tokenizer())
    assert main(["train", "--resume", "tuned", "--steps", "6"]) == 0
    assert main(["generate", "--model", "tuned", "--max-new-tokens", "3", "The <two>"]) == 0


def test_resuming_with_other_settings(tmp_path, trained, capsys):
    copy = shutil.copytree(trained, tmp_path / "copy")
    assert main(["train", "--resume", "copy", "--steps", "33", "--lr", "0.005"]) == 0
    assert "after step 30" in capsys.readouterr().err
    assert Run(copy).settings.steps == 33
    for arguments, message in ((["--n-layer", "2"], "n_layer is 2, but the run has 1"),
                               (["--steps", "5"], "steps is 5, but the run has done 33"),
                               (["--text", "a.txt"], "wanted no --text")):
        assert main(["train", "--resume", "copy", *arguments]) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert main(["train", "--resume", "copy"]) == 0  # nothing to do: the results once more
    assert "after step 33" in capsys.readouterr().err


def test_nothing_held_out(tmp_path, capsys):
    text = write_text(tmp_path / "a.txt")
    assert main(["train", "--text", text, *TINY, "--valid", "0", "--test", "0", "--out", "v"]) == 0
    output = capsys.readouterr()
    assert output.out == "" and "so the last model is kept, not the best" in output.err
    newest = list_checkpoints(Run("v").checkpoints)[-1]
    weights = load_checkpoint(newest).model
    kept = AutoModelForCausalLM.from_pretrained("v/model").state_dict()
    assert all((kept[name] == weights[name]).all() for name in weights)
    assert main(["eval", "--model", "v"]) == 2
    assert "v has no held-out text: give --text" in capsys.readouterr().err
    assert main(["train", "--text", text, *TINY, "--valid", "0", "--out", "t"]) == 0
    assert "│ test" in capsys.readouterr().out


def test_help_tells_what_may_change_on_resume(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "these may change: --steps, --lr, " in text and "the schedule is stretched" in text


def test_the_home_directory_is_expanded_everywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_text(tmp_path / "a.txt")
    for command in (["train", "--text=~/a.txt", *TINY, "--out=~/x"],
                    ["train", "--resume=~/x", "--steps=8"], ["eval", "--model=~/x"],
                    ["generate", "--model=~/x", "--max-new-tokens=2", "The"],
                    ["finetune", "--model", "~/x", "--text", "~/a.txt", "--block-size=16",
                     "--steps=2", "--out", "~/y"],
                    ["train", "--text=~/a.txt", "--tokenizer=~/x", *TINY, "--out=~/z"],
                    ["tokenizer", "train", "--text", "~/a.txt", "--vocab-size=280", "--out", "~/t"],
                    ["tokenizer", "encode", "--tokenizer", "~/t", "The"]):
        assert main(command) == 0, capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "t", "x", "y", "z"]


def test_out_may_be_a_link_an_empty_folder_or_the_current_one(tmp_path, monkeypatch, capsys):
    text = write_text(tmp_path / "a.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for out in ("empty", "link"):
        assert main(["train", "--text", text, *TINY, "--out", out]) == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "run.json").exists()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["tokenizer", "train", "--text", text, "--vocab-size=280", "--out", "."]) == 0
    assert main(["generate", "--model", "../link", "--max-new-tokens=2", "The"]) == 0
    assert main(["train", "--text", "nowhere", "--out", "../empty2"]) == 2
    assert main(["train", "--text", text, "--out", "."]) == 2  # there is a tokenizer here
    assert "exists and is not an empty folder" in capsys.readouterr().err
    assert (tmp_path / "here" / "vocab.json").exists()
