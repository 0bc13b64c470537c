"""The source of a function: its lines, and which statement each line belongs to.

A step of a program is one statement, not one line: a call that is written over three lines runs
once. The stepper of the course and the recording of a run (recording.py) both read it.
"""

import ast
import builtins
import functools
import inspect
import linecache
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

PACKAGE = Path(__file__).parents[1]
FLOORS = ("nn", "ops", "models")  # those that are meant for reading
MACHINERY = {"nn/module.py", "nn/trace.py", "nn/outputs.py", "models/input_checks.py",
             "models/config.py", "models/decoder_run.py", "models/gpt2_config.py",
             "models/llama_config.py", "models/outputs.py", "models/pretrained.py"}
PASSED_OVER = ("check", "require", "tap", "trace", "_layers", "__init__")  # in a function's name


class Statement(NamedTuple):
    """A statement; of a compound one, such as `for` or `with`, only its header."""

    first: int  # the first and the last line in the file
    last: int
    names: tuple  # the variables that it mentions
    attributes: tuple  # the attributes that it reads, such as "self.weight.data"
    opens_block: bool = False  # `with`: Python visits its line once more when the block ends
    is_check: bool = False  # only a call that checks arguments
    direct: tuple = ()  # names and attributes that it computes with itself, not in a call
    chosen: tuple = ()  # those of them that it reads in one case only: a if … else b
    written: tuple = ()  # names of arrays that it writes into: out[...] = C, S += bias
    symbol: str = ""  # its outermost operation: "+", "exp"


class Function:
    """The source of the function that a code object belongs to.

    code: a code object, whose file must be readable
    """

    def __init__(self, code):
        self.file = code.co_filename
        self.short_name = code.co_name
        self.name, node = _find(_tree(self.file), code)  # "Residual.forward"
        self.first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        self.last = node.end_lineno
        self.body = node.body[0].lineno
        self.doc = ast.get_docstring(node) or ""
        self._statements = {}
        for statement in _statements(node):
            for line in range(statement.first, statement.last + 1):
                self._statements[line] = statement  # an inner statement comes after the outer one

    @property
    def place(self):
        """The file as a reader of the project calls it: minillm/ops/softmax.py"""
        path = Path(self.file)
        return str(path.relative_to(PACKAGE.parent)) if path.is_relative_to(PACKAGE) else path.name

    def statement(self, line):
        """-> the Statement of a line in the file; the whole `def` for a line outside the body"""
        return self._statements.get(line) or Statement(line, line, (), ())

    @functools.cached_property
    def documents(self):
        """list of the docstrings of the function, of its class and of its file"""
        tree = _tree(self.file)
        *_, owner = [None, *self.name.split(".")[:-1]]
        classes = [node for node in ast.walk(tree)
                   if isinstance(node, ast.ClassDef) and node.name == owner]
        return [self.doc, *[ast.get_docstring(each) or "" for each in [*classes, tree]]]

    def equation(self):
        """-> the lines of formulas in the docstring nearest to the function that has any, or []"""
        return next((found for text in self.documents if (found := formulas(text))), [])

    def lines(self):
        """-> the lines of the function, from its first decorator to its end"""
        return self._between(self.first, self.last)

    def comment_above(self):
        """-> the lines of the comment block above the function: the derivation of a backward"""
        start = self.first
        while start > 1 and linecache.getline(self.file, start - 1).startswith("#"):
            start -= 1
        return self._between(start, self.first - 1)

    def text(self, statement):
        """-> the source of a statement in one line"""
        lines = self._between(statement.first, statement.last)
        text = " ".join(line.strip() for line in lines)
        return text.replace("( ", "(").replace("[ ", "[")

    def _between(self, first, last):
        return [linecache.getline(self.file, line).rstrip("\n") for line in range(first, last + 1)]


@functools.cache
def function_of(code):
    """-> the Function of a code object"""
    return Function(code)


@functools.cache
def _tree(file):
    return ast.parse("".join(linecache.getlines(file)))


def _find(tree, code):
    """-> qualified name and `def` in the tree of the function that the code object belongs to"""
    for name, node in _functions(tree):
        lines = [node.lineno, *(each.lineno for each in node.decorator_list)]
        if node.name == code.co_name and code.co_firstlineno in lines:
            return name, node
    raise ValueError(f"{code.co_filename} has no function {code.co_name}")


def _functions(node, prefix=""):
    """Yield (qualified name, node) of every function below a node of the tree."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            name = f"{prefix}{child.name}"
            if isinstance(child, ast.FunctionDef):
                yield name, child
            yield from _functions(child, f"{name}.")
        else:
            yield from _functions(child, prefix)


def _statements(function):
    """Yield the statements of a function, the outer ones before those inside them."""
    for node in ast.walk(function):
        if isinstance(node, ast.stmt) and node is not function:
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno
            header = _header(node)
            yield Statement(node.lineno, max(last, node.lineno),
                            tuple(dict.fromkeys(_names(header))),
                            tuple(dict.fromkeys(_attributes(header))),
                            isinstance(node, ast.With), _is_check(node),
                            tuple(dict.fromkeys(_direct(header))),
                            tuple(_direct(_choices(header))), tuple(_written(node)),
                            _symbol(getattr(node, "value", None)))


def _is_check(node):
    """-> whether a statement only calls a check: require_float("x", x)"""
    call = getattr(node, "value", None)
    if not isinstance(node, ast.Expr) or not isinstance(call, ast.Call):
        return False
    name = ast.unparse(call.func)
    return "check" in name or "require" in name


def _header(node):
    """-> the parts of a statement without the statements inside it"""
    return [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]


def _names(nodes):
    for node in nodes:
        yield from [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]


def _attributes(nodes):
    """Yield chains of attributes that end in a plain value: f(self.weight.data) -> self.weight.data

    A chain that is called, such as `x.mean` in `x.mean(axis=-1)`, is a method and left out.
    """
    for root in nodes:
        called = {id(each.func) for each in ast.walk(root) if isinstance(each, ast.Call)}
        inner = {id(each.value) for each in ast.walk(root) if isinstance(each, ast.Attribute)}
        for node in ast.walk(root):
            if isinstance(node, ast.Attribute) and not {id(node)} & (called | inner):
                chain = ast.unparse(node)
                if chain.replace(".", "").isidentifier():
                    yield chain


# ---- what a statement computes itself


def _direct(nodes):
    """Yield the names and attributes that are read outside the arguments of calls.

    A function of NumPy, a builtin and a method of an array count as operations of the statement.
    """
    for node in nodes:
        if isinstance(node, ast.Call) and not _is_operation(node):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute) and ast.unparse(node).replace(".", "").isidentifier():
            if node.attr in ("shape", "size", "ndim", "dtype"):
                continue  # reads no numbers
            yield ast.unparse(node)
            yield ast.unparse(node).split(".")[0]
        else:
            yield from _direct(ast.iter_child_nodes(node))


def _choices(nodes):
    return [each for root in nodes for node in ast.walk(root) if isinstance(node, ast.IfExp)
            for each in (node.body, node.orelse)]


def _is_operation(call):
    function = call.func
    if isinstance(function, ast.Name):
        return hasattr(builtins, function.id)
    root = ast.unparse(function).split(".")[0]
    return isinstance(function, ast.Attribute) and root != "self" and (
        root in ("np", "math") or hasattr(np.ndarray, function.attr))


def _written(node):
    """Yield the names of the arrays that a statement writes into."""
    augmented = isinstance(node, ast.AugAssign)
    for target in [node.target] if augmented else _flat(getattr(node, "targets", [])):
        if augmented or isinstance(target, ast.Subscript):
            while isinstance(target, (ast.Subscript, ast.Attribute)):
                target = target.value
            if isinstance(target, ast.Name):
                yield target.id
    for call in ast.walk(node) if isinstance(node, (ast.Expr, ast.Assign)) else ():
        if isinstance(call, ast.Call):
            yield from _written_by(call, isinstance(node, ast.Expr))


def _flat(targets):
    for target in targets:
        yield from _flat(target.elts) if isinstance(target, (ast.Tuple, ast.List)) else [target]


def _written_by(call, is_statement):
    """np.copyto(S, …), np.add.at(table, …), x.sort(), np.exp(x, out=y)"""
    arguments = [each.value for each in call.keywords if each.arg == "out"]
    function = ast.unparse(call.func)
    if is_statement and function.startswith("np."):
        arguments += call.args[:1]
    if is_statement and isinstance(call.func, ast.Attribute) and call.func.attr in (
            "fill", "sort", "partition", "put", "resize", "setfield", "byteswap"):
        arguments.append(call.func.value)
    yield from [each.id for each in arguments if isinstance(each, ast.Name)]


_SYMBOLS = {ast.Add: "+", ast.Sub: "−", ast.Mult: "×", ast.Div: "÷", ast.MatMult: "@",
            ast.Pow: "^"}


def _symbol(node):
    """-> a sign for the outermost operation of an expression: "+", "÷", "mean", "exp", "=" """
    if isinstance(node, ast.Tuple) and node.elts:
        return _symbol(node.elts[0])
    if isinstance(node, ast.BinOp):
        return _SYMBOLS.get(type(node.op), "=")
    if isinstance(node, ast.UnaryOp):
        return "−"
    if isinstance(node, ast.Subscript):
        return "[ ]"
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).split(".")[-1]
        return "=" if any(part in name for part in PASSED_OVER) else name
    return "="


def formulas(text):
    """-> list of the lines of a docstring that are formulas: its first one, and indented ones"""
    lines = text.splitlines()
    found = [line for line in lines if " = " in line and line.startswith("    ")
             and not line.strip().startswith(("->", "with ", "use("))]
    if lines and " = " in lines[0]:
        found.insert(0, lines[0])
    margin = min((len(line) - len(line.lstrip()) for line in found), default=0)
    return [line[margin:] for line in found]


def is_readable(code):
    """-> whether a code object is one of the floors of minillm that are meant for reading

    What runs between them, such as the checks of arguments, is passed over.
    """
    if not is_plain_function(code) or not code.co_filename.startswith(str(PACKAGE)):
        return False
    place = code.co_filename[len(str(PACKAGE)) + 1 :]
    return place.split("/")[0] in FLOORS and place not in MACHINERY


def is_plain_function(code):
    """-> whether it is a function that computes: no generator, no lambda, no check"""
    return not (code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE)
                or code.co_name[0] == "<" or any(part in code.co_name for part in PASSED_OVER))


@contextmanager
def new_memory_is_nan():
    """Inside the block, np.empty fills its memory with NaN: "not written yet".

    Otherwise a reader would see whatever that memory held before.
    """
    empty, empty_like = np.empty, np.empty_like

    def filled(make):
        def make_filled(*arguments, **options):
            array = make(*arguments, **options)
            if array.dtype.kind == "f":
                array.fill(np.nan)
            return array

        return make_filled

    np.empty, np.empty_like = filled(empty), filled(empty_like)
    try:
        yield
    finally:
        np.empty, np.empty_like = empty, empty_like


def look_up(chain, variables, until=()):
    """-> what "self.weight.data" stands for, or None

    until: a type; the first value of it on the way stands for the rest of the chain

    Only what objects store is read: no property runs.
    """
    first, *names = chain.split(".")
    value = variables.get(first)
    for name in names:
        if isinstance(value, tuple) and name in getattr(value, "_fields", ()):
            value = getattr(value, name)
        elif isinstance(value, until):
            return value
        else:
            value = getattr(value, "__dict__", {}).get(name)
    return value
