"""What the page shows of patches, beside the library and patches by hand."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subjects import MAKERS, TEXT, shaken

from minillm.explorer.views import patching as views
from minillm.insight import ablation, patching
from minillm.insight.subject import Subject
from minillm.insight.target import Logit
from minillm.nn.module import no_grad
from minillm.nn.trace import trace
from minillm.ops.softmax import softmax

CLEAN, CORRUPT = "The class statement defines a", "The function statement defines a"
ALL = [kind for kind in MAKERS if kind != "bert alone"]


@cache
def small(kind):
    model, tokenizer = MAKERS[kind]()
    return Subject(shaken(model), tokenizer, kind)


def quiet(*arguments):
    pass


def patched_by_hand(subject, changes):
    """-> probabilities, logits of the corrupt run with changes: {name: (value, from, to)}"""
    ids = subject.encode(CORRUPT)[None]
    with no_grad(), trace(subject.model, []) as t:
        for name, (value, source, places) in changes.items():
            def replace(x, value=value, source=source, places=places):
                x = x.copy()
                x[:, places] = value[:, source]
                return x
            t.patch(name, replace)
        logits = subject.model(ids).logits[0, -1]
    return softmax(logits.astype(np.float64))[0], logits


def recorded(subject, text, name):
    with no_grad(), trace(subject.model, [name]) as t:
        subject.model(subject.encode(text)[None])
    return t[name]


def test_the_default_comparison(subject):
    found = views.patch_setup(subject, CLEAN)
    assert found["corrupt"]["text"] == CORRUPT and found["differs"] == [1]
    assert (found["token"]["name"], found["other"]["name"]) == (" class", " function")
    assert found["position"] == 4
    p, logits = patched_by_hand(subject, {})
    assert found["corrupt"]["answer"]["p"] == pytest.approx(p[found["token"]["id"]], abs=1e-6)
    assert found["corrupt"]["answer"]["value"] == pytest.approx(
        logits[found["token"]["id"]] - logits[found["other"]["id"]], abs=1e-4)
    assert len(found["rows"]) == 4 * (4 + 3)
    assert found["estimate"]["corrupt"].shape == (28, 5)


def test_a_patch_is_what_a_trace_does_by_hand(subject):
    name, other = "transformer.h.1", "transformer.h.2.attention.head_3"
    found = views.patch_effect(subject, CLEAN, [f"{name}@1,3-4", f"{name}@1>{name}@2",
                                                f"{other}@0>transformer.h.3.attention.head_0@4"],
                               CORRUPT)
    residual, head = (recorded(subject, CLEAN, each) for each in (name, other))
    p, logits = patched_by_hand(subject, {
        name: (residual, [1, 3, 4, 1], [1, 3, 4, 2]),
        "transformer.h.3.attention.head_0": (head, [0], [4])})
    after = found["after"]
    token, against = subject.token("", " class"), subject.token("", " function")
    assert after["p"] == pytest.approx(p[token], abs=1e-6)
    assert after["value"] == pytest.approx(logits[token] - logits[against], abs=1e-4)
    assert after["top"][0]["id"] == p.argmax()
    before, donor = found["before"]["value"], found["donor"]["value"]
    assert found["effect"] == pytest.approx((after["value"] - before) / (donor - before))


@pytest.mark.parametrize("into", ["corrupt", "clean"])
def test_the_sweep_is_the_librarys(subject, into):
    calls = []
    found = views.patch_sweep(subject, CLEAN, lambda *call: calls.append(call), CORRUPT, into,
                              ["residual", "head"])
    names = [row["name"] for row in found["rows"]]
    ids = [subject.encode(text) for text in (CLEAN, CORRUPT)]
    target = Logit(subject.token("", " class"), subject.token("", " function"))
    ids = ids if into == "corrupt" else ids[::-1]
    want = patching.patching(subject.model, *ids, target, names)
    way = found["donor"] - found["before"]
    np.testing.assert_allclose((found["numbers"][..., 0] - found["before"]) / way, want.exact,
                               atol=1e-4)
    setup = views.patch_setup(subject, CLEAN, CORRUPT)
    rows = [i for i, row in enumerate(setup["rows"]) if row["kind"] in ("residual", "head")]
    np.testing.assert_allclose(setup["estimate"][into][rows] / way, want.estimate, atol=1e-4)
    np.testing.assert_allclose(found["numbers"][:, 0], found["numbers"][0, 0][None].repeat(20, 0),
                               atol=1e-4)  # both texts begin alike: nothing changes
    parts = [partial["numbers"] for _, _, partial in calls]
    np.testing.assert_array_equal(np.concatenate(parts), found["numbers"].reshape(-1, 3))
    assert calls[-1][:2] == (100, 100)


def test_paths_are_the_librarys(subject):
    found = views.patch_paths(subject, CLEAN, "transformer.h.2.attention.head_1", quiet, CORRUPT)
    assert [path["layer"] for path in found["paths"]] == [None, 3, 3, 3, 3]
    target = Logit(subject.token("", " class"), subject.token("", " function"))
    ids = [subject.encode(text) for text in (CLEAN, CORRUPT)]
    want = patching.path_patching(subject.model, *ids, target, "transformer.h.2.attention.head_1")
    assert found["paths"][0]["effect"] == pytest.approx(want, abs=1e-5)


def test_the_circuit_is_all_paths(subject):
    calls = []
    found = views.patch_circuit(subject, CLEAN, lambda *call: calls.append(call), CORRUPT)
    effects = found["effects"]
    assert effects.shape == (16, 17) and np.isfinite(effects[:, -1]).all()
    layers = np.array([head["layer"] for head in found["heads"]])
    np.testing.assert_array_equal(np.isfinite(effects[:, :-1]), layers[:, None] < layers)
    paths = views.patch_paths(subject, CLEAN, found["heads"][9]["name"], quiet, CORRUPT)["paths"]
    np.testing.assert_allclose([path["effect"] for path in paths],
                               [effects[9, 16], *effects[9, 12:16]], atol=1e-6)
    assert calls[-1][:2] == (6 * 16 + 16,) * 2


def test_heads_switched_off(subject):
    ids = subject.encode(CLEAN)[None]
    found = views.switch_heads(subject, CLEAN, ["0.1", "3.2"])
    with no_grad(), trace(subject.model, []) as t:
        loss = subject.model(ids, labels=ids).loss.item()
        t.patch("transformer.h.0.attention.head_1", 0)
        t.patch("transformer.h.3.attention.head_2", 0)
        off = subject.model(ids, labels=ids)
    assert found["before"]["loss"] == pytest.approx(loss, abs=1e-5)
    assert found["after"]["loss"] == pytest.approx(off.loss.item(), abs=1e-5)
    assert found["after"]["value"] == pytest.approx(off.logits[0, -1, found["token"]["id"]],
                                                    abs=1e-4)
    alone = views.heads_off(subject, CLEAN, quiet)
    n = [(head["layer"], head["head"]) for head in alone["heads"]].index((0, 1))
    one = views.switch_heads(subject, CLEAN, ["0.1"])
    assert alone["loss"][n] == pytest.approx(one["after"]["loss"] - loss, abs=1e-5)
    assert np.corrcoef(alone["value"], alone["estimate"])[0, 1] > 0.3
    for how in ("mean", "resample"):
        other = views.switch_heads(subject, CLEAN, ["0.1"], how)
        assert other["after"]["value"] != one["after"]["value"]
        again = views.heads_off(subject, CLEAN, quiet, how)
        assert again["value"].shape == (16,) and again["estimate"] is None
    assert how in ablation.KINDS


def test_texts_of_different_lengths(subject):
    found = views.patch_setup(subject, CLEAN, "A short one")
    assert not found["aligned"] and "estimate" not in found
    assert {len(subject.encode(each["text"])) for each in found["suggestions"]} == {5}
    with pytest.raises(ValueError, match="^corrupt has 3 tokens, wanted 5, as many as clean$"):
        views.patch_effect(subject, CLEAN, [], "A short one")


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_of_model(kind):
    subject = small(kind)
    found = views.patch_setup(subject, TEXT)
    n, T = len(found["rows"]), len(found["clean"]["tokens"])
    assert found["aligned"] and found["estimate"]["clean"].shape == (n, T)
    corrupt = found["corrupt"]["text"]
    last = found["rows"][-1]["name"]
    assert last == found["rows"][-1]["name"]
    whole = views.patch_effect(subject, TEXT, [f"{last}@0-{T - 1}"], corrupt)
    assert whole["after"]["value"] == pytest.approx(whole["donor"]["value"], abs=1e-4)
    swept = views.patch_sweep(subject, TEXT, quiet, corrupt, kinds=["residual"])
    assert np.isfinite(swept["numbers"]).all()
    off = views.heads_off(subject, TEXT, quiet)
    assert np.isfinite(off["value"]).all()
    assert np.isfinite(off["loss"]).all() == hasattr(subject.model, "lm_head")


def test_a_model_without_a_head_has_no_answer():
    with pytest.raises(ValueError, match="^bert alone is a .*, wanted one with a head"):
        views.patch_setup(small("bert alone"), TEXT)
    with pytest.raises(ValueError, match="wanted one with a head"):
        views.heads_off(small("bert alone"), TEXT, quiet)
    assert not list(views.offline_patching(small("bert alone"), TEXT))


def test_the_encoder_of_an_encoder_decoder():
    subject = small("marian")
    stack = views.patch_setup(subject, "the dog")["stacks"][0]
    found = views.patch_setup(subject, "the dog", stack=stack)
    T = len(found["clean"]["tokens"])
    assert T == len(subject.encode("the dog"))
    assert found["clean"]["tokens"] == found["clean"]["source"]
    if found["differs"]:
        last = found["rows"][-1]["name"]
        whole = views.patch_effect(subject, "the dog", [f"{last}@0-{T - 1}"],
                                   found["corrupt"]["text"], stack=stack)
        assert whole["after"]["value"] == pytest.approx(whole["donor"]["value"], abs=1e-4)


@pytest.mark.parametrize("patch, error", [
    ("x", "a patch is 'x', wanted one like"),
    ("x@1", "a patch names 'x', wanted one of"),
    ("transformer.h.0@9", "a patch is at position 9, wanted 0 to 4"),
    ("transformer.h.0@1-2>transformer.h.0@1", "moves 2 positions to 1"),
    ("transformer.h.0@2-1", "wanted rising ones"),
    ("transformer.h.0@1,1", "wanted each once"),
    ("transformer.h.0@1--2", "wanted some like '1,4-6'"),
    ("transformer.h.0@0-99999999999999999999", "wanted rising ones below"),
    ("transformer.h.0.attention.head_0@1>transformer.h.0@1", "has 32 numbers at a position"),
])
def test_errors_are_one_line(subject, patch, error):
    with pytest.raises(ValueError, match=error) as found:
        views.patch_effect(subject, CLEAN, [patch], CORRUPT)
    assert "\n" not in str(found.value)


@given(st.text(max_size=30) | st.from_regex(views.Move._PATTERN, fullmatch=True))
@settings(max_examples=100, deadline=None)
def test_any_patch_is_read_or_refused(text):
    try:
        move = views.Move.read(text)
        move.check(["transformer.h.0"], 8)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert len(move.sources) == len(move.places) and max(move.sources) < 8


def test_a_page_without_a_server_can_patch(subject):
    questions = list(views.offline_patching(subject, CLEAN))
    assert ("patch_setup", {}) in questions
    assert ("patch_sweep", {"corrupt": CORRUPT, "into": "clean"}) in questions
    assert ("switch_heads", {"heads": ["3.2"], "how": "zero"}) in questions
