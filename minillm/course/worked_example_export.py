"""The steps of a worked example for a lecture: LaTeX, Markdown and a PNG poster.

The numbers are those of the terminal: the same decimals, and matrices too large for a page are cut
in the middle.
"""

import io
import re

import numpy as np

from minillm.course.figures import SIGNED, WEIGHTS
from minillm.course.worked_example_terminal import clipped, kept, number_format

MAX_ROWS = 20
MAX_COLUMNS = 10  # that fit the width of a page
MAX_LABEL = 24
CUT = "⋯"

# ------------------------------------------------------------------ LaTeX

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "^": r"\^{}", "~": r"\~{}", "%": r"\%", "×": r"$\times$", "·": r"$\cdot$",
    "−": "$-$", "…": r"\ldots{}", "Σ": r"$\sum$", "∞": r"$\infty$", "½": r"$\frac12$", "<": "$<$",
    ">": "$>$", "|": "$|$", "√": r"$\surd$", '"': "''", "`": r"\textasciigrave{}",
}
_LATEX_PARTS = re.compile(
    r"√(?P<root>\d+)|\b(?P<name>d?[A-Z])_(?P<index>[a-z]{1,2}|[A-Z])\b|(?P<char>.)", re.DOTALL)


def latex_text(text):
    """-> `text` for LaTeX, with its mathematical characters as mathematics"""

    def part(match):
        if match["root"]:
            return rf"$\sqrt{{{match['root']}}}$"
        if match["name"]:
            return f"${match['name']}_{{{match['index']}}}$"
        return _LATEX.get(match["char"], match["char"])

    return _LATEX_PARTS.sub(part, text)


def to_latex(steps, heading):
    """-> a LaTeX document that compiles as it is"""
    body = [rf"\section*{{{latex_text(heading)}}}", ""]
    for number, step in enumerate(steps, 1):
        body += [rf"\subsection*{{{number}. {latex_text(step.title)}}}", rf"\[ {step.latex} \]"]
        form = number_format([panel.matrix for panel in step.panels])
        body += [_latex_matrix(panel, form, len(step.panels) > 1) for panel in step.panels]
        pencil = [rf"\noindent {latex_text(line)}\par" for line in step.pencil.split("\n") if line]
        body += [line for line in pencil]
        body += [rf"\noindent {latex_text(text)}\par" for text in (step.note, _check_text(step))
                 if text]
        body.append("")
    body = "\n".join(body)
    wide = any(ord(char) > 0x24F for char in body)
    return "\n".join([
        "% Compile with " + ("xelatex." if wide else "pdflatex."),
        r"\documentclass[a4paper]{article}",
        r"\usepackage[margin=20mm]{geometry}",
        r"\usepackage{amsmath}",
        *([r"\usepackage[fontset=fandol]{ctex}"] if wide else []),
        r"\setlength{\arraycolsep}{3.5pt}",
        r"\renewcommand{\arraystretch}{1.2}",
        r"\begin{document}",
        r"\small",
        body,
        r"\end{document}", ""])


def _latex_matrix(panel, form, captioned):
    rows, columns, cells = _cut(panel, form)
    totals = _totals(panel, form)
    head = "".join(rf" & \text{{{latex_text(name)}}}" if name != CUT else r" & \cdots"
                   for name in columns) + (r" & \sum" if totals else "")
    lines = [head + r" \\ \hline"]
    for index, (name, row) in enumerate(zip(rows, cells)):
        if name == CUT:
            lines.append(r"\vdots" + " &" * (len(columns) + bool(totals)) + r" \\")
            continue
        text = "".join(f" & {_latex_number(cell)}" for cell in row)
        total = f" & {_latex_number(totals[index])}" if totals else ""
        lines.append(rf"\text{{{latex_text(name)}}}" + text + total + r" \\")
    caption = rf"\text{{{latex_text(panel.caption)}:}}\quad " if captioned and panel.caption else ""
    spec = "r|" + "r" * len(columns) + ("|r" if totals else "")
    return "\n".join([rf"\[ {caption}\begin{{array}}{{{spec}}}", *lines, r"\end{array} \]"])


def _latex_number(text):
    if text == CUT:
        return r"\cdots"
    text = text.replace("−", "-").replace("∞", r"\infty")
    mantissa, _, exponent = text.partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else text


# ------------------------------------------------------------------ Markdown


def to_markdown(steps, heading):
    """-> Markdown with formulas in $$, and matrices as tables, as GitHub renders them"""
    lines = [f"# {markdown_text(heading)}", ""]
    for number, step in enumerate(steps, 1):
        lines += [f"## {number}. {step.title}", "", "$$", step.latex, "$$", ""]
        form = number_format([panel.matrix for panel in step.panels])
        for panel in step.panels:
            if panel.caption and len(step.panels) > 1:
                lines += [f"**{markdown_text(panel.caption)}**", ""]
            lines += [*_markdown_table(panel, form), ""]
        for text in (*step.pencil.split("\n"), step.note, _check_text(step)):
            if text:
                lines += [markdown_text(text), ""]
    return "\n".join(lines)


def markdown_text(text):
    """-> `text` with every character that Markdown reads as markup escaped"""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$&-])", r"\\\1", text)


def _markdown_table(panel, form):
    rows, columns, cells = _cut(panel, form)
    totals = _totals(panel, form)
    heading = ["", *map(markdown_text, columns), *(["Σ"] if totals else [])]
    lines = [heading, [":--", *["--:"] * (len(heading) - 1)]]
    for index, (name, row) in enumerate(zip(rows, cells)):
        total = [totals[index]] if totals else []
        lines.append([f"**{markdown_text(name)}**" if name != CUT else CUT, *row, *total])
    return ["| " + " | ".join(line) + " |" for line in lines]


# ------------------------------------------------------------------ PNG

# Parts of the file names of fonts with Chinese characters; matplotlib's own font has none.
_CJK_FONTS = ("NotoSansCJK", "SourceHanSans", "wqy-", "DroidSansFallback", "PingFang", "Hiragino",
              "STHeiti", "Arial Unicode", "NotoSerifCJK", "msyh", "simhei")
_PAGE, _MARGIN, _CELL, _LINE = 13.0, 0.35, (0.6, 0.3), 0.23  # inches
_MOST_PIXELS = 30_000  # of the height
_POSTER_ROWS = 12


def to_png(steps, heading):
    """-> bytes of a PNG: one band per step, its formula on the left, its matrices on the right"""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    words = "".join([heading, *(name for step in steps for panel in step.panels
                                for name in (*panel.rows, *panel.columns))])
    fonts = ["DejaVu Sans", *(_cjk_fonts() if any(_width(char) > 1 for char in words) else [])]
    bands = [_band(step) for step in steps]
    height = 2 * _MARGIN + 0.5 + sum(band_height for _, band_height in bands)
    with rc_context({"font.family": fonts, "font.size": 9}):
        figure = Figure(figsize=(_PAGE, height), dpi=min(150, _MOST_PIXELS / height),
                        facecolor="white")
        FigureCanvasAgg(figure)
        _write(figure, _MARGIN, _MARGIN + 0.25, clipped(heading, 100), size=15, weight="bold")
        top = _MARGIN + 0.5
        for number, (step, (places, band_height)) in enumerate(zip(steps, bands), 1):
            _draw_band(figure, step, number, places, top)
            top += band_height
        file = io.BytesIO()
        figure.savefig(file, format="png")
    return file.getvalue()


def _cjk_fonts():
    """-> the name of a font with Chinese characters in a list, or none"""
    from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager

    paths = sorted(findSystemFonts())
    for part in _CJK_FONTS:
        for path in paths:
            if part in path and "Bold" not in path:
                fontManager.addfont(path)
                return [FontProperties(fname=path).get_name()]
    return []


_TEXT = 4.1  # inches for the formula and the words


def _band(step):
    """-> [(x, y, width, height) of each panel, from the top of the band], height of the band"""
    places, x, y, lowest = [], _TEXT, 0.3, 0.0
    captioned = 0.2 if len(step.panels) > 1 else 0.0
    for panel in step.panels:
        rows, columns, _ = _cut(panel, str, _POSTER_ROWS)
        labels = 0.085 * max(map(_width, rows)) + 0.1
        width = labels + _CELL[0] * (len(columns) + (panel.totals is not None))
        height = captioned + 0.25 + _CELL[1] * len(rows)
        if x > _TEXT and x + width > _PAGE - _MARGIN:
            x, y = _TEXT, lowest + 0.15
        places.append((x + labels, y + captioned + 0.25, width - labels, _CELL[1] * len(rows)))
        x += width + 0.25
        lowest = max(lowest, y + height)
    text = 0.3 + 0.6 + _LINE * len(_lines_of_text(step))
    return places, max(lowest, text) + 0.25


def _lines_of_text(step):
    import textwrap

    lines = []
    for text in (*step.pencil.split("\n"), step.note, _check_text(step)):
        lines += textwrap.wrap(text, 52)
    return lines


def _draw_band(figure, step, number, places, top):
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    figure.add_artist(Line2D([_MARGIN / width, 1 - _MARGIN / width], [1 - top / height] * 2,
                             color="#cccccc", linewidth=0.8))
    _write(figure, _MARGIN, top + 0.3, f"{number}  {step.title}", size=11, weight="bold")
    _write(figure, _MARGIN, top + 0.68, _formula(step), size=12)
    for index, line in enumerate(_lines_of_text(step)):
        _write(figure, _MARGIN, top + 1.08 + _LINE * index, line, size=8.5, color="#333333")
    form = number_format([panel.matrix for panel in step.panels])
    finite = [panel.matrix[np.isfinite(panel.matrix)] for panel in step.panels]
    largest = max((float(np.abs(part).max(initial=0.0)) for part in finite), default=0.0) or 1.0
    signed = any((part < 0).any() for part in finite)
    for panel, place in zip(step.panels, places):
        _draw_panel(figure, panel, place, top, form, signed, largest,
                    panel.caption if len(step.panels) > 1 else "")


def _draw_panel(figure, panel, place, top, form, signed, largest, caption):
    rows, columns, cells = _cut(panel, form, _POSTER_ROWS)
    x, y, width, height = place
    totals = _totals(panel, form, _POSTER_ROWS)
    width -= _CELL[0] * bool(totals)
    page_width, page_height = figure.get_size_inches()
    axes = figure.add_axes((x / page_width, 1 - (top + y + height) / page_height,
                            width / page_width, height / page_height))
    shades = np.full((len(rows), len(columns)), np.nan)
    kept_rows = kept(len(panel.rows), _POSTER_ROWS)
    kept_columns = kept(len(panel.columns), MAX_COLUMNS)
    for a, r in enumerate(kept_rows):
        for b, c in enumerate(kept_columns):
            if r is not None and c is not None and np.isfinite(panel.matrix[r, c]):
                shades[a, b] = panel.matrix[r, c]
    image = axes.imshow(shades, cmap=SIGNED if signed else WEIGHTS, aspect="auto",
                        vmin=-largest if signed else 0, vmax=largest, interpolation="nearest")
    for (a, b), value in np.ndenumerate(shades):
        red, green, blue, _ = (1, 1, 1, 1) if np.isnan(value) else image.cmap(image.norm(value))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        axes.text(b, a, cells[a][b], ha="center", va="center", fontsize=8.5,
                  color="white" if dark else "black")
    axes.set_xticks(range(len(columns)), map(_plain, columns))
    axes.set_yticks(range(len(rows)), map(_plain, rows))
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=2, labelsize=8.5)
    axes.spines[:].set_visible(False)
    if totals:
        axes.text(len(columns) - 0.3, -0.72, "Σ", ha="left", va="center", fontsize=8.5)
        for a, total in enumerate(totals):
            axes.text(len(columns) - 0.3, a, total, ha="left", va="center", fontsize=8.5)
    if caption:
        _write(figure, x, top + y - 0.27, caption, size=9, style="italic")


def _write(figure, x, y, text, *, size, **style):
    width, height = figure.get_size_inches()
    if not text.startswith("$"):
        text = _plain(text)
    if "weight" in style and any(_width(char) > 1 for char in text):
        del style["weight"]  # the font with Chinese may not have bold
    elif "weight" in style:
        style["family"] = "DejaVu Sans"
    figure.text(x / width, 1 - y / height, text, fontsize=size, va="baseline", **style)


def _formula(step):
    """-> the formula as matplotlib's mathematics, or in plain characters if it can't read it"""
    from matplotlib.mathtext import MathTextParser

    text = "$" + step.latex.replace(r"\tfrac12", r"\frac{1}{2}") + "$"
    try:
        MathTextParser("agg").parse(text)
    except (ValueError, RuntimeError):
        return step.formula
    return text


def _plain(text):
    return text.replace("$", r"\$")


def _width(label):
    return sum(2 if ord(char) > 0x2E80 else 1 for char in label)


# ------------------------------------------------------------------ pieces


def _cut(panel, form, max_rows=MAX_ROWS):
    """-> labels of rows and columns, the cells as text; CUT stands for the middle that is left out"""
    rows, columns = kept(len(panel.rows), max_rows), kept(len(panel.columns), MAX_COLUMNS)
    cells = [[CUT if r is None or c is None else form(panel.matrix[r, c]) for c in columns]
             for r in rows]
    names = [[CUT if i is None else clipped(labels[i], MAX_LABEL) for i in indices]
             for labels, indices in ((panel.rows, rows), (panel.columns, columns))]
    return *names, cells


def _totals(panel, form, max_rows=MAX_ROWS):
    """-> the sums of the rows that are shown, as text; [] without"""
    if panel.totals is None:
        return []
    return [CUT if r is None else form(panel.totals[r])
            for r in kept(len(panel.rows), max_rows)]


def _check_text(step):
    if step.largest_difference is None:
        return ""
    return f"Largest difference from the central differences: {step.largest_difference:.1e}"
