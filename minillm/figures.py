"""Figures: one style, readable in greyscale, by the color-blind and on paper.

    figure, axes = new_figure(5, 3)
    heat_map(axes, weights, rows=words, columns=words, label="weight")
    write_figure("weights.png", figure)
"""

import io
import re
import warnings
from pathlib import Path

import numpy as np
from minillm.files import atomic_write

# Okabe and Ito's colors (2008), those that stay apart in greyscale, from dark to light.
COLORS = ["#000000", "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9"]
LINES = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1))]
WEIGHTS = "magma_r"  # from 0 (light) to the largest (dark)
SIGNED = "cividis"  # its lightness rises throughout, so greyscale keeps the sign
_FONTS = "'DejaVu Sans', 'Noto Sans CJK SC', 'PingFang SC', sans-serif"  # text as matplotlib sets it

_STYLE = {
    "svg.fonttype": "none",  # text stays text: the browser has fonts for every language
    "svg.hashsalt": "minillm",  # the same figure gives the same file
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.grid": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.6,
}


def _style(more=()):
    """-> a context in which matplotlib has our style, and the settings `more`"""
    from matplotlib import rc_context

    return rc_context({**_STYLE, **dict(more)})


def new_figure(width, height, rows=1, columns=1, **options):
    """-> a matplotlib Figure of width × height inches, and its axes (an array if several)

    Lines take COLORS and LINES in turn. The options are those of Figure.subplots, such as
    `sharey=True`.
    """
    # Imported here, as it takes a third of a second, and most programs never draw. Not pyplot, which
    # keeps every figure in a global list and may need a display.
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _style({"axes.prop_cycle": cycler(color=COLORS, linestyle=LINES)}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, **options)


def heat_map(axes, values, rows=None, columns=None, label=None, numbers=False, signed=None,
             limits=None, title=None):
    """Draw a matrix as colors on matplotlib `axes` -> the image

    values:  (R, C); NaN stays blank
    rows, columns: labels, such as the words
    label:   what a value is; adds a color bar
    numbers: True writes every value into its cell, a format such as ".1f" says how
    signed:  True centers the colors at 0; by default, if there are negative values
    limits:  (lowest, highest) value of the colors
    """
    with _style():
        return _heat_map(axes, np.asarray(values, dtype=float), rows, columns, label, numbers,
                         signed, limits, title)


def _heat_map(axes, values, rows, columns, label, numbers, signed, limits, title):
    signed = np.nanmin(values) < 0 if signed is None else signed
    if limits is None:
        top = np.nanmax(np.abs(values)) or 1.0
        limits = (-top if signed else 0.0, top)
    image = axes.imshow(values, cmap=SIGNED if signed else WEIGHTS, vmin=limits[0], vmax=limits[1],
                        aspect="auto" if values.shape[1] > 3 * values.shape[0] else "equal",
                        interpolation="nearest")
    for names, ticks in ((rows, axes.set_yticks), (columns, axes.set_xticks)):
        if names is not None:
            ticks(range(len(names)), [plain(name) for name in names])
    if columns is not None and max(map(len, map(str, columns)), default=0) > 4:
        axes.tick_params(axis="x", labelrotation=45 if values.shape[1] < 9 else 90)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if numbers:
        form = ".2f" if numbers is True else numbers
        write_in_cells(axes, image, values, lambda *cell: format(values[cell], form))
    if label:
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label(label)
    if title:
        axes.set_title(title)
    return image


def write_in_cells(axes, image, values, text, fontsize=8):
    """Write text(row, column) into each cell of a heat map, white on dark; none where it is NaN

    image: what `heat_map` returned for the (R, C) `values`
    """
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            axes.text(column, row, text(row, column), ha="center", va="center", fontsize=fontsize,
                      color="white" if dark else "black")


def plain(label):
    """A label that matplotlib doesn't read as mathematics, with its spaces and line ends visible"""
    return str(label).replace("$", r"\$").replace("\n", "\\n")


def _finish(figure):
    """Give titles and legends, which are made outside new_figure, the style's sizes."""
    for axes in figure.axes:
        for title in (axes.title, axes._left_title, axes._right_title):
            title.set_fontsize(min(title.get_fontsize(), _STYLE["axes.titlesize"]))
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set_fontsize(min(axis.label.get_fontsize(), _STYLE["font.size"]))
        if axes.get_legend():
            axes.get_legend().set_frame_on(False)
            for text in axes.get_legend().get_texts():
                text.set_fontsize(min(text.get_fontsize(), _STYLE["legend.fontsize"]))


def figure_svg(figure):
    """-> the SVG of a matplotlib Figure, on white, so that it is readable on dark pages too"""
    _finish(figure)
    file = io.StringIO()
    with _style(), warnings.catch_warnings():
        # matplotlib measures text in its own font, which has no Chinese; the browser draws it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
    return re.sub(r"font-family: [^;\"]+", f"font-family: {_FONTS}", file.getvalue())


def write_figure(path, figure):
    """Write a matplotlib Figure to a .png or .svg file, atomically."""
    path = Path(path)
    if path.suffix == ".svg":
        content = figure_svg(figure).encode("utf-8")
    else:
        _finish(figure)
        file = io.BytesIO()
        with _style():
            figure.savefig(file, format="png", dpi=150, facecolor="white")
        content = file.getvalue()
    with atomic_write(path) as file:
        file.write(content)
