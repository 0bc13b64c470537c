"""Exercises, and a checker that finds the mistake behind a wrong answer.

    check("1.1", softmax_rows)       # in a notebook or a program

An exercise knows its right answer and a list of mistakes that people make, each as a wrong answer.
The checker runs the solution on several cases, compares it with the right answer, and if they
differ, with the wrong ones: what agrees with one of them has that mistake.
"""

import importlib
import inspect
import io
import os
import re
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Callable

import numpy as np

from minillm.checks import shown
from minillm.course.comparison import difference, same, short, text_of

TIME_LIMIT = 20  # seconds for one case of an exercise
FILE_TIME_LIMIT = 120  # seconds for running a file of solutions


@dataclass
class Mistake:
    """One way to get an exercise wrong, and the sentence that helps.

    wrong: the answer with this mistake (a function or a value, as the reference), or
    when:  a function (got, want, *arguments) -> whether the result `got` shows the mistake
    """

    sentence: str
    wrong: Any = None
    when: Callable | None = None


@dataclass
class Exercise:
    """One exercise of a chapter.

    number:    "1.1"
    name:      what my_solutions.py calls the answer
    reference: the right answer: a function, or a value where the answer is one
    cases:     a function rng -> list of tuples of arguments; unused for values
    mistakes:  list of Mistake, the more specific first
    tolerance: relative and absolute, for floating-point numbers
    """

    number: str
    name: str
    reference: Any
    cases: Callable = lambda rng: [()]
    mistakes: list = field(default_factory=list)
    tolerance: float = 1e-6

    @property
    def is_value(self):
        return not callable(self.reference)


@dataclass
class Report:
    """What the checker found; true if the answer is right."""

    exercise: Exercise
    message: str  # "" if the answer is right
    is_empty: bool = False  # not solved yet

    def __bool__(self):
        return not self.message

    def __repr__(self):
        number = self.exercise.number
        if self:
            return f"{number}: right."
        return f"{number}: {'not solved yet' if self.is_empty else 'not yet right'}. {self.message}"


def load_exercises(chapter):
    """-> {number: Exercise} of a chapter (an int); empty if it has none"""
    name = f"minillm.course.exercises.chapter_{chapter:02}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return {}
    return {exercise.number: exercise for exercise in module.EXERCISES}


def find_exercise(number):
    """"1.1" -> Exercise. Raises ValueError that lists the chapter's exercises."""
    match = re.fullmatch(r"0*(\d{1,3})\.(\d{1,3})", str(number))
    exercises = load_exercises(int(match[1])) if match else {}
    key = f"{int(match[1])}.{int(match[2])}" if match else ""
    if key not in exercises:
        raise ValueError(f"exercise is {shown(number)}, wanted "
                         + (" or ".join(exercises) or "a number such as 1.1"))
    return exercises[key]


def check(number, answer):
    """Check the answer to an exercise -> Report: true if it is right; it prints what is wrong.

    number: "1.1"; answer: the function that you wrote, or the value
    """
    exercise = find_exercise(number)
    if exercise.is_value:
        return _judge(exercise, answer, [()], [answer], [exercise.reference])
    if not callable(answer):
        return Report(exercise, f"Pass the function {exercise.name} itself, not this "
                                f"{type(answer).__name__}.", is_empty=answer is None)
    cases = exercise.cases(np.random.default_rng(0))
    with np.errstate(all="ignore"):  # whatever np.seterr the caller has set
        want = [exercise.reference(*deepcopy(case)) for case in cases]
    got = []
    for case in cases:
        arguments = deepcopy(case)
        try:
            with _time_limit(TIME_LIMIT):
                got.append(answer(*arguments))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also exit()
            return Report(exercise, _known_error(error, exercise, case)
                          or _error(error, exercise, case, answer))
        if any(difference(ours, theirs, 0) for ours, theirs in zip(arguments, case)):
            changed = _changed(exercise, arguments, case)
            return Report(exercise, f"Your function changes its argument {changed}. The caller "
                                    "still needs it: compute the result in a new array.")
    return _judge(exercise, answer, cases, got, want)


def _judge(exercise, answer, cases, got, want):
    """Compare all results with the right ones, and look for the mistake if they differ."""
    tolerance = exercise.tolerance
    differences = [difference(g, w, tolerance) for g, w in zip(got, want)]
    if not any(differences):
        return Report(exercise, "")
    first = next(i for i, text in enumerate(differences) if text)
    if all(result is None or result is Ellipsis for result in got):
        return Report(exercise, "This is the place for your answer." if exercise.is_value else
                      f"{exercise.name} returns None: write its body, and return the result.",
                      is_empty=True)
    for mistake in exercise.mistakes:
        if _shows(mistake, exercise, cases, got, want):
            return Report(exercise, mistake.sentence)
    if any(g is None for g in got) and not any(w is None for w in want):
        return Report(exercise, f"For some arguments {exercise.name} ends without a return, and so "
                                "returns None.")
    if exercise.is_value and "shape" not in differences[0]:
        return Report(exercise, f"It isn't {short(answer)}.")
    if not differences[0] and len(cases) > 1:
        return Report(exercise, "Right for the first case, but not for all: " + differences[first])
    return Report(exercise, differences[first])


def _shows(mistake, exercise, cases, got, want):
    """-> whether the results are those of the mistake"""
    if mistake.when is not None:
        wrong_cases = [index for index, (g, w) in enumerate(zip(got, want))
                       if difference(g, w, exercise.tolerance)]
        return all(_quietly(mistake.when, got[i], want[i], *deepcopy(cases[i]))
                   for i in wrong_cases)
    if exercise.is_value:
        return same(got[0], mistake.wrong, exercise.tolerance)
    for case, g in zip(cases, got):
        try:
            with np.errstate(all="ignore"):
                wrong = mistake.wrong(*deepcopy(case))
        except Exception:  # a mistake that fails on this case doesn't explain a result
            return False
        if not same(g, wrong, exercise.tolerance):
            return False
    return True


def _quietly(function, *arguments):
    try:
        with np.errstate(all="ignore"):
            return bool(function(*arguments))
    except Exception:  # the result has another form than the mistake's test expects
        return False


def _known_error(error, exercise, case):
    """-> the sentence of a mistake that raises the same error for this case, or None"""
    for mistake in exercise.mistakes:
        try:
            if callable(mistake.wrong):
                mistake.wrong(*deepcopy(case))
        except Exception as wrong:
            if type(wrong) is type(error) and text_of(wrong) == text_of(error):
                return mistake.sentence
    return None


def _changed(exercise, arguments, case):
    """-> the name of the first argument that the solution changed"""
    names = list(inspect.signature(exercise.reference).parameters)
    index = next(i for i, pair in enumerate(zip(arguments, case)) if difference(*pair, 0))
    return names[index] if index < len(names) else f"number {index + 1}"


def _error(error, exercise, case, answer):
    """-> what to say about an exception, with the line of the solution that it came through"""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = own[-1].line[:80] if own else ""
    place = f" in line {own[-1].lineno} ({line})" if line else ""
    if isinstance(error, NotImplementedError):
        return f"{exercise.name} is not written yet."
    if isinstance(error, _TooSlow):
        return f"{exercise.name} takes longer than {TIME_LIMIT} seconds{place}: an endless loop?"
    shapes = ", ".join(str(value.shape) for value in case if isinstance(value, np.ndarray))
    about = f" (arguments of shape {shapes})" if shapes else ""
    return f"{exercise.name} raises {type(error).__name__}{place}{about}: {text_of(error)}"


class _TooSlow(BaseException):
    """Not an Exception, so that a solution's `except Exception` lets it through."""


@contextmanager
def _time_limit(seconds):
    """Raise _TooSlow in the block after so many seconds, where the system has alarms"""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def load_solutions(path):
    """Run a file of solutions -> {name: value}

    Raises ValueError that names the line of an error in the file.
    """
    module = sys.modules["my_solutions"] = ModuleType("my_solutions")  # dataclasses look it up
    names = vars(module)
    names["__file__"] = str(path)
    try:
        with _time_limit(FILE_TIME_LIMIT):  # from bytes: Python reads a BOM and a coding comment
            exec(compile(path.read_bytes(), str(path), "exec"), names)
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise ValueError(f"{path}{where}: {error.msg}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also exit()
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
                 if frame.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        what = f"{type(error).__name__}: {text_of(error)}".removesuffix(": ")
        if isinstance(error, _TooSlow):
            what = f"the file takes longer than {FILE_TIME_LIMIT} seconds: an endless loop?"
        elif isinstance(error, EOFError):
            what = "input() has nobody to ask while the checker runs the file"
        raise ValueError(f"{path}{where}: {what}") from None
    return names


def _exit_as_an_error(leave, checker):
    """-> os._exit for solutions: in the checker's process it raises SystemExit, as exit() does.

    Otherwise os._exit(0) would end the check with the status of one that is passed. A child that the
    solution has forked ends as ever, by `leave`.
    """
    def exit_or_raise(status):
        if os.getpid() == checker:
            raise SystemExit(status)
        leave(status)

    return exit_or_raise


@contextmanager
def _surroundings(folder):
    """What a file of solutions sees: its neighbors, nobody at the keyboard. Undo its changes."""
    before = list(sys.path), sys.stdin, sys.stdout, os._exit
    # Last, not first: a neighbor named random.py is not what `import random` means.
    sys.path.append(str(folder.resolve()))
    sys.stdin = io.TextIOWrapper(io.BytesIO())
    os._exit = _exit_as_an_error(os._exit, os.getpid())
    try:
        yield
    finally:
        sys.path[:], sys.stdin, sys.stdout, os._exit = before
        sys.modules.pop("my_solutions", None)


def check_file(chapter, path):
    """Check a file of solutions -> list of Reports, one for each exercise of the chapter (an int)

    The file defines each answer under the name that the exercise gives it. Raises ValueError for a
    file that can't be run, or a chapter without exercises.
    """
    exercises = load_exercises(chapter)
    if not exercises:
        raise ValueError(f"chapter is {chapter}, which has no exercises")
    reports = []
    with _surroundings(path.parent):
        names = load_solutions(path)
        for number, exercise in exercises.items():
            if exercise.name in names:
                reports.append(check(number, names[exercise.name]))
            else:
                reports.append(Report(exercise, f"{path} defines no {exercise.name}.", True))
    return reports
