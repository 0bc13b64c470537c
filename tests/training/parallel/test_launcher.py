"""Started by mpirun, or not: said by the environment, without importing MPI."""

import os
import signal
import subprocess
import sys

import pytest

from minillm.training.parallel.launcher import launched


@pytest.mark.parametrize("environment, wanted", [
    ({}, None),
    ({"PMI_SIZE": "1", "PMI_RANK": "0"}, None),
    ({"PMI_SIZE": "4", "PMI_RANK": "3", "MPI_LOCALRANKID": "1"}, (4, 3, 1, "mpich")),
    ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, (2, 1, 0, "openmpi")),
    ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, None),  # any shell of a job has these
    ({"PMI_SIZE": "many", "PMI_RANK": ""}, None),
])
def test_launchers(environment, wanted):
    assert launched(environment) == wanted


def test_without_a_launcher_nothing_of_mpi_is_imported():
    program = ("import sys\nimport minillm.cli, minillm.training.run\n"
               "minillm.cli.main(['info'])\n"
               "assert 'mpi4py' not in sys.modules")
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_without_mpi4py_one_line_says_what_to_install(tmp_path):
    """As in an environment without the extra: a module that can't be imported."""
    (tmp_path / "mpi4py.py").write_text("raise ImportError('no', name='mpi4py')")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    errors = []
    for rank in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "minillm", "train", "--out", str(tmp_path / "run")],
            capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": path, "PMI_SIZE": "2", "PMI_RANK": str(rank),
                 "MPI_LOCALRANKID": str(rank)})
        assert done.returncode == 2
        errors += done.stderr.splitlines()
    line, = errors
    assert 'pip install "minillm[mpi]"' in line and "2 processes" in line


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_rank_that_waits_too_long_for_the_others_to_start_ends_with_one_line():
    program = ("import time\n"
               "from minillm.training.parallel.joining import limited\n"
               "with limited(60, rank=0):\n    print('in time', flush=True)\n"
               "with limited(0.1, rank=0):\n    time.sleep(60)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL and done.stdout == "in time\n"
    assert done.stderr.strip() == (
        "minillm: error: rank 0 has waited 0.1 s for other ranks to start")
