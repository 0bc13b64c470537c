"""The lens: what the model would say after each block, at every position; and who put it there.

One answer holds what the page needs to color its cells in any way, and to follow the tokens that
matter at a position through the layers. A token of one's own is asked for.
"""

import weakref

import numpy as np

from minillm.explorer.question import require_numbers
from minillm.explorer.views import offline, view
from minillm.insight.anatomy import Anatomy
from minillm.insight.contributions import logit_contributions
from minillm.insight.lens import divergence, ranks
from minillm.insight.streams import residual_streams
from minillm.insight.subject import Subject
from minillm.insight.texts import texts_for
from minillm.insight.tuned_lens import TunedLens
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax

K, TRACKED = 10, 12  # tokens of a cell; tokens of a position that are followed through the layers
CHUNK = 1 << 22  # logits at a time, 16 MB
MOST_AT_ONCE = 1 << 24  # logits of a short answer
TUNING = {"steps": 250, "batch_size": 128, "lr": 2e-3}
TUNING_TOKENS, SPOKEN_TOKENS = 8192, 1024  # an encoder-decoder writes its own


@view
def lens(subject: Subject, text: str, explorer=None, tuned: bool = False) -> dict:
    """Every row l (in front of the first block, if the model is pre-norm; after each block) at
    every position t: R rows, T positions

    tokens: T strings;  names: {id: string} of all ids below;  embedding: whether row 0 is before
    the first block;  position: of the prediction to explain
    ids, probabilities: (R, T, k), the likeliest tokens;  entropy, divergence: (R, T), in nats; the
    divergence is that from the last row, KL(p_L || p_l)
    tracked, (T, n), the tokens that count at each position: what the model says and what follows in
    the text first, then its other favorites and those of the blocks; tracked_probabilities,
    tracked_ranks: (R, T, n), rank 0 is the likeliest
    actual: (T,), the token that is there in truth: the next one of a decoder, the position's own
    in other models; -1 where unknown
    tuned: read with the trained translators;  has_tuned: whether there are any
    is_sum: whether `lens_contributions` has an answer
    long: only this, True, if it takes longer: ask `lens_long`
    """
    reading, model = _readable(subject, text), subject.model
    if len(Anatomy(model)) * len(reading.ids) * model.config.vocab_size > MOST_AT_ONCE:
        return {"long": True}
    return _lens(subject, reading, explorer, tuned)


@view
def lens_long(subject: Subject, text: str, report, explorer=None, tuned: bool = False) -> dict:
    """`lens` of a long text or a large model"""
    return _lens(subject, _readable(subject, text), explorer, tuned, report)


@view
def lens_token(subject: Subject, text: str, token: str, report, explorer=None,
               tuned: bool = False) -> dict:
    """A token of one's own through the lens: id, name; probabilities, ranks: (R, T)"""
    reading = _readable(subject, text)
    id = subject.token("token", token)
    parts = []
    for logits in _rows(subject, reading, explorer, tuned, report):
        P, _ = softmax(logits)
        parts.append((P[..., id], ranks(logits, np.full((*logits.shape[:2], 1), id))[..., 0]))
    probabilities, places = (np.concatenate(each, axis=1) for each in zip(*parts))
    return {"id": id, "name": subject.names([id])[0], "probabilities": probabilities,
            "ranks": places}


def _readable(subject, text):
    """-> Reading; ValueError for a model that predicts no tokens"""
    _require_head(subject)
    return subject.read(text)


def _require_head(subject):
    if not subject.predicts_tokens:
        raise ValueError(f"the model is a {subject.architecture}, wanted one that predicts "
                         "tokens: a lens reads with its output head")


def _rows(subject, reading, explorer, tuned, report=None):
    """Yield logits (R, t, V) of every row, for a few positions at a time"""
    model = subject.model
    streams = residual_streams(model, [reading.inputs])
    lens = None
    if tuned:
        lens = _tuned_lenses(explorer).get(subject)
        if lens is None:
            raise ValueError("tuned is true, but no translators are trained for this model")
    T = len(reading.ids)
    size = max(1, CHUNK // (len(streams) * model.config.vocab_size))
    for start in range(0, T, size):
        part = [x[start : start + size] for x in streams]
        with no_grad():
            yield np.stack(lens.logits(part) if lens else [model.unembed(x) for x in part])
        if report is not None:
            report(min(T, start + size), T)


def _lens(subject, reading, explorer, tuned, report=None):
    actual = _actual(subject, reading)
    parts, start = [], 0
    for logits in _rows(subject, reading, explorer, tuned, report):
        parts.append(_read(logits, actual[start : start + logits.shape[1]]))
        start += logits.shape[1]
    found = {name: np.concatenate([part[name] for part in parts],
                                  axis=0 if name == "tracked" else 1) for name in parts[0]}
    seen = np.unique(np.concatenate([found["ids"].ravel(), found["tracked"].ravel(),
                                     actual[actual >= 0]]))
    return {
        "tokens": reading.tokens, "position": reading.position, "actual": actual,
        "embedding": len(found["ids"]) > len(Anatomy(subject.model)), **found,
        "names": {int(id): name for id, name in zip(seen, subject.names(seen))},
        "tuned": tuned, "has_tuned": subject in _tuned_lenses(explorer), "long": False,
        "is_sum": _is_sum(subject.model),
    }


def _read(logits, actual):
    """logits: (R, t, V) -> the arrays of `lens` for t positions"""
    require_numbers("the model's scores", logits)
    P, _ = softmax(logits)
    k = min(K, P.shape[-1])
    ids = np.argpartition(-P, k - 1, axis=-1)[..., :k]
    order = np.argsort(-np.take_along_axis(P, ids, axis=-1), axis=-1, kind="stable")
    ids = np.take_along_axis(ids, order, axis=-1)
    tracked = np.array([_worth_following(ids[:, t], actual[t]) for t in range(ids.shape[1])])
    at = np.broadcast_to(tracked, (len(P), *tracked.shape))
    return {
        "ids": ids, "probabilities": np.take_along_axis(P, ids, axis=-1),
        "entropy": -(P * np.log(np.maximum(P, 1e-30))).sum(axis=-1),
        "divergence": divergence(logits, logits[-1:]), "tracked": tracked,
        "tracked_probabilities": np.take_along_axis(P, at, axis=-1),
        "tracked_ranks": ranks(logits, at),
    }


def _worth_following(ids, actual):
    """ids: (R, k), one position's -> TRACKED ids: what the model says, what follows in truth, then
    the other favorites of the last row and of the blocks from above
    """
    first = [ids[-1, 0], *([actual] if actual >= 0 else [])]
    others = [*ids[-1, 1:4], *ids[::-1, 0], *ids[::-1, 1:].T.ravel()]
    found = list(dict.fromkeys([*first, *others]))
    return (found + [found[0]] * TRACKED)[:TRACKED]


def _actual(subject, reading):
    """-> int64 (T,): the token that is there in truth, -1 where the text doesn't say"""
    if Anatomy(subject.model).blocks[-1].module.attention.causal:
        return np.append(reading.ids[1:], -1)
    masked = reading.ids == subject.tokenizer.mask_token_id
    return np.where(masked, -1, reading.ids)


def _is_sum(model):
    """-> whether the residual stream is a sum of what the parts write: not with post-norm"""
    return all(block.is_pre_norm for block in Anatomy(model).blocks)


# ---- the tuned lens


@view
def lens_tune(subject: Subject, explorer, report) -> dict:
    """Train the translators of a tuned lens, on the run's own training text, or else on the default
    corpus -> losses: (layers, steps), KL(p_L || p_l) in nats
    """
    _require_head(subject)
    texts = texts_for(subject, SPOKEN_TOKENS if subject.is_encoder_decoder else TUNING_TOKENS)
    steps = TUNING["steps"] * len(Anatomy(subject.model))
    n = len(texts.batches)
    streams = residual_streams(subject.model, texts.batches,
                               report=lambda done, _: report(done, n + steps))
    lens = TunedLens(subject.model)
    losses = lens.fit_streams(streams, **TUNING, report=lambda done, of: report(
        n + steps * done // of, n + steps))
    _tuned_lenses(explorer)[subject] = lens
    return {"losses": np.array(losses, np.float32)}


_alone = weakref.WeakKeyDictionary()  # for calls without an explorer


def _tuned_lenses(explorer):
    """-> {Subject: TunedLens}, kept by the explorer"""
    if explorer is None:
        return _alone
    return explorer.kept.setdefault("tuned lenses", weakref.WeakKeyDictionary())


# ---- who put it there


@view
def lens_contributions(subject: Subject, text: str, position: int, token: int,
                       against: int = -1) -> dict:
    """Direct logit attribution: each part's share of the logit of `token` (an id) at a position,
    minus that of `against` if given

    parts: list of {part, kind, layer, head, share}; the shares add up to logit;  sum, logit
    cross: the name of the attention to an encoder, for the attention view; None without
    """
    reading = _readable(subject, text)
    T, V = len(reading.ids), subject.model.config.vocab_size
    for name, value, least, most in (("position", position, 0, T), ("token", token, 0, V),
                                     ("against", against, -1, V)):
        if not least <= value < most:
            raise ValueError(f"{name} is {value}, wanted {least} to {most - 1}")
    other = None if against < 0 else against
    shares = logit_contributions(subject.model, reading.inputs, token, other, position)
    with no_grad():
        logits = subject.model(**reading.inputs).logits[0, position].astype(np.float64)
    return {"parts": [{**_part(name), "share": share} for name, share in shares.items()],
            "cross": f"{Anatomy(subject.model).stack}.cross_attention"
            if any("cross" in name for name in shares) else None, "sum": sum(shares.values()),
            "logit": float(logits[token] - (0 if other is None else logits[other]))}


def _part(name):
    """"3.cross head 1" -> {part, kind: "cross head", layer: 3, head: 1}"""
    layer, dot, rest = name.partition(".")
    if not dot:
        return {"part": name, "kind": name, "layer": None, "head": None}
    kind, _, head = rest.rpartition(" ")
    is_head = head.isdigit()
    return {"part": name, "kind": kind if is_head else rest, "layer": int(layer),
            "head": int(head) if is_head else None}


@offline
def offline_lens(subject, text):
    if not subject.predicts_tokens:
        return
    yield "lens", {}
    reading = subject.read(text)
    if not _is_sum(subject.model):
        return
    with no_grad():
        said = subject.model(**reading.inputs).logits[0].argmax(axis=-1)
    for position, token in enumerate(said):
        yield "lens_contributions", {"position": position, "token": int(token)}
