"""What only a process of its own shows: signals, pipes, a full disk behind stdout."""

import os
import signal
import subprocess
import sys
import time

import pytest
from small_runs import write_text

from minillm import GPT2LMHeadModel
from minillm.cli import main
from minillm.training.checkpoint import list_checkpoints

COMMAND = [sys.executable, "-m", "minillm"]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    text = write_text(tmp_path / "a.txt")
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*COMMAND, "train", "--text", text, "--out", out, "--n-layer=1", "--n-head=2",
         "--n-embd=16", "--block-size=16", "--batch-size=2", "--vocab-size=280", "--steps=1000000",
         "--checkpoint-every=1000000", "--eval-every=1000000"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )
    while process.poll() is None and not (out / "metrics.jsonl").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    step = int(list_checkpoints(out / "checkpoints")[-1].name.removeprefix("step-"))
    assert step >= 1 and f"stopped after step {step}" in error
    assert f"minillm train --resume {out}" in error and "Traceback" not in error
    GPT2LMHeadModel.from_pretrained(out / "model")  # there from the start


@pytest.mark.parametrize("command, module", [
    (["generate", "The"], "minillm.cli.generation.stream"),
    (["train", "--out", "out"], "minillm.training.language_modeling.prepare_corpus"),
    (["eval", "--text", "a.txt"], "minillm.cli.evaluation.read_corpus"),
])
def test_ctrl_c_anywhere_else_is_one_line(tmp_path, capsys, monkeypatch, command, module):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, interrupted)
    assert main(command) == 130
    assert capsys.readouterr().err.endswith("\nminillm: interrupted\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_behind_stdout(trained):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "generate", "--model", trained, "The cat"], stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "minillm: error: No space left on device\n"


@pytest.mark.parametrize("arguments", [["generate", "The cat"], ["info"]])
def test_a_reader_that_has_seen_enough(arguments):
    process = subprocess.Popen([*COMMAND, *arguments],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    error = process.stderr.read()
    assert process.wait(timeout=60) == 141 and error == b""


def test_help_answers_without_loading_what_only_work_needs():
    program = ("import sys; from minillm.cli import main\n"
               "try: main(['train', '--help'])\n"
               "except SystemExit: print([n for n in ('matplotlib', 'rich') if n in sys.modules])")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n") and "--resume" in done.stdout
