"""`minillm experiment`."""

import json
from pathlib import Path

import pytest

from minillm.cli import main

SMALL = ["--quick", "--steps=4", "--kinds", "learned", "alibi"]


@pytest.mark.parametrize("name", ["length", "family", "grokking", "memorization", "speedrun"])
def test_help_has_examples(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["experiment", name, "--help"])
    assert stop.value.code == 0
    assert f"examples:\n  minillm experiment {name}" in capsys.readouterr().out


def test_family(capsys):
    command = ["experiment", "family", "--quick", "--steps=3", "--variants", "2019", "2019+swiglu"]
    assert main(command) == 0
    output = capsys.readouterr()
    assert "In runs/family-1:" in output.err and "family.png" in output.err
    assert "after 384 tokens" in output.out and "│ 2019+swiglu" in output.out
    assert main(["experiment", "family", "--resume", "runs/family-1"]) == 0  # all is done
    assert capsys.readouterr().out == output.out
    assert main(["experiment", "length", "--resume", "runs/family-1"]) == 2
    assert "has the experiment 'family', wanted length" in capsys.readouterr().err
    assert main(["generate", "--model", "runs/family-1/2019+swiglu/model", "A"]) == 0


def test_grokking(capsys):
    command = ["experiment", "grokking", "--quick", "--steps=3", "--prime=7", "--variants", "no-decay"]
    assert main(command) == 0
    output = capsys.readouterr()
    assert "a + b = ? modulo 7: 49 questions" in output.out and "│ no-decay" in output.out
    assert "In runs/grokking-1:" in output.err and "grokking.png" in output.err
    assert main(["experiment", "grokking", "--resume", "runs/grokking-1"]) == 0  # all is done
    assert capsys.readouterr().out == output.out
    model = "runs/grokking-1/no-decay/model"
    assert main(["generate", "--model", model, "--max-new-tokens", "1", "3 6 ="]) == 0
    assert main(["inspect", "attention", "--model", model, "3 6 ="]) == 0
    assert main(["inspect", "composition", "--model", model]) == 2
    assert f"{model} has one block, wanted at least two" in capsys.readouterr().err


def test_memorization(capsys):
    command = ["experiment", "memorization", "--quick", "--steps=4", "--canaries=1,3", "--widths",
               "narrow", "wide"]
    assert main(command) == 0
    output = capsys.readouterr()
    assert "exposure in bits after" in output.out and "3 ×" in output.out and "│ wide" in output.out
    assert "In runs/memorization-1:" in output.err and "memorization.png" in output.err
    assert main(["experiment", "memorization", "--resume", "runs/memorization-1"]) == 0
    assert capsys.readouterr().out == output.out
    results = json.loads(Path("runs/memorization-1/results.json").read_text())["variants"]
    assert results["narrow"]["parameters"] < results["wide"]["parameters"]
    assert results["wide"]["steps"] == [1, 2, 3, 4] and len(results["wide"]["bits"][0]) == 8
    assert main(["experiment", "memorization", "--quick", "--n-embd", "36"]) == 2
    assert "wanted a multiple of 8" in capsys.readouterr().err
    assert main(["experiment", "memorization", "--quick", "--canaries", "none.txt"]) == 2
    assert "wanted numbers such as 1,4,16, or a file" in capsys.readouterr().err


def test_speedrun(capsys):
    command = ["experiment", "speedrun", "--quick", "--steps=2", "--seeds=1", "--variants", "all"]
    assert main(command) == 0
    output = capsys.readouterr()
    assert "to 1.755 bits per byte, or 2 steps" in output.out and "│ all" in output.out
    assert "In runs/speedrun-1:" in output.err and "speedrun.png" in output.err
    assert main(["experiment", "speedrun", "--resume", "runs/speedrun-1"]) == 0  # all is done
    assert capsys.readouterr().out == output.out
    assert main(["experiment", "speedrun", "--quick", "--target=-1"]) == 2
    assert "target is -1.0, wanted bits per byte" in capsys.readouterr().err


def test_length_of_another_architecture(capsys):
    assert main(["experiment", "length", *SMALL, "--arch", "llama", "--out", "mine"]) == 0
    config = json.loads(Path("mine", "alibi", "model", "config.json").read_text())
    assert config["model_type"] == "llama" and config["position_embedding"] == "alibi"


def test_length(capsys):
    assert main(["experiment", "length", *SMALL]) == 0
    output = capsys.readouterr()
    folder = Path("runs/length-1")
    assert f"In {folder}:" in output.err and "length.png" in output.err
    learned, alibi = (next(line for line in output.out.splitlines() if kind in line)
                      for kind in ("learned", "alibi"))
    assert learned.count("–") == 3 and "–" not in alibi
    first = (folder / "results.json").read_bytes()
    assert list(json.loads(first)["losses"]) == ["learned", "alibi"]

    assert main(["experiment", "length", "--resume", str(folder)]) == 0  # all is done
    assert capsys.readouterr().out == output.out
    assert main(["experiment", "length", *SMALL, "--out", "mine"]) == 0
    assert Path("mine", "results.json").read_bytes() == first

    # The models are models like any other.
    capsys.readouterr()
    assert main(["generate", "--model", f"{folder}/alibi/model", "--max-new-tokens=40", "A"]) == 0


@pytest.mark.parametrize("arguments, message", [
    (["--resume", "runs/x", "--steps", "5"], "wanted no other option with it"),
    (["--resume", "."], ". is not the folder of an experiment"),
    (["--quick", "--kinds", "alibis"], "'alibis' is no kind of positions"),
    (["--quick", "--block-size", "2000"], "the test text has"),
    (["--quick", "--text", "nothing.txt"], "nothing.txt"),
    ([" --out"], "unrecognized arguments"),
])
def test_errors_in_one_line(arguments, message, capsys):
    try:
        status = main(["experiment", "length", *arguments])
    except SystemExit as stop:
        status = stop.code
    errors = capsys.readouterr().err.strip().splitlines()
    assert status != 0 and message in errors[-1]
