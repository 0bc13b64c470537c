"""The view of generation in a browser, against the library."""

import json

import numpy as np
import pytest
from explorer_pages import serving, watched_page
from view_models import masked_subject, translating_subject

from minillm.explorer.views.generation import NEUTRAL, generation_next
from minillm.generation.options import complete_options
from minillm.generation.processors import build_processors
from minillm.generation.sampling import sample
from minillm.ops.softmax import log_softmax, softmax

APPLY = """async cases => {
  const {apply, draw, softmax, asOptions} = await import("./static/filters.js");
  return JSON.stringify(JSON.parse(cases).map(({scores, ids, values, u}) => {
    const found = apply(Float32Array.from(scores, s => s ?? -Infinity), ids, values);
    return {p: Array.from(softmax(found.scores)), token: draw(found.scores, u),
      options: asOptions(values),
      steps: found.steps.map(({name, kept, removed, mass}) => ({name, kept, removed, mass}))};
  }));
}"""


def random_values(rng):
    """-> values of the page's controls, most of them neutral"""
    drawn = {
        "repetition_penalty": rng.uniform(0.5, 2), "no_repeat_ngram_size": int(rng.integers(1, 4)),
        "temperature": rng.uniform(0.1, 2), "top_h": rng.uniform(0.05, 1),
        "top_k": int(rng.integers(1, 60)), "top_p": rng.uniform(0.02, 0.99),
        "min_p": rng.uniform(0.001, 0.5), "typical_p": rng.uniform(0.02, 0.99),
        "epsilon_cutoff": rng.uniform(1e-4, 0.05), "eta_cutoff": rng.uniform(1e-4, 0.05)}
    return {name: value for name, value in drawn.items() if rng.random() < 0.35}


def random_cases(n):
    """-> list of dicts: logits of any scale, sometimes equal ones, tokens so far, values, u"""
    cases = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        V = int(rng.integers(3, 400))
        scores = (rng.normal(size=V) * rng.choice([0.3, 2, 8])).astype(np.float32)
        if seed % 4 == 0:
            scores = np.round(scores)  # ties
        if seed % 5 == 0:
            scores[rng.integers(0, V, V // 3)] = -np.inf
            scores[0] = 1
        cases.append({"scores": scores, "ids": rng.integers(0, V, 12).tolist(),
                      "values": random_values(rng), "u": rng.random()})
    return cases


class Fixed:
    """A Generator that draws this number"""

    def __init__(self, u):
        self.u = u

    def random(self, n):
        return np.array([self.u])


def test_the_browser_filters_as_the_library(page, subject):
    cases = random_cases(200)
    sent = [{**case, "scores": [s if np.isfinite(s) else None for s in case["scores"].tolist()]}
            for case in cases]
    found = json.loads(page.evaluate(APPLY, json.dumps(sent)))
    seen = set()
    for case, one in zip(cases, found):
        assert one["options"] == {**NEUTRAL, **case["values"]}
        options = complete_options(subject.model, {
            **one["options"], "do_sample": True, "max_new_tokens": 2, "num_beams": 1}, None, 12, 0)
        ids, scores = np.array([case["ids"]]), case["scores"][None]
        for processor in build_processors(options, ids, vocab_size=scores.shape[1],
                                          source_ids=ids):
            scores = processor(ids, scores)
        if np.isneginf(scores).all():  # an n-gram may exclude every token
            assert one["token"] == -1
            continue
        p = softmax(scores[0].astype(np.float64))[0]
        assert (np.array(one["p"]) > 0).tolist() == (p > 0).tolist(), case["values"]
        np.testing.assert_allclose(one["p"], p, rtol=1e-6, atol=1e-12)
        assert one["token"] == sample(scores, Fixed(case["u"]))[0]
        if one["steps"]:
            assert one["steps"][-1]["kept"] == (scores > -np.inf).sum()
        seen.update(step["name"] for step in one["steps"])
    assert seen == NEUTRAL.keys()


TEXT = "The assignment statement assigns"
OPTIONS = {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.25}


def the_ids(page):
    return [int(each) for each in page.locator(".gen-token").evaluate_all(
        "all => all.map(each => each.dataset.id)")]


def the_figure(page, name):
    return page.locator(f"figure[data-name={name}]").first


def wait_for_tokens(page, n):
    page.wait_for_function("n => document.querySelectorAll('.gen-token').length === n", arg=n)


def test_the_distribution_that_the_page_shows(page, open_view, saved, subject):
    open_view(page, "generation", TEXT, OPTIONS)
    ids = subject.encode(TEXT)[None]
    logits = subject.model(ids).logits[0]
    nats = [float(each) for each in page.locator(".gen-token[data-nats]").evaluate_all(
        "all => all.map(each => each.dataset.nats)")]
    log_p = log_softmax(logits.astype(np.float64))[0]
    np.testing.assert_allclose(nats, -log_p[np.arange(len(ids[0]) - 1), ids[0, 1:]], rtol=1e-4)

    options = complete_options(subject.model, {**NEUTRAL, **OPTIONS, "do_sample": True,
                                               "max_new_tokens": 2}, None, 5, 0)
    scores = logits[-1:]
    for processor in build_processors(options, ids, vocab_size=2048, source_ids=ids):
        scores = processor(ids, scores)
    p = softmax(scores[0].astype(np.float64))[0]
    found = saved(page, the_figure(page, "next-token"))
    assert found["kept"] == (p > 0).sum() and len(found["tokens"]) == 40
    for token in found["tokens"]:
        assert token["p"] == pytest.approx(p[token["id"]], rel=1e-4, abs=1e-9)
        assert (token["removed_by"] is None) == (p[token["id"]] > 0)
        assert token["token"] == subject.names([token["id"]])[0]
    assert [token["id"] for token in found["tokens"][:3]] == np.argsort(-p)[:3].tolist()

    slider = page.locator("[data-filter=top_k] input")  # moves live, without the server
    slider.focus()
    slider.press("ArrowLeft")
    assert page.locator(".gen-steps tbody tr").nth(2).locator("td").nth(1).inner_text() == "19"


def test_tokens_are_drawn_as_by_generate(page, open_view, subject):
    open_view(page, "generation", TEXT, {**OPTIONS, "seed": 7, "n": 12, "beams": 2, "beam_n": 2})
    ids = subject.encode(TEXT)[None]
    expected = subject.model.generate(ids, do_sample=True, seed=7, max_new_tokens=4,
                                      **{**NEUTRAL, **OPTIONS})[0].tolist()
    for n in range(4):
        page.get_by_role("button", name="Sample", exact=True).click()
        wait_for_tokens(page, len(ids[0]) + n + 1)
    assert the_ids(page) == expected
    badge = page.locator(".gen-badge")
    found = generation_next(subject, TEXT, ids=expected)["cache"]
    assert float(badge.get_attribute("data-difference")) == found["difference"].max()
    assert float(badge.get_attribute("data-tolerance")) == pytest.approx(found["tolerance"])
    assert "Cached = uncached" in badge.inner_text()

    for _ in range(2):
        page.get_by_role("button", name="Undo", exact=True).click()
    wait_for_tokens(page, len(ids[0]) + 2)
    page.locator(".gen-token").nth(2).focus()  # exchange a token of the text, by keyboard
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    other = page.locator(".gen-alternatives [aria-pressed=false]").first
    other.click()
    wait_for_tokens(page, 4)
    exchanged = the_ids(page)
    likeliest = np.argsort(-subject.model(ids).logits[0, 2])[:2].tolist()
    assert exchanged[:3] == ids[0, :3].tolist() and exchanged[3] in set(likeliest) - {ids[0, 3]}
    page.get_by_label("Append").fill(" value")
    page.get_by_label("Append").press("Enter")
    wait_for_tokens(page, 5)
    assert the_ids(page)[4:] == subject.tokenizer.encode(" value")
    page.locator(".gen-branch").nth(1).click()  # the old branch is still there
    wait_for_tokens(page, len(ids[0]) + 4)
    assert the_ids(page) == expected

    page.get_by_role("button", name="Back to the text").click()
    wait_for_tokens(page, len(ids[0]))
    page.get_by_role("button", name="Generate, sampling").click()
    wait_for_tokens(page, len(ids[0]) + 12)
    assert the_ids(page) == subject.model.generate(
        ids, do_sample=True, seed=7, max_new_tokens=12, **{**NEUTRAL, **OPTIONS})[0].tolist()
    kept = the_ids(page)
    page.wait_for_timeout(400)
    page.reload()  # the tree is in the address
    page.wait_for_selector(".view[data-ready=generation]")
    assert the_ids(page) == kept


def test_the_tree_of_beams(page, open_view, saved, subject):
    open_view(page, "generation", TEXT, {"beams": 4, "beam_n": 7, "penalty": 0.5})
    page.wait_for_selector(".gen-tree")
    found = saved(page, the_figure(page, "beam-tree"))
    ids = subject.encode(TEXT)[None]
    expected = subject.model.generate(
        ids, num_beams=4, max_new_tokens=7, length_penalty=0.5, do_sample=False,
        num_return_sequences=4, return_dict_in_generate=True, output_scores=True)
    for one, sequence, score in zip(found["sequences"], expected.sequences,
                                    expected.sequences_scores):
        assert one["ids"] == sequence[ids.shape[1]:].tolist()
        assert one["score"] == pytest.approx(float(score), abs=1e-6)
    assert len(found["steps"]) == 7
    best = page.locator(".gen-node.best")
    assert [int(each) for each in best.evaluate_all("all => all.map(each => each.dataset.token)")
            ] == found["sequences"][0]["ids"]
    for step in found["steps"][::3]:
        for candidate in step:  # each sum is that of the model's log-probabilities
            row = np.concatenate([ids[0], candidate["ids"]])[None]
            log_p = log_softmax(subject.model(row).logits[0, ids.shape[1] - 1:-1])[0]
            total = log_p[np.arange(len(candidate["ids"])), candidate["ids"]].sum()
            assert candidate["score"] == pytest.approx(float(total), abs=1e-4)
    best.nth(2).click()
    wait_for_tokens(page, ids.shape[1] + 3)
    assert the_ids(page)[ids.shape[1]:] == found["sequences"][0]["ids"][:3]


def test_other_kinds_of_models(browser, open_view, saved):
    masked, translating = masked_subject(), translating_subject()
    text = "the [MASK] are small"
    with serving(masked, translating, text=text) as served:
        with watched_page(browser, served.url) as page:
            open_view(page, "generation", text)
            assert "doesn't write from left to right" in page.locator(".note").all_inner_texts()[0]
            found = saved(page, the_figure(page, "next-token"))
            p = softmax(masked.model(masked.encode(text)[None]).logits[0, 2].astype(np.float64))[0]
            for token in found["tokens"]:
                assert token["p"] == pytest.approx(p[token["id"]], rel=1e-4)
            page.locator(".gen-bars [data-token]").first.click()
            page.wait_for_function("id => [...document.querySelectorAll('.gen-token')][2]"
                                   ".dataset.id === id", arg=str(found["tokens"][0]["id"]))

            open_view(page, "generation", "The cat", model="b")
            page.get_by_role("button", name="Take the best").click()
            wait_for_tokens(page, 2)
            expected = translating.model.generate(translating.encode("The cat")[None], num_beams=1,
                                                  max_new_tokens=2, do_sample=False)
            assert the_ids(page) == expected[0, :2].tolist()
            assert page.locator(".gen-badge.good").count() == 1
