"""The first page: the chapters in their parts, each with what it teaches and how long it runs."""

# The first chapter of each part.
PARTS = {
    1: "Attention",
    4: "Depth and gradients",
    6: "A language model",
    9: "Inside and underneath",
    11: "From here on",
    13: "The family",
    16: "Tasks",
    21: "Understanding",
    23: "Trust",
    28: "Scale",
}
LATER = "The library grows, and the course with it."

_TOP = """# The course

From one dot product to a trained GPT: each chapter is a program that you can run, in the order of
the ideas. Everything runs offline on two CPU cores; all {count} chapters take about {minutes}
minutes. The outputs and figures on these pages come from running the chapters when the
book was built; the numbers in the text were computed again at the same time.

Two things go through all chapters: the words *I like apple*, as vectors that you can follow with a
pencil, and the small model `pydoc-tiny`, which comes with the library.

```text
minillm course                               what there is
minillm course run 03                        run a chapter
minillm course copy my-course                the chapters, to work on in Jupyter or VS Code
minillm course check 03 my_solutions.py      check your answers to the exercises
```
"""


def parts_of(chapters):
    """-> list of (title, its chapters), without empty parts"""
    found = []
    for first, title in PARTS.items():
        after = min((number for number in PARTS if number > first), default=float("inf"))
        group = [chapter for chapter in chapters if first <= chapter.number < after]
        if group:
            found.append((title, group))
    return found


def index_page(chapters):
    """-> the first page as MyST Markdown"""
    minutes = max(1, round(sum(chapter.seconds for chapter in chapters) / 60))
    page = [_TOP.format(minutes=minutes, count=len(chapters))]
    for title, group in parts_of(chapters):
        page.append(f"## {title}\n")
        for chapter in group:
            page.append(f"[**{chapter.number}. {chapter.title}**]({chapter.path.stem}.ipynb)\n"
                        f": You will be able to {chapter.teaches}\n"
                        f"  *Runs in about {chapter.seconds} seconds.*\n")
    page += [_conventions(chapters[0].path.parent), f"## Later\n\n{LATER}\n"] if chapters else []
    for title, group in parts_of(chapters):
        names = "\n".join(chapter.path.stem for chapter in group)
        page.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{names}\n```\n")
    return "\n".join(page)


def _conventions(folder):
    """-> the section of the folder's README about letters and conventions; "" without one"""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    _, heading, section = text.partition("## Letters and conventions\n")
    return heading + section
