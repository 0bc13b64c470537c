"""The steps as plain lines, for pipes, files and small questions."""

from minillm.course.stepper.recording import RETURNED
from minillm.course.stepper.variables import describe
from minillm.course.stepper.walk import layer_of


def lines_of(session, *, layer=None, depth=None):
    """Yield a line for each call, each statement and each variable that it changed.

    layer: only what happens inside this block; depth: how many calls deep, from the block on
    """
    inside = None  # the call that contains what is shown
    previous = None
    for step in session.recording.steps[session.start :]:
        outer = _outermost(step.call, layer)
        if outer is None or depth is not None and step.call.depth - outer.depth > depth:
            continue
        if outer is not inside and layer is not None:
            inside = outer
            yield ""
        indent = "  " * (step.call.depth - outer.depth)
        if step is step.call.steps[0]:
            yield indent + _heading(step.call)
        yield from _step_lines(step, indent + "  ")
        previous = step
    if previous is None:
        raise ValueError("no step is left to show")


def _outermost(call, layer):
    """-> the call of the layer around `call`, or without a layer the root; None if there is none"""
    for each in call.callers():
        if layer is None or layer_of(each) == layer:
            return each
    return None


def _heading(call):
    function = call.function
    where = f"{call.path}: " if call.path else ""
    how = ", one call of the C library" if call.in_c else ""
    return f"{where}{function.name}  ({function.place}:{function.first}{how})"


def _step_lines(step, indent):
    for name, value in step.changes.items():
        shape, words = describe(value)
        if name != "self" and words != "None":
            name = "→" if name == RETURNED else name
            yield " ".join(filter(None, (indent + "    ", name, shape, words)))
    if not step.is_return:
        yield f"{indent}{step.statement.first:4} {step.call.function.text(step.statement)}"
