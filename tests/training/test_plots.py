"""The plots show the numbers, and are complete PNG files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from minillm.training.plots import plot_attention, plot_loss, running_mean

RECORDS = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.5}, {"step": 2, "valid_loss": 2.7}]


@pytest.mark.parametrize("n_records", range(4))
def test_a_loss_curve_is_drawn_as_soon_as_there_is_something(tmp_path, n_records):
    plot_loss(RECORDS[:n_records], tmp_path / "loss.png")
    picture = imread(tmp_path / "loss.png")
    assert picture.shape[0] > 300 and picture.shape[1] > 300
    is_colored = np.ptp(picture[..., :3], axis=-1) > 0.1  # axes and text are grey, curves aren't
    assert is_colored.any() == (n_records > 0)
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


@pytest.mark.parametrize("n_layers, n_heads, T", [(1, 1, 1), (1, 3, 4), (3, 1, 2), (2, 2, 5)])
def test_attention_maps_of_any_number_of_layers_and_heads(tmp_path, n_layers, n_heads, T):
    weights = np.tril(np.ones((n_heads, T, T)))
    weights /= weights.sum(axis=-1, keepdims=True)
    labels = ["\n", "$x", " the", "\N{REPLACEMENT CHARACTER}", "_{"][:T]
    plot_attention([weights] * n_layers, labels, tmp_path / "a.png", title="where heads look")
    assert imread(tmp_path / "a.png").ndim == 3


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.floats(0, 0.99))
def test_the_running_mean_stays_among_the_values(values, weight):
    means = running_mean(values, weight)
    assert len(means) == len(values) and means[0] == pytest.approx(values[0], abs=1e-9)
    for end, mean in enumerate(means, 1):
        assert min(values[:end]) - 1e-6 <= mean <= max(values[:end]) + 1e-6
