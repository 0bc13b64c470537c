"""The screen of the stepper, driven by textual's own driver."""

import asyncio

import pytest

pytest.importorskip("textual")

from minillm.course.stepper.screen import Stepper  # noqa: E402
from minillm.course.stepper.session import record_text  # noqa: E402
from minillm.models.auto import AutoModelForCausalLM  # noqa: E402
from minillm.text.auto import AutoTokenizer  # noqa: E402

SIZES = [(80, 24), (40, 12), (200, 60), (20, 5)]


@pytest.fixture(scope="module")
def sessions():
    model = AutoModelForCausalLM.from_pretrained("pydoc-tiny")
    tokenizer = AutoTokenizer.from_pretrained("pydoc-tiny")
    return {backward: record_text(model, tokenizer, "The class statement", model_name="pydoc-tiny",
                                  backward=backward) for backward in (False, True)}


def run(session, keys, look, size=(80, 24)):
    """Press the keys, then call look(app)."""

    async def drive():
        app = Stepper(session)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            for key in keys:
                await pilot.press(key)
            await pilot.pause()
            look(app)

    asyncio.run(drive())


def text_of(app, widget):
    """-> what a widget shows, as plain text"""
    lines = app.screen.query_one(widget).render_lines
    region = app.screen.query_one(widget).size.region
    return "\n".join(strip.text for strip in lines(region))


def type_name(name):
    """-> the keys that continue to `name`"""
    keys = {"_": "underscore", ".": "full_stop"}
    return ["c", *(keys.get(letter, letter) for letter in name), "enter"]


def test_the_first_screen(sessions):
    def look(app):
        assert "logits = model(ids).logits" in text_of(app, "#source")
        assert "▶" in text_of(app, "#source")
        assert "ids (1, 3)" in text_of(app, "#variables")
        assert "·class" in text_of(app, "#picture")
        keys = text_of(app, "#keys")
        for word in ("next", "into", "out", "back", "continue", "inspect", "help", "quit"):
            assert word in keys

    run(sessions[False], [], look)


def test_moving(sessions):
    steps = []
    for keys in ([], ["n"], ["n", "b"], ["i"], ["i", "i", "o"], ["end"], ["end", "home"]):
        run(sessions[False], keys, lambda app: steps.append(app.walk.step))
    start, after_next, back, inside, out, end, home = steps
    assert back is home is start and end.index == len(sessions[False].recording.steps) - 1
    assert after_next.call is start.call is out.call and inside.call.caller is start.call


def test_the_end_says_so(sessions):
    run(sessions[False], ["end", "n"], lambda app: text_of(app, "#keys").index("the last step"))
    run(sessions[False], ["b"], lambda app: text_of(app, "#keys").index("the first step"))


def test_continue_to(sessions):
    run(sessions[False], ["c", "2", "enter"],
        lambda app: text_of(app, "#variables").index("DecoderBlock transformer.h.2"))

    def attention(app):
        assert app.walk.step.call.name == "fused_attention"
        assert app.focused is None

    run(sessions[False], type_name("fused_attention"), attention)
    run(sessions[False], ["c", "9", "enter"],
        lambda app: text_of(app, "#keys").index("no such call; layers are 0 … 3"))
    run(sessions[False], ["c", "2", "escape", "n"],
        lambda app: text_of(app, "#source").index("▶"))


def test_attention_weights_are_a_table_with_the_tokens(sessions):
    def look(app):
        picture = text_of(app, "#picture")
        assert "·statem" in picture and "1.000" in picture

    run(sessions[False], [*type_name("fused_attention"), "n", "n", "n"], look)


def test_choosing_a_variable_and_a_head(sessions):
    def look(app):
        assert app.rows[app.chosen].name == "P" or app.chosen == 1
        assert "[0, 1]" in str(app.query_one("#picture").border_title)

    run(sessions[False], [*type_name("fused_attention"), "n", "n", "n", "right_square_bracket"],
        look)
    run(sessions[False], ["up", "up", "down"], lambda app: None)


def test_inspect(sessions):
    def look(app):
        assert type(app.screen).__name__ == "InspectScreen"
        assert "(1, 3, 128)" in text_of(app, "#name")
        assert "·class" in text_of(app, "#array")

    run(sessions[False], ["c", "2", "enter", "enter"], look)
    moves = ["m", "down", "right", "pagedown", "end", "home", "m", "right_square_bracket"]
    run(sessions[False], ["c", "2", "enter", "enter", *moves], look)
    run(sessions[False], ["c", "2", "enter", "enter", "escape"],
        lambda app: text_of(app, "#source").index("▶"))


def test_the_derivation(sessions):
    def look(app):
        assert "dx̂" in text_of(app, "#text")

    run(sessions[True], [*type_name("layer_norm_backward"), "d"], look)


@pytest.mark.parametrize("size", SIZES)
def test_help(sessions, size):
    run(sessions[False], ["question_mark"],
        lambda app: type(app.screen).__name__.index("HelpScreen"), size)
    run(sessions[False], ["question_mark", "escape", "n"],
        lambda app: text_of(app, "#title").index("minillm"), size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backward", [False, True])
def test_every_size(sessions, size, backward):
    def look(app):
        title = text_of(app, "#title")
        assert len(title) == size[0]
        assert text_of(app, "#source").strip() or size[1] < 10

    run(sessions[backward], ["c", "1", "enter", "i", "n", "n", "i", "i", "m", "m", "down", "enter",
                             "escape", "o", "b"], look, size)


def test_a_resized_terminal(sessions):
    async def drive():
        app = Stepper(sessions[False])
        async with app.run_test(size=(80, 24)) as pilot:
            for size in ((200, 60), (30, 8), (80, 24)):
                await pilot.resize_terminal(*size)
                await pilot.pause()
                assert len(text_of(app, "#title")) == size[0]

    asyncio.run(drive())


def test_quit(sessions):
    run(sessions[False], ["q"], lambda app: None)
