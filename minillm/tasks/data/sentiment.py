"""Generated reviews of things that don't exist, positive, negative or neutral.

A review is one to three clauses, and its label is what the writer thinks in the end. Words alone
don't tell: "not bad at all" is positive, and so is "the screen is awful, but I would buy it again".

What the test split holds that training doesn't: a third of the things and their parts, a quarter of
the adjectives, and the patterns of the second lists below. A model can't know an adjective that it
has never seen, so no model gets all of them right.
"""

import numpy as np

from minillm.tasks.data.drawing import fill, generate_splits, pick, sentence, with_article

WHAT = ("reviews generated from patterns, of things that don't exist; the scores say nothing about "
        "real reviews")
LABELS = ("negative", "neutral", "positive")

# Of each pair of lists, training has the first, the test split both.
SEEN, TEST_ONLY = 0, 1
# Kind of thing: its names, their parts, what one does with it, how a review begins.
KINDS = {
    "device": {
        "thing": ("phone laptop tablet kettle toaster lamp camera printer blender bicycle radio",
                  "headset scooter vacuum keyboard fridge"),
        "part": ("price quality design sound picture battery screen handle lid cable manual delivery "
                 "packaging support", "hinge charger remote display"),
        "again": ("buy it", ""),
        "opening": ("I bought this {thing} on {day}|my sister gave it to me|this is my second {thing}",
                    "a colleague told me about this {thing}|I unpacked it on {day}"),
        "fact": ("it arrived on {day}|I bought the {thing} for a friend|the {thing} is {color}|"
                 "the {part} is as described", "it runs on two batteries|the {part} is {color}"),
    },
    "place": {
        "thing": ("restaurant café bakery hotel hostel museum gym theater library",
                  "campsite bistro market spa"),
        "part": ("price service staff food coffee room bed breakfast view location menu soup bread",
                 "reception dessert lighting garden"),
        "again": ("go there", ""),
        "opening": ("we went there on {day}|our hotel sent us there|this was my second visit",
                    "a neighbor told me about this {thing}|we came by train"),
        "fact": ("we went there on {day}|it opens on {day}|the {thing} is opposite the station|"
                 "the {thing} has a {color} door", "the {thing} has two floors|we were four"),
    },
    "work": {
        "thing": ("book novel film series album concert play course game",
                  "podcast musical documentary comic"),
        "part": ("price plot ending acting music sound pace title language first-half",
                 "narrator dialogue cover lighting"),
        "again": ("spend an evening with it", ""),
        "opening": ("I heard about it on {day}|my brother gave it to me|this is my second time with it",
                    "a teacher told me about this {thing}|the poster made me curious"),
        "fact": ("it came out on {day}|the {thing} has three parts|the {thing} lasts two hours|"
                 "I know the {thing} since {day}", "it is about a lighthouse|the cover is {color}"),
    },
}
GOOD = (
    "good great excellent lovely wonderful brilliant superb delightful pleasant impressive perfect "
    "reliable solid sturdy clever charming fresh friendly quick beautiful generous quiet comfortable",
    "splendid flawless gorgeous terrific handy thoughtful",
)
BAD = (
    "bad poor awful terrible horrible dreadful disappointing boring useless broken flimsy dirty rude "
    "slow noisy ugly cheap stale confusing overpriced clumsy dull unreliable",
    "shoddy atrocious tedious grubby sloppy unbearable",
)
MIDDLING = ("average ordinary standard acceptable plain typical", "unremarkable middling")

DEGREE = ("very really quite truly so", "remarkably exceptionally")
DAYS = ("Monday Tuesday Wednesday Thursday Friday", "Saturday Sunday")
COLORS = ("black white green blue grey", "brown yellow")

# The writer's opinion. {g} and {b} are good and bad words. All are clauses, so that TURNS fit.
POSITIVE = (
    ["the {part} is {g}", "the {part} was {deg} {g}", "I love the {part}", "it is not {b} at all",
     "the {part} isn't {b}, quite the contrary", "this is a {g} {thing}", "I would {again} again",
     "I can only recommend this {thing}", "it is never {b}", "there is nothing {b} about it",
     "I have no complaints", "it never let me down", "I expected a {b} {thing} and was wrong",
     "it is better than any other {thing}", "the {part} could hardly be more {g}",
     "nobody could call this {thing} {b}", "it is worth every cent", "I give five stars for the {part}",
     "the {part} made me smile"],
    ["this {thing} is far from {b}", "I can't praise the {part} enough",
     "those who say that this {thing} is {b} are wrong", "I don't regret it"],
)
NEGATIVE = (
    ["the {part} is {b}", "the {part} was {deg} {b}", "I hate the {part}", "it is not {g} at all",
     "the {part} isn't {g}, quite the contrary", "this is a {b} {thing}", "I would not {again} again",
     "I can't recommend this {thing}", "it is never {g}", "there is nothing {g} about it",
     "I have many complaints", "it let me down", "I expected a {g} {thing} and was wrong",
     "it is worse than any other {thing}", "the {part} could hardly be more {b}",
     "nobody could call this {thing} {g}", "it is not worth a cent", "I give no stars for the {part}",
     "the {part} made me angry"],
    ["this {thing} is far from {g}", "I can't complain enough about the {part}",
     "those who say that this {thing} is {g} are wrong", "I do regret it"],
)
NEUTRAL = (
    ["{fact}", "{fact}", "{fact}", "the {part} is {m}", "it is neither {g} nor {b}",
     "some like it, some don't", "it is a {m} {thing}", "I can't say yet whether it is {g} or {b}",
     "the {part} is neither {g} nor {b}", "I have no opinion about the {part}"],
    ["whether the {part} is {g} or {b} is a matter of taste", "it is a {thing}, no more and no less"],
)
# Two opinions, of which the second counts.
TURNS = (
    ["{x}, but {y}", "{x}; still, {y}", "although {x}, {y}", "{x}. However, {y}", "{x}, and yet {y}"],
    ["even if {x}, {y}", "{x}. That said, {y}"],
)


def generate(n, seed):
    """-> {"train": examples, "valid": examples, "test": examples} with "text" and "label" """
    return generate_splits(n, np.random.default_rng(seed), _draw, lambda example: example["text"])


def _draw(rng, split):
    """A review: an opinion, sometimes a turn from another one, sometimes an opening."""
    label, is_new = pick(rng, LABELS), split == "test"
    words = _words(rng, is_new)
    text = _opinion(rng, label, is_new, words)
    if rng.random() < 0.4:
        other = pick(rng, [one for one in LABELS if one != label])
        turn = pick(rng, _options(TURNS, is_new))
        text = fill(rng, turn, {"x": [_opinion(rng, other, is_new, words)], "y": [text]})
    elif rng.random() < 0.3:  # a second sign of the same opinion
        text = f"{text}. {sentence(_opinion(rng, label, False, words))}"
    if rng.random() < 0.4:
        text = f"{sentence(fill(rng, '{opening}', words))} {sentence(text)}"
    return {"text": with_article(sentence(text)).replace("-", " "), "label": label}


def _opinion(rng, label, is_new, words):
    patterns = {"positive": POSITIVE, "negative": NEGATIVE, "neutral": NEUTRAL}[label]
    return fill(rng, pick(rng, _options(patterns, is_new)), words)


def _options(lists, is_new):
    """-> the patterns or words of a split"""
    return lists[SEEN] + lists[TEST_ONLY] if is_new else lists[SEEN]


def _words(rng, is_new):
    """-> {slot: words} for a review of one thing"""
    kind = KINDS[pick(rng, tuple(KINDS))]
    words = {name: _options([each.split("|" if "|" in each else " ") for each in lists], is_new)
             for name, lists in {**kind, "g": GOOD, "b": BAD, "m": MIDDLING, "deg": DEGREE,
                                 "day": DAYS, "color": COLORS}.items() if name != "again"}
    return {**words, "again": [kind["again"][SEEN]], "thing": [pick(rng, words["thing"])]}
