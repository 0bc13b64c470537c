"""A chapter: a Markdown file whose ```python fences are cells, as jupytext reads it.

    # 1. Attention by hand

    > **You will be able to** compute attention by hand, and …
    >
    > **Runs in** about 5 seconds on two cores. **Before this:** matrix products.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

import minillm
from minillm.checks import shown

PACKAGED = Path(__file__).parent / "notebooks_md"  # in a wheel
CHECKOUT = Path(minillm.__file__).parents[1] / "notebooks_md"

_TITLE = re.compile(r"# (\d+)\. (.+)")
_TEACHES = re.compile(r"\*\*You will be able to\*\*\s+(.*?)\n>\s*\n", re.DOTALL)
_SECONDS = re.compile(r"\*\*Runs in\*\*\s+(?:about\s+)?(\d+) seconds?")
_TAGS = re.compile(r"tags=\[(.*?)\]")


@dataclass
class Prose:
    """The Markdown between two cells."""

    text: str
    line: int  # of the file, from 1


@dataclass
class Cell:
    """Python code to run, with jupytext's tags."""

    code: str
    line: int
    tags: tuple = ()


@dataclass
class Chapter:
    number: int
    title: str
    teaches: str  # "compute attention by hand, and …"
    seconds: int  # of running, on two cores, as the chapter states it
    path: Path
    parts: list  # of Prose and Cell, in order

    @property
    def cells(self):
        return [part for part in self.parts if isinstance(part, Cell)]

    @property
    def text(self):
        return self.path.read_text(encoding="utf-8")


def chapters_folder():
    """-> Path of the folder with the chapters: in a checkout, or inside an installed package"""
    for folder in (PACKAGED, CHECKOUT):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{CHECKOUT}: the chapters of the course are not there")


def list_chapters(folder=None):
    """-> list of all Chapters, by number"""
    folder = folder or chapters_folder()
    return [read_chapter(path) for path in sorted(folder.glob("[0-9]*-*.md"))]


def find_chapter(name):
    """Find a chapter by its number, "3" or "03" -> Chapter. ValueError lists what there is."""
    known = {path.name.partition("-")[0]: path
             for path in sorted(chapters_folder().glob("[0-9]*-*.md"))}
    number = str(name).zfill(2)
    if number not in known:
        raise ValueError(f"chapter is {shown(str(name))}, wanted one of {', '.join(known)}")
    return read_chapter(known[number])


def read_chapter(path):
    """-> Chapter. Raises ValueError that says which part of the form is missing."""
    text = Path(path).read_text(encoding="utf-8")
    title, teaches, seconds = (pattern.search(text) for pattern in (_TITLE, _TEACHES, _SECONDS))
    if not (title and title.start() == 0):
        raise ValueError(f"{path} doesn't start with a title such as '# 1. Attention by hand'")
    if not (teaches and seconds):
        raise ValueError(f"{path} has no block quote with '**You will be able to** …' and "
                         "'**Runs in** about 5 seconds …'")
    return Chapter(int(title[1]), title[2].strip(), " ".join(teaches[1].replace(">", " ").split()),
                   int(seconds[1]), Path(path), split(text))


def split(text):
    """Markdown -> list of Prose and Cell, in order"""
    lines = text.splitlines(keepends=True)
    parts, done = [], 0

    def add_prose(end):
        prose = "".join(lines[done:end])
        if prose.strip():
            parts.append(Prose(prose, done + 1))

    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "fence" and token.level == 0 and token.info.split()[:1] == ["python"]:
            start, end = token.map
            add_prose(start)
            tags = _TAGS.search(token.info)
            names = tuple(re.findall(r"[\w-]+", tags[1])) if tags else ()
            parts.append(Cell(token.content, start + 2, names))
            done = end
    add_prose(len(lines))
    return parts
