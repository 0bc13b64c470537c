"""Programs in an interpreter of their own."""

import json
import os
import subprocess
import sys

import pytest

from minillm import kernels

every_instruction_set = pytest.mark.parametrize("isa", ["amx", "avx512", "avx2", "baseline"])


def run_python(program, **environment):
    """Run a program in a fresh interpreter, without this one's choice of kernels."""
    chosen = ("MINILLM_KERNELS", "MINILLM_ISA", "OMP_NUM_THREADS", "PYTHONWARNINGS")
    inherited = {name: value for name, value in os.environ.items() if name not in chosen}
    return subprocess.run(
        [sys.executable, "-c", program], env={**inherited, **environment},
        capture_output=True, text=True, timeout=120,
    )


def worst_error(program, isa):
    """Run a program that prints [the instruction set in use, the largest error] -> the error"""
    if isa not in kernels.info()["supported"]:
        pytest.skip(f"this machine or this build has no {isa}")
    run = run_python(program, MINILLM_ISA=isa)
    assert run.returncode == 0, run.stderr
    used, worst = json.loads(run.stdout)
    assert used == isa
    return worst
