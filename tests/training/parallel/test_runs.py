"""mpirun -n 4 minillm train: the run of one process, bit for bit, and no rank left behind."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from mpi_programs import TIMEOUT, mpiexec, process_of_rank, run, start
from small_runs import write_text

from minillm.cli.training import train_new
from minillm.training.parallel.communicator import Ranks
from minillm.training.settings import Settings

SMALL = ("--vocab-size", 280, "--n-layer", 2, "--n-head", 2, "--n-embd", 16, "--block-size", 16,
         "--batch-size", 2, "--warmup", 2, "--lr", 1e-2, "--dropout", 0.1, "--keep", 99,
         "--log-every", 1, "--grad-accum", 4, "--length-warmup", 4, "--batch-warmup", 3)
STEPS = ("--steps", 6, "--eval-every", 3, "--checkpoint-every", 2)
ENDLESS = ("--steps", 10**6, "--eval-every", 10**6, "--checkpoint-every", 10)
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


def train(*options):
    return "-m", "minillm", "train", *options


def alone(*command, cwd=None):
    done = subprocess.run([sys.executable, *map(str, command)], cwd=cwd, capture_output=True,
                          text=True, timeout=TIMEOUT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done


def numbers_of(folder):
    """-> {name: content} of everything in a run that is computed"""
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
             for path in sorted(folder.rglob("*.safetensors"))}
    assert any("optimizer" in name for name in found)
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        name = "valid" if "valid_loss" in record else "train"
        assert (name, record["step"]) not in found  # one line each, by one rank
        record.pop("tokens_per_s", None)
        found[name, record["step"]] = record
    found["results"] = (folder / "results.json").read_text()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with text.txt and one/, the run of one process"""
    folder = tmp_path_factory.mktemp("runs")
    write_text(folder / "text.txt")
    alone(*train("--text", "text.txt", *SMALL, *STEPS, "--out", "one"), cwd=folder)
    return folder


def lines_of_errors(stderr):
    return [line for line in stderr.splitlines() if line.startswith("minillm: error: ")]


def fails(n, *command, cwd=None, **environment):
    """-> the error line of a command line that ends all ranks"""
    done = run(n, *command, cwd=cwd, **environment)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    line, = lines_of_errors(done.stderr)
    return line


def test_four_ranks_compute_the_numbers_of_one_process(whole):
    out = whole / "four"
    done = run(4, *train("--text", "text.txt", *SMALL, *STEPS, "--out", out), "--shard-optimizer",
               cwd=whole)
    assert done.returncode == 0, done.stderr
    assert "ranks: 4, 1 threads each" in done.stderr
    assert done.stderr.count("training 6/6") == 1
    assert numbers_of(out) == numbers_of(whole / "one")
    assert sorted(path.name for path in out.iterdir()) == sorted(
        path.name for path in (whole / "one").iterdir())


@needs_proc
def test_a_rank_killed_at_a_random_moment_ends_all_and_the_run_goes_on_bit_for_bit(whole, tmp_path):
    out, straight = tmp_path / "run", tmp_path / "straight"
    lasting = ("--steps", 30, "--eval-every", 15, "--checkpoint-every", 4)
    process = start(2, *train("--text", whole / "text.txt", *SMALL, *lasting, "--out", out))
    victim = random.randrange(2)
    wait_for(lambda: (out / "checkpoints").is_dir() and process_of_rank(process, victim))
    time.sleep(random.random() / 4)
    os.kill(process_of_rank(process, victim), signal.SIGKILL)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode != 0
    assert lines_of_errors(stderr) in (
        [f"minillm: error: rank {victim} has died; all ranks end"], [])  # mpirun may be faster
    wait_for(lambda: not any(process_of_rank(process, rank) for rank in range(2)))
    done = run(2, *train("--resume", out, "--shard-optimizer"))
    assert done.returncode == 0, done.stderr
    alone(*train("--text", whole / "text.txt", *SMALL, *lasting, "--out", straight))
    assert numbers_of(out) == numbers_of(straight)


@needs_proc
def test_a_stopped_rank_ends_all_in_time(whole, tmp_path):
    out, victim = tmp_path / "run", random.randrange(2)
    process = start(2, *train("--text", whole / "text.txt", *SMALL, *ENDLESS, "--out", out),
                    "--rank-timeout", 2)
    wait_for(lambda: (out / "checkpoints").is_dir() and process_of_rank(process, victim))
    os.kill(process_of_rank(process, victim), signal.SIGSTOP)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode != 0
    assert lines_of_errors(stderr) == [
        f"minillm: error: rank {victim} has done nothing for 2 s; all ranks end"]
    wait_for(lambda: not any(process_of_rank(process, rank) for rank in range(2)))


def test_a_signal_to_mpirun_saves_once_and_ends_all(whole, tmp_path):
    out, number = tmp_path / "run", random.choice([signal.SIGINT, signal.SIGTERM])
    options = ("--checkpoint-every", 10**6, "--steps", 10**6, "--eval-every", 10**6)
    process = start(2, *train("--text", whole / "text.txt", *SMALL, *options, "--out", out))
    wait_for(lambda: (out / "metrics.jsonl").is_file())
    process.send_signal(number)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode != 0 and lines_of_errors(stderr) == []
    checkpoint, = (out / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    assert stderr.count(f"stopped after step {step}.") == 1


def test_an_error_on_one_rank_ends_all_with_its_line(whole, tmp_path):
    options = {**dict(zip(SMALL[::2], SMALL[1::2])), "--lr": 1e30}
    line = fails(2, *train("--text", whole / "text.txt", *sum(options.items(), ()), *STEPS, "--out",
                           tmp_path / "run"))
    assert "of step" in line and "try a smaller lr" in line


def test_a_command_that_does_not_train_is_refused():
    assert "isn't training, wanted it once, without mpirun" in fails(2, "-m", "minillm", "info")


def test_what_ranks_refuse(tmp_path):
    two = SimpleNamespace(size=2, rank=0)
    two.share = partial(Ranks.share, two)
    for settings, line in (
            (Settings(grad_accum=3), "grad_accum is 3, wanted a multiple of the 2 ranks"),
            (Settings(grad_accum=2, dp_noise=1.0), "wanted one process, without mpirun")):
        with pytest.raises(ValueError, match=line):
            train_new(settings, tmp_path / "run", "train", ranks=two)
    assert list(tmp_path.iterdir()) == []


def test_ranks_with_other_options_are_refused(whole, tmp_path):
    text = whole / "text.txt"
    done = run_different(*[(train("--text", text, "--lr", lr, "--out", tmp_path / "a"), tmp_path)
                           for lr in (0.01, 0.02)])
    assert done.returncode != 0
    line, = lines_of_errors(done.stderr)
    assert "--lr is 0.02 on rank 1 and 0.01 on rank 0, wanted the same on all ranks" in line


def test_machines_without_a_common_disk(whole, tmp_path):
    """Each rank has another current folder, and --out is relative: rank 1 doesn't see the run."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    command = train("--text", whole / "text.txt", *SMALL, *STEPS, "--out", "run")
    done = run_different(*[(command, folder) for folder in folders])
    assert done.returncode == 0, done.stderr
    assert numbers_of(folders[0] / "run") == numbers_of(whole / "one")
    assert list(folders[1].iterdir()) == []


def run_different(*commands):
    """Run each (command line, current folder) on a rank of its own -> CompletedProcess"""
    words = [*mpiexec()]
    for number, (command, folder) in enumerate(commands):
        words += [*[":"] * (number > 0), "-n", "1", "-wdir", folder, sys.executable, *command]
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=TIMEOUT,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_for(condition):
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
