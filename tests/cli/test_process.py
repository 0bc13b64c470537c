"""Tests that need a separate process: signals, pipes, a full disk behind stdout."""

import os
import signal
import subprocess
import sys
import time

import pytest
from hangups import hangups_are_heard  # noqa: F401  (a fixture)
from small_runs import write_text

from minillm.models.auto import AutoModelForCausalLM
from minillm.cli import main
from minillm.training.checkpoint import list_checkpoints
from minillm.training.run import Run

COMMAND = [sys.executable, "-m", "minillm"]


TINY = ["--n-layer=1", "--n-head=2", "--n-embd=16", "--block-size=16", "--batch-size=2",
        "--vocab-size=280"]


def start(*arguments, **options):
    return subprocess.Popen([*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE,
                            stdout=subprocess.DEVNULL, text=True, **options)


def wait_for(path, process):
    while process.poll() is None and not path.exists():
        time.sleep(0.005)


@pytest.fixture
def text(tmp_path):
    return write_text(tmp_path / "a.txt")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, text, number):
    out = tmp_path / "out"
    process = start("train", "--text", text, "--out", out, *TINY, "--steps=1000000",
                    "--checkpoint-every=1000000", "--eval-every=1000000")
    wait_for(out / "metrics.jsonl", process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    step = int(list_checkpoints(out / "checkpoints")[-1].name.removeprefix("step-"))
    assert step >= 1 and f"stopped after step {step}" in error
    assert f"minillm train --resume {out}" in error and "Traceback" not in error
    assert not list(out.glob(".*"))
    AutoModelForCausalLM.from_pretrained(out / "model")  # there from the start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_preparing_leaves_nothing(tmp_path, number):
    out = tmp_path / "new" / "out"
    process = start("train", "--out", out)  # training a tokenizer takes seconds
    wait_for(out / ".preparing", process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert error.endswith("\nminillm: interrupted\n") and "Traceback" not in error
    assert os.listdir(tmp_path) == []


def test_nohup_is_obeyed(tmp_path, text):
    out = tmp_path / "out"
    process = start("train", "--text", text, "--out", out, *TINY, "--steps=30",
                    preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_for(out / "run.json", process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_killed_while_preparing_and_begun_again(tmp_path, text):
    out = tmp_path / "out"
    process = start("train", "--out", out)
    wait_for(out / ".preparing", process)
    process.kill()
    process.communicate()
    assert (out / ".preparing").exists() and not (out / "run.json").exists()
    assert main(["train", "--text", text, "--out", str(out), *TINY, "--steps=2"]) == 0
    assert not list(out.glob(".*"))


def test_two_processes_and_one_folder(tmp_path, text):
    out = tmp_path / "out"
    both = [start("train", "--text", text, "--out", out, *TINY, "--steps=50") for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    line = errors[[process.returncode for process in both].index(2)].splitlines()[-1]
    winner = both[[process.returncode for process in both].index(0)].pid
    assert line.startswith("minillm: error: ") and (
        f"is in use by process {winner}" in line or "exists and is not an empty folder" in line)
    assert Run(out).trainer().resume() == [] and not list(out.glob(".*"))


def test_two_resumes_of_one_run(tmp_path, text, capsys):
    out = tmp_path / "out"
    assert main(["train", "--text", text, "--out", str(out), *TINY, "--steps=4"]) == 0
    first = start("train", "--resume", out, "--steps=1000000", "--eval-every=1000000")
    wait_for(out / ".lock", first)
    while first.poll() is None and not (out / ".lock").read_text():
        time.sleep(0.005)  # until it names its holder
    capsys.readouterr()
    assert main(["train", "--resume", str(out)]) == 2
    error = capsys.readouterr().err
    assert f"in use by process {first.pid}" in error and error.count("\n") == 1
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    steps = [record["step"] for record in Run(out).trainer().metrics.records]
    assert steps == sorted(steps)
    assert main(["generate", "--model", str(out), "The"]) == 0  # reading needs no lock


def test_default_names_of_two_processes(tmp_path, text):
    both = [start("train", "--text", text, *TINY, "--steps=2", cwd=tmp_path) for _ in range(2)]
    assert [process.communicate(timeout=60) and process.returncode for process in both] == [0, 0]
    assert sorted(os.listdir(tmp_path / "runs")) == ["train-1", "train-2"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments, status", [
    (["generate", "--model", "nowhere", "hi"], 2), (["fly"], 2), (["train", "--resume", "no"], 2),
])
def test_a_full_disk_behind_stderr_changes_nothing(arguments, status):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *arguments], stderr=full, timeout=60)
    assert done.returncode == status


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_training_with_a_full_disk_behind_stderr(tmp_path, text):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "train", "--text", text, *TINY, "--steps=3", "--out", "out"],
                              stderr=full, stdout=subprocess.DEVNULL, cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    assert list_checkpoints(tmp_path / "out" / "checkpoints")[-1].name == "step-000003"


def test_a_data_file_cut_short_while_training_is_one_line(tmp_path, text):
    out = tmp_path / "out"
    process = start("train", "--text", text, "--out", out, *TINY, "--steps=1000000",
                    "--eval-every=1000000")
    wait_for(out / "loss.png", process)
    os.truncate(out / "data" / "train.bin", 100)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "train.bin: cut short while it was in use" in error.splitlines()[-1]


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


@pytest.mark.parametrize("arguments", [["generate", "The cat"], ["info"], ["worked-example"],
                                       ["course", "run", "1", "--all"]])
def test_a_reader_that_has_seen_enough(arguments):
    process = subprocess.Popen([*COMMAND, *arguments],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    error = process.stderr.read()
    assert process.wait(timeout=60) == 141 and b"error" not in error


def test_help_answers_without_loading_what_only_work_needs():
    program = ("import sys; from minillm.cli import main\n"
               "try: main(['train', '--help'])\n"
               "except SystemExit: print([n for n in ('matplotlib', 'rich') if n in sys.modules])")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n") and "--resume" in done.stdout
