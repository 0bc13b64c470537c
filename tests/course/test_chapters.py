"""Every chapter runs from top to bottom, its numbers are right, and it has the course's form."""

import ast
import io
import re
import subprocess
import sys
import tokenize

import jupytext
import pytest

from minillm.course.chapters import list_chapters
from minillm.course.checking import load_exercises

CHAPTERS = list_chapters()
by_number = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: f"{c.number:02}")


@pytest.mark.long
@by_number
def test_it_runs_its_numbers_are_right_and_its_figures_are_shown(chapter, tmp_path):
    # In a process of its own: chapters change threads, kernels and trace functions.
    run = subprocess.run(
        [sys.executable, "-m", "minillm", "course", "run", str(chapter.number), "--out", tmp_path],
        capture_output=True, text=True, timeout=600,
    )
    assert run.returncode == 0, run.stderr
    shown = re.findall(r"!\[[^\]]{15,}\]\(images/([\w-]+\.svg)\)", chapter.text)
    drawn = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert drawn == sorted(shown), "a figure is drawn and not shown, or shown and not drawn"
    for name in shown:
        assert (chapter.path.parent / "images" / name).stat().st_size < 200_000, name


@by_number
def test_it_has_the_form_of_a_chapter(chapter):
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", chapter.text,
                                               flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    assert headings[0] == f"{chapter.number}. {chapter.title}"
    places = [headings.index(name) for name in ("Exercises", "Solutions", "Sources", "Next")]
    assert places == sorted(places)
    assert chapter.path.name.startswith(f"{chapter.number:02}-")
    assert chapter.seconds < 60
    assert 2 <= len(re.findall(r"\$\$.+?\$\$", chapter.text, re.DOTALL))
    assert "![](" not in chapter.text


@by_number
def test_jupyter_runs_the_same_cells(chapter):
    # jupytext takes a fence of any language that Jupyter can run for a cell: sh (but not shell).
    cells = jupytext.reads(chapter.text, "md").cells
    assert ([cell.source.strip() for cell in cells if cell.cell_type == "code"]
            == [cell.code.strip() for cell in chapter.cells])


@by_number
def test_its_exercises_have_stubs_and_solutions_that_pass(chapter):
    exercises = load_exercises(chapter.number)
    assert 3 <= len(exercises) <= 8
    solutions = "\n".join(cell.code for cell in chapter.cells if "solution" in cell.tags)
    task = chapter.text[chapter.text.index("\n## Exercises") : chapter.text.index("\n## Solutions")]
    for number, exercise in exercises.items():
        assert f"### {number} " in task
        assert exercise.name in task
        assert f'check("{number}"' in task, "the stub's check"
        assert f'assert check("{number}"' in solutions, "the solution's check"


@by_number
def test_its_code_is_that_of_python_3_10(chapter):
    # feature_version refuses most that is newer. These it lets through: a[*b] (3.11), and an
    # f-string with its own quotes inside (3.12).
    for cell in chapter.cells:
        for node in ast.walk(ast.parse(cell.code, feature_version=(3, 10))):
            index = node.slice if isinstance(node, ast.Subscript) else None
            if isinstance(index, ast.Tuple) and any(isinstance(i, ast.Starred) for i in index.elts):
                assert index.col_offset < index.elts[0].col_offset, "a[*b] needs a[(*b,)]"
        assert not strings_with_their_own_quotes(cell.code)


def strings_with_their_own_quotes(code):
    """-> lines; older Pythons see an f-string as one token, and refuse the code by themselves"""
    found, open_quotes = [], []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        name = tokenize.tok_name[token.type]
        if name in ("STRING", "FSTRING_START"):
            quotes = token.string.lstrip("rRbBuUfF")
            quotes = quotes[:3] if quotes[:3] in ('"""', "'''") else quotes[0]
            found += [token.line] * (quotes in open_quotes)
        if name == "FSTRING_START":
            open_quotes.append(quotes)
        elif name == "FSTRING_END":
            open_quotes.pop()
    return found


def test_chapters_are_numbered_from_1():
    numbers = [chapter.number for chapter in CHAPTERS]
    assert numbers == list(range(1, len(CHAPTERS) + 1))
