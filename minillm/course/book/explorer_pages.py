"""Pages of the explorer inside the book.

A paragraph of a chapter names a command, and behind it in a comment, one of the explorer's views:

    Point at a layer: `minillm explore "A list is a"`.<!-- explorer: lens -->

Elsewhere this is a sentence with a command to run. In the book a frame follows the paragraph, with
the page that `minillm explore --export` writes for this text and view.
"""

import hashlib
import json
import re
import shlex
from html import escape
from typing import NamedTuple

from minillm.explorer.explorer import Explorer
from minillm.explorer.export import export_page, page_views
from minillm.explorer.page import static_files
from minillm.files import atomic_write
from minillm.insight.subject import Subject

FOLDER = "explorer"  # of the pages, beside those of the chapters
MODEL = "pydoc-tiny"
_COMMENT = r"<!--\s*explorer:\s*(?P<view>\w+)\s*-->"
_MARK = re.compile(rf"`minillm explore (?P<command>[^`\n]+)`(?:(?!\n\s*\n|<!--).)*?{_COMMENT}",
                   re.DOTALL)
_END_OF_PARAGRAPH = re.compile(r"\n\s*\n|\Z")


class ExplorerPage(NamedTuple):
    view: str
    text: str

    @property
    def file(self):
        """-> the path of the page from that of a chapter"""
        return f"{FOLDER}/{self.view}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}.html"

    def frame(self):
        """-> HTML"""
        messages = json.loads(static_files()["messages.json"])
        title = f"{messages[self.view]['title']['en']} of “{self.text}”, in the explorer"
        return (f'<div class="explorer">\n'
                f'<iframe src="{self.file}" title="{escape(title)}" loading="lazy"></iframe>\n'
                f'<a href="{self.file}">This page alone</a>\n</div>')


def pages_in(markdown):
    """-> list of ExplorerPage; ValueError for a mark that names no command or no view"""
    pages = [_page(match) for match in _MARK.finditer(markdown)]
    if len(pages) != len(re.findall(_COMMENT, markdown)):
        raise ValueError("a mark for the explorer stands without its command: wanted `minillm "
                         'explore "A text"` before it in the same paragraph')
    return pages


def _page(match):
    words, view = shlex.split(match["command"]), match["view"]
    if len(words) != 1 or words[0].startswith("-"):
        raise ValueError(f"the command {match['command']!r} of a page in the book has more than a "
                         "text, wanted one text in quotes")
    if view not in page_views():
        raise ValueError(f"view is {view!r}, wanted one of {', '.join(page_views())}")
    return ExplorerPage(view, words[0])


def with_frames(markdown):
    """Markdown of a chapter -> the same with a frame behind each paragraph that has a mark"""
    pages_in(markdown)  # refuses a mark that isn't one
    parts, done = [], 0
    for match in _MARK.finditer(markdown):
        end = _END_OF_PARAGRAPH.search(markdown, match.end()).start()
        parts += [markdown[done : match.end()], markdown[match.end() : end],
                  f"\n\n{_page(match).frame()}"]
        done = end
    return "".join([*parts, markdown[done:]])


def write_pages(chapters, output):
    """Write the pages that the chapters ask for into the folder `output` of the book."""
    pages = dict.fromkeys(page for chapter in chapters for page in pages_in(chapter.text))
    if not pages:
        return
    (output / FOLDER).mkdir()
    subject = Subject.open(MODEL)
    for page in pages:
        html = export_page(Explorer([subject], page.text), views=[page.view])
        with atomic_write(output / page.file, "w") as file:
            file.write(html)
