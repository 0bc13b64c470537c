"""The live source, and the figures of the course."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.course.figures import FOLDER_VARIABLE, heat_map, new_figure, save
from minillm.course.running_example import CHINESE_WORDS, WORDS, X
from minillm.course.source import source
from minillm.nn.layers import LayerNorm
from minillm.ops import softmax
from minillm.ops.layer_norm import layer_norm_backward


def test_the_source_is_the_file_and_has_the_derivation():
    shown = source(layer_norm_backward)
    assert shown.place.startswith("minillm/ops/layer_norm.py, line ")
    assert shown.code.startswith("# Through weight and bias") and "@kernel(" in shown.code
    assert not source(layer_norm_backward, comments=False).code.startswith("#")
    assert source(LayerNorm.backward).code.startswith("def backward(self, dy):")
    assert source(softmax).code.startswith('"""Softmax')
    assert f"```python\n# {shown.place}" in shown._repr_markdown_()


@pytest.mark.parametrize("thing", [np.add, 3, None, len])
def test_what_has_no_source_is_an_error(thing):
    with pytest.raises(TypeError, match="wanted a Python function, class or module"):
        source(thing)


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(1, 5), st.booleans(),
       st.lists(st.text(max_size=6), min_size=5, max_size=5))
def test_any_labels_and_values_give_a_well_formed_picture(rows, columns, numbers, labels):
    figure, axes = new_figure(2, 2)
    values = np.arange(rows * columns).reshape(rows, columns) - 3.0
    heat_map(axes, values, labels[:rows], labels[:columns], "score", numbers, title="a")
    picture = save("90-any", figure)
    assert picture._repr_svg_() is not None
    # XML allows no control characters at all; matplotlib leaves them in.
    if all(label.isprintable() for label in labels):
        ElementTree.fromstring(picture.svg)


def test_save_writes_only_where_a_folder_is_set(tmp_path, monkeypatch):
    def draw():
        figure, axes = new_figure(4, 3)
        heat_map(axes, X @ X.T, WORDS, CHINESE_WORDS, "score", numbers=True)
        return save("90-scores", figure)

    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert repr(draw()) == "[figure: 90-scores]"
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "new"))
    first = draw()
    svg = (tmp_path / "new" / "90-scores.svg").read_text(encoding="utf-8")
    assert "苹果" in svg and ">19.05<" in svg
    assert first._repr_svg_() is None and draw().svg == svg  # the same figure, the same file


def test_the_running_example():
    assert X.shape == (3, 10) and X[0, 2] == 0.3 and X[2, 9] == 1.8
    assert len(WORDS) == len(CHINESE_WORDS) == 3
