"""`minillm experiment`."""

import json
from pathlib import Path

import pytest

from minillm.cli import main

SMALL = ["--quick", "--steps=4", "--kinds", "learned", "alibi"]


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["experiment", "length", "--help"])
    assert stop.value.code == 0
    assert "examples:\n  minillm experiment length" in capsys.readouterr().out


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
