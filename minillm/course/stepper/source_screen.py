"""The whole function, with the derivation above it."""

from rich.text import Text
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from minillm.course.stepper.source_pane import COMMENT, MARK, colored_lines


class SourceScreen(Screen):
    CSS = """
    SourceScreen VerticalScroll { height: 1fr; background: #121212; scrollbar-size: 1 1; }
    SourceScreen #text { height: auto; }
    SourceScreen #place { height: 1; background: #1f3a57; }
    SourceScreen #bottom { height: 1; background: #262626; }
    """
    BINDINGS = [("escape,q,d", "app.pop_screen")]

    def __init__(self, step):
        super().__init__()
        self._step = step

    def compose(self):
        function = self._step.call.function
        yield Static(f" {function.place}:{function.first}  {function.name}", id="place",
                     markup=False)
        with VerticalScroll():
            yield Static(self._text(), id="text")
        yield Static(" ↑↓ scroll  escape back", id="bottom")

    def _text(self):
        function, statement = self._step.call.function, self._step.statement
        text = Text()
        for line in function.comment_above():
            text.append(line + "\n", COMMENT)
        for number, line in enumerate(colored_lines(function), function.first):
            shown = line.copy()
            if not self._step.call.in_c and statement.first <= number <= statement.last:
                shown.stylize(MARK)
            text.append(shown).append("\n")
        return text
