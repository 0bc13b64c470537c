"""A run's history: how the heads form, step by step, with the loss curve beside."""

import shlex
from collections import OrderedDict

import numpy as np

from minillm.explorer.question import probabilities
from minillm.explorer.views import offline, view
from minillm.insight.anatomy import Anatomy
from minillm.insight.attention import attention_weights, repeated_tokens, summarize_heads
from minillm.insight.lesson import lesson_of
from minillm.insight.subject import Subject
from minillm.nn.module import no_grad
from minillm.nn.trace import trace
from minillm.training.metrics import read_metrics
from minillm.training.run import Run
from minillm.training.snapshots import History

SCORES = ("previous", "first", "itself", "entropy", "induction")
SERIES = ("loss", "valid_loss", "grad_norm", "lr")
TOP = 6  # predictions of each step
MOST_TOKENS = 128  # of the text, whose attention is shown
KEPT_BYTES = 128 * 2**20  # of models that were opened
PERIOD = 24  # tokens that are repeated to find induction heads
WANTED = 20  # snapshots


@view
def run_history(subject: Subject) -> dict:
    """The models that a run has kept, and what it measured

    -> {"run": its name; None for a model that isn't in a run folder, "steps": list of int,
        "exact": list of bool, False for snapshots in float16, "total": the run's last step,
        "series": {"loss": {"x": int (n,), "y": float (n,)}, …}, "commands": list of strings, that
        make a run like this one, or a finer record of it}
    """
    run = _run_of(subject)
    if run is None:
        return {"run": None, "commands": _commands(subject)}
    history = History(run)
    records, _ = read_metrics(run.folder / "metrics.jsonl")
    return {
        "run": subject.name, "steps": list(history.paths),
        "exact": [not history.is_snapshot(step) for step in history.paths],
        "total": run.settings.steps, "keep": run.settings.keep, "snapshots": run.settings.snapshots,
        "series": {name: _series(records, name) for name in SERIES},
        "commands": _finer(run, len(history.paths)),
    }


@view
def checkpoint(subject: Subject, explorer, text: str, step: int, exact: bool = False) -> dict:
    """What the model looked at and predicted after `step` steps

    -> {"step", "exact": whether its weights are exact, "tokens": strings,
        "n_tokens": of the text; attention is that of the first 128,
        "weights": (L, H, T, T): uint8, 255 times the attention weights, rounded; float32 if
        `exact`,
        "scores": {"previous": float64 (L, H), …}, see `HeadSummary`; "induction" is None,
        "loss": of the text; None without one, "position": of the prediction,
        "top": [{"id", "name", "p"}, …], "answer": the same, of what the opened model says}

    All steps read the same tokens: in an encoder-decoder, the answer of the opened model.
    """
    history = _history(subject)
    model = _opened(explorer, subject, history, step)
    seen = _look(explorer, subject, model, text)
    W = np.stack([w[0, :, :MOST_TOKENS, :MOST_TOKENS] for w in seen["weights"]])
    return {
        "step": step, "exact": not history.is_snapshot(step),
        "tokens": seen["tokens"][:MOST_TOKENS],
        "n_tokens": len(seen["tokens"]),
        "weights": W.astype(np.float32) if exact else np.rint(255 * W).astype(np.uint8),
        "scores": _scores(seen["weights"]), "loss": seen["loss"], "position": seen["position"],
        "top": seen["top"], "answer": seen["answer"],
    }


@view
def head_history(subject: Subject, explorer, report, text: str) -> dict:
    """The scores of all heads, the loss of the text and its prediction, over all kept steps

    -> {"steps": int (S,), "scores": {"previous": float64 (S, L, H), …}: on the text, but
        "induction" on repeated random tokens; None for models that see both sides,
        "loss": float64 (S,), nan without one, "p": float64 (S,), the probability of what the opened
        model says, "answer": its name, "said": S strings, "p_said": float64 (S,)}

    report's partial: the same of one step
    """
    history, found = _history(subject), []
    for done, step in enumerate(list(history.paths), 1):
        model = _opened(explorer, subject, history, step)
        seen = _look(explorer, subject, model, text)
        scores = {**_scores(seen["weights"]),
                  "induction": _induction(explorer, subject, history, step, model)}
        top, answer = seen["top"], seen["answer"]
        found.append({"step": step, "scores": scores, "loss": seen["loss"],
                      "p": answer["p"] if answer else None, "said": top[0]["name"] if top else None,
                      "p_said": top[0]["p"] if top else None})
        report(done, len(history.paths), found[-1])
    return {
        "steps": np.array([each["step"] for each in found], np.int64),
        "scores": {name: None if any(each["scores"][name] is None for each in found) else
                   np.array([each["scores"][name] for each in found]) for name in SCORES},
        **{name: _column(found, name) for name in ("loss", "p", "p_said")},
        "said": [each["said"] for each in found], "answer": answer["name"] if answer else None,
    }


@offline
def offline_checkpoints(subject, text):
    yield "run_history", {}
    run = _run_of(subject)
    steps = [] if run is None else list(History(run).paths)
    for step in steps:
        yield "checkpoint", {"step": step}
    if steps:
        yield "head_history", {}


# ---- the run


def _run_of(subject):
    """-> Run, or None for a model that isn't the one of a run folder"""
    folder = subject.folder
    if folder is None or folder.name != "model" or not (folder.parent / "run.json").is_file():
        return None
    return Run(folder.parent)


def _history(subject):
    run = _run_of(subject)
    if run is None:
        raise ValueError(f"{subject.name or 'the model'} is not a run folder, wanted one, which "
                         "has checkpoints")
    return History(run)


def _series(records, name):
    found = [(record["step"], record[name]) for record in records if name in record]
    x, y = zip(*found) if found else ((), ())
    return {"x": np.array(x, np.int64), "y": np.array(y, np.float64)}


def _commands(subject):
    """-> list of command lines that make a run to scrub through"""
    commands = ["minillm demo", "minillm explore --model runs/demo-1"]
    if subject.folder is not None:
        commands.append(f"minillm finetune --model {shlex.quote(subject.name)} --text my_text.txt "
                        f"--snapshots {WANTED}")
    return commands


def _finer(run, n):
    """-> list of command lines, for a run that has kept little"""
    if n >= WANTED // 2:
        return []
    return [f"minillm train --resume {shlex.quote(str(run.folder))} --steps "
            f"{2 * run.settings.steps} --snapshots {WANTED}"]


# ---- a model of the run


def _opened(explorer, subject, history, step):
    """-> the model at a step, from those that were opened last"""
    if step not in history.paths:
        history.open(step)  # raises the error
    path = history.paths[step]
    kept = explorer.kept.setdefault("checkpoints", OrderedDict())
    cls = type(subject.model.model if subject.says == "vector" else subject.model)
    key = (str(path), path.stat().st_mtime_ns, cls)
    if key not in kept:
        try:
            kept[key] = history.open(step, cls)
        except FileNotFoundError as error:
            raise ValueError(f"{error}: the run has deleted it in the meantime") from None
        size = sum(x.nbytes for x in kept[key].state_dict().values())
        while len(kept) > max(1, KEPT_BYTES // size):
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]


def _look(explorer, subject, model, text):
    """-> dict: tokens, weights: list of (1, H, T, T), loss, position, top, answer"""
    reading, lesson, answer = _asked(explorer, subject, text)
    is_same = lesson is not None and lesson.kind == "next token"  # one forward serves both
    names = [block.weights for block in Anatomy(model).blocks]
    with no_grad():
        with trace(model, names) as t:
            output = model(**(lesson if is_same else reading).inputs)
        loss = None
        if lesson is not None:
            loss = (output if is_same else model(**lesson.inputs)).loss.item()
    seen = {"tokens": reading.tokens, "weights": [t[name] for name in names], "loss": loss,
            "position": reading.position, "top": [], "answer": None}
    if answer is not None:
        p = probabilities(output.logits, reading.position)[0]
        best = np.argsort(-p, kind="stable")[:TOP]
        named = [{"id": int(id), "name": name, "p": float(p[id])}
                 for id, name in zip((*best, answer), subject.answer_names([*best, answer]))]
        seen["top"], seen["answer"] = named[:-1], named[-1]
    return seen


def _asked(explorer, subject, text):
    """-> Reading, Lesson, the answer of `subject`, all None that it doesn't have; the same for all
    steps, so the last ones are kept

    The lesson is what `subject` says, where the text is no target itself.
    """
    kept = explorer.kept.setdefault("asked", OrderedDict())
    if (id(subject), text) not in kept:
        reading = subject.read(text)
        try:
            lesson = lesson_of(subject, text)
        except ValueError:
            lesson = None
        answer = None if subject.says in (None, "vector") else subject.said(reading)
        kept[id(subject), text] = reading, lesson, answer
        while len(kept) > 4:
            kept.popitem(last=False)
    return kept[id(subject), text]


def _scores(weights):
    """-> {"previous": float64 (L, H), …}; "induction" is None"""
    found = summarize_heads(weights)
    L, H = 1 + max(layer for layer, _ in found), 1 + max(h for _, h in found)
    return {name: None if name == "induction" else np.array(
        [[getattr(found[layer, h], name) for h in range(H)] for layer in range(L)])
        for name in SCORES}


def _induction(explorer, subject, history, step, model):
    """-> float64 (L, H): the induction scores, which don't depend on the text; None for models that
    see both sides of a token
    """
    if subject.is_encoder_decoder or not Anatomy(model).blocks[-1].module.attention.causal:
        return None
    path = history.paths[step]
    kept = explorer.kept.setdefault("induction", {})
    key = (str(path), path.stat().st_mtime_ns)
    if key not in kept:
        limit = model.config.position_limit
        period = PERIOD if limit is None else min(PERIOD, limit // 2)
        ids = repeated_tokens(model.config.vocab_size, period)
        found = summarize_heads(attention_weights(model, ids), period)
        kept[key] = np.array([[found[layer, h].induction for h in range(block.n_heads)]
                              for layer, block in enumerate(Anatomy(model).blocks)])
    return kept[key]


def _column(found, name):
    return np.array([np.nan if each[name] is None else each[name] for each in found], np.float64)
