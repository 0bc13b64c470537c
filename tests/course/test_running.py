"""Chapters as cells and prose, and running them."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.course.chapters import Cell, Chapter, Prose, find_chapter, split
from minillm.course.running import ChapterError, run_cell, run_chapter
from minillm.course.source import source

codes = st.lists(st.sampled_from(["x = 1", "print(2)", "# no", '"""$a$"""', "", "y = '<!-- = 3 -->'"]),
                 min_size=1, max_size=4).map("\n".join)
proses = st.sampled_from(["text", "# heading", "$$x$$", "```sh\nls\n```", "<details>", "- item",
                          "| a |\n| --- |", "````\n```python\nx\n```\n````"])


@given(st.lists(proses | codes.map(lambda code: ("", code)) | codes.map(lambda code: ("hide", code)),
                max_size=8))
def test_split_finds_every_cell_at_its_line(parts):
    text = "\n\n".join(part if isinstance(part, str) else
                       f'```python{" tags=[" * bool(part[0])}{part[0]}{"]" * bool(part[0])}\n'
                       f"{part[1]}\n```" for part in parts) + "\n"
    cells = [part for part in split(text) if isinstance(part, Cell)]
    wanted = [part for part in parts if not isinstance(part, str)]
    assert [(cell.tags, cell.code) for cell in cells] == [
        ((tag,) if tag else (), code + "\n") for tag, code in wanted]
    lines = text.splitlines()
    for part in split(text):
        first = (part.code if isinstance(part, Cell) else part.text).splitlines()[0]
        assert lines[part.line - 1] == first


def run(code, namespace=None):
    return run_cell(Cell(code, 5), {} if namespace is None else namespace, "chapter.md")


def test_a_cell_shows_what_it_prints_and_its_last_value():
    result = run("print('a')\nx = 2\nx + 1")
    assert (result.printed, result.value) == ("a\n", 3)
    assert run("x = 2").value is None and run("").value is None and run("# only this").value is None


@pytest.mark.parametrize("code, part", [
    ("x = 1\n1 / 0", "chapter.md, line 6: ZeroDivisionError"), ("x +", "line 5: SyntaxError"),
    ("def f():\n    return y\nf()", "line 6: NameError"), ("assert 1 > 2, 'no'", "line 5"),
])
def test_an_error_names_its_line(code, part):
    with pytest.raises(ChapterError, match=part):
        run(code)


def test_cells_share_names_and_prose_reads_them(tmp_path):
    parts = [Cell("x = 0.25", 1), Prose("it is 0.25<!-- = x -->", 3), Cell("x *= 2", 4)]
    chapter = Chapter(9, "t", "t", 1, tmp_path / "c.md", parts)
    seen = []
    assert run_chapter(chapter, show=lambda part, result: seen.append(part))["x"] == 0.5
    assert seen == parts
    chapter.parts[1] = Prose("it is 0.26<!-- = x -->", 3)
    with pytest.raises(ChapterError, match="line 3: the prose says 0.26, but x is 0.25"):
        run_chapter(chapter)


def test_the_source_of_a_function_of_a_chapter_is_found(tmp_path):
    path = tmp_path / "chapter.md"
    path.write_text("text\n\n```python\n# why\ndef f(x):\n    return x\n```\n")
    namespace = {}
    run_cell(Cell("# why\ndef f(x):\n    return x\n", 4), namespace, path)
    assert inspect.getsource(namespace["f"]) == "def f(x):\n    return x\n"
    assert source(namespace["f"]).code.startswith("# why")


@pytest.mark.parametrize("name", ["99", "x", "", "-1"])
def test_an_unknown_chapter_is_one_line(name):
    with pytest.raises(ValueError, match="wanted one of"):
        find_chapter(name)
