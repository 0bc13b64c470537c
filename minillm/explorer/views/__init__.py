"""Views: what the page can ask. A view is a plain function with annotated arguments.

    @view
    def attention(subject: Subject, text: str, layer: int = 0) -> dict: …

Its name is the name of the question. The server fills in the arguments that are Subjects (`subject`
is the question's "model", another one is what the question names under that name), `explorer` and
`report`; all other arguments come from the question, checked by their annotations. A view with an
argument `report` is long: it calls report(done, total, partial=None) often, and the page shows the
progress and may cancel.

    @offline
    def offline_attention(subject, text):
        yield "attention", {"layer": 0}      # a page without a server needs this answer
"""

import importlib
import inspect
import math
import pkgutil
import typing

from minillm.insight.subject import Subject

VIEWS = {}  # name -> View
OFFLINE = {}  # name of the module, such as "attention" -> function(subject, text)

LONGEST_TEXT, LONGEST_LIST = 200_000, 100_000


class View:
    """A function that answers a question of the page."""

    def __init__(self, function):
        self.function = function
        self.parameters = inspect.signature(function).parameters
        self.types = typing.get_type_hints(function)
        self.subjects = [name for name in self.parameters if self.types.get(name) is Subject]
        self._filled_in = {"explorer", "report", *self.subjects}

    @property
    def is_long(self):
        return "report" in self.parameters

    def needs(self, name):
        return name in self.parameters

    def arguments(self, fields):
        """fields: {name: JSON value} of a question -> the checked arguments

        Raises ValueError, in one line, for a missing, unknown or unsuitable field.
        """
        wanted = {name: each for name, each in self.parameters.items() if name not in self._filled_in}
        for name in fields:
            if name not in wanted:
                raise ValueError(f"{name[:80]!r} is no field of this question, wanted some of "
                                 f"{', '.join(wanted) or 'none'}")
        for name, parameter in wanted.items():
            if name not in fields and parameter.default is parameter.empty:
                raise ValueError(f"{name} is missing, wanted {_described(self.types[name])}")
        return {name: checked(name, value, self.types[name]) for name, value in fields.items()
                if not (value is None and wanted[name].default is None)}


def view(function):
    """Register a view under the function's name; return the function."""
    VIEWS[function.__name__] = View(function)
    return function


def offline(function):
    """Register which questions of this module a page without a server needs answers to.

    function(subject, text) yields (name of a view, its fields without model and text).
    """
    OFFLINE[function.__module__.rpartition(".")[2]] = function
    return function


def load_views():
    """Import all modules of this package, which register their views; return VIEWS."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return VIEWS


def checked(name, value, kind):
    """-> value, a float where `kind` is float; ValueError if it isn't a `kind` or is too large"""
    if kind is float and type(value) is int:
        value = float(value)
    item = typing.get_args(kind)
    if not _is_a(value, typing.get_origin(kind) or kind):
        raise ValueError(f"{name} is {value!r:.80}, wanted {_described(kind)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value}, wanted a finite number")
    if isinstance(value, int) and not -(2**53) < value < 2**53:
        raise ValueError(f"{name} is {value!r:.40}, wanted an integer below 2 ** 53")
    most = LONGEST_TEXT if isinstance(value, str) else LONGEST_LIST
    if isinstance(value, (str, list, dict)) and len(value) > most:
        raise ValueError(f"{name} has length {len(value):,}, wanted at most {most:,}")
    if isinstance(value, str):
        _require_unicode(name, value)
    if item and isinstance(value, list):
        return [checked(f"{name}[{i}]", each, item[0]) for i, each in enumerate(value)]
    return value


def _is_a(value, kind):
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, kind)


def _require_unicode(name, text):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{name} has half of a surrogate pair, wanted Unicode text") from None


def _described(kind):
    names = {str: "text", int: "an integer", float: "a number", bool: "true or false",
             dict: "an object", list: "a list"}
    return names.get(typing.get_origin(kind) or kind, str(kind))
