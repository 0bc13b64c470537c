"""Python's own debugger, pdb, with its commands given beforehand: a session that a chapter shows.

    debug(lambda: model.generate(ids), [
        f"tbreak {place(SelfAttention.forward, 'kv_cache.append')}", "continue", "p Q.shape"])
"""

import bdb
import inspect
import io
import pdb
import re
from pathlib import Path

import minillm

ROOT = Path(minillm.__file__).parents[1]


class Session:
    """What a terminal would show."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


class _Pdb(pdb.Pdb):
    """A pdb that reads its commands from a list, and shows them as if they were typed."""

    def __init__(self, commands):
        self.shown = io.StringIO()
        super().__init__(stdin=io.StringIO("".join(f"{each}\n" for each in commands)),
                         stdout=self.shown, nosigint=True, readrc=False)
        self.use_rawinput = False

    def precmd(self, line):
        print("quit" if line == "EOF" else line, file=self.shown)
        return super().precmd(line)


def debug(function, commands):
    """Run function() under pdb, with these commands -> Session

    The debugger stops before the first line of the function. After the last command it quits, which
    ends the function.
    """
    debugger = _Pdb(commands)
    try:
        debugger.runcall(function)
    except bdb.BdbQuit:
        pass
    finally:
        debugger.clear_all_breaks()
        if not any(bdb.Breakpoint.bpbynumber):  # the next session counts from 1 again
            bdb.Breakpoint.next, bdb.Breakpoint.bpbynumber = 1, [None]
    text = debugger.shown.getvalue().replace(f"{ROOT}/", "")
    # Of files elsewhere, such as a notebook's, only the name: "> words.py(3)write()".
    return Session(re.sub(r"(?m)^([> ] ?)/\S*/(?=[^/\s]+\(\d+\))", r"\1", text).rstrip())


def place(function, text):
    """-> "file:line" of the first line of a function that contains `text`, for `break`"""
    function = inspect.unwrap(function)
    lines, first = inspect.getsourcelines(function)
    for number, line in enumerate(lines, first):
        if text in line:
            return f"{Path(inspect.getsourcefile(function)).relative_to(ROOT)}:{number}"
    raise ValueError(f"{function.__qualname__} has no line with {text!r}")
