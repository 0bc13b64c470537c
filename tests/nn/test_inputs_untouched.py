"""No layer changes its inputs, the gradients that it receives, or a result that it returned
earlier."""

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import generators

from minillm import nn

D = 8


class Nothing(nn.Module):
    """A block whose sub-layer returns its input."""

    def __init__(self, p, rng):
        self.f, self.norm, self.dropout = nn.Dropout(0.0, rng), nn.LayerNorm(D), nn.Dropout(p, rng)
        self.residual = nn.Residual(self, "f", "norm", "dropout", "pre")


def make_layers(rng, training_dropout):
    """-> {name: (layer, number of float inputs)}, at least one of each class of minillm.nn"""
    p = 0.5 if training_dropout else 0.0
    options = {"rng": rng, "std": 0.5}
    made = {
        "Linear": (nn.Linear(D, D, **options), 1),
        "LoRA": (nn.LoRA(D, D, 2, alpha=3, dropout=p, rng=rng), 1),
        "LoRALinear": (nn.LoRALinear(nn.Linear(D, D, **options), [
            (0, 3, nn.LoRA(D, 3, 2, alpha=3, dropout=p, rng=rng))]), 1),
        "OutputHead": (nn.OutputHead(nn.Embedding(5, D, **options).weight), 1),
        "LayerNorm": (nn.LayerNorm(D), 1),
        "RMSNorm": (nn.RMSNorm(D), 1),
        "Dropout": (nn.Dropout(p, rng), 1),
        "L2Normalize": (nn.L2Normalize(), 1),
        **{f"Pooling {how}": (nn.Pooling(how), 1) for how in ("mean", "cls", "last")},
        "LearnedPositions": (nn.LearnedPositions(9, D, **options), 1),
        "SinusoidalPositions": (nn.SinusoidalPositions(9, D), 1),
        "FeedForward": (nn.FeedForward(D, 6, dropout=p, **options), 1),
        "GatedFeedForward": (nn.GatedFeedForward(D, 6, dropout=p, **options), 1),
        "CrossAttention": (nn.CrossAttention(D, 4, n_kv_heads=2, dropout=p, **options), 2),
        "Residual": (Nothing(p, rng).residual, 1),
    }
    for name in nn.layers.ACTIVATIONS:
        made[f"Activation {name}"] = (nn.Activation(name), 1)
        made[f"GatedActivation {name}"] = (nn.GatedActivation(name), 2)
    positions = {"Rotary": nn.Rotary(2, 9), "Alibi": nn.Alibi(4), "AttentionPositions": None,
                 "RelativeBias": nn.RelativeBias(4, **options),
                 "SlidingWindow": nn.SlidingWindow(4, 2, nn.Rotary(2, 9))}
    for name, each in positions.items():
        layer = nn.SelfAttention(D, 4, n_kv_heads=2, positions=each, dropout=p, **options)
        made[f"SelfAttention with {name}"] = (layer, 1)
    for norm in ("pre", "post"):
        made[f"EncoderBlock {norm}"] = (nn.EncoderBlock(D, 2, 6, norm=norm, dropout=p, **options), 1)
        made[f"DecoderBlock {norm}"] = (nn.DecoderBlock(D, 2, 6, norm=norm, dropout=p, **options), 2)
        alone = nn.DecoderBlock(D, 2, 6, norm=norm, cross_attention=False, dropout=p, **options)
        made[f"DecoderBlock {norm} alone"] = (alone, 1)
    return made


NAMES = list(make_layers(np.random.default_rng(0), False))


def test_every_layer_is_tested():
    classes = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)
               and issubclass(getattr(nn, name), nn.Module)}
    untested = classes - {word for name in NAMES for word in name.split()}
    # Layers of integers have no float inputs.
    assert untested == {"Module", "MultiHeadAttention", "Embedding", "SinusoidalEmbedding"}


@settings(max_examples=6)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("traced", [False, True])
@given(rng=generators)
def test_nothing_that_came_in_or_went_out_changes(name, traced, rng):
    for dropout in (False, True):
        layer, n_inputs = make_layers(rng, dropout)[name]
        inputs = [rng.standard_normal((2, 3, D), dtype=np.float32) for _ in range(n_inputs)]
        before = [array.copy() for array in inputs]
        with nn.trace(layer, None if traced else []):
            y = layer(*inputs)
            y_before = np.array(y)
            dy = rng.standard_normal(y.shape, dtype=np.float32)
            dy_before = dy.copy()
            again = layer(*inputs)
            dinputs = layer.backward(dy)
            copies = [np.array(dx) for dx in _as_tuple(dinputs)]
            layer.backward(dy)
        for array, copy in zip([*inputs, y, dy, *_as_tuple(dinputs)],
                               [*before, y_before, dy_before, *copies], strict=True):
            np.testing.assert_array_equal(array, copy)
        assert again.shape == y.shape


def _as_tuple(x):
    return x if isinstance(x, tuple) else (x,)
