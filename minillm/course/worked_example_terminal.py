"""The steps of a worked example as lines of text: aligned, colored by size, never too wide.

Widths are counted in cells of the terminal: a Chinese character takes two.
"""

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.style import Style
from rich.text import Text

NARROWEST = 40
MAX_ROWS = 20
MAX_LABEL = 12
GAP = "   "  # between two panels
_POSITIVE, _NEGATIVE = (0x00, 0x56, 0x8F), (0xB8, 0x4C, 0x00)  # at full size; 0 is white


def step_lines(step, number, total, width):
    """-> list of rich Text: title, formula, matrices, the entry by hand, the note"""
    width = max(width, NARROWEST)
    head = clipped(f"── {number} of {total} · {step.title} ", width)
    lines = [Text(head + "─" * (width - cell_len(head)), style="bold"), Text()]
    lines += [Text("  ") + line for line in _wrapped(Text(step.formula, style="bold"), width - 2)]
    lines.append(Text())
    lines += _arranged(step.panels, width)
    for text, style in ((step.pencil, ""), (step.note, "italic")):
        if text:
            lines += [Text(), *(Text("  ") + line
                                for line in _wrapped(Text(text, style=style), width - 2))]
    if step.largest_difference is not None:
        lines += [Text(), Text(f"  largest difference: {step.largest_difference:.1e}")]
    return [*lines, Text()]


def _wrapped(text, width):
    lines = text.wrap(Console(width=width, color_system=None), width, overflow="fold")
    for line in lines:
        line.rstrip()
    return lines


def _arranged(panels, width):
    """-> the lines of all panels: side by side where they fit uncut, else below each other"""
    form = number_format([panel.matrix for panel in panels])
    largest = max((_largest(panel.matrix) for panel in panels), default=0.0)
    lines, row, used = [], [], 0
    for panel in panels:
        block = _panel_lines(panel, width, form, largest, captioned=len(panels) > 1)
        block_width = max(line.cell_len for line in block)
        if row and used + len(GAP) + block_width > width:
            lines += [*_beside(row), Text()]
            row, used = [], 0
        used += block_width + (len(GAP) if row else 0)
        row.append(block)
    return [*lines, *_beside(row)]


def _beside(blocks):
    """-> lines that hold the blocks next to each other"""
    lines = []
    for index in range(max(map(len, blocks))):
        line = Text()
        for number, block in enumerate(blocks):
            part = block[index] if index < len(block) else Text()
            line.append_text(part)
            if number < len(blocks) - 1:
                wide = max(other.cell_len for other in block)
                line.append(" " * (wide - part.cell_len) + GAP)
        lines.append(line)
    return lines


def _panel_lines(panel, width, form, largest, captioned):
    rows = kept(len(panel.rows), MAX_ROWS)
    label_width = max([cell_len(clipped(panel.rows[r])) for r in rows if r is not None],
                      default=0)
    numbers = [[form(x) for x in row] for row in panel.matrix]
    cell = max(max(len(text) for row in numbers for text in row),
               max(cell_len(clipped(name)) for name in panel.columns))
    sums = None if panel.totals is None else [form(x) for x in panel.totals]
    sum_width = 0 if sums is None else max(map(len, sums)) + 3
    room = width - 2 - label_width - 3 - sum_width
    count = len(panel.columns)
    if count * (cell + 2) > room:
        count = max((room - 3) // (cell + 2), 1)
    columns = kept(len(panel.columns), count)

    def line(label, cells, total):
        text = Text("  " + right(clipped(label), label_width) + (" │" if label or cells else ""))
        for content, style in cells:
            text.append(content, style)
        if total is not None:
            text.append("│ " + total.rjust(sum_width - 3))
        text.truncate(width)
        return text

    heading = [(" … " if c is None else " " + right(clipped(panel.columns[c]), cell) + " ", "dim")
               for c in columns]
    lines = [Text("  " + panel.caption)] if captioned and panel.caption else []
    lines.append(line("", heading, None if sums is None else "Σ"))
    for r in rows:
        if r is None:
            lines.append(Text("  " + right("⋮", label_width) + " │"))
            continue
        cells = [(" … ", "") if c is None else
                 (" " + numbers[r][c].rjust(cell) + " ", _style(panel.matrix[r, c], largest))
                 for c in columns]
        lines.append(line(panel.rows[r], cells, None if sums is None else sums[r]))
    return lines


def _style(value, largest):
    """-> the background of a number: blue for positive, orange for negative, darker for larger"""
    if not np.isfinite(value):
        return ""
    share = min(abs(value) / largest, 1.0) if largest else 0.0
    color = [round(255 + share * (full - 255)) for full in
             (_NEGATIVE if value < 0 else _POSITIVE)]
    light = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 140
    ink = "#000000" if light else "#ffffff"
    return Style.parse(f"{ink} on rgb({color[0]},{color[1]},{color[2]})")


# ------------------------------------------------------------------ shared with the exports


def number_format(matrices):
    """-> a function of a number: the same decimals for all, as many as they need, at most 3"""
    numbers = np.concatenate([matrix[np.isfinite(matrix)] for matrix in matrices])
    largest = float(np.abs(numbers).max(initial=0.0))
    scientific = largest and not 1e-2 <= largest < 1e5
    most = 3 if largest < 100 else 2 if largest < 1000 else 1
    decimals = next((n for n in range(most) if np.allclose(numbers, numbers.round(n), 0, 1e-9)),
                    most)

    def form(x):
        if not np.isfinite(x):
            return "−∞" if x < 0 else str(x)
        if x == 0:
            return "0"
        text = f"{x:.2e}" if scientific else f"{x:.{decimals}f}"
        if float(text) == 0:
            text = text.lstrip("-")
        return text.replace("-", "−")

    return form


def kept(count, limit):
    """-> the indices of the rows or columns that are shown; None stands for those in the middle"""
    if count <= limit:
        return list(range(count))
    first = (limit + 1) // 2
    return [*range(first), None, *range(count - (limit - first), count)]


def clipped(label, limit=MAX_LABEL):
    """-> a label of at most `limit` cells"""
    if cell_len(label) <= limit:
        return label
    return set_cell_size(label, limit - 1).rstrip() + "…"


def right(label, width):
    """-> the label, padded on the left to `width` cells"""
    return " " * (width - cell_len(label)) + label


def _largest(matrix):
    finite = np.abs(matrix[np.isfinite(matrix)])
    return float(finite.max(initial=0.0))
