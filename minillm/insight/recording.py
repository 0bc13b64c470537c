"""A recording of one forward and one backward of any model: every call, every named value.

    recording = record(subject, "The class statement")
    recording.calls["transformer.h.0.attention"]                     a Call, with its steps inside
    recording.values["transformer.h.0.attention/attend/_attend_with_weights:weights"].array

The model runs as it is; Python's own tracing (`sys.settrace`) says which functions are called and
what their variables hold after each statement. So the tree of calls, model -> block -> layer ->
operation -> variable, is that of the program that ran, for every architecture, also one of your
own. The kernels run in NumPy, so the lines that made a value are lines that a reader can read.

Names: a call of a module is called by the module's dotted path, any other function by the call
around it, "/" and its name; "#2" is the second of that name. A value is a call, ":" and the name of
the variable. Calls of the backward begin with "backward/".
"""

import inspect
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from minillm.insight.objective import objective_of, outputs_of, text_loss, text_loss_backward
from minillm.insight.source import (
    PACKAGE,
    function_of,
    is_plain_function,
    is_readable,
    look_up,
    new_memory_is_nan,
)
from minillm.kernels import use
from minillm.nn.module import Module, Parameter, no_grad
from minillm.nn.trace import trace
from minillm.ops.quantized import QuantizedWeights, dequantize

RETURNED = "returned"  # the name of a function's result among its variables
BACKWARD = "backward/"
KEPT = 1 << 29  # bytes of copies at most; later values are referred to
DISPATCH = str(PACKAGE / "kernels" / "dispatch.py")
MEMORY = {"empty", "empty_like", "gradient_target"}  # functions that only return memory
TRACED = ["*weights"]  # recorded by a trace, so that attention computes them


@dataclass(eq=False)
class Value:
    """An array at one moment.

    path: its name;  name: that of the variable;  array: its numbers, not to be written into
    maker: the Call in which it appeared first, None for a parameter;  statement: that made it
    born: the event of the recording after which it was there, for `finite_difference`
    variable: the local variable that held it, or None if it only was returned
    """

    path: str
    name: str
    array: np.ndarray
    maker: "Call | None" = None
    statement: object = None
    born: int = 0
    variable: str | None = None
    parameter: str | None = None  # the dotted name of a parameter
    is_unwritten: bool = False  # memory for a result that isn't there yet
    address: int = 0  # of its memory at that moment
    strides: tuple = ()

    @property
    def is_contiguous(self):
        return self.strides == self.array.strides and self.array.flags.c_contiguous

    @property
    def place(self):
        return self.address, self.array.shape

    @property
    def is_argument(self):
        """-> whether it was there before the first statement of its maker"""
        return self.maker is not None and self.statement is None

    def __repr__(self):
        return f"Value({self.path}, {self.array.shape})"


@dataclass(eq=False)
class Step:
    """A statement that ran.

    reads: {name: Value} before it ran;  made: {name: Value} of variables that it set
    calls: the Calls in it;  written: Values into whose memory it wrote, as they were before
    """

    statement: object
    reads: dict
    calls: list = field(default_factory=list)
    made: dict = field(default_factory=dict)
    written: list = field(default_factory=list)


@dataclass(eq=False)
class Call:
    """One call of a function.

    id: its name;  path: the dotted name of the module that it is a method of, or ""
    arguments: {name: Value}, parts of tuples as "cache.x";  outputs: {name: Value}
    twin: the Call of its backward, or of the forward that this is the backward of
    """

    id: str
    code: object
    parent: "Call | None"
    path: str = ""
    module: Module | None = None
    born: int = 0
    arguments: dict = field(default_factory=dict)
    outputs: dict = field(default_factory=dict)
    steps: list = field(default_factory=list)
    twin: "Call | None" = None
    caches: list = field(default_factory=list)  # the NamedTuples that it returned or was given

    @cached_property
    def function(self):
        return function_of(self.code)

    @property
    def is_module(self):
        """-> whether it is the forward or the backward of a module"""
        return self.module is not None and self.code.co_name in ("forward", "backward")

    @property
    def name(self):
        return self.code.co_name

    @property
    def calls(self):
        return [call for step in self.steps for call in step.calls]

    @cached_property
    def variables(self):
        """{name: Value} of all its variables, as they were last, and of what it returned"""
        found = dict(self.arguments)
        for step in self.steps:
            found.update(step.made)
        return {**found, **self.outputs}

    @cached_property
    def callers(self):
        """-> set of the calls around this one"""
        return set() if self.parent is None else {self.parent, *self.parent.callers}

    @cached_property
    def writes(self):
        """-> {place: Value} of what this call and those in it wrote into existing memory"""
        found = {}
        for step in self.steps:
            for call in step.calls:
                found.update(call.writes)
            if step.written or step.calls:
                found.update({value.place: value for value in step.made.values()})
        return found

    @cached_property
    def rewritten(self):
        """-> the Values into whose memory, which it was given, the call has written"""
        given = {value.place for value in self.arguments.values()}
        return [value for place, value in self.writes.items()
                if place in given and value not in self.arguments.values()]

    def __repr__(self):
        return f"Call({self.id})"


class Recording:
    """What `record` returns.

    calls: {id: Call};  values: {path: Value}, parameters under their dotted names
    root, backward_root: the outermost Call of each direction;  loss: float
    objective: the Objective;  reading: the Reading
    gradients: {parameter's dotted name: array or None}
    """

    def __init__(self):
        self.calls, self.values, self.gradients = {}, {}, {}
        self.root = self.backward_root = self.reading = self.objective = None
        self.loss = float("nan")

    @cached_property
    def products(self):
        """-> list of the Values that the calls of `matmul` returned"""
        return [value for call in self.calls.values() if call.name == "matmul"
                for value in call.outputs.values()]

    def value(self, name):
        """-> the Value of a path, or of any name that a call has for it: "h.0.attention:Q"

        Raises ValueError for an unknown name.
        """
        if name in self.values:
            return self.values[name]
        id, _, variable = name.partition(":")
        if id in self.calls:
            found = self.calls[id].variables.get(variable)
            if found is not None:
                return found
        raise ValueError(f"{name[:200]!r} is no value of this run")


def record(subject, text, *, objective=None):
    """Run the text through the subject's model, forward and backward -> Recording

    objective: an Objective, by default `objective_of` the text

    Raises ValueError for an empty text, and one that the model can't read. The model is left as it
    was: its weights, its gradients and its mode.
    """
    reading = subject.read(text)
    objective = objective or objective_of(subject, text)
    model = subject.model
    recorder = Recorder(model)
    recorder.recording.reading, recorder.recording.objective = reading, objective
    with use("numpy"), evaluated(model), trace(model, TRACED), new_memory_is_nan():
        with no_grad():  # once before, because modules may keep something for the next run,
            outputs_of(model, objective.inputs)  # such as the angles of rotary positions
        loss, caches = recorder.run(text_loss, model, objective.inputs, objective.targets)
        recorder.recording.loss = float(loss)
        if has_backward(model):
            recorder.run(text_loss_backward, model, caches, prefix=BACKWARD)
        recorder.recording.gradients = {
            name: None if parameter.grad is None else parameter.grad.copy()
            for name, parameter in model.named_parameters()}
    return recorder.recording


def has_backward(model):
    """-> whether all weights are plain arrays: quantized ones are for inference"""
    return all(isinstance(parameter.data, np.ndarray) for parameter in model.parameters())


@contextmanager
def evaluated(model):
    """Inside the block the model is in eval mode, without gradients and without passes that wait
    for a backward; afterwards it is as it was.
    """
    states = {module: {name: vars(module).pop(name) for name in ("training", "_passes")
                       if name in vars(module)} for module in model.modules()}
    grads = {parameter: (parameter.grad, parameter._buffer) for parameter in model.parameters()}
    for parameter in grads:
        parameter.grad = parameter._buffer = None
    model.eval()
    try:
        yield
    finally:
        for module, state in states.items():
            for name in ("training", "_passes"):
                vars(module).pop(name, None)
            vars(module).update(state)
        for parameter, (grad, buffer) in grads.items():
            parameter.grad, parameter._buffer = grad, buffer


class Tracer:
    """What a recording and its repetition share: which functions are watched, and the events.

    An event is a statement about to run, or a return, in a function that is watched. The same
    program with the same inputs has the same events, so their number names a moment.
    """

    def __init__(self, model):
        self.event = 0
        self._watched = {}  # code object -> whether
        self._files = {_file_of(type(module)) for module in model.modules()} - {None}

    def is_watched(self, code):
        known = self._watched.get(code)
        if known is None:
            known = self._watched[code] = is_readable(code) or (
                code.co_filename in self._files and is_plain_function(code))
        return known

    @contextmanager
    def tracing(self, function):
        self._watched[function.__code__] = True
        previous = sys.gettrace()
        sys.settrace(self.trace)
        try:
            yield
        finally:
            sys.settrace(previous)


def _file_of(module_class):
    """-> the file of a class that isn't minillm's; None for what has none, such as typed-in code"""
    if module_class.__module__.startswith("minillm."):
        return None
    try:
        return inspect.getsourcefile(module_class)
    except (TypeError, OSError):
        return None


class Recorder(Tracer):
    """The function that Python calls at each call, statement and return, and what it builds."""

    def __init__(self, model):
        super().__init__(model)
        self.recording = Recording()
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._names = {}  # a call without a number -> how many have that name
        self._prefix = ""
        self._open = []  # the calls that run now
        self._kernels = []  # (arguments of a kernel's call, options, the formula's Call)
        self._by_id = {}  # id of an array object -> its Value
        self._by_place = {}  # (address, shape, strides, dtype) -> its Value
        self._written = {}  # address of memory -> the event when it was written to last
        self._checked = {}  # a Value -> the event when it was seen to be unchanged
        self._empty = set()  # addresses of new memory: nan, until something is written to it
        self._alive = []  # keeps all arrays alive, so that addresses and ids stay theirs
        self._room = KEPT
        for name, parameter in model.named_parameters():
            data = parameter.data
            if isinstance(data, QuantizedWeights):  # shown as what they stand for
                data = dequantize(data.values, data.scale)
            value = self.recording.values[name] = Value(name, name, data, parameter=name)
            if data is parameter.data:
                self._know(data, value)

    def run(self, function, *arguments, prefix=""):
        self._prefix = prefix
        with self.tracing(function):
            return function(*arguments)

    # ---- calls

    def trace(self, frame, event, argument):
        """Python calls this at the start of every function; the result traces its statements."""
        code = frame.f_code
        if code.co_name == "dispatch" and code.co_filename == DISPATCH:
            frame.f_trace_lines = False
            variables = frame.f_locals
            self._kernels.append([variables["arguments"], variables["options"], None,
                                  len(self._open)])
            return self._trace_kernel
        if not self.is_watched(code):
            return None
        self._begin(frame)
        return self._trace_statement

    def _begin(self, frame):
        code, variables = frame.f_code, frame.f_locals
        owner = variables.get("self")
        path = self._paths.get(id(owner)) if isinstance(owner, Module) else None
        parent = self._open[-1] if self._open else None
        call = Call(self._id(code, path, parent), code, parent, path or "",
                    owner if path is not None else None, self.event)
        call.statement = None
        self.recording.calls[call.id] = call
        if parent is None:
            side = "backward_root" if self._prefix else "root"
            setattr(self.recording, side, call)
        else:
            parent.steps[-1].calls.append(call)
        self._open.append(call)
        kernel = self._kernels[-1] if self._kernels else None
        if kernel and kernel[2] is None and kernel[3] == len(self._open) - 1:
            kernel[2] = call
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            given = {**dict(zip(names, kernel[0])), **kernel[1]}
            self._take_arguments(call, given)
            for name, value in variables.items():
                self._same(given.get(name), value)  # made contiguous, perhaps
                if isinstance(value, np.ndarray) and name not in given:
                    self._value(value, call, name, None)  # memory for the result
            call.caches += [each for each in kernel[0] if hasattr(each, "_fields")]
        else:
            self._take_arguments(call, variables)
            call.caches += [each for each in variables.values() if hasattr(each, "_fields")]
        call.known = {name: (value, self._seen(value)) for name, value in variables.items()}

    def _id(self, code, path, parent):
        if path is not None and code.co_name in ("forward", "backward"):
            name = self._prefix + (path or "model")
            if parent is not None and parent.id.split("#")[0] == name:  # super().forward(x)
                name = f"{parent.id}/{code.co_name}"
        else:
            name = f"{parent.id}/{code.co_name}" if parent else (
                f"{self._prefix}loss")
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"

    def _take_arguments(self, call, variables):
        for name, value in variables.items():
            if name != "self":
                for part, array in arrays_in(value, name):
                    call.arguments[part] = self._value(array, call, part, None)

    def _trace_kernel(self, frame, event, result):
        """The end of a kernel's call: the caller may get a copy of what the formula made."""
        if event == "return":
            _, _, call, _ = self._kernels.pop()
            if call is not None and result is not None:
                made = list(call.outputs.values())
                for (_, array), value in zip(results_in(result), made):
                    if self._seen(array) is not value:
                        self._written[_memory(array)] = value.born
                        self._know(array, value)
                call.caches += [each for each in _tuple(result) if hasattr(each, "_fields")]
        return self._trace_kernel

    # ---- statements

    def _trace_statement(self, frame, event, argument):
        call = self._open[-1]
        if event == "line":
            self.event += 1
            statement = call.function.statement(frame.f_lineno)
            if call.steps and statement is call.steps[-1].statement:
                return self._trace_statement  # another line of the same statement
            if statement.opens_block and any(statement is step.statement for step in call.steps):
                return self._trace_statement  # the end of a `with` block
            variables = frame.f_locals
            self._after(call, variables)
            call.steps.append(Step(statement, self._reads(statement, variables)))
        elif event == "return":
            self.event += 1
            self._after(call, frame.f_locals)
            self._end(call, argument)
        return self._trace_statement

    def _reads(self, statement, variables):
        """-> {name: Value} of the arrays that a statement mentions"""
        reads = {}
        for name in statement.names:
            value = self._seen(variables.get(name))
            if value is not None:
                reads[name] = value
        for chain in statement.attributes:
            value = self._seen(look_up(chain, variables, until=np.ndarray))  # x.shape reads x
            if value is not None:
                reads[chain] = value
        return reads

    def _after(self, call, variables):
        """What the statement that just ran has made"""
        if not call.steps:
            return
        step = call.steps[-1]
        for name in step.statement.written:
            if isinstance(variables.get(name), np.ndarray):
                self._mark_written(variables[name])
                if name in step.reads:
                    step.written.append(step.reads[name])
        known = call.known
        for name, value in variables.items():
            before, before_value = known.get(name, (None, None))
            now = None
            if type(value) is np.ndarray and value.size:
                now = self._value(value, call, name, step.statement)
                if before is not value or now is not before_value:
                    step.made[name] = now
            elif before is not value and name != "self":
                for part, array in arrays_in(value, name):
                    step.made[part] = self._value(array, call, part, step.statement)
            known[name] = value, now

    def _end(self, call, result):
        statement = call.steps[-1].statement if call.steps else None
        for part, array in results_in(result):
            call.outputs[part] = self._value(array, call, part, statement, variable=None)
        call.caches += [each for each in _tuple(result) if hasattr(each, "_fields")]
        call.known = None
        self._open.pop()

    # ---- values

    def _seen(self, array):
        """-> the Value of an array that was met before and hasn't changed since, or None"""
        if isinstance(array, Parameter):
            array = array.data
        if type(array) is not np.ndarray or array.size == 0:
            return None
        value = self._by_id.get(id(array)) or self._by_place.get(_place(array))
        if value is None:
            return None
        written = self._written.get(_memory(array), -1)
        if max(value.born, self._checked.get(value, -1)) < written:
            if not np.array_equal(value.array, array, equal_nan=array.dtype.kind == "f"):
                return None
            self._checked[value] = self.event  # another part of that memory was written to
        self._by_id[id(array)] = value
        self._alive.append(array)
        return value

    def _value(self, array, call, name, statement, variable=""):
        """-> the Value of an array; a new one if it wasn't met before, or has changed since"""
        value = self._seen(array)
        if value is None:
            path = f"{call.id}:{name}"
            count = self._names[path] = self._names.get(path, 0) + 1
            path = path if count == 1 else f"{path}#{count}"
            kept = array
            if array.nbytes <= self._room:
                kept = array.copy()
                self._room -= array.nbytes
            kept = kept.view()
            kept.flags.writeable = False
            value = Value(path, name, kept, call, statement, self.event,
                          name if variable == "" else variable)
            memory = _memory(array)
            if statement is not None and statement.symbol in MEMORY or name == "out" and (
                    statement is None):
                self._empty.add(memory)
            value.is_unwritten = memory in self._empty and bool(np.isnan(array).all())
            value.address, value.strides = array.__array_interface__["data"][0], array.strides
            self.recording.values[path] = value
            self._know(array, value)
        return value

    def _know(self, array, value):
        self._by_id[id(array)] = value
        self._by_place[_place(array)] = value
        self._alive.append(array)

    def _same(self, given, used):
        """The kernel's formula uses an array in place of the one that its caller gave."""
        if type(given) is np.ndarray and type(used) is np.ndarray and used is not given:
            value = self._seen(given)
            if value is not None and value.array.shape == used.shape:
                self._know(used, value)

    def _mark_written(self, array):
        self._written[_memory(array)] = self.event


def arrays_in(value, name, depth=2):
    """-> list of (name, array): of an array, a tuple, a cache or a small object of minillm"""
    if isinstance(value, Parameter):
        value = value.data
    if isinstance(value, np.ndarray):
        return [(name, value)] if value.size else []
    if depth == 0 or isinstance(value, Module):
        return []
    if isinstance(value, (tuple, list)) and len(value) <= 8:
        names = getattr(value, "_fields", None)
        parts = [(f"{name}.{names[i]}" if names else f"{name}[{i}]", part)
                 for i, part in enumerate(value)]
    elif isinstance(value, dict) and len(value) <= 8:
        parts = [(f"{name}.{key}", part) for key, part in value.items()]
    elif type(value).__module__.startswith("minillm.") and hasattr(value, "__dict__") \
            and not hasattr(value, "to_dict"):
        parts = [(f"{name}.{key}", part) for key, part in vars(value).items() if key[0] != "_"]
    else:
        return []
    return [found for part_name, part in parts
            for found in arrays_in(part, part_name, depth - 1)]


def results_in(result):
    """-> list of (name, array) of what a function returns, without its cache"""
    if isinstance(result, np.ndarray):
        return [(RETURNED, result)] if result.size else []
    if isinstance(result, (tuple, list)) and not hasattr(result, "_fields"):
        found = []
        for i, part in enumerate(result):
            found += [(name.replace(RETURNED, f"{RETURNED}[{i}]", 1), array)
                      for name, array in results_in(part)]
        return found
    if hasattr(result, "__dataclass_fields__"):
        return [(f"{RETURNED}.{name}", array) for name, array in vars(result).items()
                if isinstance(array, np.ndarray) and array.size]
    return []


def _tuple(result):
    return result if type(result) is tuple else (result,)


def _place(array):
    interface = array.__array_interface__
    return interface["data"][0], array.shape, array.strides, interface["typestr"]


def _memory(array):
    """-> the address of the memory that an array is a view of"""
    while True:
        base = array.base
        if isinstance(base, np.ndarray):
            array = base
        elif hasattr(base, "array"):  # a result that a Pass tracks
            array = base.array
        else:
            return array.__array_interface__["data"][0]
