"""The speedrun beside PyTorch: where a curve meets the target, and what the report says."""

import pytest
from benchmarks.speedrun import crossing, report


@pytest.mark.parametrize("curve, target, step", [
    ([[25, 4.0, 1], [50, 3.0, 1]], 3.5, 37.5), ([[25, 4.0, 1], [50, 3.0, 1]], 3.0, 50.0),
    ([[25, 3.0, 1]], 3.5, 25.0), ([[25, 4.0, 1]], 3.5, None),
])
def test_the_crossing_is_interpolated(curve, target, step):
    assert crossing(curve, target) == step


def test_the_report_counts_from_the_end_of_pytorchs_run():
    records = {"PyTorch": {"curve": [[2000, 3.0, 1.5]], "test": [3.1, 1.6]},
               "small model": {"curve": [[400, 3.0, 1.5]], "test": [3.2, 1.6]}}
    text = report({"cpu": "a chip", "threads": 2, "seed": 0, "records": records,
                   "ms_per_step": {"PyTorch": 30.0, "small model": 20.0}})
    assert "| small model | 400 of 400 | 20.0 | 8.0 | 7.50 | 3.0000 | 3.2000 |" in text
