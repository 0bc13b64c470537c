"""Run a chapter from top to bottom in one namespace, and check the numbers in its prose."""

import ast
import io
import os
import time
import traceback
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field

from minillm.course.chapters import Cell, Prose
from minillm.course.figures import FOLDER_VARIABLE, Picture
from minillm.course.prose_numbers import run_checks


class ChapterError(ValueError):
    """A cell raised an error, or a number in the prose isn't what its expression computes."""


@dataclass
class Result:
    """What a cell printed, and the value of its last line (None without one)."""

    printed: str = ""
    value: object = None
    seconds: float = 0.0
    pictures: list = field(default_factory=list)  # paths of the figures


def run_chapter(chapter, figures=None, show=lambda part, result: None):
    """Run all cells of a chapter, and check the numbers in its prose.

    figures: the folder for its figures; None writes none
    show:    called as show(part, result) after each part; the result of Prose is None
    Raises ChapterError that names the line of the chapter.
    """
    namespace = {"__name__": "__main__", "__file__": str(chapter.path)}
    with _figures_go_to(figures):
        for part in chapter.parts:
            if isinstance(part, Prose):
                problems = run_checks(part, namespace)
                if problems:
                    raise ChapterError("\n".join(f"{chapter.path}, {text}" for text in problems))
                show(part, None)
            else:
                show(part, run_cell(part, namespace, chapter.path))
    return namespace


def run_cell(cell: Cell, namespace, path):
    """Run the code of a cell in `namespace` -> Result. Raises ChapterError with the cell's line."""
    printed, start = io.StringIO(), time.perf_counter()
    try:
        with redirect_stdout(printed):
            value = _run_code(cell, namespace, str(path))
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
                 if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else cell.line
        raise ChapterError(f"{path}, line {line}: {type(error).__name__}: {error}") from error
    pictures = [value.path] if isinstance(value, Picture) and value.path else []
    return Result(printed.getvalue(), value, time.perf_counter() - start, pictures)


def _run_code(cell, namespace, path):
    """-> the value of the cell's last line, if it is an expression"""
    # The lines above the cell as empty lines: errors and inspect.getsource then refer to the file.
    tree = ast.parse("\n" * (cell.line - 1) + cell.code, path)
    ends_in_value = tree.body and isinstance(tree.body[-1], ast.Expr)
    last = ast.Expression(tree.body.pop().value) if ends_in_value else None
    exec(compile(tree, path, "exec"), namespace)
    return eval(compile(last, path, "eval"), namespace) if last else None


@contextmanager
def _figures_go_to(folder):
    before = os.environ.pop(FOLDER_VARIABLE, None)
    if folder is not None:
        os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(FOLDER_VARIABLE, None)
        if before is not None:
            os.environ[FOLDER_VARIABLE] = before
