"""Record a program once, as a tree of calls and steps, and walk in it afterwards.

A debugger stops the program. Here the program runs to its end, and every statement on the way
leaves a step: where it stands, and what the variables held just before it ran. So going back costs
nothing and is exact.

Only the floors of minillm that are meant for reading leave steps (`is_readable`). What runs between
them, such as the checks of arguments, is passed over.
"""

import inspect
import sys
from dataclasses import dataclass, field
from functools import cached_property

from minillm.insight.source import function_of, is_readable, look_up, new_memory_is_nan
from minillm.kernels.dispatch import current, observe, registry
from minillm.nn.module import Parameter

RETURNED = "returned"  # the name of a function's result among its variables


@dataclass(eq=False)
class Call:
    """One call of a function.

    code: the code object of the function
    path: the dotted name of the module that it is a method of, or ""
    depth: the number of calls around it
    in_c: whether the C library computed it; `code` is then the NumPy formula, which didn't run
    """

    code: object
    caller: "Call | None"
    path: str = ""
    in_c: bool = False
    steps: list = field(default_factory=list)

    @cached_property
    def function(self):
        return function_of(self.code)

    @cached_property
    def depth(self):
        return 0 if self.caller is None else self.caller.depth + 1

    @property
    def name(self):
        return self.function.name

    def callers(self):
        """-> the calls around this one and itself, the outermost first"""
        return [*(self.caller.callers() if self.caller else ()), self]


@dataclass(eq=False)
class Step:
    """The moment before a statement runs, or, with `is_return`, the moment when a call is done.

    changes: {name: snapshot} of the variables that are new or changed since the call's last step
    attributes: {"self.weight.data": snapshot} of what the statement reads from objects
    """

    index: int  # in Recording.steps
    call: Call
    statement: object
    changes: dict
    attributes: dict
    is_return: bool = False

    def variables(self):
        """-> {name: snapshot} of all variables at this moment"""
        found = {}
        for step in self.call.steps:
            found.update(step.changes)
            if step is self:
                return found


class Recording:
    """What `record` returns: `root`, the outermost Call, and `steps`, all Steps in their order."""

    def __init__(self):
        self.steps = []
        self.root = None


def record(function, arguments, keeper, paths):
    """Run function(*arguments) -> Recording

    keeper: a Keeper; paths: {id(module): dotted name}
    An error of the function is raised as it is.
    """
    recorder = _Recorder(function.__code__, keeper, paths)
    previous = sys.gettrace()
    with observe(recorder.observed), new_memory_is_nan():
        sys.settrace(recorder.trace)
        try:
            function(*arguments)
        finally:
            sys.settrace(previous)
    return recorder.recording


class _Recorder:
    """The function that Python calls at each call, line and return, and what it builds."""

    def __init__(self, root, keeper, paths):
        self.recording = Recording()
        self._root = root
        self._keeper = keeper
        self._paths = paths
        self._open = []  # the calls that run now: (Call, {name: newest snapshot})
        self._readable = {}  # code object -> whether it leaves steps

    def trace(self, frame, event, argument):
        """Python calls this at the start of every function; the result traces its lines."""
        code = frame.f_code
        if code not in self._readable:
            self._readable[code] = code is self._root or is_readable(code)
        if not self._readable[code]:
            return None
        path = self._paths.get(id(frame.f_locals.get("self")), "")
        self._begin(Call(code, self._open[-1][0] if self._open else None, path))
        return self._trace_line

    def _begin(self, call):
        if self.recording.root is None:
            self.recording.root = call
        self._open.append((call, {}))

    def _trace_line(self, frame, event, argument):
        call, known = self._open[-1]
        if event == "line":
            statement = call.function.statement(frame.f_lineno)
            newest = call.steps[-1] if call.steps else None
            if newest is not None and statement == newest.statement:
                return self._trace_line  # another line of the same statement
            if statement.is_check:
                return self._trace_line
            if statement.opens_block and any(statement == each.statement for each in call.steps):
                return self._trace_line  # the end of a `with` block
            self._step(call, known, statement, frame.f_locals)
        elif event == "return":
            statement = call.function.statement(frame.f_lineno)
            self._step(call, known, statement, {**frame.f_locals, RETURNED: argument}, True)
            self._open.pop()
        return self._trace_line

    def _step(self, call, known, statement, variables, is_return=False):
        changes = {}
        for name, value in variables.items():
            snapshot = self._keeper.keep(value)
            if known.get(name) != snapshot:
                changes[name] = known[name] = snapshot
        attributes = {}
        if not is_return:
            for chain in statement.attributes:
                value = _look_up(chain, variables)
                if value is not None:
                    attributes[chain] = self._keeper.keep(value)
        self._append(Step(len(self.recording.steps), call, statement, changes, attributes,
                          is_return))

    def _append(self, step):
        step.call.steps.append(step)
        self.recording.steps.append(step)

    def observed(self, name, seconds, arguments, options, result):
        """A kernel is done. If C computed it, there was no function to trace: add one step."""
        formula = inspect.unwrap(registry[name]).__code__
        steps = self.recording.steps
        ran_in_python = steps and steps[-1].is_return and steps[-1].call.code is formula
        if current() != "c" or ran_in_python or not self._open:
            return
        call = Call(formula, self._open[-1][0], in_c=True)
        names = inspect.signature(registry[name]).parameters
        values = {**dict(zip(names, arguments)), **options, RETURNED: result}
        changes = {key: self._keeper.keep(value) for key, value in values.items()}
        statement = call.function.statement(call.function.first)
        self._append(Step(len(steps), call, statement, changes, {}, True))


def _look_up(chain, variables):
    """-> the array or number that "self.weight.data" stands for, or None"""
    value = look_up(chain, variables)
    return value if isinstance(value, (int, float, Parameter)) or hasattr(value, "dtype") else None
