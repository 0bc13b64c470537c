"""A chapter as a notebook: the form that Sphinx's myst-nb reads.

The Markdown loses what no reader needs to see: the comments that check its numbers, and links to
files of the repository, which a site elsewhere doesn't have. Cells get the tags that fold them.
"""

import json
import re
from html import escape
from pathlib import Path
from pprint import pformat

import nbformat.v4 as nbformat

from minillm.course.book.explorer_pages import with_frames
from minillm.course.chapters import Cell, read_chapter
from minillm.course.checking import Report
from minillm.course.figures import Picture
from minillm.course.running import run_chapter

# A course's tag -> myst-nb's tag, and what unfolds the cell.
FOLDS = {
    "hide-input": ("hide-input", "Show the code"),
    "check": ("hide-cell", "Show the check of these numbers"),
}
WIDTH = 88  # characters of an output's line, before lists and dicts are broken
MEDIA = {
    "_repr_html_": "text/html",
    "_repr_svg_": "image/svg+xml",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
}
_CODE = (r"^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)[^\n]*$|"
         r"(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)")
_COMMENT = re.compile(rf"{_CODE}|(?P<comment><!--.*?-->)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(rf"{_CODE}|(?<!!)\[(?P<text>(?:[^\[\]`]|`[^`]*`)*)\]\((?P<target>[^)\s]*)\)",
                   re.DOTALL | re.MULTILINE)
_CHAPTER = re.compile(r"(\d\d-[\w-]+)\.md\b")


def visible_prose(markdown):
    """Markdown without HTML comments, and without links to files that the book lacks; with the
    explorer's pages that it asks for
    """
    markdown = with_frames(markdown)
    markdown = _COMMENT.sub(lambda match: "" if match["comment"] else match[0], markdown)
    return _LINK.sub(_link, markdown)


def _link(match):
    if match["target"] is None:  # code
        return match[0]
    if match["target"].startswith("../"):
        return match["text"]
    target = _CHAPTER.sub(r"\1.ipynb", match["target"])
    return f"[{match['text']}]({target})"


def to_notebook(parts, results=()):
    """Parts of a chapter, and the Results of running them (None for Prose) -> a notebook"""
    results = list(results) or [None] * len(parts)
    cells = []
    for part, result in zip(parts, results, strict=True):
        if isinstance(part, Cell):
            cells.append(nbformat.new_code_cell(part.code.strip("\n"), metadata=_metadata(part),
                                                outputs=_outputs(result) if result else []))
        else:
            cells.append(nbformat.new_markdown_cell(visible_prose(part.text)))
    language = {"name": "python", "pygments_lexer": "python"}
    return nbformat.new_notebook(cells=cells, metadata={"language_info": language})


def _metadata(cell):
    tags, options = list(cell.tags), {}
    for tag in cell.tags:
        if tag in FOLDS:
            fold, prompt = FOLDS[tag]
            tags[tags.index(tag)] = fold
            options = {"code_prompt_show": prompt,
                       "code_prompt_hide": prompt.replace("Show", "Hide")}
    return {"tags": tags, "mystnb": options} if tags else {}


def _outputs(result):
    """What Jupyter would show below the cell. The Markdown shows the figures that are files."""
    outputs = []
    if result.printed:
        outputs.append(nbformat.new_output("stream", name="stdout", text=result.printed))
    is_file = isinstance(result.value, Picture) and result.value.path
    if result.value is not None and not is_file:
        outputs.append(nbformat.new_output("execute_result", data=media_of(result.value)))
    return outputs


def media_of(value):
    """-> {media type: text} of what an object can show itself as, and its repr"""
    data = {"text/plain": pformat(value, width=WIDTH, sort_dicts=False)}
    if isinstance(value, Report):  # a sentence, which may wrap
        data["text/html"] = f'<p class="report">{escape(repr(value))}</p>'
    for method, media in MEDIA.items():
        shown = getattr(value, method, lambda: None)()
        if shown is not None:
            data[media] = shown
    return data


def write_notebook(chapter_path, notebook_path, figures, run=True):
    """Read a chapter, run it if wanted, and write the notebook. Raises ChapterError."""
    chapter, results = read_chapter(chapter_path), []
    if run:
        run_chapter(chapter, figures, lambda part, result: results.append(result))
    notebook = to_notebook(chapter.parts, results)
    Path(notebook_path).write_text(json.dumps(notebook, ensure_ascii=False, indent=1),
                                   encoding="utf-8")
