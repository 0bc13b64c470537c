"""The tokenizer's view in a browser, against the library."""

import numpy as np
import pytest
from explorer_pages import serving, watched_page
from view_models import masked_subject, translating_subject

from minillm.insight.geometry import nearest
from minillm.text.bpe import merge_short

TEXT = "The assignment: é語<|endoftext|>"


def the_figure(page, name):
    return page.locator(f"figure[data-name='{name}']").first


def test_merges_replayed_in_the_browser(page, open_view, saved, subject):
    tokenizer = subject.tokenizer
    open_view(page, "tokenizer", TEXT, {"word": 1, "step": 4})
    chips = page.locator(".tok-chips").first.locator(".tok-chip")
    assert chips.evaluate_all("all => all.map(each => Number(each.dataset.id))"
                              ) == tokenizer.encode(TEXT)
    assert "special" in chips.last.get_attribute("class")
    counts = {each: int(page.locator(f"[data-count={each}]").get_attribute("data-n"))
              for each in ("characters", "bytes", "words", "tokens")}
    assert counts == {"characters": len(TEXT), "bytes": len(TEXT.encode()), "words": 3,
                      "tokens": len(tokenizer.encode(TEXT))}

    found = saved(page, the_figure(page, "merges-1"))
    assert bytes(byte for each in found["symbols"] for byte in each["bytes"]) == b" assignment"
    symbols = [each["id"] for each in found["symbols"]]
    table, shown = tokenizer.model.merges, None
    for k, step in enumerate(found["merges"]):  # each is the merge of the definition
        ranked = [(*table[pair], i) for i, pair in enumerate(zip(symbols, symbols[1:]))
                  if pair in table]
        rank, merged, left = min(ranked)
        assert (step["rank"], step["merged"]) == (rank, merged)
        shown = sorted(rank for rank, *_ in ranked) if k == 4 else shown
        symbols[left:left + 2] = [merged]
    assert symbols == merge_short([each["id"] for each in found["symbols"]], table)
    assert [each["id"] for each in found["tokens"]] == symbols
    ranks = saved(page, the_figure(page, "candidates"), "json")
    assert [row["rank"] for row in ranks] == shown

    page.get_by_role("button", name="One step forward").click()
    assert page.locator(".tok-counter").inner_text() == f"5 / {len(found['merges'])}"
    page.locator(".tok-piece").nth(3).click()  # bytes grouped by character
    assert page.locator(".tok-character").all_text_contents() == ["␣", "é", "語"]
    assert page.locator(".tok-hex").all_text_contents() == [
        f"{byte:02X}" for byte in " é語".encode()]


def test_a_token_in_the_browser(page, open_view, subject):
    id, = subject.tokenizer.encode(" assignment")
    open_view(page, "tokenizer", TEXT, {"token": id})
    page.wait_for_selector(".tok-token")
    table = subject.model.get_input_embeddings().weight.data.astype(np.float32)
    rows, cosines = nearest(table, id, 8)
    values = page.locator(".tok-token .bar-value").all_text_contents()
    np.testing.assert_allclose([float(each) for each in values], cosines, atol=6e-5)
    facts = page.locator(".tok-facts").inner_text()
    rank = min(rank for rank, merged in subject.tokenizer.model.merges.values() if merged == id)
    assert str(rank) in facts and "20 61 73 73 69 67 6E 6D 65 6E 74" in facts
    page.locator(".tok-token .bar-line").first.click()
    page.wait_for_function("id => document.querySelector('.tok-facts dd').textContent === id",
                           arg=str(rows[0]))


def test_other_algorithms_in_the_browser(browser, open_view, saved):
    masked, translating = masked_subject(), translating_subject()
    with serving(masked, translating, text="unaffable") as served:
        with watched_page(browser, served.url) as page:
            open_view(page, "tokenizer", "Unaffable")
            found = saved(page, the_figure(page, "attempts-0"))["attempts"]
            assert [each["piece"] for each in found if each["id"] >= 0] == (
                masked.tokenizer.tokenize("Unaffable"))
            assert page.locator(".tok-change").inner_text() == "Unaffable → unaffable"

            open_view(page, "tokenizer", "The cat", model="b")
            found = saved(page, the_figure(page, "best-path"))
            assert [each["id"] for each in found] == translating.tokenizer.encode(
                "The cat", add_special_tokens=False)
            scores, _ = translating.tokenizer.model._scores
            for each in found:
                assert each["log p"] == pytest.approx(float(scores[each["piece"]]), rel=1e-5)
