"""From the text to its tokens, step by step, and what there is to know about a token."""

import numpy as np

from minillm.explorer.views import offline, view
from minillm.insight.geometry import nearest
from minillm.insight.subject import Subject
from minillm.text.bpe import Merging
from minillm.text.byte_level import text_to_bytes
from minillm.text.replay import replay
from minillm.text.sentence_piece import Lattice
from minillm.text.token_bytes import token_bytes
from minillm.text.wordpiece import Matching

LONGEST = 20_000  # characters of a text whose steps are shown
NEIGHBORS, CONTAINING = 8, 40
NONE = -1  # no rank, no id


@view
def tokenizer_replay(subject: Subject, text: str) -> dict:
    """The steps from the text to its ids:

    parts: list of {"text", "normalized", "added", "words"}; see minillm.text.replay.Part
    words: of each part a list of {"text", "start", "end", "pieces": int (n, 3), "kind", …}, with
        kind "merges": symbols (n, 3), ranks (n - 1,) and steps (n, 6), the fields of a Merging
        kind "attempts": attempts (n, 3), those of a Matching; unknown: whether a part of the word
            is no token
        kind "lattice": normalized, edges (n, 4): start, end, is unknown, is the best to its end;
            scores, totals (n,); path (n, 3), agrees; those of a Lattice
        kind "whole": an added token, or a word whose steps aren't known
    template: lists of the ids of special tokens around the text, None in its place
    ids: (T,), the result; tokens: {id: what `described` says of it} for all ids above
    counts: {"characters", "bytes", "words", "tokens"}
    """
    if len(text) > LONGEST:
        raise ValueError(f"the text has {len(text):,} characters, wanted at most {LONGEST:,} to "
                         "show the steps of its tokenizer")
    tokenizer = subject.tokenizer
    found = replay(tokenizer, text)
    parts = [{"text": part.text, "normalized": part.normalized, "added": part.added,
              "words": [_word(word) for word in part.words]} for part in found.parts]
    ids = set(found.ids).union(*(_mentioned(word) for part in parts for word in part["words"]))
    return {
        "class": type(tokenizer).__name__, "model": type(tokenizer.model).__name__,
        "size": len(tokenizer), "n_merges": len(getattr(tokenizer.model, "merges", ())),
        "normalizer": _names(tokenizer.normalizer, "normalizers"),
        "pre_tokenizer": _names(tokenizer.pre_tokenizer, "pretokenizers"),
        "prefix": getattr(tokenizer.model, "prefix", ""),
        "byte_level": hasattr(tokenizer, "token_bytes"),
        "parts": parts, "template": found.template, "ids": np.array(found.ids, np.int32),
        "tokens": {id: described(tokenizer, id) for id in sorted(ids)},
        "counts": {"characters": len(text), "bytes": len(text_to_bytes(text)),
                   "words": len(text.split()), "tokens": len(found.ids)},
    }


def _word(word):
    steps = word.steps
    shown = {"text": word.text, "start": word.start, "end": word.end,
             "pieces": _table(word.pieces, 3), "kind": "whole"}
    if isinstance(steps, Merging):
        return {**shown, "kind": "merges", **_merging(steps)}
    if isinstance(steps, Matching):
        unknown = not steps.attempts or steps.attempts[-1].id is None
        return {**shown, "kind": "attempts", "attempts": _table(steps.attempts, 3),
                "unknown": unknown}
    if isinstance(steps, Lattice):
        edges = [(edge.start, edge.end, edge.unknown, edge.best) for edge in steps.edges]
        return {**shown, "kind": "lattice", "code": steps.code, "normalized": steps.normalized,
                "edges": _table(edges, 4), "path": _table(steps.tokens, 3),
                "scores": np.array([edge.score for edge in steps.edges], np.float32),
                "totals": np.array([edge.total for edge in steps.edges], np.float32),
                "agrees": steps.agrees}
    return shown


def _merging(steps):
    return {"symbols": _table(steps.symbols, 3),
            "ranks": _table([steps.ranks], len(steps.ranks))[0],
            "steps": _table(steps.steps, 6)}


def _table(rows, columns):
    """-> int32 (n, columns), with NONE for None"""
    rows = [[NONE if value is None else value for value in row] for row in rows]
    return np.array(rows, np.int32).reshape(len(rows), columns)


def _mentioned(word):
    """-> set of the ids in the steps of a word"""
    found = set(word["pieces"][:, 0].tolist())
    if word["kind"] == "merges":
        found.update(word["symbols"][:, 0].tolist(), word["steps"][:, 2].tolist())
    elif word["kind"] == "attempts":
        found.update(word["attempts"][:, 2].tolist())
    return found - {NONE}


def _names(component, parts):
    """-> list of the types of the components in a normalizer or a pre-tokenizer"""
    inside = getattr(component, parts, None)
    if inside is not None:
        return [name for part in inside for name in _names(part, parts)]
    is_step = component is not None and getattr(component, "type", "") is not None
    return [type(component).__name__] if is_step else []


def described(tokenizer, id):
    """-> {"token": as spelled in the vocabulary, "text": alone, "bytes": list, "special", "added"}

    A padded vocabulary has ids without a token: their spelling is None.
    """
    token, added = tokenizer.convert_ids_to_tokens(id), tokenizer.added_tokens_decoder.get(id)
    return {"token": token, "text": tokenizer.decode([id]),
            "bytes": list(token_bytes(tokenizer, id, token)), "added": added is not None,
            "special": added is not None and added.special or token in tokenizer.all_special_tokens}


@view
def tokenizer_token(subject: Subject, id: int) -> dict:
    """About one token: what `described` says, and

    merges: {"symbols", "ranks", "steps"}: how merges make the token from its own spelling; None for
        another algorithm;  rank: the first merge that results in it, NONE: it is a first symbol
    neighbors: list of (id, token, cosine), the rows of the embedding table that are most similar
    norm: the length of its row, and mean_norm: that of all rows
    containing: list of (id, text) of the first tokens whose spelling contains its own;
        n_containing: the number of all
    """
    tokenizer, table = subject.tokenizer, _embeddings(subject.model)
    if not 0 <= id < max(len(tokenizer), len(table)):
        raise ValueError(f"id is {id}, wanted 0 … {max(len(tokenizer), len(table)) - 1}")
    spelling = tokenizer.convert_ids_to_tokens(id)
    steps, model = None, tokenizer.model
    is_added = spelling is None or id in tokenizer.added_tokens_decoder
    if hasattr(model, "merges") and not is_added:
        steps = model.replay(spelling)
    containing = [(other, each) for each, other in tokenizer.get_vocab().items()
                  if spelling and spelling in each and other != id]
    containing.sort(key=lambda found: (len(found[1]), found[0]))
    n_containing, containing = len(containing), [
        (other, tokenizer.decode([other])) for other, _ in containing[:CONTAINING]]
    neighbors, norms = [], np.linalg.norm(table, axis=1)
    if id < len(table):
        neighbors = [(int(row), tokenizer.decode([int(row)]), float(cosine))
                     for row, cosine in zip(*nearest(table, id, NEIGHBORS))]
    return {
        "id": id, **described(tokenizer, id), "merges": steps and _merging(steps),
        "rank": _first_merge(model, id),
        "tokens": {} if steps is None else {
            each: described(tokenizer, each)
            for each in {symbol for symbol, *_ in steps.symbols}
            | {step.merged for step in steps.steps}},
        "neighbors": neighbors, "norm": float(norms[id]) if id < len(table) else None,
        "mean_norm": float(norms.mean()), "containing": containing,
        "n_containing": n_containing,
    }


def _first_merge(model, id):
    ranks = [rank for rank, merged in getattr(model, "merges", {}).values() if merged == id]
    return min(ranks, default=NONE)


def _embeddings(model):
    """-> float (V, d): the table of the input tokens"""
    table = model.get_input_embeddings().weight.data
    return table.astype(np.float32, copy=False)


@offline
def offline_tokenizer(subject, text):
    yield "tokenizer_replay", {}
    for id in dict.fromkeys(replay(subject.tokenizer, text).ids):
        yield "tokenizer_token", {"id": id}
