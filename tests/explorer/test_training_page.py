"""Training in the browser: the page shows the numbers of a step that is taken here by hand."""

import numpy as np
import pytest
from explorer_pages import TEXT, watched_page

from minillm.explorer.explorer import Explorer
from minillm.explorer.export import export_page
from minillm.explorer.practice import copy_of
from minillm.insight.lesson import lesson_of
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax
from minillm.training.optimizers import SGD, AdamW

NAME = "transformer.h.0.attention.qkv.weight"


@pytest.fixture(autouse=True)
def reset(request):
    yield
    if "served" in request.fixturenames:
        explorer = request.getfixturevalue("served").explorer
        explorer.practice = None
        explorer.subjects.pop("trained", None)


def shown(root, name):
    """-> the number of a figure, as the page has it"""
    return float(root.locator(f"output[data-name={name}]").get_attribute("data-value"))


def by_hand(subject, optimizer, text=TEXT, n=1):
    """-> model after n steps, list of (loss before, loss after)"""
    model, ids = copy_of(subject.model), subject.encode(text)[None]
    steps, losses = optimizer(model.parameters()), []
    for _ in range(n):
        steps.zero_grad()
        loss = model(ids, labels=ids).loss
        loss.backward()
        steps.step()
        with no_grad():
            losses.append((loss.item(), model(ids, labels=ids).loss.item()))
    return model, losses


def test_one_step_its_numbers_and_undo(page, served, open_view, saved):
    subject = served.subject
    root = open_view(page, "training", state={"optimizer": "AdamW", "lr": 0.01, "clip": 0,
                                              "weight_decay": 0.1, "parameter": NAME})
    lesson = lesson_of(subject, TEXT)
    with no_grad():
        before = subject.model(**lesson.inputs)
    assert shown(root, "loss_now") == before.loss.item()
    root.get_by_role("button", name="Take one step").click()
    root.locator("[data-symbol=after]").wait_for(state="attached")
    model, losses = by_hand(subject, lambda p: AdamW(p, lr=0.01, weight_decay=0.1))
    assert (shown(root, "loss_before"), shown(root, "loss_after")) == losses[0]
    assert shown(root, "change") == losses[0][1] - losses[0][0]
    old, new = (dict(each.named_parameters()) for each in (subject.model, model))
    predicted = sum(float(np.vdot(new[name].grad, new[name].data.astype(float) - old[name].data))
                    for name in new)
    assert shown(root, "predicted") == pytest.approx(predicted, rel=1e-6)

    with no_grad():
        after = model(**lesson.inputs)
    rows = saved(page, root.locator("[data-name=token-losses]"))
    n = len(lesson.rows) - 1
    for name, output in (("before", before), ("after", after)):
        assert [row[name] for row in rows[:n]] == pytest.approx(lesson.losses(output)[:n])
    rows = {row["parameter"]: row for row in saved(page, root.locator("[data-name=parameters]"))}
    for name in new:
        update = np.linalg.norm(new[name].data - old[name].data)
        assert rows[name]["‖g‖"] == pytest.approx(np.linalg.norm(new[name].grad), rel=1e-4)
        assert rows[name]["‖Δw‖"] == pytest.approx(update, rel=1e-4)

    # the distribution after a token that the user chooses
    root.locator("[data-name=token-losses] tr[data-row='1']").click()
    P = [softmax(output.logits[0, 1])[0] for output in (before, after)]
    rows = saved(page, root.locator("[data-name=prediction]"))
    ids = [int(id) for id in np.argsort(-np.maximum(*P))[:3]]
    for id in ids:
        row = next(row for row in rows if row["before"] == pytest.approx(float(P[0][id])))
        assert row["after"] == pytest.approx(float(P[1][id]))

    # one number, whose place in the heat maps the arrow keys choose
    root.locator(f"[data-name='{NAME}-gradient'] [role=application]").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    place = (1, 2)
    numbers = {each.get_attribute("data-symbol"): float(each.get_attribute("data-value"))
               for each in root.locator("output[data-symbol]").all()}
    g, w = float(new[NAME].grad[place]), float(old[NAME].data[place])
    m_hat, v_hat = g, g * g
    wanted = w - 0.01 * 0.1 * w - 0.01 * m_hat / (np.sqrt(v_hat) + 1e-8)
    assert numbers["g"] == g and numbers["m"] == pytest.approx(0.1 * g)
    assert numbers["v"] == pytest.approx(0.001 * g * g)
    assert numbers["m̂"] == pytest.approx(m_hat) and numbers["v̂"] == pytest.approx(v_hat)
    assert numbers["w′"] == pytest.approx(wanted) and numbers["after"] == new[NAME].data[place]
    assert f"{NAME}[1, 2]" in root.locator(".training-number").inner_text()

    root.get_by_role("button", name="Undo").click()
    page.get_by_text("Steps taken: 0").wait_for()
    assert shown(root, "loss_now") == before.loss.item()
    root.get_by_role("button", name="Redo").click()
    page.get_by_text("Steps taken: 1").wait_for()
    assert shown(root, "loss_after") == losses[0][1]


def test_ten_steps_grow_a_curve_and_all_views_have_the_copy(page, served, open_view, saved):
    root = open_view(page, "training", state={"optimizer": "SGD", "lr": 0.05, "clip": 0})
    root.get_by_role("button", name="10 steps", exact=True).click()
    page.get_by_text("Steps taken: 10").wait_for()
    _, losses = by_hand(served.subject, lambda p: SGD(p, lr=0.05), n=10)
    (curve,) = saved(page, root.locator("[data-name=loss-curve]"))
    assert curve["x"] == list(range(11))
    assert curve["y"] == [losses[0][0], *(after for _, after in losses)]
    page.locator("select option[value=trained]").wait_for(state="attached")
    root.get_by_role("button", name="Reset").click()
    page.locator("select option[value=trained]").wait_for(state="detached")
    assert shown(page.locator(".view-root"), "loss_now") == losses[0][0]


def test_what_cannot_be_learned_is_said(page, open_view):
    root = open_view(page, "training", text="The")
    said = root.locator(".training-refusal").inner_text()
    assert "the text has 1 token, wanted at least 2" in said
    assert root.get_by_role("button", name="Take one step").is_disabled()


def test_a_saved_page_shows_one_step(browser, subject, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(export_page(Explorer([subject], TEXT), views=["training"]), encoding="utf-8")
    with watched_page(browser, path.as_uri()) as page:
        page.wait_for_selector(".view[data-ready=training]")
        _, losses = by_hand(subject, lambda p: AdamW(p, weight_decay=0.0))
        root = page.locator(".view-root")
        assert (shown(root, "loss_before"), shown(root, "loss_after")) == losses[0]
        assert root.locator("output[data-symbol]").count() == 8


def test_a_hundred_steps_can_be_cancelled(page, served, open_view):
    root = open_view(page, "training", state={"lr": 1e-5})
    root.get_by_role("button", name="100 steps").click()
    page.get_by_role("button", name="Cancel").click()
    root.locator("[data-symbol=after]").wait_for(state="attached")
    for _ in range(100):  # a step may end between the server's number and the page's
        number = served.explorer.practice.state.number
        if page.get_by_text(f"Steps taken: {number}. Undo: ").count():
            break
        page.wait_for_timeout(200)
    assert 1 <= number < 100
    page.get_by_text(f"Steps taken: {number}. Undo: ").wait_for()
    root.get_by_role("button", name="Undo").click()
    page.get_by_text(f"Steps taken: {number - 1}. Undo: ").wait_for()
