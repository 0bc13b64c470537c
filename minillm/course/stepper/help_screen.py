"""The help: what the keys do, and what the screen shows."""

from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

HELP = """\
[b]Moving[/b]
 n, space    the next statement of this function, then of its caller
 i           into: the first statement of what this one calls
 o           out: to the caller, when this function is done
 b           back: undo the last move
 c           continue to a layer (2), a function (softmax)
             or a module (h.2.norm1)
 home, end   the first step, the last step

[b]Looking[/b]
 ↑ ↓         choose a variable; its picture is drawn beside it
 enter       inspect: the array on the whole screen, with scrolling
 m           table, heat map, or the likeliest tokens
 \\[ ]         another matrix of a stack, such as the next head
 d           the whole function, with the derivation above it

[b]Signs[/b]
 ▶ is about to run, ◀ has returned. * is new since the last step of
 this function. Bold names stand in the statement about to run.
 Where an axis runs over the tokens of your text, it is labeled with
 them; · is a space. Orange is above zero, blue is below; shades grow
 with the square root of a number's size.

The program has run already, and you walk through its recording: so
going back is exact.
{kernels}
"""
KERNELS = {
    "numpy": "The formulas run in NumPy, so that you can step into them. With\n--kernels c you see "
             "the calls of the C library that minillm makes\notherwise, each as one step.",
    "c": "The C library computes. Each call is one step, shown with the formula\nthat it computes. "
         "Without --kernels c the formulas run in NumPy, and\nyou can step into them.",
}


class HelpScreen(ModalScreen):
    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen VerticalScroll { width: 100%; max-width: 76; height: auto; max-height: 100%;
                                scrollbar-size: 1 1;
                                background: #1c2733; border: round #5f7f9f; padding: 0 1; }
    HelpScreen Static { height: auto; }
    """
    BINDINGS = [("escape,q,question_mark,h", "dismiss")]

    def __init__(self, kernels):
        super().__init__()
        self._text = HELP.format(kernels=KERNELS[kernels])

    def compose(self):
        with VerticalScroll():
            yield Static(self._text)
            yield Static("[b]escape[/b] closes this help")
