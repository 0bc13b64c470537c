"""Where a worked example comes from: the course's words, words of your own, or a JSON file."""

import numpy as np

from minillm.checks import shown
from minillm.course.running_example import CHINESE_WORDS, WORDS, X
from minillm.course.worked_example import Example
from minillm.json_files import fields, read_json
from minillm.ops.attention import AttentionBias

MAX_WORDS = 50
MAX_D = 512
MAX_HEADS = 16
LARGEST = 1000  # absolute value of a number in a file
MAX_BYTES = 2_000_000

_MATRIX = list[list[float]]
_FIELDS = {"X": _MATRIX, "Q": _MATRIX, "K": _MATRIX, "V": _MATRIX, "words": list[str],
           "query_words": list[str], "mask": list[bool], "causal": bool}


def words_example(words=None, d=None, heads=None, causal=False, seed=None):
    """-> Example: Q = K = V = X; with `heads`, projections drawn from the seed

    Without words, d and seed it is the running example of the course. Other words are random
    vectors; all random numbers are rounded, so that they can be written down.
    """
    words = list(WORDS) if words is None else _split(words)
    _require_between("the number of words", len(words), 1, MAX_WORDS)
    seed = _checked_seed(seed)
    known = words in (WORDS, CHINESE_WORDS) and d in (None, X.shape[1]) and seed is None
    d = X.shape[1] if d is None else d
    _require_between("d", d, 1, MAX_D)
    rng = np.random.default_rng(seed or 0)
    x = X.copy() if known else rng.normal(size=(len(words), d)).round(1) + 0.0
    return _finished(words, {"X": x}, heads, AttentionBias(causal), rng)


def file_example(path, words=None, heads=None, causal=False, seed=None):
    """-> Example from a JSON file

    {"Q": [[…], …], "K": [[…], …], "V": [[…], …]} or {"X": [[…], …]}, rows of numbers, one row per
    word. Optional: "words"; "query_words", if the queries are other words (cross-attention);
    "mask", true for each key that may be seen; "causal".
    """
    content = read_json(path, MAX_BYTES)
    unknown = content.keys() - _FIELDS.keys()
    if unknown:
        raise ValueError(f"{path} has a field {shown(min(unknown))}, wanted only "
                         + ", ".join(_FIELDS))
    found = fields(path, content, _FIELDS)
    given = [name for name in ("X", "Q", "K", "V") if name in found]
    if given not in (["X"], ["Q", "K", "V"]):
        raise ValueError(f"{path} has {' and '.join(given) or 'no matrix'}, wanted Q, K and V, "
                         "or X alone")
    matrices = {name: _matrix(path, name, found[name]) for name in given}
    keys = matrices["X" if "X" in matrices else "K"]
    queries = matrices["X" if "X" in matrices else "Q"]
    for name, wanted in (("K", (None, queries.shape[1])), ("V", keys.shape)):
        if name in matrices:
            _require_like(path, name, matrices[name].shape, wanted)
    if words is None:
        words = found.get("words")
    else:
        words = _split(words)
    key_words = _labels(path, "words", words, len(keys), "k" if len(queries) != len(keys) else "w")
    query_words = found.get("query_words")
    if query_words is None and len(queries) == len(keys):
        query_words = key_words
    query_words = _labels(path, "query_words", query_words, len(queries), "q")
    mask = found.get("mask")
    if mask is not None:
        if len(mask) != len(keys):
            raise ValueError(f"{path}: mask has {len(mask)} items, wanted {len(keys)}, one per key")
        mask = np.array([mask])
    bias = AttentionBias(causal or found.get("causal", False), mask)
    if "X" in matrices:
        if query_words != key_words:
            raise ValueError(f"{path}: query_words needs Q, K and V; with X the queries are words")
        rng = np.random.default_rng(_checked_seed(seed) or 0)
        return _finished(key_words, matrices, heads, bias, rng)
    if heads is not None:
        raise ValueError(f"--heads draws projections for X, but {path} has Q, K and V")
    inputs = {name: matrix[None, None] for name, matrix in matrices.items()}
    return Example(query_words, key_words, inputs, 1, bias)


def _finished(words, inputs, heads, bias, rng):
    """-> Example; with `heads`, with random projections (d, d)"""
    if heads is None:
        return Example(words, words, inputs, 1, bias)
    d = inputs["X"].shape[1]
    _require_between("heads", heads, 1, min(d, MAX_HEADS))
    if d % heads:
        raise ValueError(f"heads is {heads}, wanted a divisor of d = {d}")
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        inputs = {**inputs, name: (rng.normal(size=(d, d)) / np.sqrt(d)).round(2) + 0.0}
    return Example(words, words, inputs, heads, bias)


def _checked_seed(seed):
    if seed is not None and not 0 <= seed < 2**64:
        raise ValueError(f"seed is {shown(seed)}, wanted 0 to 2**64 - 1")
    return seed


def _matrix(path, name, rows):
    """-> float64 array (T, d). Raises ValueError for an empty or ragged or extreme one."""
    _require_between(f"{path}: the number of rows of {name}", len(rows), 1, MAX_WORDS)
    width = len(rows[0])
    _require_between(f"{path}: the length of {name}[0]", width, 1, MAX_D)
    for index, row in enumerate(rows):
        if len(row) != width:
            raise ValueError(f"{path}: {name}[{index}] has length {len(row)}, wanted {width}, as "
                             f"{name}[0]")
    matrix = np.array(rows, dtype=np.float64)
    if np.abs(matrix).max() > LARGEST:
        row, column = np.argwhere(np.abs(matrix) > LARGEST)[0]
        raise ValueError(f"{path}: {name}[{row}][{column}] is {matrix[row, column]:g}, wanted at "
                         f"most {LARGEST:g} in size")
    return matrix


def _labels(path, name, labels, count, letter):
    if labels is None:
        return [f"{letter}{i + 1}" for i in range(count)]
    if len(labels) != count:
        raise ValueError(f"{path}: {name} has {len(labels)} items, wanted {count}, one per row")
    if not all(labels):
        raise ValueError(f"{path}: {name}[{labels.index('')}] is empty")
    return list(map(_printable, labels))


def _split(texts):
    return [_printable(word) for text in texts for word in text.split()]


def _printable(word):
    """-> the word with each character that would break a line or a column as an escape"""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in word)


def _require_like(path, name, shape, wanted):
    wanted = tuple(have if want is None else want for have, want in zip(shape, wanted))
    if shape != wanted:
        other = "Q's columns" if name == "K" else "the shape of K"
        raise ValueError(f"{path}: {name} has shape {shape}, wanted {wanted}: {other}")


def _require_between(name, value, low, high):
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, wanted {low} to {high}")
