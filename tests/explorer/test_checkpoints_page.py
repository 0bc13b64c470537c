"""Scrubbing through a run in the browser: the page shows the numbers of the models on the disk."""

import numpy as np
import pytest
from explorer_pages import serving, watched_page

from minillm.explorer.explorer import Explorer
from minillm.explorer.export import export_page
from minillm.insight.attention import attention_weights, repeated_tokens, summarize_heads
from minillm.insight.subject import Subject
from minillm.nn.module import no_grad
from minillm.ops.softmax import softmax
from minillm.training.metrics import read_metrics
from minillm.training.snapshots import History

TEXT = "The cat number 2 sees the cat"


@pytest.fixture(scope="module")
def served_run(run):
    with serving(Subject.open(str(run.folder)), text=TEXT) as found:
        yield found


@pytest.fixture
def run_page(browser, served_run):
    with watched_page(browser, served_run.url) as page:
        page.goto(f"{served_run.url}#view=checkpoints")
        page.locator("[data-scores=done]").wait_for()
        yield page


def shown(page, name):
    return float(page.locator(f"output[data-name={name}]").get_attribute("data-value"))


def wait_for(page, name, value):
    """Until the page shows this number"""
    for _ in range(400):
        if shown(page, name) == pytest.approx(value, rel=1e-5):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"{name} is {shown(page, name)}, wanted {value}")


def output_at(run, step, subject):
    ids = subject.encode(TEXT)[None]
    with no_grad():
        return History(run).open(step)(ids, labels=ids)


def test_each_step_shows_its_own_model(run, served_run, run_page, saved):
    page, subject = run_page, served_run.subject
    steps = list(History(run).paths)
    answer = subject.said(subject.read(TEXT))
    page.get_by_label("step", exact=True).focus()
    for step in steps[:1:-1]:
        assert shown(page, "step") == step
        output = output_at(run, step, subject)
        wait_for(page, "loss", output.loss.item())
        p, _ = softmax(output.logits[0, -1].astype(np.float64))
        assert shown(page, "answer") == pytest.approx(p[answer], rel=1e-5)
        heads = saved(page, page.locator("[data-name=heads]"))
        weights = np.concatenate(attention_weights(History(run).open(step),
                                                   subject.encode(TEXT)[None]))
        assert heads["step"] == step
        np.testing.assert_array_equal(heads["weights_times_255"], np.rint(255 * weights))
        page.get_by_label("step", exact=True).press("ArrowLeft")


def test_one_head_with_exact_numbers(run, served_run, run_page, saved):
    page, subject = run_page, served_run.subject
    page.locator("button[data-head='1.1']").click()
    page.get_by_role("button", name="Exact numbers").click()
    page.get_by_text("exact weights").wait_for()
    step = list(History(run).paths)[-1]
    weights = attention_weights(History(run).open(step), subject.encode(TEXT)[None])[1][0, 1]
    found = saved(page, page.locator(".checkpoints-head figure"))
    assert np.float32(found["values"]).tolist() == weights.tolist()


def test_the_loss_and_the_heads_over_the_steps(run, served_run, run_page, saved):
    page, subject = run_page, served_run.subject
    records, _ = read_metrics(run.folder / "metrics.jsonl")
    curves = saved(page, page.locator("[data-name=run-loss]"))
    for curve, name in zip(curves, ("loss", "valid_loss")):
        wanted = [(each["step"], each[name]) for each in records if name in each]
        assert list(zip(curve["x"], curve["y"])) == wanted
    history = History(run)
    page.get_by_label("Score", exact=True).select_option("induction")
    curves = saved(page, page.locator("[data-name=scores-induction]"))
    assert len(curves) == 4  # all heads
    ids = repeated_tokens(run.config.vocab_size, 12)
    found = {step: summarize_heads(attention_weights(history.open(step), ids), 12)
             for step in history.paths}
    for curve in curves:
        layer, head = (int(word) for word in curve["label"].split() if word.isdigit())
        assert curve["x"] == list(history.paths)
        assert curve["y"] == [found[step][layer, head].induction for step in history.paths]
    for row in saved(page, page.locator("[data-name=predictions]")):
        output = output_at(run, row["step"], subject)
        assert row["loss of the text"] == pytest.approx(output.loss.item(), rel=1e-6)


def test_playing_runs_to_the_end(run, run_page):
    page = run_page
    page.get_by_role("button", name="Earlier").click()
    page.get_by_role("button", name="Earlier").click()
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.locator("output[data-name=step][data-value='12']").wait_for()
    page.get_by_role("button", name="Play").wait_for()


def test_a_model_that_is_no_run_is_told_what_makes_one(page, open_view):
    root = open_view(page, "checkpoints")
    commands = root.locator("pre").all_inner_texts()
    assert commands[:2] == ["minillm demo", "minillm explore --model runs/demo-1"]


def test_a_saved_page_moves_through_the_run(browser, run, served_run, tmp_path):
    path = tmp_path / "page.html"
    explorer = Explorer([served_run.subject], TEXT)
    path.write_text(export_page(explorer, views=["checkpoints"]), encoding="utf-8")
    with watched_page(browser, path.as_uri()) as page:
        page.locator("[data-scores=done]").wait_for()
        page.get_by_role("button", name="Earlier").click()
        step = list(History(run).paths)[-2]
        loss = output_at(run, step, served_run.subject).loss.item()
        wait_for(page, "loss", loss)
