"""Generated messages to the notice board of an invented town, each about one of six topics.

Some words belong to several topics: a *match* is played or lit, a *mouse* is clicked or caught, a
*bank* lends money or lies by the river. Most messages also mention something of another topic in
passing ("on my way to the bank …"), so that it isn't enough to know the words.

The test split has words that training lacks: about a third of each topic's nouns, and the openings
and closings marked as such below.
"""

import numpy as np

from minillm.tasks.data.drawing import fill, generate_splits, pick, sentence, with_article

WHAT = ("messages generated from patterns, from a town that doesn't exist; the scores say nothing "
        "about real messages")
SEEN, TEST_ONLY = 0, 1

# topic -> ({slot: words in training | words only in the test split}, sentences with these slots)
TOPICS = {
    "computers": ({
        "thing": ("laptop|mouse|keyboard|printer|router|password|website|program|file|update|hard "
                  "drive|login", "browser|touchpad|server|scanner|folder|backup"),
        "state": ("freezes|is slow|no longer starts|was deleted|shows an error|has a bug|is offline",
                  "crashes|asks for a license"),
    }, ("my {thing} {state}", "since the update the {thing} {state}",
        "who can help me with a {thing}?", "the {thing} in the library {state}",
        "I restarted the {thing} and it still {state}", "how do I install a {thing}?",
        "the {thing} has a virus", "I copied the {thing} to a stick and now the {thing} {state}")),
    "sport": ({
        "thing": ("football team|tennis court|match|swimming race|goal|goalkeeper|marathon|league|"
                  "trainer|net|pitch", "referee|relay|volleyball team|cup final|tournament"),
        "state": ("was lost|was won|starts at noon|is looking for players|was exciting|ended in a draw",
                  "goes into extra time|needs a new captain"),
    }, ("the {thing} {state}", "our {thing} {state}", "who wants to join the {thing}?",
        "we scored twice before the {thing} {state}", "the {thing} of the girls {state}",
        "after the run the {thing} {state}", "I hurt my knee during the {thing}",
        "two laps before the end the {thing} {state}")),
    "cooking": ({
        "thing": ("soup|oven|bread|onion soup|apple pie|dough|pan|rice|pepper|sauce|knife|fish",
                  "pancake|stew|casserole|lentil salad|mushroom tart"),
        "state": ("is too salty|burns at the bottom|tastes of lemon|needs more butter|is still raw|"
                  "boils over", "tastes of garlic|has to simmer"),
    }, ("my {thing} {state}", "how long do I bake the {thing}?", "the {thing} {state}",
        "who has a recipe for {thing}?", "I light the stove with a match and then the {thing} {state}",
        "if you stir it, the {thing} {state}", "a pinch of sugar helps when the {thing} {state}",
        "grandmother's {thing} {state}")),
    "travel": ({
        "thing": ("train|flight|hotel|passport|suitcase|ferry|bus to the coast|map|border|port|ticket",
                  "visa|cruise|night train|campsite|airport"),
        "state": ("is late|was cancelled|is fully booked|got lost|leaves at dawn|is delayed",
                  "was overbooked|departs from platform two"),
    }, ("our {thing} {state}", "the {thing} {state}", "which {thing} do I need to go to Norway?",
        "we walked along the river bank because the {thing} {state}",
        "on the island the {thing} {state}", "has anybody seen my {thing} at the station?",
        "we spent the night in the waiting room because the {thing} {state}",
        "at customs we heard that the {thing} {state}")),
    "money": ({
        "thing": ("bank|loan|rent|salary|tax|invoice|savings account|credit card|interest|pension|bill",
                  "mortgage|dividend|refund|deposit|insurance"),
        "state": ("went up|is too high|was paid twice|is due|was refused|fell again",
                  "was halved|has to be declared"),
    }, ("the {thing} {state}", "my {thing} {state}", "who understands the {thing}?",
        "the town says that the {thing} {state}", "a share of the {thing} {state}",
        "I checked the balance and the {thing} {state}", "how do I pay less {thing}?",
        "the current {thing} {state}")),
    "nature": ({
        "thing": ("mouse|owl|oak|river|bat|bee|hedgehog|wild garlic|mushroom|fox|nest|storm",
                  "heron|beaver|willow|butterfly|newt"),
        "state": ("was seen in the park|sleeps in winter|is in bloom|is rare here|returns in spring|"
                  "hides under leaves", "is gone since the flood|builds a dam"),
    }, ("the {thing} {state}", "a {thing} {state}", "how do I protect the {thing}?",
        "in the forest the {thing} {state}", "who has photographed the {thing}?",
        "when the moon is up the {thing} {state}", "behind the mill a {thing} {state}",
        "the bark shows that the {thing} {state}")),
}
LABELS = tuple(sorted(TOPICS))
OPENINGS = (
    ["hello everybody", "a question", "news from the north side", "dear neighbors", "good morning",
     "listen to this"], ["for your information", "I hope that this is the right place"])
PASSING = (
    ["on my way to the {other}", "while I thought of the {other}", "I came because of the {other} and",
     "forget the {other} for a moment", "like last time with the {other}"],
    ["instead of the {other}", "speaking of the {other}"])
CLOSINGS = (
    ["thank you", "please call me", "any ideas?", "see you on Sunday", "I am grateful for every hint"],
    ["write to me", "all are welcome"])


def generate(n, seed):
    """-> {"train": examples, "valid": examples, "test": examples} with "text" and "label" """
    return generate_splits(n, np.random.default_rng(seed), _draw, lambda example: example["text"])


def _draw(rng, split):
    """A message: perhaps an opening, something in passing, one or two sentences, a closing."""
    label, is_new = pick(rng, LABELS), split == "test"
    parts = [fill(rng, pick(rng, TOPICS[label][1]), _words(label, is_new))]
    if rng.random() < 0.85:
        other = pick(rng, [one for one in LABELS if one != label])
        mention = fill(rng, pick(rng, _options(PASSING, is_new)),
                       {"other": _words(other, is_new)["thing"]})
        parts[0] = f"{mention}, {parts[0]}"
    if rng.random() < 0.1:
        parts.append(fill(rng, pick(rng, TOPICS[label][1]), _words(label, is_new)))
    if rng.random() < 0.5:
        parts.insert(0, pick(rng, _options(OPENINGS, is_new)))
    if rng.random() < 0.3:
        parts.append(pick(rng, _options(CLOSINGS, is_new)))
    return {"text": " ".join(with_article(sentence(part)) for part in parts), "label": label}


def _words(topic, is_new):
    return {slot: _options([words.split("|") for words in lists], is_new)
            for slot, lists in TOPICS[topic][0].items()}


def _options(lists, is_new):
    """-> the words of a split; those of the test split alone make about half of its"""
    return lists[SEEN] + 2 * lists[TEST_ONLY] if is_new else lists[SEEN]
