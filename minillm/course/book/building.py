"""Build the book: run the chapters that changed, then render all of them with Sphinx."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import numpy

import minillm
from minillm.course.book.explorer_pages import write_pages
from minillm.course.book.index import index_page
from minillm.course.book.notebooks import write_notebook
from minillm.course.chapters import list_chapters
from minillm.kernels import tune_process

HERE = Path(__file__).parent
PACKAGE = Path(minillm.__file__).parent
THREADS = "2"
TIME_LIMIT = 1800  # seconds for one chapter


class BookError(ValueError):
    """The book can't be built: a chapter fails, or Sphinx warns."""


def build(output, run=True, chapters_folder=None):
    """Render the chapters as a site in the folder `output` -> the path of its first page

    An older book in it is replaced. A folder beside it, "book-work" for "book", keeps the runs of
    the chapters.

    run: False renders the chapters as they are, without outputs, with the figures beside them
    chapters_folder: where they are; default: the course's
    Raises BookError.
    """
    output = Path(output).resolve()
    if output.exists() and not (output.is_dir() and _is_replaceable(output)):
        raise BookError(f"{output} is there and is no book, wanted a new folder")
    chapters = list_chapters(chapters_folder)
    if not chapters:
        raise BookError("there are no chapters to build a book from")
    work = output.with_name(f"{output.name}-work")
    source = work / "source"
    _empty(source)
    images = source / "images"
    images.mkdir()
    problems = []
    for chapter in chapters:
        notebook = source / f"{chapter.path.stem}.ipynb"
        if run:
            problems += _run(chapter, notebook, images, work / "runs")
        else:
            write_notebook(chapter.path, notebook, None, run=False)
            for figure in chapter.path.parent.glob(f"images/{chapter.number:02}-*.svg"):
                shutil.copy(figure, images)
    if problems:
        raise BookError("\n".join(problems))
    (source / "index.md").write_text(index_page(chapters), encoding="utf-8")
    _render(source, output, work / "doctrees")
    write_pages(chapters, output)
    return output / "index.html"


def _is_replaceable(folder):
    return not any(folder.iterdir()) or Path(folder, ".buildinfo").is_file()  # Sphinx writes it


def _run(chapter, notebook, images, runs):
    """Run a chapter in a process of its own, or take the last run -> list of problems

    A run is kept while nothing changes that it depends on: the chapter, the library, Python and the
    packages that compute and draw.
    """
    run = runs / f"{chapter.path.stem}-{_fingerprint(chapter.path)}"
    if not run.is_dir():
        for old in runs.glob(f"{chapter.path.stem}-*"):
            shutil.rmtree(old)
        unfinished = runs / "unfinished"
        _empty(unfinished)
        (unfinished / "images").mkdir()
        start = time.perf_counter()
        command = [sys.executable, "-m", "minillm.course.book", "--run-chapter", str(chapter.path),
                   str(unfinished)]
        path = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {"OMP_NUM_THREADS": THREADS, **os.environ,
                       "PYTHONPATH": os.pathsep.join(path)}
        try:
            finished = subprocess.run(command, env=environment, timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            return [f"{chapter.path} runs for more than {TIME_LIMIT} seconds"]
        if finished.returncode:
            return [f"{chapter.path}: see the error above"]
        print(f"{chapter.path.name}: {time.perf_counter() - start:.1f} s", flush=True)
        unfinished.rename(run)
    shutil.copy(run / "chapter.ipynb", notebook)
    shutil.copytree(run / "images", images, dirs_exist_ok=True)
    return []


def run_chapter_into(chapter_path, folder):
    """Run a chapter and write chapter.ipynb and images/ into a folder. Raises ChapterError.

    Tunes the process: without that, kernels are slow while another program wants the same cores.
    """
    tune_process()
    write_notebook(chapter_path, Path(folder, "chapter.ipynb"), Path(folder, "images"))


def _fingerprint(chapter_path):
    """-> hash of everything that a chapter's outputs depend on"""
    known = hashlib.sha256()
    for version in (sys.version, platform.platform(), numpy.__version__, matplotlib.__version__):
        known.update(version.encode())
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".so", ".safetensors")
             and (path.parent != HERE or path.name in ("notebooks.py", "explorer_pages.py"))]
    for path in [Path(chapter_path), *sorted(files)]:
        known.update(path.read_bytes())
    return known.hexdigest()[:16]


def _render(source, html, doctrees):
    """Run Sphinx from scratch. Raises BookError if it warns."""
    from sphinx.cmd.build import build_main

    _empty(html)
    _empty(doctrees)
    status = build_main(["-b", "html", "-c", str(HERE), "-d", str(doctrees), "-q", "-W",
                         "--keep-going", str(source), str(html)])
    if status:
        raise BookError("Sphinx finds fault with the book: see the warnings above")


def _empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
