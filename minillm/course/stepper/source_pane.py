"""The source pane: the function that runs, with the statement about to run marked."""

import functools
import io
import textwrap
import tokenize
from keyword import iskeyword

from rich.text import Text

from minillm.kernels.dispatch import registry

MARK = "on rgb(55,55,20)"
DOC, COMMENT, STRING, KEYWORD = ("rgb(140,170,140)", "rgb(140,170,140)", "rgb(205,160,120)",
                                 "rgb(120,170,240)")


def title_of(step, width):
    """-> the way to the function, its end if it is long: "h.0 › attention › qkv › linear" """
    names = []
    for call in step.call.callers():
        name = _short_path(call.path) or call.function.name
        if names[-1:] != [name]:
            names.append(name)
    if step.call.path:
        names.append(step.call.function.short_name)
    place = f"  {step.call.function.place}"
    text = " › ".join(names)
    while len(text) + len(place) > width and len(names) > 1:
        names.pop(0)
        text = " › ".join(["…", *names])
    return (text + place)[: max(width, 0)]


def _short_path(path):
    """ "transformer.h.2" -> "h.2"; "transformer.h.2.attention" -> "attention" """
    parts = path.split(".")
    return ".".join(parts[-2:] if parts[-1].isdecimal() else parts[-1:])


def source_text(step, width, height):
    """-> as many lines of the function as fit, around the statement about to run"""
    function, statement = step.call.function, step.statement
    if step.call.in_c:
        c_name = getattr(registry[function.short_name].binding, "c_name", function.short_name)
        heading = f"One call of the C library, {c_name}, computes this formula:"
        text = Text(no_wrap=True).append(heading + "\n", "bold rgb(250,200,90)")
        return text.append(_lines(function, function.first, height - 1, width, None, False))
    first = _first_line(function, statement, height)
    return _lines(function, first, height, width, statement, step.is_return)


def _first_line(function, statement, height):
    """Show the whole function if it fits, else keep a third of the pane above the statement."""
    if function.last - function.first < height:
        return function.first
    first = max(function.first, statement.first - height // 3)
    return min(first, max(function.first, function.last - height + 1))


def _lines(function, first, height, width, statement, is_return):
    colored = colored_lines(function)
    text = Text(no_wrap=True)
    for line in range(first, min(function.last + 1, first + height)):
        is_current = statement is not None and statement.first <= line <= statement.last
        mark = ("◀" if is_return else "▶") if is_current and line == statement.first else " "
        shown = Text(no_wrap=True).append(f"{line:4} ", "rgb(120,120,120)")
        shown.append(mark + " ", "bold rgb(250,200,90)")
        shown.append(colored[line - function.first])
        shown.truncate(width, overflow="ellipsis", pad=is_current)
        if is_current:
            shown.stylize(MARK)
        text.append(shown).append("\n")
    return text


@functools.cache
def colored_lines(function):
    """-> a Text for each line, without the indentation of a method, with keywords, strings and
    comments in color"""
    lines = textwrap.dedent("\n".join(function.lines())).split("\n")
    texts = [Text(line) for line in lines]
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline))
    except (tokenize.TokenError, IndentationError):
        return texts
    for token in tokens:
        style = {tokenize.STRING: STRING, tokenize.COMMENT: COMMENT}.get(token.type)
        if token.type == tokenize.STRING and token.string.startswith('"""'):
            style = DOC
        if token.type == tokenize.NAME and iskeyword(token.string):
            style = KEYWORD
        if style:
            for row in range(token.start[0], token.end[0] + 1):
                start = token.start[1] if row == token.start[0] else 0
                end = token.end[1] if row == token.end[0] else len(lines[row - 1])
                texts[row - 1].stylize(style, start, end)
    return texts
