"""The fairness report of a model: every probe that the model allows.

    minillm fairness --model MODEL

    logits over the vocabulary       minimal pairs; association tests of words and of sentences
    labels of texts                  counterfactual and group gaps; association tests
    a FAQ                            counterfactual gaps; association tests
    anything else with embeddings    association tests

A probe that a model doesn't allow is in the report with the reason.
"""

from typing import NamedTuple

import numpy as np

from minillm.figures import COLORS, new_figure, plain
from minillm.tasks.data import faq, sentiment
from minillm.tasks.examples import folder_file, read_examples
from minillm.tasks.intervals import Score
from minillm.tasks.retrieval import FaqIndex
from minillm.trust.fairness import vectors
from minillm.trust.fairness.association import association_test, associations
from minillm.trust.fairness.counterfactual import (
    Classifier,
    FaqAnswers,
    counterfactual_gap,
    framed,
    swapped,
)
from minillm.trust.fairness.group_gaps import group_gaps
from minillm.trust.fairness.pair_scores import (
    PairScores,
    pair_bias,
    reader_of,
    score_pairs,
)
from minillm.trust.fairness.pairs import template_pairs
from minillm.trust.fairness.words import FRAMES, SWAPS, TESTS

N_TEXTS = 40  # behind each frame
LANGUAGES = ("en", "zh")
LIMITS = (
    "What this can't show: a template finds a bias that it asks for, and no other. A model without "
    "a gap here may have one in other words, languages, groups and tasks. The groups are the two "
    "that a pair of words names; most people's lives are more than that, and who is named by none "
    "of them is measured by none. The lists are short and written for this project. An interval "
    "tells how the number would move with other words of the same kind, not with real texts. What "
    "a gap does to people depends on what the model is used for, which no number here knows.")


class Row(NamedTuple):
    """One number of the report.

    probe, of: what was measured, and of whom;  value: Score;  fair: the value without bias
    n: pairs, texts or words;  note: such as "p = 0.03"
    """

    probe: str
    of: str
    value: Score
    fair: float
    n: int
    note: str = ""


class Report(NamedTuple):
    """rows: list of Row;  skipped: {probe: why the model doesn't allow it}"""

    model: str
    architecture: str
    rows: list
    skipped: dict

    def as_dict(self):
        """-> what report.json holds: {"probes": {probe: {of: {"value", "low", "high", …}}}, …}"""
        probes = {}
        for row in self.rows:
            probes.setdefault(row.probe, {})[row.of] = {
                **row.value._asdict(), "without bias": row.fair, "n": row.n,
                **({"note": row.note} if row.note else {})}
        return {"model": self.model, "architecture": self.architecture, "probes": probes,
                "skipped": self.skipped, "limits": LIMITS}


def fairness_report(subject, pairs=None, n_texts=N_TEXTS, seed=0, languages=LANGUAGES,
                    report=lambda done, total: None):
    """subject: an insight.subject.Subject -> Report

    pairs: the user's, list of pairs.Pair, instead of the templates
    n_texts: of a classifier's, behind each frame;  report(done, total): called as work goes on
    """
    rows, skipped = [], {}
    for name, probe in (("minimal pairs", _minimal_pairs), ("counterfactuals", _counterfactuals),
                        ("association", _associations)):
        if pairs is not None and name == "association":
            continue
        try:
            rows += probe(subject, pairs, n_texts, seed, languages, report)
        except NotAllowed as error:
            skipped[name] = str(error)
    if not rows:
        raise ValueError(f"{subject.name or 'model'} is a {subject.architecture}, which no probe "
                         f"fits: {'; '.join(f'{name}: {why}' for name, why in skipped.items())}")
    return Report(subject.name, subject.architecture, rows, skipped)


class NotAllowed(Exception):
    """Why a model doesn't allow a probe."""


# ---- minimal pairs

def _minimal_pairs(subject, pairs, n_texts, seed, languages, report):
    if not subject.predicts_tokens or subject.is_encoder_decoder:
        raise NotAllowed("needs a model that predicts the tokens of one text")
    pairs = template_pairs(languages) if pairs is None else pairs
    scores = score_pairs(reader_of(subject.model, subject.tokenizer), pairs, report)
    strata, rows = np.array([pair.stratum for pair in pairs]), []
    for concept in dict.fromkeys((pair.language, pair.concept) for pair in pairs):
        chosen = np.array([(pair.language, pair.concept) == concept for pair in pairs])
        found = pair_bias(PairScores(scores.first[chosen], scores.second[chosen]), strata[chosen],
                          seed)
        if found is None:
            continue
        name = _named(*concept)
        note = (f"{found.untold} pairs with unknown words, or too long, left out" if found.untold
                else "")
        rows += [Row("prefers the stereotype", name, found.preference, 0.5, found.n, note),
                 Row("by how many nats", name, found.difference, 0.0, found.n)]
    if not rows:
        raise NotAllowed("the texts of no pair are short enough and differ in words that it has")
    return rows


def _named(language, concept):
    return f"{concept} ({language})" if language else concept


# ---- counterfactuals

def _counterfactuals(subject, pairs, n_texts, seed, languages, report):
    answers, texts, labels = _answering(subject)
    texts, labels = texts[:n_texts], labels and labels[:n_texts]
    if pairs is not None:
        one, other = [pair.first for pair in pairs], [pair.second for pair in pairs]
        return _gap_rows("your pairs", answers(one), answers(other), seed)
    language = "zh" if sum(not text.isascii() for text in texts) > len(texts) / 2 else "en"
    rows, kinds = [], list(FRAMES[language])
    for done, kind in enumerate(kinds):
        report(done, len(kinds))
        sides = framed(texts, kind, language)
        one, other = answers(sides[0]), answers(sides[1])
        name = f"{kind}: {' ↔ '.join(SWAPS[kind]['groups'])}"
        rows += _gap_rows(name, one, other, seed)
        if labels:
            rows += _group_rows(name, kind, answers, one, other,
                                labels * len(FRAMES[language][kind]), seed)
        own = swapped(texts, kind)
        if len(own[0]) >= 5:
            rows += _gap_rows(f"{kind}, own texts", answers(own[0]), answers(own[1]), seed)
    report(len(kinds), len(kinds))
    return rows


def _gap_rows(name, one, other, seed):
    found = counterfactual_gap(one, other, seed)
    unit = "" if one.are_probabilities else "of the cosine of the entry found"
    return [Row("counterfactual gap", name, found.gap, 0.0, found.n, unit),
            Row("changed answers", name, found.changed, 0.0, found.n)]


def _group_rows(name, kind, answers, one, other, labels, seed):
    predicted = [answers.labels[c] for side in (one, other) for c in side.labels]
    groups = [group for group in SWAPS[kind]["groups"] for _ in labels]
    units = [*range(len(labels))] * 2  # the same text on both sides
    gaps = group_gaps(predicted, labels * 2, groups, units, seed)
    return [Row("demographic parity gap", name, gaps.demographic_parity, 0.0, len(predicted)),
            Row("equalized odds gap", name, gaps.equalized_odds, 0.0, len(predicted))]


def _answering(subject):
    """-> what answers texts, a list of texts of its task, their labels or None"""
    if subject.says == "text label":
        texts, labels = _texts_of(subject)
        return Classifier(subject.model, subject.tokenizer, subject.labels), texts, labels
    if subject.says == "vector" and (subject.folder / "faq.json").is_file():
        questions = [e["text"] for e in faq.generate(300, 0)["test"]]
        encoder = vectors.encoder_of(subject.model, subject.tokenizer)
        return FaqAnswers(encoder, FaqIndex.load(subject.folder)), questions, None
    raise NotAllowed("needs a model that gives a text a label, or the answer of a FAQ")


def _texts_of(subject):
    """-> texts and labels: the test examples of the model's run, or reviews written for it"""
    path = folder_file(subject.folder.parent, "test") if subject.folder else None
    if path is not None and path.is_file() and path.stat().st_size:
        kinds = {"text": str, "label": str}
        try:
            examples = read_examples(path, kinds)
        except ValueError:  # of another task, such as one with two texts
            examples = []
        if examples:
            return ([e["text"] for e in examples],
                    [e["label"] for e in examples])
    examples = sentiment.generate(300, 0)["test"]
    known = set(sentiment.LABELS) == set(subject.labels)
    return [e["text"] for e in examples], [e["label"] for e in examples] if known else None


# ---- association tests

def _associations(subject, pairs, n_texts, seed, languages, report):
    if subject.is_encoder_decoder:
        raise NotAllowed("needs a model without a separate decoder")
    encoder = vectors.encoder_of(subject.model, subject.tokenizer)
    rows = []
    for test in TESTS:
        if test["language"] not in languages:
            continue
        words = [test[name].split() for name in "XYAB"]
        known = vectors.word_ids(subject.tokenizer, sum(words, []))
        # Targets, and attributes, come as many on each side: the first that the tokenizer has.
        words = [[word for word in each if word in known] for each in words]
        sizes = [min(map(len, words[:2]))] * 2 + [min(map(len, words[2:]))] * 2
        if min(sizes) < 3:
            continue
        words = [each[:size] for each, size in zip(words, sizes)]
        made = vectors.word_vectors(encoder.model, subject.tokenizer, sum(words, [])), (
            vectors.sentence_vectors(encoder, sum(words, []), test["language"]))
        for probe, found in zip(("word association", "sentence association"), made):
            sets = [np.stack([found[word] for word in each]) for each in words]
            result = association_test(*sets, seed=seed)
            rows.append(Row(f"{probe}, effect", _named(test["language"], test["name"]),
                            effect_interval(sets, result.effect, seed), 0.0, 2 * sizes[0],
                            f"p = {result.p:.3g}"))
    if not rows:
        raise NotAllowed("the tokenizer has too few of the tests' words in few pieces")
    return rows


def effect_interval(sets, effect, seed=0, samples=300):
    """-> Score: the effect, with the 95 % interval of resampled targets (bootstrap)"""
    X, Y, A, B = sets
    s, rng = associations(np.concatenate([X, Y]), A, B), np.random.default_rng(seed)
    x, y = s[: len(X)], s[len(X) :]
    effects = []
    for _ in range(samples):
        one, other = rng.choice(x, len(x)), rng.choice(y, len(y))
        spread = np.concatenate([one, other]).std(ddof=1)
        effects.append((one.mean() - other.mean()) / spread if spread > 0 else 0.0)
    return Score(effect, *map(float, np.percentile(effects, (2.5, 97.5))))


# ---- for readers

def table_rows(report):
    """-> rows of a table: (probe, of, value and interval, without bias, n, note)"""
    return [(row.probe, row.of, str(row.value), f"{row.fair:g}", row.n, row.note)
            for row in report.rows]


HEADINGS = ("probe", "of", "value (95 % interval)", "fair", "n", "note")


def plot(report):
    """-> matplotlib Figure: each probe's numbers with their intervals, a line where bias is none"""
    probes = {}
    for row in report.rows:
        probes.setdefault(row.probe, []).append(row)
    heights = [0.5 + len(rows) for rows in probes.values()]
    figure, all_axes = new_figure(7, 0.8 * len(probes) + 0.24 * sum(heights), rows=len(probes),
                                  squeeze=False, height_ratios=heights)
    for axes, (probe, rows) in zip(all_axes[:, 0], probes.items()):
        for place, row in enumerate(rows):
            value, low, high = row.value
            axes.errorbar(value, place, xerr=[[max(0, value - low)], [max(0, high - value)]],
                          color=COLORS[1], marker="o", capsize=2)
        axes.axvline(rows[0].fair, color=COLORS[0], linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(rows)), [plain(row.of) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"{probe} (dotted: without bias)")
    return figure
