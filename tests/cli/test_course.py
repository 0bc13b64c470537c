"""minillm course: list, run, check, copy."""

import pytest

from minillm.cli import main
from minillm.course import chapters

CHAPTER = """# 7. A small one

> **You will be able to** add, and
> subtract.
>
> **Runs in** about 3 seconds on two cores.

## Adding

```python
from minillm.course.figures import new_figure, save
print("in cell")
total = 1.25
```

The total is {shown}<!-- = total -->.

```python
figure, axes = new_figure(2, 2)
save("07-empty", figure)
```

```shell
minillm is only shown
```
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of one chapter, in place of the course's"""
    folder = tmp_path / "chapters"
    folder.mkdir()
    monkeypatch.setattr(chapters, "PACKAGED", folder)
    (folder / "07-small.md").write_text(CHAPTER.format(shown="1.25"), encoding="utf-8")
    return folder


def test_the_list(folder, capsys):
    assert main(["course"]) == 0
    output = capsys.readouterr()
    assert "07  A small one  (3 s)\n    add, and subtract.\n" == output.out
    assert "1 chapter in" in output.err and "minillm course copy" in output.err


def test_the_list_in_a_checkout_names_the_book(capsys):
    assert main(["course"]) == 0 and "make book" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["7", "07"])
def test_run_shows_outputs_and_figures(folder, tmp_path, capsys, number):
    assert main(["course", "run", number, "--out", str(tmp_path / "figures")]) == 0
    output = capsys.readouterr()
    assert "\n## Adding\nin cell\n" in output.out and "shown" not in output.out
    assert f"[figure: {tmp_path}/figures/07-empty.svg]" in output.out
    assert (tmp_path / "figures" / "07-empty.svg").stat().st_size
    assert "2 cells" in output.err and "all numbers in the prose are right" in output.err


def test_run_all_shows_the_text_and_the_code(folder, capsys):
    assert main(["course", "run", "7", "--all"]) == 0
    printed = capsys.readouterr().out
    assert "The total is 1.25." in printed and "total = 1.25" in printed and "<!--" not in printed


def test_write_puts_the_figures_beside_the_chapter(folder):
    assert main(["course", "run", "7", "--write"]) == 0
    assert (folder / "images" / "07-empty.svg").is_file()


def test_a_wrong_number_or_a_failing_cell_is_one_line(folder, capsys):
    path = folder / "07-small.md"
    path.write_text(CHAPTER.format(shown="1.26"), encoding="utf-8")
    assert main(["course", "run", "7"]) == 2
    assert "line 16: the prose says 1.26, but total is 1.25" in capsys.readouterr().err
    path.write_text(CHAPTER.replace("total = 1.25", "total = 1 / 0"), encoding="utf-8")
    assert main(["course", "run", "7"]) == 2
    assert "line 13: ZeroDivisionError: division by zero" in capsys.readouterr().err


def test_a_malformed_chapter_is_one_line(folder, capsys):
    (folder / "07-small.md").write_text("# Seven\n", encoding="utf-8")
    assert main(["course"]) == 2
    assert "doesn't start with a title such as" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, part", [
    (["run", "13"], "chapter is '13', wanted one of 07"),
    (["run", ""], "wanted one of 07"),
    (["run", "../../x"], "wanted one of 07"),
    (["run", "7", "--write", "--out", "x"], "wanted one of them"),
    (["check", "7", "missing.py"], "missing.py: No such file"),
    (["check", "7", "."], "Is a directory"),
    (["copy", "."], "exists already, wanted a new folder"),
])
def test_mistakes_of_the_user_are_one_line(folder, arguments, part, capsys):
    assert main(["course", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minillm: error: ") and error.count("\n") == 1 and part in error


def test_check_says_which_exercises_are_right(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("", encoding="utf-8")
    assert main(["course", "check", "1", str(path)]) == 1
    output = capsys.readouterr()
    assert "1.1: not solved yet." in output.out and "0 of " in output.err


def test_copy(folder, tmp_path):
    (folder / "images").mkdir()
    (folder / "images" / "07-empty.svg").write_text("<svg/>")
    assert main(["course", "copy", str(tmp_path / "mine")]) == 0
    assert {path.name for path in (tmp_path / "mine").rglob("*.*")} == {"07-small.md", "07-empty.svg"}


def test_jupytext_finds_the_kernel_of_a_copy(folder, tmp_path):
    jupytext = pytest.importorskip("jupytext")
    assert main(["course", "copy", str(tmp_path / "mine")]) == 0
    notebook = jupytext.read(tmp_path / "mine" / "07-small.md")
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    cells = notebook.cells
    assert cells[0].source.startswith("# 7. A small one") and len(cells) == 5
