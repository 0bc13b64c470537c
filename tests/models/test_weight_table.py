"""Weight tables: loading restores what saving wrote, for any table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.models.weight_table import Count, Size, WeightTable, fuse, mismatch, rename, split


def numbers(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


# ---- by hand


def test_renaming_keeps_what_the_stars_stand_for():
    table = WeightTable([rename("h.*.norm1.*", "layer.*.ln.*")])
    saved = table.save(dict.fromkeys(["h.3.norm1.bias", "h.12.norm1.weight", "x"], numbers(2)))
    assert list(saved) == ["layer.3.ln.bias", "layer.12.ln.weight", "x"]


def test_transposing():
    table = WeightTable([rename("up.*", "dense.*", transpose=True)])
    saved = table.save({"up.weight": numbers(2, 3), "up.bias": numbers(3)})
    assert saved["dense.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]  # (d_out, d_in)
    assert saved["dense.bias"].tolist() == [0, 1, 2]
    assert table.shapes({"up.weight": (2, 3)}) == {"dense.weight": (3, 2)}


def test_fusing_query_key_and_value():
    table = WeightTable([fuse("qkv.*", ["q.*", "k.*", "v.*"], transpose=True)])
    saved = table.save({"qkv.weight": numbers(1, 6), "qkv.bias": numbers(6)})
    assert saved["q.weight"].tolist() == [[0], [1]] and saved["v.weight"].tolist() == [[4], [5]]
    assert saved["k.bias"].tolist() == [2, 3]
    loaded = dict(table.load({"qkv.weight": (1, 6), "qkv.bias": (6,)}, saved.get))
    assert loaded["qkv.weight"].tolist() == [[0, 1, 2, 3, 4, 5]]
    assert loaded["qkv.bias"].tolist() == [0, 1, 2, 3, 4, 5]


def test_parts_of_other_sizes():
    table = WeightTable([fuse("qkv", ["q", "k", "v"], sizes=lambda config: (4, config, config))])
    assert table.shapes({"qkv": (5, 8)}, config=2) == {"q": (5, 4), "k": (5, 2), "v": (5, 2)}
    with pytest.raises(ValueError, match=r"qkv has 8 numbers along axis -1, .* parts \[4, 3, 3\]"):
        table.shapes({"qkv": (5, 8)}, config=3)


def test_splitting():
    table = WeightTable([split(["gate.*", "up.*"], "gate_up.*", transpose=True)])
    ours = {"gate.weight": numbers(2, 1), "up.weight": 10 + numbers(2, 3)}
    saved = table.save(ours)
    assert saved["gate_up.weight"].tolist() == [[0, 1], [10, 13], [11, 14], [12, 15]]
    shapes = {name: array.shape for name, array in ours.items()}
    assert table.shapes(shapes) == {"gate_up.weight": (4, 2)}
    loaded = dict(table.load(shapes, saved.get))
    assert loaded["up.weight"].tolist() == [[10, 11, 12], [13, 14, 15]]


def test_ignored_names_are_whole_names():
    table = WeightTable([], ignored=["h.*.attn.bias"])
    assert table.ignores("h.0.attn.bias")
    assert not any(map(table.ignores, ["h.0.attn.bias.x", "xh.0.attn.bias", "h.0.1.attn.bias"]))


# ---- for any table


@st.composite
def tables(draw):
    """-> (table, {parameter: array}) of a made-up model with two layers"""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rules, arrays = [], {}
    for part in draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=5)):
        kind = draw(st.sampled_from(["same", "rename", "fuse", "split"]))
        transpose = draw(st.booleans())
        n, rows = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        ours = [f"h.*.{part}{index}.*" for index in range(n)]
        theirs = [f"layers.*.their_{part}{index}.*" for index in range(n)]
        columns = [draw(st.integers(1, 4)) for _ in range(n)]
        if kind == "same":
            ours = [f"h.*.{part}.*"]
        elif kind == "rename":
            ours = ours[:1]
            rules.append(rename(ours[0], theirs[0], transpose=transpose))
        elif kind == "split":
            rules.append(split(ours, theirs[0], transpose=transpose))
        else:
            ours, sizes = ours[:1], tuple(columns)
            columns = [sum(columns)]
            rules.append(fuse(ours[0], theirs, transpose=transpose, sizes=lambda _, s=sizes: s))
        for pattern, width in zip(ours, columns):
            for layer in "01":
                name = pattern.replace("*", layer, 1)
                arrays[name.replace("*", "weight")] = rng.standard_normal((rows, width), np.float32)
                arrays[name.replace("*", "bias")] = rng.standard_normal(width, np.float32)
    return WeightTable(rules), arrays


@given(tables())
def test_what_is_saved_is_loaded(made):
    table, ours = made
    shapes = {name: array.shape for name, array in ours.items()}
    theirs = table.save(ours)
    assert {name: array.shape for name, array in theirs.items()} == table.shapes(shapes)
    assert sum(array.size for array in theirs.values()) == sum(map(np.size, ours.values()))
    loaded = dict(table.load(shapes, theirs.__getitem__))
    assert loaded.keys() == ours.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].flags.c_contiguous and loaded[name].dtype == np.float32


# ---- sizes


class Config:
    n_layer, d_model, d_ff = 2, 4, 16


SIZES = [Count("n_layer", "h.*.up", "layer"), Count("n_layer", "h.*.norm.*"),
         Size("d_model", "wte", 1), Size("d_ff", "h.*.up", 1)]


@pytest.mark.parametrize("shapes, wrong", [
    ({}, None),
    ({"h.2.up": (4, 16)}, ("n_layer", "n_layer is 2, but {file} has 3 layers")),
    ({"h.1.up": None}, ("n_layer", "n_layer is 2, but {file} has 1 layer")),
    ({"h.0.norm.bias": None}, ("n_layer", "n_layer is 2, but {file} has 1 h.*.norm.*")),
    ({"wte": (9, 5)}, ("d_model", "d_model is 4, but {file} has wte of shape (9, 5)")),
    ({"wte": (9,)}, ("d_model", "d_model is 4, but {file} has wte of shape (9,)")),
    ({"wte": None}, ("d_model", "d_model is 4, but {file} has no wte")),
    ({"h.1.up": (4, 15)}, ("d_ff", "d_ff is 16, but {file} has h.1.up of shape (4, 15)")),
])
def test_a_configuration_is_held_against_the_shapes(shapes, wrong):
    found = {"wte": (9, 4), "h.0.up": (4, 16), "h.1.up": (4, 16), "h.0.norm.bias": (4,),
             "h.1.norm.bias": (4,), "h.1.norm.weight": (4,), **shapes}
    found = {name: shape for name, shape in found.items() if shape}
    assert mismatch(SIZES, Config, found) == wrong
