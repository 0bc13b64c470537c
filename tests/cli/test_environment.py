"""A mistake in an environment variable shows when the kernels are loaded: also that is one line."""

import pytest
from subprocesses import run_python

MAIN = "import sys; from minillm.cli import main; sys.exit(main(['info']))"


@pytest.mark.parametrize("variable", ["MINILLM_KERNELS", "MINILLM_ISA"])
def test_a_wrong_environment_variable_is_an_error_of_one_line(variable):
    run = run_python(MAIN, **{variable: "nonsense"})
    assert run.returncode == 2
    assert run.stderr.startswith("minillm: error: ") and run.stderr.count("\n") == 1
    assert "nonsense" in run.stderr
