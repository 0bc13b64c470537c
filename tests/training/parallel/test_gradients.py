"""Gradients, norms, weights and moments over MPI: those of one process, bit for bit."""

import json
from pathlib import Path

import pytest
from mpi_programs import run

PROGRAM = Path(__file__).parents[2] / "helpers" / "mpi_gradients.py"
CASES = "gpt2,llama,bert,marian,lora,muon,uneven"


@pytest.mark.parametrize("n, cases", [(1, "gpt2"), (2, CASES), (4, CASES)])
def test_any_number_of_ranks(n, cases):
    done = run(n, PROGRAM, cases)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert list(results) == cases.split(",")
    wrong = [(case, what) for case, facts in results.items()
             for what, holds in facts.items() if not holds]
    assert wrong == []
