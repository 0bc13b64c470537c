"""Training on the page: the numbers of a step are those of the library, and undo is exact."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.subjects import MAKERS, TEXT

from minillm.explorer.practice import Practice, copy_of
from minillm.explorer.views.training import (
    example_step,
    practice,
    practice_parameter,
    redo,
    reset_practice,
    step,
    steps,
    undo,
)
from minillm.insight.lesson import lesson_of
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax
from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.optimizers import SGD, Adam, AdamW

OPTIMIZERS = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW}


@pytest.fixture(scope="module")
def gpt2(open_subject):
    return open_subject("gpt2")


def explorer_of(subject):
    return SimpleNamespace(subjects={"a": subject}, practice=None, kept={})


def bits(mine):
    """All that a state consists of, as bytes."""
    arrays = [parameter.data for parameter in mine.model.parameters()]
    arrays += [] if mine.optimizer is None else mine.optimizer.state_dict().values()
    return [np.asarray(x).tobytes() for x in arrays]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("clip", [0.0, 0.1])
def test_a_step_is_that_of_the_library(gpt2, optimizer, clip):
    """Two steps, against the same ones written out here."""
    options = {"lr": 1e-2, "weight_decay": 0.1}
    model = copy_of(gpt2.model)
    by_hand = OPTIMIZERS[optimizer](model.parameters(), **options)
    explorer, ids = explorer_of(gpt2), gpt2.encode(TEXT)[None]
    for _ in range(2):
        by_hand.zero_grad()
        loss = model(ids, labels=ids).loss
        loss.backward()
        norm = grad_norm(model.parameters())
        old = [parameter.data.astype(np.float64) for parameter in model.parameters()]
        by_hand.step(clip_factor(norm, clip) if clip else 1.0)
        predicted = sum((parameter.grad * (parameter.data - before)).sum()
                        for parameter, before in zip(model.parameters(), old))
        with no_grad():
            output = model(ids, labels=ids)
        answer = step(gpt2, explorer, TEXT, optimizer, clip=clip, **options)
        found = answer["step"]
        assert (found["loss_before"], found["loss_after"]) == (loss.item(), output.loss.item())
        assert found["norm"] == norm
        assert found["grad_scale"] == (clip_factor(norm, clip) if clip else 1.0)
        assert found["predicted"] == pytest.approx(predicted, rel=1e-6)
        np.testing.assert_array_equal(found["losses_after"],
                                      lesson_of(gpt2, TEXT).losses(output))
        for row, parameter, before in zip(answer["parameters"], model.parameters(), old):
            changed = np.linalg.norm(parameter.data - before)
            assert row["gradient"] == pytest.approx(np.linalg.norm(parameter.grad), rel=1e-5)
            assert row["update"] == pytest.approx(changed, rel=1e-4)
            assert row["relative"] == pytest.approx(changed / np.linalg.norm(before), rel=1e-4)
    for mine, theirs in zip(explorer.practice.model.parameters(), model.parameters()):
        np.testing.assert_array_equal(mine.data, theirs.data)
    assert explorer.subjects["trained"].model is explorer.practice.model


def test_gradient_descent_promises_what_the_formula_says(gpt2):
    found = step(gpt2, explorer_of(gpt2), TEXT, "SGD", lr=1e-4)["step"]
    assert found["linear"] == pytest.approx(-1e-4 * found["norm"] ** 2)
    assert found["predicted"] == pytest.approx(found["linear"], rel=1e-2)
    changed = found["loss_after"] - found["loss_before"]
    assert changed == pytest.approx(found["predicted"], rel=0.1)  # a small step is almost linear


@given(st.lists(st.sampled_from(["SGD", "Adam", "AdamW", "undo", "redo"]), max_size=12))
def test_undo_and_redo_are_exact(gpt2, moves):
    """Against a list of all states: wherever undo and redo lead, every bit is as it was."""
    mine, lesson = Practice(gpt2), lesson_of(gpt2, TEXT)
    states, now = [bits(mine)], 0
    for move in moves:
        if move == "undo" and now:
            mine.undo()
            now -= 1
        elif move == "redo" and now + 1 < len(states):
            mine.redo()
            now += 1
        elif move in OPTIMIZERS:
            mine.step(lesson, move, lr=0.03, weight_decay=0.1, clip=1.0)
            now += 1
            states = [*states[:now], bits(mine)]
        assert bits(mine) == states[now]


def test_a_step_after_undo_is_the_same_step(gpt2):
    explorer = explorer_of(gpt2)
    one = step(gpt2, explorer, TEXT)
    two = step(gpt2, explorer, TEXT)
    assert undo(gpt2, explorer)["step"]["loss_after"] == one["step"]["loss_after"]
    again = step(gpt2, explorer, TEXT)
    assert again["step"]["loss_after"] == two["step"]["loss_after"] and again["redo"] == 0
    undo(gpt2, explorer)
    assert redo(gpt2, explorer)["step"]["number"] == 2
    for refused in (lambda: redo(gpt2, explorer), lambda: undo(gpt2, explorer_of(gpt2))):
        with pytest.raises(ValueError, match="there is no step to"):
            refused()


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "bert alone"])
def test_every_kind_of_model_learns_and_the_subject_stays(kind, open_subject):
    subject = open_subject(kind)
    before = [array.tobytes() for array in subject.model.state_dict().values()]
    explorer = explorer_of(subject)
    answer = step(subject, explorer, TEXT, "SGD", lr=1e-5)
    assert answer["step"]["loss_after"] < answer["step"]["loss_before"]
    assert [array.tobytes() for array in subject.model.state_dict().values()] == before
    assert not subject.model.training and not explorer.practice.model.training
    shown = answer["step"]["distribution"]
    n_rows = len(answer["step"]["rows"])
    assert shown["ids"].shape == shown["before"].shape == shown["after"].shape
    assert len(shown["ids"]) == n_rows
    assert set(shown["names"]) == {str(id) for id in shown["ids"].flat}
    reset = reset_practice(subject, explorer)
    assert reset["steps"] == 0 and explorer.practice is None and list(explorer.subjects) == ["a"]


def test_distributions_hold_the_likeliest_and_the_target(gpt2):
    explorer = explorer_of(gpt2)
    found = step(gpt2, explorer, TEXT, lr=1e-2)["step"]["distribution"]
    lesson = lesson_of(gpt2, TEXT)
    with no_grad():
        P, _ = softmax(gpt2.model(**lesson.inputs).logits[0])
    for row, (ids, p) in enumerate(zip(found["ids"], found["before"])):
        np.testing.assert_array_equal(p, P[row, ids])
        assert P[row].argmax() in ids and list(p) == sorted(p, reverse=True)
        assert lesson.targets[row] in ids or lesson.targets[row] < 0


def test_ten_steps_report_each_loss_and_can_be_cancelled(gpt2):
    class Cancelled(Exception):
        pass

    explorer, seen = explorer_of(gpt2), []

    def report(done, total, partial):
        seen.append((done, total, partial["after"]))
        if len(seen) == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        steps(gpt2, explorer, report, TEXT, n=10)
    answer = practice(gpt2, explorer, TEXT)
    assert answer["steps"] == 4 and [done for done, _, _ in seen] == [1, 2, 3, 4]
    np.testing.assert_array_equal(answer["curve"]["after"], [loss for _, _, loss in seen])
    np.testing.assert_array_equal(answer["curve"]["after"][:-1], answer["curve"]["before"][1:])
    assert answer["lesson"]["loss"] == answer["step"]["loss_after"]
    with pytest.raises(ValueError, match="n is 0, wanted 1 to 1,000"):
        steps(gpt2, explorer, report, TEXT, n=0)


def test_the_states_are_bounded_in_bytes(gpt2):
    lesson = lesson_of(gpt2, TEXT)
    mine = Practice(gpt2)
    mine.step(lesson)
    limit = 3 * mine.states[-1].n_bytes
    mine = Practice(gpt2, limit)
    for _ in range(6):
        mine.step(lesson)
        assert mine.n_bytes <= limit
    assert mine.state.number == 6 and 1 <= mine.now < 6 and len(mine.curve) == 6
    for _ in range(mine.now):
        mine.undo()
    with pytest.raises(ValueError, match="forgotten, wanted a reset"):
        mine.undo()
    tiny = Practice(gpt2, 1)
    tiny.step(lesson)
    assert tiny.now == 0 and len(tiny.states) == 1
    assert practice_parameter(gpt2, SimpleNamespace(practice=tiny, subjects={}),
                              tiny.rows()[0]["name"])["before"] is None


@pytest.mark.parametrize("optimizer, decay", [("Adam", 0.3), ("AdamW", 0.3), ("SGD", 0.0)])
def test_a_parameters_numbers_follow_the_formula(gpt2, optimizer, decay):
    """Each number of the window is the formula of ops/adam.py of those before it."""
    explorer = explorer_of(gpt2)
    for _ in range(2):
        answer = step(gpt2, explorer, TEXT, optimizer, lr=0.01, weight_decay=decay, clip=0.5)
    for row in answer["parameters"]:
        found = practice_parameter(gpt2, explorer, row["name"])
        w, g = found["before"].astype(np.float64), found["gradient"].astype(np.float64)
        g = found["grad_scale"] * g + found["l2"] * w
        if optimizer == "SGD":
            new = w - found["lr"] * g
        else:
            beta1, beta2 = found["betas"]
            m = beta1 * found["m_before"] + (1 - beta1) * g
            v = beta2 * found["v_before"] + (1 - beta2) * g**2
            np.testing.assert_allclose(found["m"], m, rtol=1e-4, atol=1e-9)
            np.testing.assert_allclose(found["v"], v, rtol=1e-4, atol=1e-12)
            m_hat, v_hat = m / (1 - beta1 ** found["t"]), v / (1 - beta2 ** found["t"])
            new = (w - found["lr"] * found["decay"] * w
                   - found["lr"] * m_hat / (np.sqrt(v_hat) + found["eps"]))
        np.testing.assert_allclose(found["after"], new, rtol=1e-5, atol=1e-6)
        if not found["row"]:
            assert math.prod(found["before"].shape) <= 64 * 64


def test_a_window_of_a_parameter(gpt2):
    explorer = explorer_of(gpt2)
    name = next(row["name"] for row in step(gpt2, explorer, TEXT)["parameters"]
                if row["shape"][0] == gpt2.model.config.vocab_size)
    found = practice_parameter(gpt2, explorer, name, row=100, column=3)
    weight = dict(explorer.practice.model.named_parameters())[name].data
    np.testing.assert_array_equal(found["after"], weight[100:164, 3:])
    assert found["row_names"] == gpt2.names(range(100, 164))
    for fields, message in (({"name": "nothing"}, "parameter is 'nothing', wanted one of "),
                            ({"name": name, "row": 9999}, "row is 9999, wanted 0 to "),
                            ({"name": name, "column": -1}, "column is -1, wanted 0 to 7")):
        with pytest.raises(ValueError, match=message):
            practice_parameter(gpt2, explorer, **fields)


@pytest.mark.parametrize("options, message", [
    ({"optimizer": "Lion"}, "optimizer is 'Lion', wanted one of SGD, Adam, AdamW"),
    ({"lr": -1.0}, "lr is -1.0, wanted a finite number of at least 0"),
    ({"clip": -1.0}, "clip is -1.0, wanted a finite number of at least 0"),
    ({"optimizer": "SGD", "lr": 1e300}, "lr is 1e[+]300, wanted a smaller one"),
])
def test_what_cannot_be_trained_leaves_the_model_as_it_was(gpt2, options, message):
    explorer = explorer_of(gpt2)
    step(gpt2, explorer, TEXT)
    before = bits(explorer.practice)
    with pytest.raises(ValueError, match=message):
        step(gpt2, explorer, TEXT, **options)
    undo(gpt2, explorer)
    redo(gpt2, explorer)
    assert bits(explorer.practice) == before


def test_what_the_page_shows_before_the_first_step(open_subject):
    subject = open_subject("bert")
    explorer = explorer_of(subject)
    answer = practice(subject, explorer, TEXT)
    assert answer["step"] is None and answer["steps"] == 0 and explorer.practice is None
    assert answer["lesson"]["kind"] == "masked token" and answer["lesson"]["mask"] == "[MASK]"
    assert answer["lesson"]["loss"] > 0
    alone = open_subject("bert alone")
    assert "has no head" in practice(alone, explorer_of(alone), TEXT)["lesson"]["error"]


def test_the_trained_copy_goes_on_training_itself_and_one_model_at_a_time(gpt2, open_subject):
    explorer = explorer_of(gpt2)
    step(gpt2, explorer, TEXT)
    assert step(explorer.subjects["trained"], explorer, TEXT)["steps"] == 2
    llama = open_subject("llama")
    assert practice(llama, explorer, TEXT)["steps"] == 0
    assert practice(gpt2, explorer, TEXT)["steps"] == 2
    assert step(llama, explorer, TEXT)["steps"] == 1
    assert practice(gpt2, explorer, TEXT)["steps"] == 0


def test_a_page_without_a_server_has_one_step(gpt2, open_subject):
    answer = example_step(gpt2, TEXT)
    assert answer["steps"] == 1 and answer["step"]["optimizer"] == "AdamW"
    assert answer["parameter"]["gradient"].shape == (8, 24)
    alone = open_subject("bert alone")
    assert example_step(alone, TEXT)["parameter"] is None


def test_a_model_that_learns_its_own_answer_keeps_to_it(open_subject):
    """The target is what the origin says, also when the copy has come to say something else."""
    subject = open_subject("bert texts")
    explorer = explorer_of(subject)
    first = step(subject, explorer, TEXT, lr=0.0)["step"]["targets"]
    own, other = (subject.labels.index(name) for name in (
        first[0], next(label for label in subject.labels if label != first[0])))
    for _ in range(40):
        step(subject, explorer, TEXT, lr=0.02, target=subject.labels[other])
    trained = explorer.subjects["trained"]
    assert trained.said(trained.read(TEXT)) == other
    assert step(subject, explorer, TEXT)["step"]["targets"] == [subject.labels[own]]
