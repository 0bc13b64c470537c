"""`minillm step`: walk through a model one operation at a time."""

import os
import sys

from minillm.cli.generation import read_stdin
from minillm.cli.terminal import for_stream, say
from minillm.cli.visible import visible
from minillm.course.stepper.plain import lines_of
from minillm.course.stepper.session import record_text
from minillm.course.stepper.walk import n_layers
from minillm.models.auto import AutoModelForCausalLM
from minillm.text.auto import AutoTokenizer
from minillm.training.run import model_folder


def step(options):
    text = options.text if options.text is not None else read_stdin("text")
    plain = options.plain or not sys.stdout.isatty()
    if not plain:
        _require_terminal()
        _require_textual()
        if options.depth is not None:
            raise ValueError("--depth is for --plain: on the screen, press o to leave a function")
    if options.depth is not None and options.depth < 0:
        raise ValueError(f"depth is {options.depth}, wanted at least 0")

    say(f"recording {options.model} …")
    folder = model_folder(options.model)
    session = record_text(
        AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder),
        text.removeprefix("\ufeff"), model_name=visible(options.model), kernels=options.kernels,
        backward=options.backward)
    if options.layer is not None:
        last = n_layers(session.recording) - 1
        if last < 0:
            raise ValueError(f"layer is {options.layer}, but no block ran in minillm's own code, "
                             "which alone is recorded")
        if not 0 <= options.layer <= last:
            raise ValueError(f"layer is {options.layer}, wanted 0 … {last}")
    if plain:
        for line in lines_of(session, layer=options.layer, depth=options.depth):
            print(for_stream(line))
        return
    from minillm.course.stepper.screen import Stepper

    stepper = Stepper(session)
    if options.layer is not None:
        stepper.continue_to(str(options.layer))
    stepper.run()


def _require_terminal():
    if not sys.stdin or not sys.stdin.isatty():
        raise ValueError("standard input is not a terminal, so there is no keyboard to step with: "
                         "give the text as an argument, or use --plain")
    if os.environ.get("TERM") in (None, "", "dumb"):
        raise ValueError("this terminal (TERM) can't show the screen: use --plain")


def _require_textual():
    try:
        import textual  # noqa: F401
    except ImportError:
        raise ImportError('the screen of `minillm step` needs textual: pip install '
                          '"minillm[course]"; --plain works without it') from None
