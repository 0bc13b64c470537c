"""A chapter as a notebook, and the first page of the book; a small book built from one chapter."""

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("nbformat", reason="the extra [book] is not installed")

from minillm.course.book.explorer_pages import ExplorerPage, pages_in, write_pages
from minillm.course.book.index import PARTS, index_page, parts_of
from minillm.course.book.notebooks import media_of, to_notebook, visible_prose, write_notebook
from minillm.course.chapters import Cell, Chapter, read_chapter, split
from minillm.course.checking import Exercise, Report
from minillm.course.running import ChapterError

HEADER = """\
# 1. A chapter

> **You will be able to** see it.
>
> **Runs in** about 1 second on two cores.
"""


def chapter_file(folder, body):
    path = Path(folder, "01-a-chapter.md")
    path.write_text(HEADER + textwrap.dedent(body), encoding="utf-8")
    return path


@pytest.mark.parametrize("markdown, visible", [
    ("0.5<!-- = P[0] --> of it", "0.5 of it"),
    ("about 2<!-- ≈ x ± 1\n--> more", "about 2 more"),
    ("`<!-- kept -->` and <!-- dropped -->", "`<!-- kept -->` and "),
    ("``a ` <!-- kept -->``", "``a ` <!-- kept -->``"),
    ("```html\n<!-- kept -->\n```\n<!-- dropped -->", "```html\n<!-- kept -->\n```\n"),
    ("[`softmax`](../minillm/ops/softmax.py), run", "`softmax`, run"),
    ("[chapter 2](02-positions.md#why)", "[chapter 2](02-positions.ipynb#why)"),
    ("[paper](https://arxiv.org/abs/1706.03762)", "[paper](https://arxiv.org/abs/1706.03762)"),
    ("![A heat map.](images/01-weights.svg)", "![A heat map.](images/01-weights.svg)"),
    ("`[x](../y)`", "`[x](../y)`"),
    ("x[i](j) < 3 --> no comment", "x[i](j) < 3 --> no comment"),
])
def test_visible_prose(markdown, visible):
    assert visible_prose(markdown) == visible


words = st.text(st.characters(codec="utf-8", exclude_characters="`<>[]", exclude_categories=["Cc"]),
                min_size=1)


@given(st.lists(st.tuples(words, words)))
def test_comments_vanish_and_all_else_stays(pieces):
    markdown = "".join(f"{text}<!-- {comment} -->" for text, comment in pieces)
    assert visible_prose(markdown) == "".join(text for text, _ in pieces)


@given(st.lists(st.sampled_from([
    "Some *prose*.\n", "```python\nx = 1\n```\n", "```text\nshown only\n```\n", "$$\ny = x\n$$\n",
    '```python tags=["check"]\nassert x\n```\n', "<details><summary>A</summary>\n", "</details>\n",
])))
def test_cells_survive_in_order(blocks):
    parts = split("\n".join(blocks))
    notebook = to_notebook(parts)
    kinds = ["code" if isinstance(part, Cell) else "markdown" for part in parts]
    assert [cell.cell_type for cell in notebook.cells] == kinds
    for part, cell in zip(parts, notebook.cells):
        assert cell.source == (part.code.strip("\n") if isinstance(part, Cell) else part.text)


def test_tags_fold_cells():
    text = "\n".join(f'```python tags=["{tag}"]\n1\n```\n'
                     for tag in ("hide-input", "check", "solution"))
    hidden, checked, solution = to_notebook(split(text)).cells
    assert hidden.metadata.tags == ["hide-input"]
    assert hidden.metadata.mystnb.code_prompt_show == "Show the code"
    assert checked.metadata.tags == ["hide-cell"]
    assert checked.metadata.mystnb.code_prompt_hide == "Hide the check of these numbers"
    assert solution.metadata.tags == ["solution"]


def test_outputs_are_those_of_the_run(tmp_path):
    path = chapter_file(tmp_path, """
        ```python
        print("printed")
        x = 2.5
        x
        ```

        It is 2.5<!-- = x -->.

        ```python
        from minillm.course.figures import new_figure, save
        figure, axes = new_figure(2, 2)
        save("01-empty", figure)
        ```
        """)
    write_notebook(path, tmp_path / "run.ipynb", tmp_path / "images")
    nbformat = pytest.importorskip("nbformat")
    first, second = (cell for cell in nbformat.read(tmp_path / "run.ipynb", 4).cells
                     if cell.cell_type == "code")
    printed, value = first.outputs
    assert printed.text == "printed\n" and value.data["text/plain"] == "2.5"
    assert second.outputs == []  # the Markdown shows the file
    assert (tmp_path / "images" / "01-empty.svg").is_file()


def test_a_wrong_number_in_the_prose_fails(tmp_path):
    path = chapter_file(tmp_path, "\n```python\nx = 2.5\n```\n\nIt is 2.6<!-- = x -->.\n")
    with pytest.raises(ChapterError, match="the prose says 2.6, but x is 2.5"):
        write_notebook(path, tmp_path / "run.ipynb", tmp_path)


def test_media():
    class Drawing:
        def _repr_svg_(self):
            return "<svg/>"

        def _repr_markdown_(self):
            return None

    assert media_of(Drawing())["image/svg+xml"] == "<svg/>"
    assert "text/markdown" not in media_of(Drawing())
    assert media_of({"b": 1, "a": 2}) == {"text/plain": "{'b': 1, 'a': 2}"}
    report = Report(Exercise("1.1", "f", None), "Is 1 < 2?")
    assert media_of(report)["text/html"].endswith("Is 1 &lt; 2?</p>")


@pytest.mark.filterwarnings("ignore:.*Check CHANGES for Sphinx API modifications")
@pytest.mark.parametrize("run", [True, False])
def test_build(run, tmp_path, capfd):
    """A second build of a book runs nothing again; a wrong number ends it"""
    pytest.importorskip("sphinx-mathjax-offline", reason="the extra [book] is not installed")
    from minillm.course.book.building import BookError, build

    folder = tmp_path / "chapters"
    folder.mkdir()
    path = chapter_file(folder, "\n```python\nx = 2.5\nx * 10\n```\n\nIt is 2.5<!-- = x -->.\n")
    for _ in range(2):
        page = build(tmp_path / "book", run, folder)
        assert ("25.0" in page.with_name("01-a-chapter.html").read_text("utf-8")) == run
    assert capfd.readouterr().out.count("01-a-chapter.md: ") == run
    path.write_text(path.read_text("utf-8").replace("2.5<", "2.6<"), encoding="utf-8")
    if run:
        with pytest.raises(BookError, match="01-a-chapter.md: see the error above"):
            build(tmp_path / "book", run, folder)
        assert "the prose says 2.6" in capfd.readouterr().err


def test_build_replaces_only_books(tmp_path):
    pytest.importorskip("sphinx-mathjax-offline", reason="the extra [book] is not installed")
    from minillm.course.book.building import BookError, build

    (tmp_path / "mine.txt").touch()
    with pytest.raises(BookError, match="is no book, wanted a new folder"):
        build(tmp_path)
    assert (tmp_path / "mine.txt").is_file()


def chapter(number, title="A title"):
    return Chapter(number, title, "see it.", 5, Path(f"{number:02}-a-title.md"), [])


def test_every_chapter_is_in_one_part():
    chapters = [chapter(number) for number in range(1, 29)]
    found = [item for _, group in parts_of(chapters) for item in group]
    assert found == chapters
    assert [title for title, _ in parts_of(chapters)] == list(PARTS.values())
    assert parts_of([chapter(6)]) == [(PARTS[6], [chapter(6)])]


def test_first_page():
    page = index_page([chapter(1, "Attention by hand"), chapter(2, "Positions")] * 10)
    assert "all 20 chapters take about 2\nminutes" in page
    assert "[**1. Attention by hand**](01-a-title.ipynb)" in page
    assert "You will be able to see it." in page
    assert page.count("{toctree}") == 1


# ---- pages of the explorer

MARKED = "Look: `minillm explore \"A list is a\"`, tab *Logit lens*.<!-- explorer: lens -->"


def test_a_marked_paragraph_gets_a_frame():
    assert pages_in(f"# 1. Title\n\n{MARKED}\n") == [ExplorerPage("lens", "A list is a")]
    page = ExplorerPage("lens", "A list is a")
    text = visible_prose(f"Before.\n\n{MARKED} And\nmore.\n\nAfter.\n")
    before, sentence, frame, after = text.strip().split("\n\n")
    assert sentence == "Look: `minillm explore \"A list is a\"`, tab *Logit lens*. And\nmore."
    assert f'<iframe src="{page.file}" title="Logit lens of “A list is a”' in frame
    assert f'<a href="{page.file}">' in frame and after == "After."
    assert '“&lt;b&gt;”' in ExplorerPage("lens", "<b>").frame()


@pytest.mark.parametrize("markdown, message", [
    ("Look.<!-- explorer: lens -->", "stands without its command"),
    (f"`minillm explore \"A\"`\n\n{MARKED[-24:]}", "stands without its command"),
    (MARKED.replace("lens", "lense"), "view is 'lense', wanted one of graph, "),
    (MARKED.replace('"A', '--model x "A'), "more than a text"),
])
def test_marks_that_cannot_be_pages(markdown, message):
    with pytest.raises(ValueError, match=message):
        pages_in(markdown)


def test_pages_are_written_once(tmp_path):
    path = chapter_file(tmp_path, f"\n{MARKED}\n\n{MARKED}\n")
    write_pages([read_chapter(path)], tmp_path)
    (written,) = (tmp_path / "explorer").iterdir()
    page = written.read_text("utf-8")
    assert written.name == Path(ExplorerPage("lens", "A list is a").file).name
    assert '"A list is a"' in page and "minillm/view-lens.js" in page
    write_pages([], tmp_path / "none")  # a book without such pages has no folder for them
    assert not (tmp_path / "none").exists()
