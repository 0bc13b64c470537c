"""Patching: values of one text's run in another's, measured and estimated; heads switched off."""

import re
import time
from dataclasses import replace

import numpy as np

from minillm.explorer.question import ask, has_answers, logits_of, probabilities, read
from minillm.explorer.views import offline, view
from minillm.insight import ablation, patching
from minillm.insight.anatomy import Anatomy, stacks_of
from minillm.insight.geometry import nearest
from minillm.insight.inputs import read_ids
from minillm.insight.subject import Subject
from minillm.nn.module import no_grad
from minillm.nn.trace import trace
from minillm.ops.cross_entropy import cross_entropy

INTO = ("corrupt", "clean")
MOST_PATCHES = 200
REPORT_EVERY = 0.04  # seconds
MOST_OFFLINE = 64  # heads that a page without a server can switch off
REFERENCES = 6  # texts from which "mean" and "resample" take what a head says elsewhere


class Comparison:
    """Two texts of the same number of tokens, and the question on which they differ.

    clean, corrupt: Readings. The target of an encoder-decoder is the same in both: what it says to
        the clean text.
    question: a Question;  stack: name of the blocks to patch, rows: what there is in them
    into: the text whose run is patched, "corrupt" or "clean"; the other one gives the values
    base, donor: the arguments of the forward of these two
    """

    def __init__(self, subject, text, corrupt, into="corrupt", token=-1, against=-1, position=-1,
                 stack=""):
        if into not in INTO:
            raise ValueError(f"into is {into!r:.40}, wanted 'corrupt' or 'clean'")
        self.subject, self.model, self.into = subject, subject.model, into
        self.clean = read(subject, text)
        self.corrupt = (read_beside(subject, self.clean, corrupt) if corrupt
                        else default_corrupt(subject, self.clean))
        self.stacks = list(stacks_of(subject.model))
        self.stack = Anatomy(subject.model, stack or None).stack
        self.rows = site_rows(subject.model, self.stack)
        self.clean_tokens, self.corrupt_tokens = map(self.tokens_of, (self.clean, self.corrupt))
        T, T_corrupt = len(self.clean_tokens), len(self.corrupt_tokens)
        self.is_aligned = T == T_corrupt
        self.question = ask(subject, self.clean, token, against, position,
                            self.corrupt if self.is_aligned else None)
        self.base, self.donor = self.corrupt.inputs, self.clean.inputs
        if into == "clean":
            self.base, self.donor = self.donor, self.base

    def tokens_of(self, reading):
        """-> list of strings: the tokens whose vectors the stack holds"""
        is_encoder = len(self.stacks) > 1 and self.stack == self.stacks[0]
        return reading.source_tokens if is_encoder else reading.tokens

    def require_aligned(self):
        T, T_corrupt = len(self.clean_tokens), len(self.corrupt_tokens)
        if T != T_corrupt:
            raise ValueError(f"corrupt has {T_corrupt} tokens, wanted {T}, as many as clean")
        return self

    def names(self, kinds=patching.KINDS):
        return [row["name"] for row in self.rows if row["kind"] in kinds]


def read_beside(subject, clean, text):
    """-> Reading of a text, with the target of `clean` if the model is an encoder-decoder"""
    if not subject.is_encoder_decoder:
        return read(subject, text)
    reading = read(subject, text, "")
    inputs = {**reading.inputs, "decoder_input_ids": clean.inputs["decoder_input_ids"]}
    return replace(reading, ids=clean.ids, tokens=clean.tokens, inputs=inputs,
                   position=clean.position)


def site_rows(model, stack=None):
    """-> list of dict: what can be patched, from the lowest block to the highest

    name: as a trace takes it;  kind: one of patching.KINDS;  layer;  head: None unless it is one
    """
    rows = []
    for block in Anatomy(model, stack or None).blocks:
        for h in range(block.n_heads):
            rows.append({"name": block.head(h), "kind": "head", "layer": block.index, "head": h})
        for kind in ("attention", "cross_attention", "feed_forward", "residual"):
            if getattr(block, kind) is not None:
                rows.append({"name": getattr(block, kind), "kind": kind, "layer": block.index,
                             "head": None})
    return rows


@view
def patch_setup(subject: Subject, text: str, corrupt: str = "", token: int = -1, against: int = -1,
                position: int = -1, stack: str = "") -> dict:
    """Two texts side by side, the question, and the gradient's estimate of every patch.

    corrupt: "": the text with one token replaced by a similar one;  stack: "": the decoder's
    -> clean, corrupt: {text, tokens, source, answer}: what the stack reads, what an encoder reads
    aligned: whether there are as many tokens;  differs: list of positions
    rows: see site_rows;  stacks, stack: names
    estimate: {into: float64 (n, T)}: the estimated change of the value by patching one position
    suggestions: [{text, old, new, position}, …], texts of the same length
    """
    pair = Comparison(subject, text, corrupt, "corrupt", token, against, position, stack)
    question, names = pair.question, pair.names()
    found = {"aligned": pair.is_aligned, "rows": pair.rows, "stacks": pair.stacks,
             "stack": pair.stack, **question.described(),
             "suggestions": [] if pair.is_aligned else corruptions(subject, pair.clean)}
    for into, reading in (("clean", pair.clean), ("corrupt", pair.corrupt)):
        found[into] = {"text": reading.text, "tokens": pair.tokens_of(reading),
                       "source": reading.source_tokens}
    if not pair.is_aligned:
        return found
    sides = {into: patching.Slopes(subject.model, reading.inputs, question.target, names)
             for into, reading in (("clean", pair.clean), ("corrupt", pair.corrupt))}
    estimates = {}
    for into, donor in (("corrupt", "clean"), ("clean", "corrupt")):
        found[into]["answer"] = question(sides[into].logits)
        estimates[into] = np.stack([sides[into].change(name, sides[donor][name])
                                    for name in names])
    differs = [t for t, (one, two) in enumerate(zip(pair.clean_tokens, pair.corrupt_tokens))
               if one != two]
    return {**found, "differs": differs, "estimate": estimates}


@view
def patch_effect(subject: Subject, text: str, patches: list[str], corrupt: str = "",
                 into: str = "corrupt", token: int = -1, against: int = -1, position: int = -1,
                 stack: str = "") -> dict:
    """Several patches at once, exactly and by the gradient.

    patches: each "site@positions>site@positions", from the other text's run into this one's, such
        as "transformer.h.2@3-4>transformer.h.2@3-4"; "site@positions" alone goes to the same place
    -> before, after, donor: answers;  change: after - before;  effect: its share of the way to the
        donor's value;  estimate: the gradient's, of `change`
    """
    pair = Comparison(subject, text, corrupt, into, token, against, position, stack)
    moves = read_moves(patches, pair.require_aligned())
    target, question = pair.question.target, pair.question
    with no_grad(), trace(subject.model, sorted({move.source for move in moves})) as t:
        donor = subject.model(**pair.donor).logits
    slopes = patching.Slopes(subject.model, pair.base, target,
                             sorted({move.name for move in moves}))
    changes = []
    for move in moves:
        value, wanted = t[move.source], slopes[move.name].shape[-1]
        if value.shape[-1] != wanted:
            raise ValueError(f"{move.source} has {value.shape[-1]} numbers at a position, wanted "
                             f"{wanted}, as many as {move.name}")
        changes.append(patching.Patch(move.name, value, move.sources, move.places))
    before, donor = question(slopes.logits), question(donor)
    after = question(patching.run_patched(subject.model, pair.base, changes))
    change, way = (each["value"] - before["value"] for each in (after, donor))
    return {"before": before, "after": after, "donor": donor, "change": change,
            "effect": change / way if way else None, "estimate": slopes.change_by(changes)}


def read_moves(patches, pair):
    """-> list of Move, checked"""
    if len(patches) > MOST_PATCHES:
        raise ValueError(f"patches has {len(patches)}, wanted at most {MOST_PATCHES}")
    moves = [Move.read(patch) for patch in patches]
    known = pair.names()
    for move in moves:
        move.check(known, len(pair.clean_tokens))
    return moves


class Move:
    """Which value goes where: `sources`, positions of `source`, to `places`, positions of `name`"""

    _PATTERN = re.compile(r"([\w.]+)@([\d,-]+)(?:>([\w.]+)@([\d,-]+))?")

    def __init__(self, source, sources, name, places):
        self.source, self.sources, self.name, self.places = source, sources, name, places

    @classmethod
    def read(cls, text):
        """text: see patch_effect -> Move; ValueError for anything else"""
        found = cls._PATTERN.fullmatch(text)
        if not found or len(text) > 10_000:
            raise ValueError(f"a patch is {text!r:.80}, wanted one like "
                             "'transformer.h.2@3-4>transformer.h.2@3-4'")
        source, sources, name, places = found.groups()
        return cls(source, _positions(sources), name or source, _positions(places or sources))

    def check(self, known, T):
        """Raise ValueError for an unknown value, for positions outside the text or unlike many."""
        for name in (self.source, self.name):
            if name not in known:
                raise ValueError(f"a patch names {name!r:.80}, wanted one of {known[0]!r}, …")
        for positions in (self.sources, self.places):
            if max(positions) >= T:
                raise ValueError(f"a patch is at position {max(positions)}, wanted 0 to {T - 1}")
        if len(self.sources) != len(self.places):
            raise ValueError(f"a patch moves {len(self.sources)} positions to {len(self.places)}, "
                             "wanted as many")


MOST_POSITIONS = 10_000


def _positions(text):
    """-> list of integers: "1,4-6" is [1, 4, 5, 6]"""
    found = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"positions are {text!r:.40}, wanted some like '1,4-6'")
        low, high = int(first), int(last or first)
        if not low <= high < MOST_POSITIONS:
            raise ValueError(f"positions are {text!r:.40}, wanted rising ones below "
                             f"{MOST_POSITIONS:,}")
        found.extend(range(low, high + 1))
    if len(found) != len(set(found)):
        raise ValueError(f"positions are {text!r:.40}, wanted each once")
    return found


@view
def patch_sweep(subject: Subject, text: str, report, corrupt: str = "", into: str = "corrupt",
                kinds: list[str] = list(patching.KINDS), token: int = -1, against: int = -1,
                position: int = -1, stack: str = "") -> dict:
    """Patch each site at each position, one at a time: the exact effects of all.

    -> rows: see site_rows;  numbers: float64 (n, T, 3): the target's value, and the probabilities
        of both tokens;  before, donor: the target's value in both runs
    partial: {start: number of the first cell, numbers: (m, 3)}, the cells since the last report
    """
    for kind in kinds:
        if kind not in patching.KINDS:
            raise ValueError(f"kinds has {kind!r:.40}, wanted some of {', '.join(patching.KINDS)}")
    pair = Comparison(subject, text, corrupt, into, token, against, position, stack)
    question, T = pair.require_aligned().question, len(pair.clean_tokens)
    rows = [row for row in pair.rows if row["kind"] in kinds]
    donor, values = patching.record(subject.model, pair.donor, question.target, pair.names(kinds))
    before, _ = patching.record(subject.model, pair.base, question.target, [])
    numbers, sent, reported = np.zeros((len(rows), T, 3)), 0, time.monotonic()
    cells = numbers.reshape(-1, 3)
    for done, (row, column, found) in enumerate(
            patching.sweep(subject.model, pair.base, _Numbers(question), values), 1):
        numbers[row, column] = found
        if done == len(cells) or time.monotonic() > reported + REPORT_EVERY:
            report(done, len(cells), {"start": sent, "numbers": cells[sent:done].copy()})
            sent, reported = done, time.monotonic()
    return {"rows": rows, "numbers": numbers, "before": before, "donor": donor}


class _Numbers:
    """A target with several numbers, for a sweep"""

    def __init__(self, question):
        self.value = question.numbers


@view
def patch_paths(subject: Subject, text: str, sender: str, report, corrupt: str = "",
                token: int = -1, against: int = -1, position: int = -1, stack: str = "") -> dict:
    """What one head says directly to each head of later blocks, and to the output: path patching.

    -> sender;  paths: [{receiver, layer, head, effect}, …]; receiver None: the output itself
    """
    pair = Comparison(subject, text, corrupt, "corrupt", token, against, position, stack)
    heads = [row for row in pair.require_aligned().rows if row["kind"] == "head"]
    layers = {row["name"]: row["layer"] for row in heads}
    if sender not in layers:
        raise ValueError(f"sender is {sender!r:.80}, wanted a head such as {heads[0]['name']!r}")
    receivers = [{"name": None, "layer": None, "head": None},
                 *(row for row in heads if row["layer"] > layers[sender])]
    paths = []
    for done, row in enumerate(receivers, 1):
        effect = patching.path_patching(subject.model, pair.clean.inputs, pair.corrupt.inputs,
                                        pair.question.target, sender, row["name"], pair.stack)
        paths.append({"receiver": row["name"], "layer": row["layer"], "head": row["head"],
                      "effect": effect})
        report(done, len(receivers), {"paths": paths[-1:]})
    return {"sender": sender, "paths": paths}


@view
def patch_circuit(subject: Subject, text: str, report, corrupt: str = "", token: int = -1,
                  against: int = -1, position: int = -1, stack: str = "") -> dict:
    """What every head says directly to every head of a later block, and to the output.

    -> heads: see site_rows, n of them
    effects: float64 (n, n + 1): row: the sender, column: the receiver, the output last; nan where
        the receiver isn't above the sender
    partial: {receiver: number of a column, effects: (n,)}
    """
    pair = Comparison(subject, text, corrupt, "corrupt", token, against, position, stack)
    heads = [row for row in pair.require_aligned().rows if row["kind"] == "head"]
    rows = {row["name"]: n for n, row in enumerate(heads)}
    n = len(heads)
    receivers = [n, *(i for i in reversed(range(n)) if heads[i]["layer"] > heads[0]["layer"])]
    effects = np.full((n, n + 1), np.nan)
    done = 0
    total = sum(1 for one in heads for other in heads if one["layer"] < other["layer"]) + n
    for column in receivers:
        found = patching.path_effects(
            subject.model, pair.clean.inputs, pair.corrupt.inputs, pair.question.target,
            heads[column]["name"] if column < n else None, stack=pair.stack,
            report=lambda part, _: report(done + part, total))
        for name, effect in found.items():
            effects[rows[name], column] = effect
        done += len(found)
        report(done, total, {"receiver": column, "effects": effects[:, column].copy()})
    return {"heads": heads, "effects": effects}


# ---- heads switched off


@view
def switch_heads(subject: Subject, text: str, heads: list[str], how: str = "zero", token: int = -1,
                 against: int = -1, position: int = -1, stack: str = "", seed: int = 0) -> dict:
    """Switch some heads off together -> before, after: {loss, value, p, p_other, top}

    heads: "layer.head", such as "2.0"
    how: "zero", "mean", "resample": see minillm/insight/ablation.py. Other texts are the same
        tokens in random orders.
    loss: of predicting each token of the text from those before it; None for a model that doesn't
    """
    reading = read(subject, text)
    question = ask(subject, reading, token, against, position)
    known = {f"{row['layer']}.{row['head']}": row["name"] for row in head_rows(subject, stack)}
    for head in heads:
        if head not in known:
            raise ValueError(f"heads has {head!r:.40}, wanted some like '0.0', layer and head")
    names = list(dict.fromkeys(known[head] for head in heads))
    changes = _silencing(subject, reading, names, how, seed)
    with no_grad():
        before = subject.model(**reading.inputs).logits
        with ablation.replaced(subject.model, changes):
            after = subject.model(**reading.inputs).logits
    return {**question.described(), "before": _with_loss(question, before),
            "after": _with_loss(question, after)}


@view
def heads_off(subject: Subject, text: str, report, how: str = "zero", token: int = -1,
              against: int = -1, position: int = -1, stack: str = "", seed: int = 0) -> dict:
    """Switch each head off alone -> what every one of them is for, in this text.

    -> heads: [{name, layer, head}, …];  before: {loss, value, …}
    loss, value: float64 (n,): how much each rises (loss: nan for a model without)
    estimate: float64 (n,): the rise of the value by the gradient, for "zero"; else None
    partial: {start, rise: (m, 2)}: both rises of the heads since the last report
    """
    reading = read(subject, text)
    question = ask(subject, reading, token, against, position)
    heads = head_rows(subject, stack)
    names = [row["name"] for row in heads]
    changes = _silencing(subject, reading, names, how, seed)
    slopes = patching.Slopes(subject.model, reading.inputs, question.target, names)
    before = _with_loss(question, slopes.logits)
    found = np.full((len(heads), 2), np.nan)
    for n, name in enumerate(names):
        with no_grad(), ablation.replaced(subject.model, {name: changes[name]}):
            after = _with_loss(question, subject.model(**reading.inputs).logits)
        found[n, 1] = after["value"] - before["value"]
        if before["loss"] is not None:
            found[n, 0] = after["loss"] - before["loss"]
        report(n + 1, len(heads), {"start": n, "rise": found[n : n + 1].copy()})
    estimate = None
    if how == "zero":
        estimate = np.array([slopes.change(name, 0.0).sum() for name in names])
    return {**question.described(), "heads": heads, "before": before, "loss": found[:, 0],
            "value": found[:, 1], "estimate": estimate}


def head_rows(subject, stack=""):
    return [row for row in site_rows(subject.model, stack) if row["kind"] == "head"]


def _silencing(subject, reading, names, how, seed):
    """-> {name: what replaces the head's result}"""
    return ablation.replacements(subject.model, names, how,
                                 _shuffled(subject, reading, how, seed), seed=seed)


def _with_loss(question, logits):
    return {"loss": text_loss(question.subject.model, question.reading, logits), **question(logits)}


def text_loss(model, reading, logits):
    """-> the mean cross-entropy of predicting each token from those before it; None for a model
    that doesn't do that, and for a text of one token
    """
    ids = read_ids(reading.inputs)
    if not hasattr(model, "lm_head") or ids.shape[1] < 2:
        return None
    return cross_entropy(np.ascontiguousarray(logits[:, :-1]), ids[:, 1:])[0]


def _shuffled(subject, reading, how, seed):
    """-> list of inputs: the text's own tokens in random orders, special tokens where they are"""
    if how == "zero":
        return []
    special = set(subject.tokenizer.all_special_ids)
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(REFERENCES):
        inputs = dict(reading.inputs)
        for name in ("input_ids", "decoder_input_ids"):
            if name in inputs:
                ids = np.array(inputs[name])
                free = np.flatnonzero([int(id) not in special for id in ids[0]])
                ids[0, free] = rng.permutation(ids[0, free])
                inputs[name] = ids
        texts.append(inputs)
    return texts


# ---- a text to compare with


MOST_TRIED = 8  # texts with one token replaced, each of which costs a forward


def corruptions(subject, reading, k=4):
    """Replace one token by one of a similar embedding -> list of {text, old, new, position}, those
    that change the answer most first

    Each text has as many tokens as the first one. Texts whose tokens can't be replaced one by one
    give an empty list.
    """
    before = _probabilities(subject, reading)
    tried = []
    for position, new_text, old, new in _variants(subject, reading):
        p = _probabilities(subject, read_beside(subject, reading, new_text))
        distance = float(np.abs(p - before).sum() / 2) + (p.argmax() != before.argmax())
        tried.append((distance, {"text": new_text, "old": old, "new": new, "position": position}))
        if len(tried) == MOST_TRIED:
            break
    tried.sort(key=lambda each: -each[0])
    return [found for _, found in tried[:k]]


def default_corrupt(subject, reading):
    """-> Reading: the first of `corruptions`; the text itself if there is none"""
    found = corruptions(subject, reading, 1)
    return read_beside(subject, reading, found[0]["text"]) if found else reading


def _probabilities(subject, reading):
    return probabilities(logits_of(subject, reading), reading.position)[0]


def _variants(subject, reading, n_similar=3):
    """Yield (position, text, old, new): one token is replaced by one of the most similar embeddings

    Long tokens come first: they are the words with a meaning of their own.
    """
    text, ids = reading.text, np.asarray(reading.inputs["input_ids"])[0]
    asked = None if subject.is_encoder_decoder else reading.position
    last = {int(ids[t]): (t, start, end) for t, start, end in _spans(subject, text, ids)
            if t != asked}  # where each token stands for the last time
    spans = sorted(last.values(), key=lambda span: (span[1] - span[2], span[0]))
    table = subject.model.get_input_embeddings().weight.data
    similar = {t: nearest(table, int(ids[t]), 8)[0] for t, *_ in spans[:MOST_TRIED]}
    for rank in range(n_similar):
        for t, start, end in spans[:MOST_TRIED]:
            old = text[start:end]
            fitting = [_in_place_of(old, name) for name in subject.names(similar[t])]
            fitting = [new for new in fitting if new is not None]
            if rank < len(fitting):
                changed = text[:start] + fitting[rank] + text[end:]
                if _differs_at(subject, changed, ids, t):
                    yield t, changed, old, fitting[rank]


def _spans(subject, text, ids):
    """Yield (t, start, end): text[start:end] is token t. Not every tokenizer knows its offsets, so
    they are looked for; special tokens, and those that are spelled otherwise, are left out.
    """
    special, lower, at = set(subject.tokenizer.all_special_ids), text.lower(), 0
    for t, name in enumerate(subject.names(ids)):
        start = lower.find(name.lower(), at) if name and int(ids[t]) not in special else -1
        if start >= 0:
            at = start + len(name)
            yield t, start, at


def _in_place_of(old, name):
    """-> the token `name` written as `old` is, with or without a space in front; None if it is no
    word, or the same one in another form
    """
    space, word, word_before = old[: len(old) - len(old.lstrip())], name.strip(), old.strip()
    one, two = word.casefold(), word_before.casefold()
    is_other = word.isalpha() == word_before.isalpha() and one not in two and two not in one
    return space + word if is_other else None


def _differs_at(subject, text, ids, t):
    """-> whether the text has the tokens `ids` but for position t"""
    found = subject.encode(text)
    return len(found) == len(ids) and np.flatnonzero(found != ids).tolist() == [t]


# ---- the page without a server


@offline
def offline_patching(subject, text):
    if not has_answers(subject):
        return
    corrupt = default_corrupt(subject, read(subject, text)).text
    yield "patch_setup", {}
    for into in INTO:
        yield "patch_sweep", {"corrupt": corrupt, "into": into}
    for how in ablation.KINDS:
        yield "heads_off", {"how": how}
    for row in head_rows(subject)[:MOST_OFFLINE]:
        yield "switch_heads", {"heads": [f"{row['layer']}.{row['head']}"], "how": "zero"}
