"""The English that every CPython carries beside the topics of `help()`: the docstrings of its
standard library, about five times as much text.

    python -m minillm.text.python_docs FILE
    minillm train --text FILE

Modules written in Python are read, not imported. Those written in C have to be imported: there is
no other way to their docstrings.
"""

import ast
import importlib
import inspect
import sys
import sysconfig
import warnings
from pathlib import Path

from minillm.files import atomic_write
from minillm.text.corpus import SEPARATOR, Document, load_python_topics

SHORTEST = 20  # characters of a docstring that says something
LEFT_OUT = {"site-packages", "test", "tests", "idle_test", "__pycache__", "pydoc_data",
            "antigravity", "readline", "lib-dynload"}


def load_python_docs():
    """-> the topics of `help()`, and one Document a module of the standard library, by name

    A module's text is its docstring, then for each class and function its signature, and its
    docstring indented below. A docstring that an earlier module has too is left out.
    """
    seen = set()
    modules = [Document(name, text)
               for name, entries in [*_modules_in_python(), *_modules_in_c()]
               if (text := _text(entries, seen))]
    return [*load_python_topics(), *sorted(modules)]


def write_python_docs(path, without=()):
    """Write the Documents of `load_python_docs` as one text file, <|endoftext|> between them.

    without: names of Documents to leave out, such as those that another model was tested on
    """
    texts = [document.text.strip() for document in load_python_docs()
             if document.name not in without]
    with atomic_write(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(f"\n{SEPARATOR}\n".join(texts) + "\n")


def _text(entries, seen):
    """entries: (signature or None, docstring), ... -> one text; adds the docstrings to `seen`"""
    parts = []
    for signature, docstring in entries:
        docstring = inspect.cleandoc(docstring).strip()
        if len(docstring) < SHORTEST or docstring in seen:
            continue
        seen.add(docstring)
        if signature is None:
            parts.append(docstring)
        else:
            indented = "\n".join(f"    {line}".rstrip() for line in docstring.split("\n"))
            parts.append(f"{signature}\n{indented}")
    return "\n\n".join(parts)


def _modules_in_python():
    """Yield (name, entries) of each .py file of the standard library."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        if LEFT_OUT.isdisjoint(parts):
            name = ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # about escapes in strings
                    tree = ast.parse(file.read_bytes())
            except (SyntaxError, ValueError):  # templates, and files that test the parser
                continue
            yield name, list(_entries_of_tree(tree, ""))


def _entries_of_tree(node, prefix):
    """Yield (signature, docstring) of the module, class or function `node`, and of what is in it."""
    signature = None
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        signature = f"class {prefix}{node.name}" + (f"({bases})" if bases else "")
    elif not isinstance(node, ast.Module):
        signature = f"{prefix}{node.name}({ast.unparse(node.args)})"
    docstring = ast.get_docstring(node, clean=False)
    if docstring:
        yield signature, docstring
    inside = "" if isinstance(node, ast.Module) else f"{prefix}{node.name}."
    if isinstance(node, (ast.Module, ast.ClassDef)):  # functions inside functions are details
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from _entries_of_tree(child, inside)


def _modules_in_c():
    """Yield (name, entries) of each module written in C."""
    extensions = Path(sysconfig.get_paths()["stdlib"], "lib-dynload")
    names = {file.name.split(".")[0] for file in extensions.glob("*.so")}
    for name in sorted(names | set(sys.builtin_module_names)):
        if name in LEFT_OUT or name.startswith(("_test", "xx", "_xx")):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = importlib.import_module(name)
        except ImportError:  # of a library that this machine doesn't have
            continue
        yield name, list(_entries_of_module(module))


def _entries_of_module(module):
    yield None, _docstring(module)
    for name, member in sorted(vars(module).items()):
        if inspect.isclass(member):
            yield f"class {name}", _docstring(member)
            for method, function in sorted(vars(member).items()):
                if inspect.isroutine(function):
                    yield _signature(f"{name}.{method}", function), _docstring(function)
        elif inspect.isroutine(member):
            yield _signature(name, member), _docstring(member)


def _docstring(thing):
    docstring = thing.__doc__
    return docstring if isinstance(docstring, str) else ""


def _signature(name, function):
    try:
        return f"{name}{inspect.signature(function)}"
    except Exception:  # inspect evaluates defaults; the docstring often begins with a signature
        return f"{name}(...)"


if __name__ == "__main__":
    write_python_docs(*sys.argv[1:])
