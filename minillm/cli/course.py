"""`minillm course`: list the chapters, run one, check the exercises, copy them to work on them."""

import re
import shutil
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from minillm.cli.terminal import draw, for_stream, say
from minillm.cli.visible import visible


def list_chapters(options):
    from minillm.course import chapters

    known = chapters.list_chapters()
    width = min(shutil.get_terminal_size((80, 24)).columns, 100)
    for chapter in known:
        print(f"{chapter.number:02}  {chapter.title}  ({chapter.seconds} s)")
        print(textwrap.fill(f"{chapter.teaches}", width, initial_indent="    ",
                            subsequent_indent="    "))
    count, folder = f"{len(known)} chapter{'s' * (len(known) != 1)}", chapters.chapters_folder()
    reading = ("copy them to read them: `minillm course copy my_course`"
               if folder == chapters.PACKAGED else "read the book: `make book`")
    say(f"\n{count} in {folder}, {sum(c.seconds for c in known)} s in all.\n"
        f"Run one with `minillm course run 01`, or {reading}.")


def run(options):
    from minillm.course.chapters import Cell, find_chapter
    from minillm.course.running import run_chapter

    chapter = find_chapter(options.chapter)
    if options.write and options.out:
        raise ValueError("--write and --out name two folders for the figures, wanted one of them")
    if options.write:
        folder = chapter.path.parent / "images"
    elif options.out:
        folder = options.out
    else:
        folder = Path(tempfile.mkdtemp(prefix=f"minillm-course-{chapter.number:02}-"))
    pictures, start = [], time.perf_counter()
    say(f"{chapter.number}. {chapter.title} (about {chapter.seconds} s on two cores)")

    def show(part, result):
        if not isinstance(part, Cell):
            _show_prose(part.text, options.all)
            return
        if options.all:
            _show_markdown(f"```python\n{part.code}```")
        print(for_stream(result.printed), end="")
        if result.value is not None:
            print(for_stream(repr(result.value)))
        sys.stdout.flush()
        pictures.extend(result.pictures)

    run_chapter(chapter, folder, show)
    say(f"\n{len(chapter.cells)} cells in {time.perf_counter() - start:.1f} s; "
        f"all numbers in the prose are right; {len(pictures)} figures in {folder}")


def _show_prose(text, everything):
    """Print a chapter's prose, or only its headings."""
    if everything:
        _show_markdown(text)
        return
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            print(f"\n{for_stream(line)}")


def _show_markdown(text):
    """Render Markdown in the terminal, without the comments that check its numbers."""
    from rich.console import Console
    from rich.markdown import Markdown

    draw(Markdown(visible(re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL))),
         Console(highlight=False))


def check(options):
    from minillm.course.chapters import find_chapter
    from minillm.course.checking import check_file
    from minillm.files import require_regular

    chapter = find_chapter(options.chapter)
    require_regular(options.file)
    reports = check_file(chapter.number, Path(options.file))
    for report in reports:
        print(for_stream(f"{report!r}"))
    right = sum(map(bool, reports))
    say(f"{right} of {len(reports)} exercises of chapter {chapter.number} are right")
    return 0 if right == len(reports) else 1


# Tells Jupyter and jupytext which kernel runs a copied chapter, so that they needn't ask.
NOTEBOOK_HEADER = """---
jupyter:
  jupytext:
    text_representation:
      extension: .md
      format_name: markdown
  kernelspec:
    display_name: Python 3 (ipykernel)
    language: python
    name: python3
---

"""


def copy(options):
    """Copy the chapters and their figures to a folder; refuse to overwrite anything."""
    from minillm.course.chapters import chapters_folder
    from minillm.files import atomic_folder

    target = Path(options.folder)
    if target.exists():
        raise FileExistsError(f"{target} exists already, wanted a new folder")
    with atomic_folder(target) as folder:
        for path in sorted(chapters_folder().glob("[0-9]*-*.md")):
            text = NOTEBOOK_HEADER + path.read_text(encoding="utf-8")
            Path(folder, path.name).write_text(text, encoding="utf-8")
        images = chapters_folder() / "images"
        if images.is_dir():
            shutil.copytree(images, Path(folder, "images"))
    say(f"{target}: open the .md files as notebooks in Jupyter or VS Code "
        '(pip install "minillm[course]")')
