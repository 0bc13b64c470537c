"""Scores by dimension: they add up to the weights, and the values to what attention writes."""

import numpy as np
import pytest
from tests.insight.test_insight import DECODERS, IDS, bert, gpt2, transformer

from minillm.insight.anatomy import stacks_of
from minillm.insight.attention import attention_weights, flow, induction_scores, repeated_tokens
from minillm.insight.scores import attention_scores, plot_score
from minillm.nn.module import no_grad
from minillm.nn.trace import trace

MODELS = {**DECODERS, "bert": bert, "t5": lambda: gpt2(position_embedding="t5")}
TWO = {"input_ids": IDS, "decoder_input_ids": IDS[:, :4]}


def explained(scores, h, query):
    """-> (S,): the weights of a query, from its products"""
    T, S = scores.queries.shape[2], scores.keys.shape[2]
    sums = scores.products(h, query, row=1).sum(axis=1)
    e = np.exp(scores.scale * sums + scores.bias()[h, T - 1 - query :][:S])
    return e / e.sum()


def check(model, scores, inputs):
    names = [f"{each.name}.weights" for each in scores]
    with trace(model, [*names, *(each.name for each in scores)]) as t, no_grad():
        model(**inputs)
    for each, name in zip(scores, names):
        np.testing.assert_allclose(each.weights(), t[name], atol=1e-6)
        np.testing.assert_allclose(each.weights(1)[:, 0], t[name][:, 1], atol=1e-6)
        for h in range(each.queries.shape[1]):
            for query in range(each.queries.shape[2]):
                np.testing.assert_allclose(explained(each, h, query), t[name][1, h, query],
                                           atol=1e-5)
        check_values(each, t[name], t[each.name])


def check_values(scores, P, written):
    """The summands P_ij v_j W_O make up the output, and their lengths are weights times norms."""
    group = scores.queries.shape[1] // scores.keys.shape[1]
    output = scores.module.output
    W_O = output.weight.data.reshape(P.shape[1], scores.values.shape[-1], -1)
    summands = np.einsum("bhij,bhjd,hde->bhije", P, np.repeat(scores.values, group, axis=1), W_O)
    bias = 0 if output.bias is None else output.bias.data
    np.testing.assert_allclose(summands.sum(axis=(1, 3)) + bias, written, atol=1e-5)
    lengths = P * scores.value_norms()[:, :, None]
    np.testing.assert_allclose(lengths, np.linalg.norm(summands, axis=-1), atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_products_add_up_to_the_weights(name):
    model = MODELS[name]()
    check(model, attention_scores(model, IDS), {"input_ids": IDS})


def test_a_picture_of_a_score():
    products = attention_scores(gpt2(), IDS)[0].products(1, 3)[2]
    axes = plot_score(products, "why").axes[0]
    assert [bar.get_width() for bar in axes.patches] == sorted(products, key=abs, reverse=True)


def test_an_encoder_decoder():
    model = transformer()
    for stack in stacks_of(model):
        check(model, attention_scores(model, stack=stack, **TWO), TWO)
    crossed = attention_scores(model, cross=True, **TWO)
    assert crossed[0].weights().shape == (2, 2, 4, 6)
    check(model, crossed, TWO)
    with pytest.raises(ValueError, match="^cross is True, but .* has no attention to an encoder$"):
        attention_scores(model, stack=next(iter(stacks_of(model))), cross=True, **TWO)


def test_induction_scores_are_the_mean_weights_on_what_followed():
    model = gpt2()  # with 16 positions: 8 tokens, twice
    W = attention_weights(model, repeated_tokens(11, 8))
    want = np.mean([W[1][:, 0, t, t - 7] for t in range(7, 16)])
    assert induction_scores(model)[1, 0] == pytest.approx(want, rel=1e-5)
    assert len(induction_scores(transformer())) == 4


def test_flow_reports():
    calls = []
    flow([w[0] for w in attention_weights(gpt2(), IDS)], 3, report=lambda *call: calls.append(call))
    assert calls == [(t, 6) for t in range(1, 7)]
