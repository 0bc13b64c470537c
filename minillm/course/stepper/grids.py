"""Arrays on a terminal: tables of numbers, heat maps and rankings of tokens, as `rich` Text.

Each shows a part of a matrix that fits into `width` and `height`. Colors grow with the size of a
number, blue below zero and orange above; the numbers and the shades tell the same without color.
"""

import math

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

CELL = 8  # columns of a number in a wide table
MAP_CELL = 2  # columns of a cell in a heat map
SHADES = " ░▒▓█"
GROUND, BELOW, ABOVE = (18, 18, 18), (86, 160, 230), (240, 150, 60)


def number(value):
    """-> a number in at most 7 characters

    >>> [number(each) for each in (0.0, 0.57236, -12.3456, 123456.0, 1.5e-7, 3, True)]
    ['0', '0.572', '-12.346', '1e+05', '2e-07', '3', 'True']
    """
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return str(value)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if not 0.0005 <= abs(value) < 99999:
        return f"{value:.0e}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.5g}"


def cell_width(matrix):
    """-> the columns that a number takes in a table: all of a small one are formatted to see"""
    if matrix.shape[1] > 12 or len(matrix) > 64:
        return CELL
    return 1 + max([4, *(len(number(value)) for value in matrix.flat)])


def table(matrix, extent, width, height, *, rows=None, columns=None, top=0, left=0):
    """-> the numbers from row `top` and column `left` on, as many as fit

    matrix: (m, n); rows, columns: labels, by default the indices
    extent: the largest size of a number, which has the strongest color
    """
    m, n = matrix.shape
    rows = rows or [str(i) for i in range(m)]
    columns = columns or [str(j) for j in range(n)]
    side, cell = margin(rows, width), cell_width(matrix)
    if n * cell <= width - side:  # there may be room for the whole labels
        cell = max(cell, min(max(map(cell_len, columns)) + 1, (width - side) // n))
    shown = range(left, min(n, left + max(1, (width - side) // cell)))
    text = Text(" " * side, no_wrap=True)
    for j in shown:
        text.append(_right(" " + columns[j], cell), "bold")
    for i in range(top, min(m, top + height - 1)):
        text.append("\n" + _right(rows[i] + " ", side), "bold")
        for j in shown:
            text.append(_right(number(matrix[i, j]), cell), _ink(matrix[i, j], extent))
    return text


def heat_map(matrix, extent, width, height, *, rows=None, columns=None, top=0, left=0):
    """-> a map of all columns, and of the rows from `top` on that fit

    A cell stands for one number, or, where there are more columns than cells, for the largest of
    several numbers side by side.
    """
    m, n = matrix.shape
    rows = rows or [str(i) for i in range(m)]
    side = margin(rows, width)
    n_cells = max(1, min(n, (width - side) // MAP_CELL))
    text = Text(" " * side, no_wrap=True)
    text.append(_scale(columns, n, n_cells), "bold")
    for i in range(top, min(m, top + height - 1)):
        text.append("\n" + _right(rows[i] + " ", side), "bold")
        for piece in np.array_split(matrix[i], n_cells):
            value = _largest(piece)
            size = _size(value, extent)
            shade = SHADES[min(round(size * (len(SHADES) - 1)), len(SHADES) - 1)]
            if not math.isfinite(value):
                text.append("··", "dim")
            else:
                text.append(shade * MAP_CELL, _ink(value, extent))
    return text


def ranking(matrix, labels, width, height, *, rows=None, by_size=False, top=0):
    """-> for each row the labels of its greatest numbers (with `by_size`: of its largest sizes)"""
    m = len(matrix)
    rows = rows or [str(i) for i in range(m)]
    side, cell = margin(rows, width), 16
    k = max(1, (width - side) // cell)
    if m == 1 and height > 2:  # one row: write its ranking downward
        text = Text(no_wrap=True)
        best = _best(matrix[0], height, by_size)
        room = min(max(cell_len(labels[j]) for j in best), width - 16)
        for place, j in enumerate(best):
            text.append(("\n" if place else "") + set_cell_size(labels[j], room) + "  ", "bold")
            text.append(_right(number(matrix[0, j]), CELL))
        return text
    text = Text(no_wrap=True)
    for i in range(top, min(m, top + height)):
        text.append(("\n" if i > top else "") + _right(rows[i] + " ", side), "bold")
        for j in _best(matrix[i], k, by_size):
            text.append(f" {set_cell_size(labels[j], cell - 9)}")
            text.append(f"{number(matrix[i, j]):>7} ", "dim")
    return text


def _best(row, k, by_size):
    scores = np.abs(row) if by_size else row
    k = min(k, len(row))
    best = np.argpartition(-scores, k - 1)[:k]
    return best[np.argsort(-scores[best], kind="stable")]


def margin(rows, width):
    """-> the columns that the labels of the rows take, with a space behind them"""
    return min(max(map(cell_len, rows), default=0), max(3, width // 4)) + 1


def _right(text, width):
    """-> `text` at the right of `width` cells, cut if it is longer; 果 takes two cells"""
    if cell_len(text) > width:
        text = set_cell_size(text, width - 1) + " "
    return " " * (width - cell_len(text)) + text


def _scale(columns, n, n_cells):
    """-> what stands above a heat map: its first and last column"""
    first, last = (columns[0], columns[-1]) if columns else ("0", str(n - 1))
    space = n_cells * MAP_CELL - cell_len(first) - cell_len(last)
    return first + " " * space + last if space > 0 else ""


def _largest(piece):
    finite = piece[np.isfinite(piece)] if piece.dtype.kind == "f" else piece
    return float(finite[np.abs(finite).argmax()]) if finite.size else math.nan


def _size(value, extent):
    """-> 0 … 1; the square root lets small numbers appear beside large ones"""
    return math.sqrt(min(abs(float(value)) / extent, 1)) if extent and math.isfinite(value) else 0.0


def _ink(value, extent):
    """-> the style of a number: from nearly the ground at 0 to the full color at `extent`"""
    if not math.isfinite(value):
        return "rgb(120,120,120)"
    if value == 0:
        return "rgb(150,150,150)"
    size = 0.35 + 0.65 * _size(value, extent)
    goal = BELOW if value < 0 else ABOVE
    mixed = (round(ground + (to - ground) * size) for ground, to in zip(GROUND, goal))
    return f"rgb({','.join(map(str, mixed))})"
