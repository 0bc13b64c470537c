"""Results: to JSON and back, ratios and goals, the comparison of two runs, the pictures."""

import copy
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from rich.console import Console

from benchmarks import command, machine, plots, results, tables
from benchmarks.harness import Timing
from benchmarks.results import Goal, Results, Row, Section, from_timings

numbers = st.floats(1e-3, 1e6)
values = st.dictionaries(st.sampled_from(["minillm", "NumPy", "PyTorch"]), numbers, min_size=1)
rows = st.builds(Row, st.text(min_size=1, max_size=8), values, values,
                 st.lists(st.builds(Goal, st.just("work"), st.just("NumPy"), numbers, numbers)))
sections = st.builds(Section, st.sampled_from(["matmul", "train"]), st.text(max_size=5),
                     st.just("ms"), st.booleans(), st.lists(rows, max_size=3), st.lists(st.text(max_size=5)))
runs = st.builds(Results, st.just({"cpu": "a chip"}), st.just("full"),
                 st.lists(sections, max_size=3))


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


def test_a_goal_knows_what_the_chip_makes_possible():
    rates, times = Section("a", "t", "GFLOP/s", True), Section("b", "t", "ms", False)
    row = rates.add(Row("a", {"minillm": 80.0, "NumPy": 50.0, "FMA bound": 100.0}),
                    ("work", "minillm", "NumPy", 2.0))
    assert (row.goals[0].measured, row.goals[0].possible) == (1.6, 2.0)
    row = times.add(Row("b", {"minillm": 5.0, "PyTorch": 6.0, "FMA bound": 4.0}),
                    ("work", "minillm", "PyTorch", 2.0))
    assert (row.goals[0].measured, row.goals[0].possible) == (1.2, 1.5)
    row = times.add(Row("c", {"minillm": 5.0, "PyTorch": 6.0}), ("work", "minillm", "PyTorch", 2.0))
    assert row.goals[0].possible is None
    row = rates.add(Row("d", {"minillm": 8.0, "int8": 24.0, "PyTorch": 5.0, "memory bound": 10.0}),
                    ("work", "minillm", "PyTorch", 2.0), ("smaller", "int8", "minillm", 2.5))
    assert [goal.possible for goal in row.goals] == [2.0, None]
    assert tables.summarize_goals(Results({}, "full", [rates]))[0]["possible"] == 2.0


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


def run_with_everything():
    """Results with a little of every section that has a picture."""
    limits = Section("limits", "t", "u", True, [
        Row(name, {"1 thread": value, "2 threads": 2 * value}) for name, value in
        [("multiply-adds, GFLOP/s", 100.0), ("reading memory, GB/s", 30.0),
         ("reading L2, GB/s", 90.0)]])
    ladder = Section("ladder", "t", "u", True, [
        Row("Python loops", {"GFLOP/s": 0.04}, details={"n": 64, "threads": 1}),
        Row("C: threads", {"GFLOP/s": 180.0}, details={"n": 512, "threads": 2})])
    conflicts = Section("conflicts", "t", "u", True, [
        Row(f"n={n}", {"C: packed": 13.0, "C: register-tiled": rate}, details={"n": n})
        for n, rate in ((1016, 12.0), (1024, 4.0), (1032, 12.0))])
    sizes = Section("sizes", "t", "u", True, [
        Row(f"{n}³", {"minillm": 90.0, "NumPy": 80.0, "FMA bound": 100.0}, details={"n": n})
        for n in (64, 96, 128)])
    lengths = Section("lengths", "t", "u", False, [
        Row(f"T={T}", {"C: three passes: ms": T**2 / 1e4, "C: three passes: MB": T**2 / 2e4,
                       "C: streaming: ms": T**2 / 3e4, "C: streaming: MB": T / 300},
            details={"T": T}) for T in (128, 256, 512, 1024)])
    parts = [{"name": name, "shape": [4], "seconds": seconds, "calls": 1, "flops": flops,
              "bytes": 1e6, "is_product": "kernel" in name} for name, seconds, flops in
             [("linear: matmul kernel", 0.008, 1e9), ("gelu_tanh", 0.002, 2e6), ("dropout", 0, 0)]]
    profile = Section("profile", "t", "u", False, [
        Row("small: step", {"ms": 10.0}, details={"model": "small", "seconds": 0.01,
                                                  "parts": parts, "kernels": parts})])
    return Results({}, "full", [limits, ladder, conflicts, sizes, lengths, profile])


def test_every_picture_is_drawn(tmp_path):
    plots.save_all(run_with_everything(), tmp_path)
    assert {file.stem for file in tmp_path.iterdir()} == set(plots.PICTURES)


def test_names_in_the_roofline_do_not_overlap():
    run = run_with_everything()
    kernels = [{"name": f"kernel {i}", "seconds": 0.001, "flops": 1e6 + 1e4 * i, "bytes": 1e6,
                "is_product": False} for i in range(12)]
    run.section("profile").rows[0].details["kernels"] = kernels
    figure = plots.roofline(run)
    figure.canvas.draw()
    labels = figure.axes[0].texts
    assert len(labels) == 12
    boxes = [Text.get_window_extent(label) for label in labels]
    for i, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[:i])


def test_tables_show_every_number_and_note():
    console = Console(width=200, record=True, file=io.StringIO())
    for section in run_with_everything().sections:
        console.print(tables.section_table(section))
    text = console.export_text()
    assert "multiply-adds" in text and "1.12×" in text and "180.0" in text  # 90 / 80 is 1.125
