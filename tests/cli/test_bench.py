"""`minillm bench` finds the benchmark in the checkout and passes it the rest of the command line."""

import minillm
import pytest

from minillm.cli import bench, main


@pytest.mark.parametrize("argument", ["--help", "-h"])
def test_help_is_that_of_the_benchmark(argument, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", argument])
    assert stop.value.code == 0
    assert "--quick" in capsys.readouterr().out


def test_options_and_file_names_are_handed_on(tmp_path, capsys):
    missing = tmp_path / "a.json"
    assert main(["bench", "compare", str(missing), str(missing)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minillm: error:") and "a.json" in error and error.count("\n") == 1


def test_outside_a_checkout_one_line_says_where_the_benchmark_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(minillm, "__file__", str(tmp_path / "minillm" / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--quick"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minillm: error: the benchmark is in") and error.count("\n") == 1


def test_the_current_directory_counts_as_a_checkout(tmp_path, monkeypatch):
    (tmp_path / "csrc").mkdir()
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "command.py").touch()
    elsewhere = tmp_path / "elsewhere" / "minillm" / "__init__.py"
    monkeypatch.setattr(minillm, "__file__", str(elsewhere))
    monkeypatch.chdir(tmp_path)
    assert bench.find_checkout() == tmp_path
