"""The docstrings of the standard library as a corpus."""

import ast
import inspect
import math
import textwrap

from minillm.text import python_docs
from minillm.text.corpus import Document, read_corpus


def test_a_module_written_in_python():
    tree = ast.parse(inspect.getsource(textwrap))
    text = python_docs._text(python_docs._entries_of_tree(tree, ""), set())
    assert text.startswith(inspect.cleandoc(textwrap.__doc__))
    indented = textwrap.indent(inspect.cleandoc(textwrap.dedent.__doc__), "    ")
    assert "dedent(text)\n" + indented.rstrip() in text
    assert "TextWrapper.fill(self, text)\n    " + textwrap.TextWrapper.fill.__doc__[:20] in text


def test_a_module_written_in_c():
    text = python_docs._text(python_docs._entries_of_module(math), set())
    assert "acos(x, /)\n    " + inspect.getdoc(math.acos).split("\n")[0] in text


def test_a_docstring_is_there_once_and_says_something():
    entries = [(None, "The first sentence of a module."), ("f(x)", "The first sentence of a module."),
               ("g(x)", "Short."), ("h(x)", "\tReturn the number that\n\tcomes next.\n")]
    assert python_docs._text(entries, set()) == (
        "The first sentence of a module.\n\nh(x)\n    Return the number that\n    comes next.")


def test_the_file_separates_documents(tmp_path, monkeypatch):
    documents = [Document(name, f"The text of {name}.\n") for name in "abc"]
    monkeypatch.setattr(python_docs, "load_python_docs", lambda: documents)
    python_docs.write_python_docs(tmp_path / "docs.txt", without={"b"})
    assert [document.text.strip() for document in read_corpus(tmp_path / "docs.txt")] == [
        "The text of a.", "The text of c."]
