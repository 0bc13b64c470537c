"""One array on the whole screen."""

from textual.screen import Screen
from textual.widgets import Static


class InspectScreen(Screen):
    """picture: a Picture; matrix: which one of a stack to begin with"""

    CSS = """
    InspectScreen { background: #121212; }
    InspectScreen #name { height: 1; background: #1f3a57; }
    InspectScreen #array { height: 1fr; }
    InspectScreen #bottom { height: 1; background: #262626; }
    """
    BINDINGS = [
        ("escape,q,enter", "app.pop_screen"), ("m", "other_kind"),
        ("right_square_bracket", "matrix(1)"), ("left_square_bracket", "matrix(-1)"),
        ("down,j", "scroll_by(1, 0)"), ("up,k", "scroll_by(-1, 0)"),
        ("right,l", "scroll_by(0, 1)"), ("left,h", "scroll_by(0, -1)"),
        ("pagedown", "scroll_by(16, 0)"), ("pageup", "scroll_by(-16, 0)"),
        ("home", "scroll_by(-1000000, -1000000)"), ("end", "scroll_by(1000000, 0)"),
    ]

    def __init__(self, picture, matrix=0):
        super().__init__()
        self.picture = picture
        self.matrix = matrix
        self.kind = None
        self.top = self.left = 0

    def compose(self):
        yield Static(id="name", markup=False)
        yield Static(id="array")
        yield Static(id="bottom", markup=False)

    def on_mount(self):
        self.call_after_refresh(self.draw)

    def on_resize(self):
        self.call_after_refresh(self.draw)

    def action_other_kind(self):
        kinds = self.picture.kinds
        self.kind = kinds[(kinds.index(self._kind()) + 1) % len(kinds)]
        self.top = self.left = 0
        self.draw()

    def action_matrix(self, by):
        self.matrix = (self.matrix + by) % self.picture.size[0]
        self.draw()

    def action_scroll_by(self, rows, columns):
        _, m, n = self.picture.size
        self.top = max(0, min(m - 1, self.top + rows))
        self.left = max(0, min(n - 1, self.left + columns))
        self.draw()

    def _kind(self):
        return self.kind or self.picture.best_kind(self.query_one("#array").size.width)

    def draw(self):
        pane = self.query_one("#array")
        self.query_one("#name").update(f" {self.picture.title(self.matrix)}")
        pane.update(self.picture.draw(pane.size.width - 1, pane.size.height, self._kind(),
                                      self.matrix, self.top, self.left))
        note = self.picture.note()
        keys = " arrows scroll  m table/map  [ ] other matrix  escape back"
        self.query_one("#bottom").update(f"{keys}  ({note})" if note else keys)
