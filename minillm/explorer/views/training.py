"""Training on the page: one step of an optimizer, every number that it changes, and undo."""

import numpy as np

from minillm.explorer.practice import Practice, measure
from minillm.explorer.views import offline, view
from minillm.insight.lesson import lesson_of
from minillm.insight.subject import Subject

TRAINED = "trained"  # the key of the copy, for all views
SHOWN = 8  # tokens of each distribution
WINDOW = 64  # rows and columns of a parameter in one answer
MOST_STEPS = 1000


@view
def practice(subject: Subject, explorer, text: str, target: str = "", hide: int = -1) -> dict:
    """Where the training stands, and what the text teaches the model as it is now

    -> {"steps", "undo", "redo": numbers of steps, "curve": losses (n,) before and after each step,
        "bytes", "limit": of what is kept for undo, "parameters": see `Practice.rows`,
        "lesson": {"kind", "rows", "targets", "position", "loss", "losses" (R,), "says"}, or
        {"error", "says"} for a text that has no loss,
        "step": what the last step did, see `_step`; None before the first}
    """
    mine = _mine(explorer, subject)
    answer = _answer(mine)
    answer["lesson"] = _lesson(mine, text, target, hide)
    return answer


@view
def step(subject: Subject, explorer, text: str, optimizer: str = "AdamW", lr: float = 1e-3,
         weight_decay: float = 0.0, clip: float = 0.0, target: str = "", hide: int = -1) -> dict:
    """Take one step on the text -> the answer of `practice`, without "lesson"

    optimizer: "SGD", "Adam" or "AdamW";  clip: the maximum norm of the gradient, 0: none
    target, hide: see `lesson_of`

    The copy becomes the model "trained" of all views.
    """
    mine = _mine(explorer, subject)
    lesson = lesson_of(mine.origin, text, target, hide)
    mine.step(lesson, optimizer, lr, weight_decay, clip)
    return _answer(_keep(explorer, mine))


@view
def steps(subject: Subject, explorer, report, text: str, n: int = 10, optimizer: str = "AdamW",
          lr: float = 1e-3, weight_decay: float = 0.0, clip: float = 0.0, target: str = "",
          hide: int = -1) -> dict:
    """Take n steps on the text; the steps so far stay if it is cancelled -> as `step`

    report's partial: {"step", "before", "after"}: the step's number and its losses
    """
    if not 1 <= n <= MOST_STEPS:
        raise ValueError(f"n is {n}, wanted 1 to {MOST_STEPS:,}")
    mine = _mine(explorer, subject)
    lesson = lesson_of(mine.origin, text, target, hide)
    for done in range(n):
        state = mine.step(lesson, optimizer, lr, weight_decay, clip)
        _keep(explorer, mine)
        report(done + 1, n, {"step": state.number, "before": state.before.loss,
                             "after": state.after.loss})
        if explorer.practice is not mine:
            raise ValueError("the practice was reset in the meantime")
    return _answer(mine)


@view
def undo(subject: Subject, explorer) -> dict:
    """Take the last step back, bit for bit -> as `step`"""
    mine = _mine(explorer, subject)
    mine.undo()
    return _answer(mine)


@view
def redo(subject: Subject, explorer) -> dict:
    """Take an undone step again, bit for bit -> as `step`"""
    mine = _mine(explorer, subject)
    mine.redo()
    return _answer(mine)


@view
def reset_practice(subject: Subject, explorer) -> dict:
    """Forget the copy and all its steps -> as `step`, before the first one"""
    origin = _origin(explorer, subject)
    explorer.practice = None
    explorer.subjects.pop(TRAINED, None)
    return _answer(Practice(origin))


@view
def practice_parameter(subject: Subject, explorer, name: str, row: int = 0,
                       column: int = 0) -> dict:
    """A window of at most 64 × 64 numbers of one parameter, before, in and after the last step

    row, column: where it begins; a vector is one row

    -> {"name", "shape", "row", "column", "row_names": strings or None, "before", "after",
        "gradient", "m_before", "v_before", "m", "v": arrays (rows, columns) or None,
        "optimizer", "t", "lr", "betas", "eps", "grad_scale", "l2", "decay": the step's numbers,
        as the arguments of ops/adam.py}
    """
    return _parameter(_mine(explorer, subject), name, row, column)


@view
def example_step(subject: Subject, text: str) -> dict:
    """One step of AdamW on another copy of the model, for a page without a server

    -> as `practice`; "parameter": as `practice_parameter`, a part of the first block's matrix
    """
    mine = Practice(subject)
    name = next(name for name, parameter in mine.model.named_parameters()
                if parameter.ndim == 2 and "attention" in name)
    lesson = _lesson(mine, text, "", -1)
    if "error" not in lesson:
        mine.step(lesson_of(mine.origin, text))
    answer = _answer(mine)
    answer["lesson"] = lesson
    answer["parameter"] = None if "error" in lesson else _parameter(mine, name, 0, 0, 24)
    return answer


@offline
def offline_training(subject, text):
    yield "example_step", {}


# ---- whose practice is it?


def _origin(explorer, subject):
    """-> the Subject that is trained: also when the page shows the trained copy"""
    if explorer.practice is not None and subject is explorer.practice.subject:
        return explorer.practice.origin
    return subject


def _mine(explorer, subject):
    """-> the Practice of the subject: the one that is going on, or a new one"""
    origin = _origin(explorer, subject)
    if explorer.practice is None or explorer.practice.origin is not origin:
        return Practice(origin)
    return explorer.practice


def _keep(explorer, mine):
    """Let all views see the copy; a page trains one model at a time."""
    explorer.practice = mine
    mine.subject.name = f"{mine.origin.name} + {mine.state.number}"
    explorer.subjects[TRAINED] = mine.subject
    return mine


# ---- what the page is told


def _answer(mine):
    curve = np.array(mine.curve, np.float64).reshape(-1, 2)
    return {"steps": mine.state.number, "undo": mine.now, "redo": len(mine.states) - mine.now - 1,
            "curve": {"before": curve[:, 0], "after": curve[:, 1]}, "bytes": mine.n_bytes,
            "limit": mine.limit, "origin": mine.origin.name, "parameters": mine.rows(),
            "step": _step(mine)}


def _lesson(mine, text, target, hide):
    says = {"says": mine.subject.says, "labels": mine.subject.labels,
            "mask": mine.subject.tokenizer.mask_token,
            "encoder_decoder": mine.subject.is_encoder_decoder}
    try:
        lesson = lesson_of(mine.origin, text, target, hide)
    except ValueError as error:
        return {**says, "error": str(error)}
    measured = measure(mine.model, lesson)
    return {**says, **_rows(lesson), "loss": measured.loss, "losses": measured.losses,
            "distribution": _distribution(mine.subject, lesson, measured.P, measured.P)}


def _rows(lesson):
    return {"kind": lesson.kind, "rows": lesson.rows, "targets": lesson.target_names,
            "position": lesson.position}


def _step(mine):
    """-> what the last step did: the numbers of its State; None before the first

    "linear": -η ‖g‖², what plain gradient descent promises; only where it is what the step is
    """
    state = mine.state
    if not state.number:
        return None
    options, lesson = state.options, state.lesson
    plain = options["optimizer"] == "SGD" and not options["weight_decay"]
    return {**options, "number": state.number, "is_fresh": state.is_fresh, **_rows(lesson),
            "loss_before": state.before.loss, "loss_after": state.after.loss,
            "predicted": state.predicted, "norm": state.norm, "grad_scale": state.grad_scale,
            "linear": -options["lr"] * state.grad_scale * state.norm**2 if plain else None,
            "losses_before": state.before.losses, "losses_after": state.after.losses,
            "distribution": _distribution(mine.subject, lesson, state.before.P, state.after.P)}


def _distribution(subject, lesson, before, after):
    """-> {"ids": (R, K), "before", "after": float32 (R, K), "names": {id: string}}: the K likeliest
    of both, and the target among them; None where the outputs are numbers
    """
    if before is None:
        return None
    most = np.maximum(before, after)
    asked = lesson.targets >= 0
    most[asked, lesson.targets[asked]] = np.inf
    k = min(SHOWN, most.shape[1])
    ids = np.argpartition(-most, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(before, ids, axis=1), axis=1, kind="stable")
    ids = np.take_along_axis(ids, order, axis=1)
    unique = np.unique(ids)
    if lesson.kind == "span":  # the classes are places in the text
        names = subject.names(lesson.inputs["input_ids"][0][unique])
    else:
        names = subject.answer_names(unique)
    return {"ids": ids, "before": np.take_along_axis(before, ids, axis=1),
            "after": np.take_along_axis(after, ids, axis=1),
            "names": dict(zip(map(str, unique), names))}


def _parameter(mine, name, row, column, size=WINDOW):
    index, state, previous = mine.index_of(name), mine.state, mine.previous
    shape = state.weights[index].shape
    n_rows, n_columns = (1, *shape) if len(shape) < 2 else (shape[0], int(np.prod(shape[1:])))
    for what, at, n in (("row", row, n_rows), ("column", column, n_columns)):
        if not 0 <= at < n:
            raise ValueError(f"{what} is {at}, wanted 0 to {n - 1}")

    def window(x):
        if x is None:
            return None
        return x.reshape(n_rows, n_columns)[row : row + size, column : column + size].copy()

    moments = mine.moments_of(index)
    before = {} if previous is None or state.is_fresh else previous.moments
    old = {moment: before.get(f"{moment}.{index}", np.zeros(shape, state.weights[index].dtype))
           for moment in ("m", "v")} if moments and previous is not None else {"m": None, "v": None}
    l2, decay = mine.decay_of(index)
    return {
        "name": name, "shape": list(shape), "row": row, "column": column, "size": size,
        "row_names": _row_names(mine, index, row, size),
        "before": window(None if previous is None else previous.weights[index]),
        "after": window(state.weights[index]),
        "gradient": window(state.gradients[index]) if state.gradients else None,
        "m_before": window(old["m"]), "v_before": window(old["v"]),
        "m": window(moments.get("m")), "v": window(moments.get("v")),
        "optimizer": state.options.get("optimizer"), "t": moments.get("t", state.number),
        "lr": state.options.get("lr"), "betas": moments.get("betas"), "eps": moments.get("eps"),
        "grad_scale": state.grad_scale, "l2": l2, "decay": decay,
    }


def _row_names(mine, index, row, size):
    """-> the tokens that the rows of a table of embeddings belong to; None for other parameters"""
    weight = mine.model.parameters()[index]
    if all(weight is not table.weight for table in mine.model.token_tables()):
        return None
    n = min(len(weight.data), len(mine.subject.tokenizer))
    return mine.subject.names(range(row, max(row, min(row + size, n))))
