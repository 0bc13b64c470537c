"""The figures of the course: minillm/figures.py, and `save`, which shows them in a chapter.

    figure, axes = new_figure(5, 3)
    heat_map(axes, weights, rows=words, columns=words, label="weight")
    save("01-weights", figure)

`save` returns a Picture, which Jupyter shows. Where a folder is set (by `minillm course run`, and
while the book is built), the picture also becomes a file in it.
"""

import os
from pathlib import Path

from minillm.figures import (  # noqa: F401: chapters import them from here
    COLORS,
    LINES,
    SIGNED,
    WEIGHTS,
    figure_svg,
    heat_map,
    new_figure,
)
from minillm.files import atomic_write

FOLDER_VARIABLE = "MINILLM_FIGURES"  # the folder that `save` writes to


class Picture:
    """A drawing as the result of a cell: Jupyter shows it, a terminal names its file."""

    def __init__(self, name, svg, path=None):
        self.name = name
        self.svg = svg
        self.path = path

    def __repr__(self):
        return f"[figure: {self.path or self.name}]"

    def _repr_svg_(self):
        # Where a folder is set, the Markdown behind the cell shows the file.
        return None if self.path else self.svg


def save(name, drawing):
    """Finish a figure of a chapter -> Picture

    name: the chapter's number and a name, "01-weights"; the file is name.svg
    drawing: a matplotlib Figure, or an object with a method svg() -> str
    """
    svg = drawing.svg() if hasattr(drawing, "svg") else figure_svg(drawing)
    folder = os.environ.get(FOLDER_VARIABLE)
    path = Path(folder, f"{name}.svg") if folder else None
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(svg.encode("utf-8"))
    return Picture(name, svg, path)
