"""Diagram: boxes, arrows and labels, drawn as SVG.

Data flow from top to bottom, as in the code. A box has a kind, which determines its color; a thick
border marks what owns parameters, so that the kinds also differ without color.

    d = Diagram()
    x = d.box("x", 0, 0, "data", shape="(T, d)")
    norm = d.below(x, "LayerNorm", "norm")          # places a box and draws the arrow to it
    total = d.plus(0, norm.bottom + 40)
    d.arrow(norm, total)
    d.around(x, total)                              # the residual connection
    d.svg()

Text may contain x_{i} and x^{T} for a subscript and a superscript. Coordinates are in pixels, y
downward; the view box encloses everything drawn. In a notebook a diagram as a cell's last line
shows itself. `problems()` lists what overlaps.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from html import escape

from matplotlib import font_manager

# kind -> fill, border, whether it owns parameters. Tints of the palette of Okabe and Ito, which the
# color-blind can tell apart.
KINDS = {
    "data": ("#ffffff", "#6b7280", False),
    "embedding": ("#f3dcea", "#a8528a", True),
    "linear": ("#cfe6f7", "#0072b2", True),
    "attention": ("#fbe3b0", "#b87a00", True),
    "norm": ("#f6f1a9", "#8a8200", True),
    "feed_forward": ("#cdebdf", "#00805c", True),
    "function": ("#e9ecef", "#495057", False),
    "loss": ("#f9d5c2", "#c04f00", False),
}
INK, GREY, BACKGROUND = "#1f2430", "#5a6270", "#ffffff"
FONT = "'DejaVu Sans', Verdana, Geneva, sans-serif"
SIZE, SMALL, LINE, PADDING, MARGIN = 14, 12, 18, 12, 14
SCRIPT = re.compile(r"([_^])\{([^}]*)\}")


@dataclass(frozen=True)
class Box:
    """A rectangle, centered at (x, y)."""

    x: float
    y: float
    width: float
    height: float
    name: str = ""

    @property
    def top(self):
        return self.y - self.height / 2

    @property
    def bottom(self):
        return self.y + self.height / 2

    @property
    def left(self):
        return self.x - self.width / 2

    @property
    def right(self):
        return self.x + self.width / 2

    def overlaps(self, other, gap=0.0):
        return (self.left < other.right + gap and other.left < self.right + gap
                and self.top < other.bottom + gap and other.top < self.bottom + gap)


class Diagram:
    """A drawing. Each method that draws returns the Box that it drew, for arrows to start from."""

    def __init__(self):
        self.boxes, self.texts, self.lines, self.frames = [], [], [], []
        self._shapes = {"frame": [], "line": [], "box": [], "text": []}  # what is below comes first

    def box(self, text, x, y, kind="data", *, width=None, shape=""):
        """A box of one or several lines of text; `shape`, in small letters, is its last line."""
        lines = [(line, SIZE) for line in text.split("\n")] + [(shape, SMALL)] * bool(shape)
        needed = max(text_width(line, size) for line, size in lines) + 2 * PADDING
        box = Box(x, y, max(width or 0, needed), LINE * len(lines) + PADDING, text)
        fill, border, has_parameters = KINDS[kind]
        radius = box.height / 2 if kind == "data" and len(lines) == 1 else 6
        self._shapes["box"].append(
            f'<rect x="{box.left:.1f}" y="{box.top:.1f}" width="{box.width:.1f}" '
            f'height="{box.height:.1f}" rx="{radius:.1f}" fill="{fill}" stroke="{border}" '
            f'stroke-width="{2.6 if has_parameters else 1.2}"/>')
        for i, (line, size) in enumerate(lines):
            baseline = box.top + PADDING / 2 + LINE * (i + 0.5) + size * 0.36
            self._text(line, x, baseline, size, "middle", INK if size == SIZE else GREY)
        self.boxes.append(box)
        return box

    def below(self, upper, text, kind="data", *, gap=30, label="", **options):
        """A box under another one, and the arrow between them, with a label at its right."""
        lines = 1 + text.count("\n") + bool(options.get("shape"))
        y = upper.bottom + gap + (LINE * lines + PADDING) / 2
        box = self.box(text, upper.x, y, kind, **options)
        self.arrow(upper, box, label)
        return box

    def plus(self, x, y, sign="+"):
        """A circle in which two arrows are added."""
        box = Box(x, y, 24, 24, sign)
        self._shapes["box"].append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="12" fill="{BACKGROUND}" stroke="{INK}" '
            f'stroke-width="1.4"/>')
        self._text(sign, x, y + SIZE * 0.36, SIZE, "middle", INK)
        self.boxes.append(box)
        return box

    def arrow(self, start, end, label="", *, side="right", dashed=False):
        """From one box down (or up) to another: straight where they face each other, else bent."""
        down = end.y > start.y
        y0, y1 = (start.bottom, end.top) if down else (start.top, end.bottom)
        if end.left <= start.x <= end.right:
            points = [(start.x, y0), (start.x, y1)]
        elif start.left <= end.x <= start.right:
            points = [(end.x, y0), (end.x, y1)]
        else:
            middle = (y0 + y1) / 2
            points = [(start.x, y0), (start.x, middle), (end.x, middle), (end.x, y1)]
        self.path(points, dashed=dashed)
        if label:
            x, y = points[0][0], (points[0][1] + points[1][1]) / 2
            self.label(label, x + (9 if side == "right" else -9), y,
                       "start" if side == "right" else "end")

    def across(self, start, end, label="", *, dashed=False):
        """A horizontal arrow between two boxes side by side, at the height of the smaller one."""
        right = end.x > start.x
        y = min(start, end, key=lambda box: box.height).y
        x0, x1 = (start.right, end.left) if right else (start.left, end.right)
        self.path([(x0, y), (x1, y)], dashed=dashed)
        if label:
            self.label(label, (x0 + x1) / 2, y - 10, "middle")

    def around(self, start, end, *, side="left"):
        """A residual connection: leaves the line from `start` in front of the next box, passes by
        the boxes between, and enters `end`, a plus, from the side."""
        sign = -1 if side == "left" else 1
        between = [box for box in self.boxes if box.left <= end.x <= box.right
                   and min(start.y, end.y) < box.y < max(start.y, end.y)]
        edge = max(sign * (box.left if sign < 0 else box.right) for box in between)
        x = sign * (edge + 16)
        y = (min(box.top for box in between) - 14 if end.y > start.y
             else max(box.bottom for box in between) + 14)
        self.path([(end.x, y), (x, y), (x, end.y), (end.x + sign * 12, end.y)])

    def path(self, points, *, dashed=False, head=True):
        """An arrow along points [(x, y), …], with rounded corners."""
        d = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for before, corner, after in zip(points, points[1:], points[2:]):
            enter, leave = _towards(corner, before, 7), _towards(corner, after, 7)
            d += (f" L{enter[0]:.1f} {enter[1]:.1f} "
                  f"Q{corner[0]:.1f} {corner[1]:.1f} {leave[0]:.1f} {leave[1]:.1f}")
        tip = points[-1]
        stop = _towards(tip, points[-2], 6) if head else tip
        d += f" L{stop[0]:.1f} {stop[1]:.1f}"
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._shapes["line"].append(
            f'<path d="{d}" fill="none" stroke="{INK}" stroke-width="1.5"{dashes}/>')
        if head:
            back = _towards(tip, points[-2], 8)
            dx, dy = (tip[1] - back[1]) / 2, (tip[0] - back[0]) / 2
            self._shapes["line"].append(
                f'<path d="M{tip[0]:.1f} {tip[1]:.1f} L{back[0] + dx:.1f} {back[1] + dy:.1f} '
                f'L{back[0] - dx:.1f} {back[1] - dy:.1f} Z" fill="{INK}"/>')
        self.lines.append(points)

    def label(self, text, x, y, anchor="start", *, size=SMALL, color=GREY):
        """Small text beside an arrow, centered at height y; anchor: "start", "middle", "end"."""
        for i, line in enumerate(lines := text.split("\n")):
            offset = (i - (len(lines) - 1) / 2) * (size + 3)
            self._text(line, x, y + offset + size * 0.36, size, anchor, color)

    def group(self, boxes, label="", *, margin=(30, 24)):
        """A dotted frame around boxes, with its label at the right: "× 12"."""
        left, right = min(b.left for b in boxes), max(b.right for b in boxes)
        top, bottom = min(b.top for b in boxes), max(b.bottom for b in boxes)
        frame = Box((left + right) / 2, (top + bottom) / 2, right - left + 2 * margin[0],
                    bottom - top + 2 * margin[1], label)
        if label:
            self.label(label, frame.right + 8, frame.y, size=SIZE, color=INK)
        return self.frame(frame)

    def frame(self, box, *, fill="#f5f7fa", dotted=True):
        """A rectangle behind everything else: a group, or another box of a stack."""
        dots = ' stroke-dasharray="2 3"' if dotted else ""
        self._shapes["frame"].append(
            f'<rect x="{box.left:.1f}" y="{box.top:.1f}" width="{box.width:.1f}" '
            f'height="{box.height:.1f}" rx="8" fill="{fill}" stroke="#7b8490" '
            f'stroke-width="1.2"{dots}/>')
        self.frames.append(box)
        return box

    def _text(self, text, x, baseline, size, anchor, color):
        width = text_width(text, size)
        center = x + {"start": width / 2, "middle": 0, "end": -width / 2}[anchor]
        self.texts.append(Box(center, baseline - size * 0.36, width, size, text))
        self._shapes["text"].append(
            f'<text x="{x:.1f}" y="{baseline:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{color}">{_markup(text, size)}</text>')

    @property
    def view_box(self):
        """The Box that encloses everything, with a margin."""
        parts = self.boxes + self.texts + self.frames
        xs = [x for line in self.lines for x, _ in line]
        ys = [y for line in self.lines for _, y in line]
        left = min([part.left for part in parts] + xs) - MARGIN
        right = max([part.right for part in parts] + xs) + MARGIN
        top = min([part.top for part in parts] + ys) - MARGIN
        bottom = max([part.bottom for part in parts] + ys) + MARGIN
        return Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)

    def svg(self):
        """The drawing as the text of an SVG file, on a light card, legible in the dark too."""
        view = self.view_box
        body = "\n".join(shape for shapes in self._shapes.values() for shape in shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{view.width:.0f}" '
            f'height="{view.height:.0f}" viewBox="{view.left:.1f} {view.top:.1f} '
            f'{view.width:.1f} {view.height:.1f}" font-family="{FONT}" '
            f'style="max-width: 100%; height: auto">\n'
            f'<rect x="{view.left:.1f}" y="{view.top:.1f}" width="{view.width:.1f}" '
            f'height="{view.height:.1f}" rx="8" fill="{BACKGROUND}"/>\n{body}\n</svg>\n')

    def _repr_svg_(self):
        return self.svg()

    def problems(self):
        """-> sentences: boxes or texts that overlap, lines that cross them"""
        found = [f"{a.name!r} overlaps {b.name!r}" for parts in (self.boxes, self.texts)
                 for i, a in enumerate(parts) for b in parts[:i] if a.overlaps(b)]
        found += [f"{text.name!r} sticks out of a box" for text in self.texts for box in self.boxes
                  if text.overlaps(box) and not (box.left <= text.left and text.right <= box.right)]
        for line in self.lines:
            for (x0, y0), (x1, y1) in zip(line, line[1:]):
                segment = Box((x0 + x1) / 2, (y0 + y1) / 2, abs(x1 - x0), abs(y1 - y0))
                found += [f"a line crosses {part.name!r}" for part in self.boxes + self.texts
                          if segment.overlaps(part, gap=-0.6)]
        return found


def text_width(text, size):
    """The width in pixels. Measured in DejaVu Sans; the fonts that may replace it are narrower."""
    width = 0.0
    for script, _, part in _parts(text):
        scale = 0.72 * size if script else size
        width += scale * sum(_advance(character) for character in part)
    return width


@lru_cache(maxsize=None)
def _advance(character):
    """The width of a character, in multiples of the font size."""
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    font.set_size(100, 72)
    return font.load_char(ord(character)).linearHoriAdvance / 65536 / 100


def _parts(text):
    """-> ("" or "_" or "^", position, characters) of each run of text"""
    position = 0
    for match in SCRIPT.finditer(text):
        yield "", position, text[position:match.start()]
        yield match[1], match.start(), match[2]
        position = match.end()
    yield "", position, text[position:]


def _markup(text, size):
    """The tspans of a text with sub- and superscripts."""
    pieces, level = [], 0.0
    for script, _, part in _parts(text):
        if not part:
            continue
        wanted = {"": 0.0, "_": 0.22 * size, "^": -0.36 * size}[script]
        small = f' font-size="{0.72 * size:.1f}"' if script else ""
        shift = f' dy="{wanted - level:.1f}"' if wanted != level else ""
        level = wanted
        content = escape(part, quote=False)
        pieces.append(f"<tspan{shift}{small}>{content}</tspan>" if shift or small else content)
    return "".join(pieces)


def _towards(point, other, distance):
    """The point at a distance from `point` on the way to `other`, at most half of the way."""
    (x, y), (u, v) = point, other
    length = abs(u - x) + abs(v - y)  # the segments are horizontal or vertical
    share = min(distance, length / 2) / length if length else 0.0
    return x + (u - x) * share, y + (v - y) * share
