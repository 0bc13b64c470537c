"""Canaries and their exposure."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.text.canaries import (
    EACH,
    WORDS,
    Canary,
    Format,
    insert,
    new_canaries,
    read_canaries,
    read_plan,
    write_canaries,
)
from minillm.text.corpus import Document
from minillm.trust.exposure import (
    estimates,
    exposure,
    extrapolated,
    fit_skew_normal,
    log2_skew_normal_cdf,
    sampled,
)

FIXTURE = Path(__file__).parents[1] / "fixtures" / "memorization.json"
TAILS = json.loads(FIXTURE.read_text())["tails"]
forms = st.lists(st.sampled_from(["{digits:3}", "{letters:2}", "{words:2}", " is ", "x"]),
                 min_size=1, max_size=4).map("".join).filter(lambda text: ":" in text)


# ---- canaries


@given(forms, st.integers(0, 2**31))
def test_secrets_are_numbered(text, seed):
    form = Format(text)
    number = form.draw(np.random.default_rng(seed))
    assert 0 <= number < form.size
    assert form.number(form.secret(number)) == number
    filled = form.fill(number)
    assert "{" not in filled and all(part in filled for part in form.secret(number))
    assert len({form.fill(n) for n in range(min(form.size, 50))}) == min(form.size, 50)


def test_secrets_are_uniform():
    form, rng = Format("{digits:1}"), np.random.default_rng(0)
    counts = np.bincount([form.draw(rng) for _ in range(2000)], minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # χ² of 9 degrees of freedom: p = 0.001
    assert len(set(WORDS)) == 64
    assert Format("{digits:40}").draw(rng) < 10**40  # beyond an int64


@pytest.mark.parametrize("text, message", [
    ("no secret", "wanted a secret in it, such as {digits:6}"),
    ("{name} only", "wanted a secret in it"),
    ("{digits}", "format has the blank {digits}, wanted"),
    ("{digits:0}", "format has the blank {digits:0}"),
    ("{colors:3}", "format has the blank {colors:3}"),
    ("{}", "format has the blank {}"),
])
def test_wrong_formats(text, message):
    with pytest.raises(ValueError, match=message.replace("{", r"\{").replace("}", r"\}")):
        Format(text)


def test_wrong_secrets():
    form = Format("{digits:4} {words:1}")
    for parts, message in ((["123", "apple"], "'123', wanted 4 digits"), (["1234"], "1 parts"),
                           (["1234", "nonsense"], "'nonsense', wanted 1 words")):
        with pytest.raises(ValueError, match=message):
            form.number(parts)


def test_plans(tmp_path):
    assert [times for times, _ in read_plan("1, 4")] == [1] * EACH + [4] * EACH
    path = tmp_path / "mine.txt"
    path.write_text("# comment\n8 The PIN is {digits:4}.\n\n1\tword {words:3}\n")
    assert [(times, form.text) for times, form in read_plan(str(path))] == [
        (8, "The PIN is {digits:4}."), (1, "word {words:3}")]
    path.write_text("3 good {digits:3}\nmany {digits:2}\n")
    with pytest.raises(ValueError, match="line 2: times is 'many', wanted a number"):
        read_plan(str(path))
    with pytest.raises(FileNotFoundError, match="wanted numbers such as 1,4,16, or a file"):
        read_plan("nothing.txt")
    with pytest.raises(ValueError, match="times is '0'"):
        read_plan("0")


def test_insertion_keeps_the_documents_and_their_order(tmp_path):
    rng = np.random.default_rng(3)
    documents = [Document(f"{n}", f"text {n}") for n in range(10)]
    canaries = new_canaries(read_plan("1,5"), rng)
    found = insert(documents, canaries, rng)
    assert [each for each in found if each in documents] == documents
    for canary in canaries:
        assert sum(each.text == canary.text for each in found) == canary.times
    assert len({canary.format.text for canary in canaries}) == len(canaries)  # by their names
    (tmp_path / "data").mkdir()
    assert read_canaries(tmp_path) == []
    write_canaries(tmp_path, canaries)
    again = read_canaries(tmp_path)
    assert [(each.text, each.number, each.times) for each in again] == [
        (each.text, each.number, each.times) for each in canaries]


# ---- exposure


class Pretender:
    """A reader whose model likes the texts of `favorites`, and finds all others as likely."""

    def __init__(self, favorites=(), seed=None):
        self.favorites, self.rng = list(favorites), np.random.default_rng(seed)
        self.seed = seed

    def rows_of(self, texts):
        return texts

    def losses(self, rows, report=None):
        noise = self.rng.normal(size=len(rows)) if self.seed is not None else np.zeros(len(rows))
        return [np.array([0.0 if text in self.favorites else 50 + each])
                for text, each in zip(rows, noise)]


def test_a_secret_that_is_the_likeliest_is_given_away():
    form = Format("{digits:3}")
    canary = Canary(form, 123, 1)
    found = exposure(canary, Pretender([canary.text]), np.random.default_rng(0))
    assert found.bits == found.exact == found.most == math.log2(1000) and found.n == 999
    second = exposure(canary, Pretender([canary.text, form.fill(7)]), np.random.default_rng(0))
    assert second.bits == math.log2(1000) - 1
    alike = exposure(canary, Pretender(), np.random.default_rng(0))
    assert alike.bits == 0 and alike.log_perplexity == 50 / math.log(2)


def test_unseen_secrets_have_1_44_bits():
    form, found = Format("{digits:6}"), []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        found.append(exposure(Canary(form, form.draw(rng), 0), Pretender(seed=seed), rng,
                              n_samples=200).bits)
    # Exponential: mean and standard deviation 1 / ln 2.
    assert abs(np.mean(found) - 1 / math.log(2)) < 4 / math.log(2) / math.sqrt(120)


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=40), st.integers(-30, 30))
def test_exact_is_the_definition(others, secret):
    found = estimates(secret, np.array(others), len(others) + 1)
    rank = sum(each <= secret for each in [*others, secret])
    assert math.isclose(found.exact, math.log2(len(others) + 1) - math.log2(rank), abs_tol=1e-12)
    assert math.isclose(found.exact, sampled(secret, np.array(others)), abs_tol=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=5, max_size=40), st.floats(-9, 5), st.floats(0.1, 10))
def test_units_of_the_losses_dont_count(others, secret, scale):
    others = np.array(others)
    assert sampled(scale * secret, scale * others) == sampled(secret, others)
    if np.std(others) > 1e-3:
        assert math.isclose(extrapolated(scale * secret + 3, scale * others + 3),
                            extrapolated(secret, others), rel_tol=1e-4, abs_tol=1e-4)


@pytest.mark.parametrize("case", TAILS, ids=lambda case: f"{case['z']}, {case['shape']}")
def test_tails_as_in_scipy(case):
    assert log2_skew_normal_cdf(case["z"], case["shape"]) == pytest.approx(case["log2_cdf"],
                                                                          rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("shape", [-4.0, 0.0, 4.0])
def test_the_fit_finds_the_parameters_of_a_sample(shape):
    rng = np.random.default_rng(0)  # |u| and v are the two halves of a skew-normal (Azzalini 1985)
    delta = shape / math.sqrt(1 + shape**2)
    u, v = rng.normal(size=(2, 200_000))
    location, scale, found = fit_skew_normal(3 + 2 * (delta * np.abs(u)
                                                      + math.sqrt(1 - delta**2) * v))
    mean = location + scale * math.sqrt(2 / math.pi) * found / math.sqrt(1 + found**2)
    assert mean == pytest.approx(3 + 2 * math.sqrt(2 / math.pi) * delta, abs=0.02)
    if shape:
        assert found == pytest.approx(shape, rel=0.1) and scale == pytest.approx(2, rel=0.02)


def test_the_extrapolation_goes_on_where_samples_end():
    others = np.random.default_rng(0).normal(40, 3, size=500)
    found = estimates(10.0, others, 10**30)
    assert found.sampled == math.log2(501) and 50 < found.bits < 99 and found.exact is None
    assert estimates(10.0, others, 10**6).bits == math.log2(10**6)  # never more than there is
    assert extrapolated(1.0, np.full(9, 2.0)) > 0 == extrapolated(2.0, np.full(9, 2.0))
