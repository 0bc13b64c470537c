"""Attention: all heads at once, one head with its scores, rollout and flow, and long texts.

A short text's answer holds everything, exactly: the page then needs no other. Of a long text, whose
weights would be hundreds of megabytes, it gets small pictures of all heads, and then what it zooms
into: tiles of at most TILE × TILE cells. A cell of level n stands for 2ⁿ × 2ⁿ weights, as their
mean and as their maximum; level 0 is the weights themselves.
"""

import weakref

import numpy as np

from minillm.explorer.question import require_numbers
from minillm.explorer.views import offline, view
from minillm.insight.anatomy import stacks_of
from minillm.insight.attention import (
    attention_weights,
    flow,
    induction_scores,
    rollout_across,
    summarize_heads,
    with_residual,
)
from minillm.insight.scores import attention_scores
from minillm.insight.subject import Subject

TILE = 128  # rows and columns of a tile
MOST_WHOLE = 1 << 19  # weights that travel at once: 2 MB
MOST_TOKENS = 4096  # of a text; a head has T² weights
MOST_FLOWS = 48  # tokens of a text whose flows are computed
KINDS = ("previous", "first", "itself", "entropy")


@view
def attention(subject: Subject, text: str, name: str = "") -> dict:
    """All heads of an attention, such as "transformer.h.attention"; "": the last stack's own

    attentions: list of {name, layers, heads, cross}, those that the model has
    tokens: T strings, the queries;  keys: S strings
    kinds: {previous, first, itself, entropy: (L, H)};  induction: (L, H), None across stacks
    whole: False if the text is too long: `attention_long` then has the rest. If True:
    weights: (L, H, T, S);  rollout: (L, T, n), of the n tokens `rollout_tokens`: T, or across
    stacks those of the source and then of the target;  and of the scores, see insight/scores.py,
    queries: (L, H, T, D);  key_vectors: (L, Hkv, S, D);  bias: (L, H, T + S - 1);  scale: (L,)
    value_norms: (L, H, S)
    """
    seen = _look(subject, text, name)
    answer = seen.facts()
    L, H, T, S = seen.shape
    answer["whole"] = L * H * T * S <= MOST_WHOLE and max(T, S) <= TILE
    if not answer["whole"]:
        return answer
    return {
        **answer, **seen.kinds(), "weights": np.stack([seen.weights(layer) for layer in range(L)]),
        "rollout": np.stack(seen.rollout()),
        "rollout_tokens": seen.keys + seen.queries if seen.cross else seen.queries,
        "queries": np.stack([scores.queries[0] for scores in seen.layers]),
        "key_vectors": np.stack([scores.keys[0] for scores in seen.layers]),
        "bias": np.stack([scores.bias() for scores in seen.layers]),
        "scale": np.array([scores.scale for scores in seen.layers]),
        "value_norms": np.stack([scores.value_norms()[0] for scores in seen.layers]),
    }


@view
def attention_long(subject: Subject, text: str, report, name: str = "") -> dict:
    """All heads of a long text: what `attention` says about it, kinds and induction, and

    thumbnails: (L, H, rows, columns), the largest weight in each 2ⁿ × 2ⁿ cells;  level: n
    """
    seen = _look(subject, text, name)
    L, H, T, S = seen.shape
    side = max(8, min(64, int((MOST_WHOLE / (L * H)) ** 0.5)))
    level = _level(max(T, S), side)
    thumbnails, kinds = [], []
    for done, (layer, h) in enumerate(np.ndindex(L, H), 1):
        W = seen.weights(layer, h)
        thumbnails.append(pooled(W, 2**level)[1])
        kinds.append(summarize_heads([W[None]])[0, 0])
        report(done, L * H)
    thumbnails = np.concatenate(thumbnails)
    return {**seen.facts(), "whole": False, **seen.kinds(kinds), "level": level,
            "thumbnails": thumbnails.reshape(L, H, *thumbnails.shape[1:])}


@view
def attention_head(subject: Subject, text: str, layer: int, head: int, name: str = "") -> dict:
    """One head of a text of any length: queries (T, D), key_vectors (S, D), bias (T + S - 1,),
    scale, value_norms (S,). They give every weight of the head.
    """
    seen = _look(subject, text, name)
    scores = seen.layer(layer)
    h = seen.head(head)
    group = scores.queries.shape[1] // scores.keys.shape[1]
    return {"queries": scores.queries[0, h], "key_vectors": scores.keys[0, h // group],
            "bias": scores.bias()[h], "scale": scores.scale,
            "value_norms": scores.value_norms()[0, h]}


@view
def attention_tile(subject: Subject, text: str, layer: int, level: int, row: int, column: int,
                   head: int = 0, kind: str = "weights", name: str = "") -> dict:
    """Cells of a matrix (T, S): mean and max, both (≤ TILE, ≤ TILE)

    kind: "weights" of a head, "norms": those times the norms of the values, or "rollout" up to a
        layer
    level: each cell is 2**level × 2**level numbers;  row, column: of the first cell, at this level
    """
    seen = _look(subject, text, name)
    seen.layer(layer)
    if kind == "rollout":
        W = seen.rollout()[layer]
    elif kind in ("weights", "norms"):
        W = seen.weights(layer, seen.head(head))[0]
        if kind == "norms":
            W = W * seen.layers[layer].value_norms()[0, head]
    else:
        raise ValueError(f"kind is {kind!r:.80}, wanted weights, norms or rollout")
    if not 0 <= level <= 30:
        raise ValueError(f"level is {level}, wanted 0 to 30")
    size = 2**level
    for label, value, length in (("row", row, W.shape[0]), ("column", column, W.shape[1])):
        if not 0 <= value * size < length:
            raise ValueError(f"{label} is {value}, wanted 0 to {(length - 1) // size}")
    part = W[row * size : (row + TILE) * size, column * size : (column + TILE) * size]
    mean, most = pooled(part, size)
    return {"mean": mean, "max": most}


@view
def attention_rollout(subject: Subject, text: str, report, name: str = "") -> dict:
    """Make the rollout of a long text, so that its tiles come at once: layers"""
    seen = _look(subject, text, name)
    return {"layers": len(seen.rollout(report))}


@view
def attention_reaches(subject: Subject, text: str, layer: int, position: int,
                      name: str = "") -> dict:
    """share: (T,), how much of each token the rollout finds in a position after a layer"""
    seen = _look(subject, text, name)
    seen.layer(layer)
    return {"share": seen.rollout()[layer][seen.query(position)]}


@view
def attention_flow(subject: Subject, text: str, position: int, report, name: str = "") -> dict:
    """flow: (T,), how much could flow from each token to a position after the last layer"""
    seen = _look(subject, text, name)
    return {"flow": flow(seen.for_flow(), seen.query(position), report)}


@view
def attention_flows(subject: Subject, text: str, report, name: str = "") -> dict:
    """flows: (T, T), how much could flow from each token (column) to each position after the last
    layer (row)
    """
    seen = _look(subject, text, name)
    weights, T = seen.for_flow(), seen.shape[2]
    return {"flows": np.stack([flow(weights, position, lambda done, _: report(
        position * T + done, T * T)) for position in range(T)])}


@offline
def offline_attention(subject, text):
    yield "attention", {}
    default = _default(subject.model)
    for each in attentions_of(subject.model):
        if each["name"] != default:
            yield "attention", {"name": each["name"]}
    n_tokens = len(subject.read(text).tokens)
    if n_tokens <= MOST_FLOWS // 2:
        for position in range(n_tokens):
            yield "attention_flow", {"position": position}


# ---- what was seen


class _Seen:
    """One kind of attention, in all layers, on one text."""

    def __init__(self, subject, text, name):
        found = {each["name"]: each for each in attentions_of(subject.model)}
        if name not in found:
            raise ValueError(f"name is {name!r:.80}, wanted one of {', '.join(found)}")
        self.model, self.name, self.cross = subject.model, name, found[name]["cross"]
        self.stack = name.rpartition(".")[0]
        reading = subject.read(text)
        longest = max(len(reading.tokens), len(reading.source_tokens or []))
        if longest > MOST_TOKENS:
            raise ValueError(f"the text has {longest:,} tokens, wanted at most {MOST_TOKENS:,}: "
                             "every head has a weight for each two of them")
        self.inputs = reading.inputs
        self.layers = attention_scores(subject.model, stack=self.stack, cross=self.cross,
                                       **reading.inputs)
        H, T = self.layers[0].queries.shape[1:3]
        self.shape = len(self.layers), H, T, self.layers[0].keys.shape[2]
        reads_source = reading.source_tokens and self.stack != list(stacks_of(subject.model))[-1]
        self.queries = reading.source_tokens if reads_source else reading.tokens
        self.keys = reading.source_tokens if self.cross else self.queries
        self._rollout = self._induction = None

    def facts(self):
        return {"attentions": attentions_of(self.model), "name": self.name,
                "cross": self.cross, "causal": self.layers[0].module.causal,
                "tokens": self.queries, "keys": self.keys, "layers": self.shape[0],
                "heads": self.shape[1]}

    def layer(self, layer):
        """-> Scores; ValueError for a layer that doesn't exist"""
        return self.layers[_index("layer", layer, len(self.layers))]

    def head(self, head):
        return _index("head", head, self.shape[1])

    def query(self, position):
        return _index("position", position, self.shape[2])

    def weights(self, layer, head=None):
        """-> (H, T, S); of one head (1, T, S)"""
        return self.layers[layer].weights(head)[0]

    def kinds(self, summaries=None):
        """summaries: list of L · H HeadSummaries, or None to make them

        -> {"kinds": {name: (L, H)}, "induction": (L, H) or None}
        """
        L, H = self.shape[:2]
        if summaries is None:
            found = summarize_heads([self.weights(layer)[None] for layer in range(L)])
            summaries = [found[place] for place in np.ndindex(L, H)]
        require_numbers("the attention weights", [each.first for each in summaries])
        kinds = {kind: np.reshape([getattr(each, kind) for each in summaries], (L, H))
                 for kind in KINDS}
        if self._induction is None and not self.cross:
            found = induction_scores(self.model, self.stack)
            self._induction = np.array([[found[layer, h] for h in range(H)] for layer in range(L)],
                                       np.float32)
        return {"kinds": kinds, "induction": self._induction}

    def for_flow(self):
        """-> the weights of all layers; ValueError for a long text, and across stacks"""
        L, _, T, _ = self.shape
        if self.cross:
            raise ValueError(f"{self.name} looks into another text: it has no flow")
        if T > MOST_FLOWS:
            raise ValueError(f"the text has {T} tokens, wanted at most {MOST_FLOWS}: each needs a "
                             "maximum flow of its own")
        return [self.weights(layer) for layer in range(L)]

    def rollout(self, report=None):
        """-> list of float32 (T, T), one for each layer; across stacks (T, S + T)"""
        if self._rollout is None and self.cross:
            self._rollout = self._rollout_across()
        if self._rollout is None:
            R, found = np.eye(self.shape[2]), []
            for layer in range(self.shape[0]):
                R = with_residual(self.weights(layer)) @ R
                found.append(R.astype(np.float32))
                if report is not None:
                    report(layer + 1, self.shape[0])
            self._rollout = found
        return self._rollout


    def _rollout_across(self):
        L, H, T, S = self.shape
        if L * H * max(T, S) ** 2 > MOST_WHOLE:
            raise ValueError(f"{self.name} looks into another text: only short texts have a "
                             "rollout across both")
        encoder, decoder = (attention_weights(self.model, stack=stack, **self.inputs)
                            for stack in stacks_of(self.model))
        cross = [scores.weights() for scores in self.layers]
        return [R[0].astype(np.float32) for R in rollout_across(encoder, decoder, cross)]


def _index(name, value, size):
    if not 0 <= value < size:
        raise ValueError(f"{name} is {value}, wanted 0 to {size - 1}")
    return value


_last = weakref.WeakKeyDictionary()  # Subject -> (what was asked, _Seen): tiles come in dozens


def _look(subject, text, name):
    asked = text, name or _default(subject.model), _fingerprint(subject.model)
    if subject not in _last or _last[subject][0] != asked:
        _last[subject] = asked, _Seen(subject, text, asked[1])
    return _last[subject][1]


def _fingerprint(model):
    """A number that a step of training changes: a few numbers of every parameter"""
    return hash(b"".join(parameter.data.reshape(-1)[:: max(1, parameter.size // 64)].tobytes()
                         for parameter in model.parameters()))


def attentions_of(model):
    """-> list of {name, layers, heads, cross}: each stack's own, and a decoder's to the encoder"""
    found = []
    for stack, blocks in stacks_of(model).items():
        first = blocks[0].module
        for kind in ("attention", "cross_attention"):
            if kind == "attention" or getattr(first, "residual_cross", None) is not None:
                found.append({"name": f"{stack}.{kind}", "layers": len(blocks),
                              "heads": getattr(first, kind).n_heads, "cross": kind != "attention"})
    if not found:
        raise ValueError(f"model is a {type(model).__name__}, which has no blocks")
    return found


def _default(model):
    return next(each["name"] for each in reversed(attentions_of(model)) if not each["cross"])


# ---- the pyramid


def pooled(W, size):
    """-> mean and maximum of each size × size cells: float32 (..., ⌈T / size⌉, ⌈S / size⌉)

    W: (..., T, S); the last cells may be smaller
    """
    if size == 1:
        W = W.astype(np.float32, copy=False)
        return W, W
    rows, columns = (np.arange(0, n, size) for n in W.shape[-2:])

    def reduced(operation, x):
        return operation.reduceat(operation.reduceat(x, rows, axis=-2), columns, axis=-1)

    counts = reduced(np.add, np.ones(W.shape[-2:]))
    mean = reduced(np.add, W.astype(np.float64)) / counts
    return mean.astype(np.float32), reduced(np.maximum, W).astype(np.float32)


def _level(length, side):
    """-> the smallest n with length / 2ⁿ <= side"""
    return max(0, int(np.ceil(np.log2(length / side))))
