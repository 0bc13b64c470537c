"""`make tasks`: the table of all tasks."""

import pytest

pytest.importorskip("benchmarks")


def test_a_quick_run_writes_a_table_and_is_not_repeated(tmp_path, monkeypatch, capsys):
    from benchmarks import tasks

    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    assert tasks.main(["--quick", "--only", "topics", "--out", str(out)]) == 0
    lines = (out / "tasks.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith(("| `topics`", "|  |"))]
    assert [row.split("|")[2].strip() for row in rows] == ["accuracy", "macro F1"]
    assert "majority" in rows[0] and (out / "topics" / "confusion.png").is_file()
    capsys.readouterr()
    assert tasks.main(["--quick", "--only", "topics", "--out", str(out)]) == 0
    assert "topics: finished already" in capsys.readouterr().out
