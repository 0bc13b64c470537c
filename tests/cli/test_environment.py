"""A bad environment variable, found when the kernels are loaded, is one line, too."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("variable", ["MINILLM_KERNELS", "MINILLM_ISA"])
def test_a_wrong_environment_variable_is_an_error_of_one_line(variable):
    environment = {**os.environ, "MINILLM_KERNELS": "", variable: "nonsense"}
    run = subprocess.run([sys.executable, "-m", "minillm", "info"], env=environment,
                         capture_output=True, text=True, timeout=120)
    assert run.returncode == 2
    assert run.stderr.startswith("minillm: error: ") and run.stderr.count("\n") == 1
    assert "nonsense" in run.stderr
