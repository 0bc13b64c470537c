"""Messages to the user: progress bars and tables, or plain lines where there is no terminal."""

import sys
import time
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from minillm.cli.visible import visible

console = Console(stderr=True, highlight=False)
SECONDS_BETWEEN_LINES = 10  # of progress, where there is no terminal for a bar


def for_stream(text, stream=None):
    """-> `visible(text)` if `stream` (sys.stdout by default) is a terminal, else `text` itself

    Files and pipes receive the text unchanged.
    """
    stream = sys.stdout if stream is None else stream
    return visible(text) if stream.isatty() else text


@contextmanager
def progress_bar(description, total):
    """A context of a function advance(done, note=""): it moves a bar, or prints a line at times."""
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
                   TextColumn("{task.fields[note]}"), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(description, total=total, note="")
            yield lambda done, note="": progress.update(task, completed=done, note=note)
        return

    last = -SECONDS_BETWEEN_LINES

    def advance(done, note=""):
        nonlocal last
        if done == total or time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{description} {done}/{total} {note}", file=sys.stderr, flush=True)

    yield advance


def say(message):
    """Print a message for the user on stderr; results go to stdout with print()."""
    print(for_stream(message, sys.stderr), file=sys.stderr, flush=True)


def table(title, rows, headings=None, left=(0,)):
    """Print rows of cells as a table on stdout.

    left: the numbers of the columns that hold text; the others, numbers, are aligned on the right
    """
    grid = Table(title=title, title_justify="left", show_header=headings is not None)
    for index in range(len(rows[0])):
        heading = headings[index] if headings else ""
        grid.add_column(heading, justify="left" if index in left else "right", overflow="fold")
    for row in rows:
        grid.add_row(*(for_stream(str(cell)) for cell in row))
    draw(grid, Console(highlight=False, markup=False))  # "[red]" in a cell is text


def draw(renderable, console, **options):
    """Print what rich can draw on stdout.

    It is captured, because rich exits the program itself if the reader has closed the output.
    """
    sys.stdout.flush()  # else rich does it, and finds the closed output
    with console.capture() as drawn:
        console.print(renderable, **options)
    print(drawn.get(), end="")
