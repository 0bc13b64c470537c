"""The library's source, as it is now: what a chapter shows can't differ from what runs."""

import inspect
from pathlib import Path

import minillm

_ROOT = Path(minillm.__file__).parents[1]


class Source:
    """Code of the library as the result of a cell: highlighted in notebooks, plain in terminals"""

    def __init__(self, code, place):
        self.code = code
        self.place = place  # "minillm/ops/softmax.py, line 12"

    def __repr__(self):
        return f"# {self.place}\n{self.code}"

    def _repr_markdown_(self):
        return f"```python\n# {self.place}\n{self.code}\n```"


def source(thing, comments=True):
    """-> the Source of a function, class, method or module of the library

    comments: whether the comment block above it, such as a derivation, belongs to it
    Raises TypeError for anything that wasn't written in Python.
    """
    thing = inspect.unwrap(thing)
    try:
        lines, first = inspect.getsourcelines(thing)
        file = Path(inspect.getsourcefile(thing))
    except (TypeError, OSError):
        raise TypeError(f"thing is {thing!r}, wanted a Python function, class or module") from None
    code = inspect.cleandoc("\n" + "".join(lines)) if first else "".join(lines)
    above = inspect.getcomments(thing) if comments and first else None
    if above:
        code = inspect.cleandoc("\n" + above).rstrip() + "\n" + code
        first -= above.rstrip("\n").count("\n") + 1
    if file.is_relative_to(_ROOT):
        file = file.relative_to(_ROOT)
    return Source(code.strip("\n"), f"{file.as_posix()}, line {max(first, 1)}")
