"""`minillm worked-example`: attention step by step, on the terminal or as a file for a lecture."""

import shutil
import sys

from rich.console import Console

from minillm.cli.terminal import say
from minillm.course.worked_example import backward_steps, forward_steps
from minillm.course.worked_example_export import to_latex, to_markdown, to_png
from minillm.course.worked_example_input import file_example, words_example
from minillm.course.worked_example_terminal import NARROWEST, clipped, step_lines
from minillm.files import atomic_write

STDOUT = "-"


def worked_example(options):
    exports = [(name, path) for name in ("latex", "markdown", "png")
               if (path := getattr(options, name)) is not None]
    _require_distinct(exports)
    example = _example(options)
    steps = forward_steps(example)
    if options.backward:
        steps += backward_steps(example)
    heading = _heading(example)
    if not exports:
        _show(steps, heading, options.steps)
    for name, path in exports:
        _export(steps, heading, name, path)


def _example(options):
    if options.input is None:
        return words_example(options.words, options.d, options.heads, options.causal, options.seed)
    if options.d is not None:
        raise ValueError(f"--d is the width of random vectors, but those of {options.input} have "
                         "their own: leave out --d")
    return file_example(options.input, options.words, options.heads, options.causal, options.seed)


def _heading(example):
    parts = [f"Attention: {' '.join(example.keys)}", f"d = {example.width}"]
    if example.queries != example.keys:
        parts[0] = f"Attention of {' '.join(example.queries)} to {' '.join(example.keys)}"
    if example.is_projected:
        parts.append(f"{example.heads} heads" if example.heads > 1 else "1 head")
    if example.bias.causal:
        parts.append("causal")
    return " · ".join(parts)


def _show(steps, heading, waits):
    """Print the steps. If `waits` and there is a keyboard, wait for Enter before each next one."""
    width = min(shutil.get_terminal_size().columns, 200)
    waits = waits and sys.stdin is not None and sys.stdin.isatty()
    # Captured, and after a flush, because rich exits the program itself if the reader has closed
    # the output.
    console = Console(width=width, highlight=False, markup=False, emoji=False)

    def write(lines):
        with console.capture() as drawn:
            for line in lines:
                console.print(line, no_wrap=True, crop=False, overflow="ignore")
        print(drawn.get(), end="", flush=True)

    print(clipped(heading, max(width, NARROWEST)) + "\n", flush=True)
    for number, step in enumerate(steps, 1):
        write(step_lines(step, number, len(steps), width))
        if waits and number < len(steps) and not _goes_on():
            return


def _goes_on():
    """Wait for a line from the keyboard -> whether it isn't q, nor the end of the input"""
    print("Enter: next step, q: quit ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line != "" and not line.strip().lower().startswith("q")


def _require_distinct(exports):
    """ValueError if two exports would go to one place"""
    seen = {}
    for name, path in exports:
        if path in seen:
            place = "standard output" if path == STDOUT else path
            raise ValueError(f"--{seen[path]} and --{name} both write to {place}: give one of "
                             "them another file")
        seen[path] = name


def _export(steps, heading, name, path):
    if name == "png":
        data = to_png(steps, heading)
    else:
        text = (to_latex if name == "latex" else to_markdown)(steps, heading)
        if path == STDOUT:
            print(text, end="")
            return
        data = text.encode("utf-8")
    if path == STDOUT:
        sys.stdout.buffer.write(data)
        return
    with atomic_write(path) as file:
        file.write(data)
    say(f"{path} is written")
