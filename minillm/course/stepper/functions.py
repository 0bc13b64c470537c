"""The source of a function: its lines, and which statement each line belongs to.

A step of the stepper is one statement, not one line: a call that is written over three lines runs
once.
"""

import ast
import functools
import linecache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2]


class Statement(NamedTuple):
    """A statement; of a compound one, such as `for` or `with`, only its header."""

    first: int  # the first and the last line in the file
    last: int
    names: tuple  # the variables that it mentions
    attributes: tuple  # the attributes that it reads, such as "self.weight.data"
    opens_block: bool = False  # `with`: Python visits its line once more when the block ends
    is_check: bool = False  # only a call that checks arguments


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
                            isinstance(node, ast.With), _is_check(node))


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
