"""Programs on several ranks, on this machine: more of them than it may have cores."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TIMEOUT = 150  # seconds


@functools.cache
def mpiexec():
    """-> the beginning of a command line; skips the test where MPI isn't installed"""
    pytest.importorskip("mpi4py", reason='no mpi4py: pip install "minillm[mpi]"')
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("no mpiexec: install MPICH or Open MPI")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60)
    is_open = "Open MPI" in version.stdout or "open-mpi" in version.stdout.lower()
    return (found, "--oversubscribe", "--allow-run-as-root") if is_open else (found,)


def start(n, *command, cwd=None, **environment):
    """Start a Python command line on n ranks -> Popen with text pipes, in a session of its own"""
    return subprocess.Popen(
        [*mpiexec(), "-n", str(n), sys.executable, *map(str, command)], cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment})


def run(n, *command, cwd=None, **environment):
    """-> CompletedProcess"""
    process = start(n, *command, cwd=cwd, **environment)
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def process_of_rank(process, rank):
    """-> the process id of a rank of a Popen of `start` (Linux); None if it isn't there yet"""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        names = (b"PMI_RANK", b"OMPI_COMM_WORLD_RANK")
        if words[0] == sys.executable.encode() and any(
                b"%s=%d" % (name, rank) in variables for name in names) and (
                words[1:-1] == [str(word).encode() for word in process.args[-len(words) + 2 :]]):
            return int(folder.name)
    return None
