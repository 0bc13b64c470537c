"""The stepper on the terminal: the source, the variables and one array of them, the keys.

`Stepper` is a `textual` App, but it uses little of it: it draws everything anew after each key.
"""

from rich.text import Text
from textual.app import App
from textual.containers import Container
from textual.widgets import Input, Static

from minillm.course.stepper.help_screen import HelpScreen
from minillm.course.stepper.inspect_screen import InspectScreen
from minillm.course.stepper.snapshots import ArraySnapshot
from minillm.course.stepper.source_pane import source_text, title_of
from minillm.course.stepper.source_screen import SourceScreen
from minillm.course.stepper.variables import Picture, describe, rows_of
from minillm.course.stepper.walk import Walk, n_layers

KEYS = [("n", "next"), ("i", "into"), ("o", "out"), ("b", "back"), ("c", "continue"),
        ("↑↓", "name"), ("↵", "inspect"), ("?", "help"), ("q", "quit")]


class Stepper(App):
    """Walk through a Session."""

    CSS = """
    Screen { layout: vertical; background: #121212; color: #d8d8d8; }
    #title { height: 1; background: #1f3a57; }
    #keys { height: 1; background: #262626; }
    #prompt { height: 1; border: none; padding: 0; display: none; background: #262626; }
    #body { height: 1fr; layout: vertical; }
    #source { height: 1fr; width: 1fr; }
    #values { height: 1fr; width: 1fr; layout: horizontal; }
    #variables { width: 1fr; height: 1fr; }
    #picture { width: 1fr; height: 1fr; padding-left: 1; }
    #source, #variables, #picture { border-top: solid #5f7f9f; border-title-color: #9fc7ef; }
    .wide #body { layout: horizontal; }
    .wide #values { layout: vertical; }
    .wide #source { border-right: solid #5f7f9f; }
    .narrow #picture { display: none; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (60, "normal"), (130, "wide")]
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None  # the prompt gets the keys only while it is open
    BINDINGS = [
        ("n,space", "move('next')"), ("i,s", "move('into')"), ("o", "move('out')"),
        ("b,backspace", "move('back')"), ("home", "move('start')"), ("end", "move('end')"),
        ("c", "ask"), ("down,j", "choose(1)"), ("up,k", "choose(-1)"), ("enter", "inspect"),
        ("m", "other_kind"), ("right_square_bracket", "matrix(1)"),
        ("left_square_bracket", "matrix(-1)"), ("d", "source"), ("question_mark,h", "help"),
        ("q", "quit"),
    ]

    def __init__(self, session):
        super().__init__()
        self.session = session
        self.walk = Walk(session.recording, session.start)
        self.message = ""
        self._show_first_array()

    def compose(self):
        yield Static(id="title")
        with Container(id="body"):
            yield Static(id="source")
            with Container(id="values"):
                yield Static(id="variables")
                yield Static(id="picture")
        yield Static(id="keys")
        yield Input(id="prompt", placeholder="a layer such as 2, or a name such as softmax")

    def on_mount(self):
        self.call_after_refresh(self.draw)

    def on_resize(self):
        self.call_after_refresh(self.draw)

    # ---- what the keys do

    def action_move(self, how):
        if getattr(self.walk, how)():
            self._show_first_array()
            self.message = ""
        else:
            self.message = {"back": "This is the first step.",
                            "start": "This is the first step."}.get(how, "This is the last step.")
        self.draw()

    def action_ask(self):
        prompt = self.query_one("#prompt")
        prompt.value = ""
        prompt.styles.display = "block"
        self.query_one("#keys").styles.display = "none"
        prompt.focus()

    def on_input_submitted(self, event):
        where = event.value.strip()
        self._end_asking()
        if where and not self.continue_to(where):
            last = n_layers(self.session.recording) - 1
            self.message = f"{where}: no such call; layers are 0 … {last}"
        self.draw()

    def continue_to(self, where):
        """-> whether there is a call of the layer, function or module `where`"""
        found = self.walk.continue_to(where)
        self._show_first_array()
        return found

    def on_key(self, event):
        if event.key == "escape" and self.query_one("#prompt").has_focus:
            self._end_asking()
            self.draw()

    def _end_asking(self):
        self.message = ""
        self.query_one("#prompt").styles.display = "none"
        self.query_one("#keys").styles.display = "block"
        self.set_focus(None)

    def action_choose(self, by):
        self.chosen = max(0, min(len(self.rows) - 1, self.chosen + by))
        self.kind, self.matrix = None, 0
        self.draw()

    def action_inspect(self):
        picture = self.picture()
        if picture is None:
            row = self.rows[self.chosen]
            self.message = f"{row.name} is no array: {describe(row.value)[1]}"
            self.draw()
        else:
            self.push_screen(InspectScreen(picture, self.matrix))

    def action_other_kind(self):
        picture = self.picture()
        if picture is not None:
            kind = self.kind or picture.best_kind(self.query_one("#picture").size.width)
            self.kind = picture.kinds[(picture.kinds.index(kind) + 1) % len(picture.kinds)]
        self.draw()

    def action_matrix(self, by):
        picture = self.picture()
        if picture is not None:
            self.matrix = (self.matrix + by) % picture.size[0]
        self.draw()

    def action_source(self):
        self.push_screen(SourceScreen(self.walk.step))

    def action_help(self):
        self.push_screen(HelpScreen(self.session.kernels))

    # ---- what is on the screen

    def _show_first_array(self):
        """Choose the first array: the newest result, or what the statement uses."""
        self.rows = rows_of(self.walk.step)
        self.kind, self.matrix = None, 0
        arrays = [index for index, row in enumerate(self.rows)
                  if isinstance(row.value, ArraySnapshot)]
        self.chosen = arrays[0] if arrays else 0

    def picture(self):
        """-> the Picture of the variable that is chosen, None if it isn't an array"""
        if not self.rows or not isinstance(self.rows[self.chosen].value, ArraySnapshot):
            return None
        row = self.rows[self.chosen]
        return Picture(row.name, row.value, self.session)

    def draw(self):
        step = self.walk.step
        self.query_one("#title").update(self._title(self.size.width))
        source = self.query_one("#source")
        source.border_title = Text(title_of(step, source.size.width - 4)).markup
        source.update(source_text(step, source.size.width, source.content_size.height))
        variables = self.query_one("#variables")
        variables.border_title = "returned" if step.is_return else "before this line runs"
        variables.update(self._variables(variables.size.width, variables.content_size.height))
        self._draw_picture(self.query_one("#picture"))
        self.query_one("#keys").update(self._keys(self.size.width))

    def _title(self, width):
        session, step = self.session, self.walk.step
        how = "formulas in NumPy" if session.kernels == "numpy" else "kernels in C"
        place = f" {step.index + 1}/{len(session.recording.steps)} "
        left = f" minillm step · {session.model_name} · {how} · {'·'.join(session.tokens)}"
        left = left.replace("··", "·")
        text = Text(left, no_wrap=True)
        text.truncate(max(0, width - len(place)), overflow="ellipsis", pad=True)
        return text.append(place, "bold")

    def _variables(self, width, height):
        text = Text(no_wrap=True)
        top = max(0, min(self.chosen - height // 2, len(self.rows) - height))
        for index, row in list(enumerate(self.rows))[top : top + height]:
            shape, words = describe(row.value)
            line = Text(no_wrap=True)
            line.append("▸" if index == self.chosen else " ")
            line.append("*" if row.is_new else " ", "bold rgb(240,200,60)")
            line.append(row.name, "bold" if row.is_new or row.is_used else "rgb(150,150,150)")
            line.append(f" {shape}" if shape else "", "rgb(130,190,250)")
            line.append(f" {words}")
            line.truncate(width, overflow="ellipsis", pad=True)
            if index == self.chosen:
                line.stylize("on rgb(40,60,80)")
            text.append(line).append("\n")
        return text

    def _draw_picture(self, pane):
        picture, size = self.picture(), pane.content_size
        if picture is None or size.width < 12:
            pane.border_title = ""
            pane.update("")
            return
        title = Text(picture.title(self.matrix), no_wrap=True)
        title.truncate(max(1, size.width - 4), overflow="ellipsis")
        pane.border_title = title.markup
        text = picture.draw(size.width - 1, size.height, self.kind, self.matrix)
        pane.update(text)

    def _keys(self, width):
        if self.message:
            return Text(f" {self.message}", "bold rgb(250,200,90)", no_wrap=True)
        shown = [f" {key} {what} " for key, what in KEYS]
        while len("".join(shown)) > width and len(shown) > 2:
            del shown[-3]  # help and quit stay
        text = Text("".join(shown), no_wrap=True)
        for entry in shown:
            start = text.plain.index(entry) + 1
            text.stylize("bold rgb(250,200,90)", start, start + len(entry.split()[0]))
        return text
