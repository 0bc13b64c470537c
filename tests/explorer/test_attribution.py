"""What the page shows of attributions, beside the library, and answers without tokens by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subjects import MAKERS
from tests.explorer.test_patching import ALL, CLEAN, quiet, small

from minillm.explorer.views import attribution as views
from minillm.insight import attribution
from minillm.insight.subject import Subject
from minillm.insight.target import Logit
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax

LIBRARY = {**views.ESTIMATES, "occlusion": "occlusion"}


def test_the_scores_are_the_librarys(subject):
    calls = []
    found = views.attribute(subject, CLEAN, lambda *call: calls.append(call), steps=64)
    ids = subject.encode(CLEAN)
    target = Logit(subject.token("", " class"))
    want = attribution.attributions(subject.model, ids, target)
    trust = attribution.faithfulness(subject.model, ids, target, want)
    for name, method in found["methods"].items():
        np.testing.assert_allclose(method["scores"], want[LIBRARY[name]], atol=1e-4)
        assert method["faithfulness"] == pytest.approx(trust[LIBRARY[name]], abs=1e-3)
    assert found["methods"]["occlusion"]["correlation"] == pytest.approx(1)
    assert found["complete"]["sum"] == pytest.approx(found["complete"]["wanted"], abs=0.2)
    partial = [call[2] for call in calls if len(call) > 2]
    assert [len(each["methods"]) for each in partial] == [1, 3, 4] and calls[-1][0] == 100
    for each in partial:  # the quick part comes first, and stays
        assert each["answer"] == found["answer"] and "deletion" not in each
        for name, method in each["methods"].items():
            np.testing.assert_array_equal(method["scores"], found["methods"][name]["scores"])


def test_the_answer_without_a_token(subject):
    found = views.attribute(subject, CLEAN, quiet)
    table = subject.model.get_input_embeddings().weight.data
    e = table[subject.encode(CLEAN)][None].copy()
    e[0, 1] = table.mean(axis=0)
    with no_grad():
        p, _ = softmax(subject.model(inputs_embeds=e).logits[0, -1].astype(np.float64))
    without = found["without"][1]
    assert [each["id"] for each in without["top"]] == np.argsort(-p)[:5].tolist()
    assert without["p"] == pytest.approx(p[found["token"]["id"]], abs=1e-5)
    assert found["methods"]["occlusion"]["scores"][1] == pytest.approx(
        found["answer"]["value"] - without["value"])


def test_more_steps_make_integrated_gradients_complete(subject):
    found = views.completeness(subject, CLEAN, quiet, steps=[2, 16, 128])
    errors = np.abs(found["sums"] - found["wanted"])
    assert errors[2] < errors[0] and errors[2] < 0.05 * abs(found["wanted"])
    whole = views.attribute(subject, CLEAN, quiet, steps=16)["complete"]
    assert whole["sum"] == pytest.approx(found["sums"][1], abs=1e-3)
    assert whole["wanted"] == pytest.approx(found["wanted"], abs=1e-4)


def test_pairs_of_tokens(subject):
    found = views.token_pairs(subject, CLEAN, quiet)
    scores = attribution.occlusion(subject.model, subject.encode(CLEAN), Logit(381))
    np.testing.assert_allclose(found["alone"], scores, atol=1e-4)
    np.testing.assert_array_equal(found["interaction"], found["interaction"].T)
    deleted = np.array([[0, 0, 0, 0, 0], [0, 1, 0, 1, 0]], bool)
    values = attribution.without(subject.model, subject.encode(CLEAN), Logit(381), deleted)
    assert found["interaction"][1, 3] == pytest.approx(
        values[0] - values[1] - scores[1] - scores[3], abs=1e-4)
    with pytest.raises(ValueError, match="^the text has 35 tokens, wanted at most 24"):
        views.token_pairs(subject, "a b " * 17, quiet)


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_of_model(kind):
    found = views.attribute(small(kind), "a cat and the dog", quiet, steps=8)
    T = len(found["tokens"])
    assert len(found["without"]) == T and 0 <= found["at"] < T
    for method in found["methods"].values():
        assert method["scores"].shape == (T,) and np.isfinite(method["scores"]).all()
        assert len(method["disagrees"]) == T
    assert set(found["methods"]["occlusion"]["disagrees"]) == {""}


scores = st.lists(st.integers(-4, 4), min_size=2, max_size=9).map(np.array)


@given(scores, st.data())
@settings(max_examples=60, deadline=None)
def test_ranks_and_disagreements(x, data):
    y = np.array(data.draw(st.permutations(x.tolist())))
    assert ranks_of_all(x) == pytest.approx(views.ranks(x))
    rho = views.rank_correlation(x, y)
    assert (rho is None) == (len(set(x)) == 1)
    assert rho is None or rho == pytest.approx(views.rank_correlation(3 * x + 1, y))
    assert set(views.disagreements(x, x)) == {""}
    said = views.disagreements(x, -x)
    for a, kind in zip(x, said):
        assert kind == "sign" or abs(a) < 0.05 * abs(x).max() or a == 0 or x.min() >= 0


def ranks_of_all(x):
    """The mean place of each value among the sorted ones, by counting"""
    return [(x < a).sum() + ((x == a).sum() - 1) / 2 for a in x]


def test_a_text_that_takes_too_long_is_refused():
    model, tokenizer = MAKERS["gpt2"]()
    model = type(model)(model.config.replace(position_embedding="alibi")).eval()
    subject = Subject(model, tokenizer)
    for view in (views.attribute, views.token_pairs):
        with pytest.raises(ValueError, match="wanted at most 1,024"):
            view(subject, "a b " * 2000, quiet)


def test_errors(subject):
    for fields, error in (({"steps": 0}, "^steps is 0, wanted 1 to 1024$"),
                          ({"position": 9}, "^position is 9, wanted 0 to 4$"),
                          ({"token": 5000}, "^token is 5000, wanted 0 to 2047"),
                          ({"token": 3, "against": 3}, "^token and against are both 3")):
        with pytest.raises(ValueError, match=error):
            views.attribute(subject, CLEAN, quiet, **fields)
