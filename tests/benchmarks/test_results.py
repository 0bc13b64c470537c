"""Results: to JSON and back, ratios and goals, the comparison of two runs, the pictures."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import command, machine, plots, results, tables
from benchmarks.harness import Timing
from benchmarks.results import Goal, Results, Row, Section, from_timings

numbers = st.floats(1e-3, 1e6)
values = st.dictionaries(st.sampled_from(["minillm", "NumPy", "PyTorch"]), numbers, min_size=1)
rows = st.builds(Row, st.text(min_size=1, max_size=8), values, values,
                 st.lists(st.builds(Goal, st.just("work"), st.just("NumPy"), numbers, numbers)))
sections = st.builds(Section, st.sampled_from(["matmul", "train"]), st.text(max_size=5), st.just("ms"),
                     st.booleans(), st.lists(rows, max_size=3), st.lists(st.text(max_size=5)))
runs = st.builds(Results, st.just({"cpu": "a chip"}), st.just("full"), st.lists(sections, max_size=3))


@given(runs)
def test_json_round_trip(run):
    assert results.from_json(results.to_json(run)) == run


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}', '{"format": 99}', "null"])
def test_what_is_not_a_result_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="other.json") as error:
        results.from_json(text, "other.json")
    assert "\n" not in str(error.value)


@given(numbers, numbers, st.booleans())
def test_a_ratio_above_one_is_always_good(ours, theirs, higher_is_better):
    section = Section("key", "title", "unit", higher_is_better)
    row = section.add(Row("row", {"minillm": ours, "NumPy": theirs}),
                      ("work", "minillm", "NumPy", 1.0), ("work", "minillm", "missing", 1.0))
    assert len(row.goals) == 1  # the one whose other side was measured
    if ours != theirs:
        is_better = (ours > theirs) == higher_is_better
        assert (row.goals[0].measured >= 1) == is_better
    assert section.ratio(row, "minillm", "missing") is None


def test_rates_and_times_from_timings():
    timings = {"minillm": Timing((0.5, 0.25, 1.0)), "NumPy": Timing((2.0,))}
    rates = from_timings("row", timings, amount=3e9, scale=1e-9)
    assert rates.values == {"minillm": 6.0, "NumPy": 1.5}
    assert rates.details["rounds"] == 3
    assert from_timings("row", timings, scale=1e3).values == {"minillm": 500.0, "NumPy": 2000.0}


def test_goals_that_are_missed_by_most_come_first():
    run = Results({}, "full", [Section("matmul", "t", "GFLOP/s", True)])
    section = run.sections[0]
    section.add(Row("a", {"minillm": 3.0, "NumPy": 2.0}), ("near", "minillm", "NumPy", 2.0))
    section.add(Row("b", {"minillm": 1.0, "NumPy": 2.0}), ("far", "minillm", "NumPy", 2.0))
    section.add(Row("c", {"minillm": 9.0, "NumPy": 2.0}), ("far", "minillm", "NumPy", 2.0))
    far, near = tables.summarize_goals(run)
    assert (far["work"], far["worst"], far["worst row"], far["met"], far["rows"]) == (
        "far", 0.5, "b", 1, 2)
    assert (near["work"], near["met"]) == ("near", 0)


@given(runs, st.floats(0.5, 4))
def test_comparison_of_a_run_with_a_faster_one(run, factor):
    faster = copy.deepcopy(run)
    for section in faster.sections:
        for row in section.rows:
            row.values = {label: value * factor if section.higher_is_better else value / factor
                          for label, value in row.values.items()}
    # Generated sections may repeat a key or a name; the first or last of them is then compared.
    keys = [section.key for section in run.sections]
    names = [[row.name for row in section.rows] for section in run.sections]
    if len(set(keys)) == len(keys) and all(len(set(n)) == len(n) for n in names):
        found = list(tables.comparisons(run, faster))
        assert len(found) == sum(len(row.values) for s in run.sections for row in s.rows)
        assert all(ratio == pytest.approx(factor) for *_, ratio in found)


def test_compare_on_the_command_line(tmp_path, capsys):
    first = Results({"cpu": "one"}, "full", [Section("matmul", "t", "GFLOP/s", True)])
    first.sections[0].add(Row("512³", {"minillm": 50.0}))
    second = copy.deepcopy(first)
    second.machine["cpu"] = "two"
    second.sections[0].rows[0].values["minillm"] = 100.0
    for name, run in (("a.json", first), ("b.json", second)):
        (tmp_path / name).write_text(results.to_json(run))
    assert command.main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    printed = capsys.readouterr().out
    assert "2.00" in printed and "512³" in printed and "cpu differs" in printed


def test_compare_with_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        command.main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")])


def test_the_machine_is_described():
    description = machine.describe()
    assert description["cores"] >= 1
    assert description["kernels"]["implementation"] in ("c", "numpy", "naive")
    assert description["packages"]["numpy"] and "-O3" in description["c_flags"]["C_FLAGS"]
    run = Results(description, "quick", [])
    assert results.from_json(results.to_json(run)).machine == description
    assert all(isinstance(line, str) for line in tables.machine_lines(description))


def test_pictures_need_their_sections(tmp_path):
    plots.save_all(Results({}, "quick", []), tmp_path)
    assert list(tmp_path.iterdir()) == []
