"""Small orders about words, and what obeying them gives.

    Swap these two words: kettle drum         ->  drum kettle
    What is the last word of: red oak chair?  ->  chair

Seven kinds of orders, each in several wordings. The words are English ones and coined ones. The
test split has wordings and English words of its own.
"""

import numpy as np

from minillm.tasks.data.drawing import generate_splits, pick
from minillm.tasks.data.products import CATEGORIES, HUES, coined_word, sizes

WHAT = ("seven kinds of orders about words, invented; the test split has other wordings and other "
        "words. A model of them has learned to obey these, not to talk")

# kind -> (wordings of all splits, wordings of the test split alone, function of words -> answer)
KINDS = {
    "repeat": (["Repeat these words: {}", "Say this again: {}", "Write once more: {}"],
               ["Please repeat: {}"], lambda words: words),
    "swap": (["Swap these two words: {}", "Exchange the two words: {}", "Turn around: {}"],
             ["Please swap: {}"], lambda words: words[::-1]),
    "first": (["What is the first word of: {}?", "Give me the first word: {}",
               "Which word comes first? {}"], ["Tell me the first word of {}"],
              lambda words: words[:1]),
    "last": (["What is the last word of: {}?", "Give me the last word: {}",
              "Which word comes last? {}"], ["Tell me the last word of {}"],
             lambda words: words[-1:]),
    "twice": (["Write this word twice: {}", "Double this word: {}", "Two times the word {}"],
              ["Please double the word {}"], lambda words: words * 2),
    "count": (["How many words are these? {}", "Count the words: {}", "The number of words in: {}"],
              ["Please count: {}"],
              lambda words: ["one", "two", "three", "four", "five"][len(words) - 1 : len(words)]),
    "color": (["Which word is a color? {}", "Find the color: {}", "Where is a color in: {}?"],
              ["Please name the color in {}"],
              lambda words: [word for word in words if word in HUES.all]),
}
LENGTHS = {"swap": (2, 2), "twice": (1, 1), "color": (2, 4)}


def generate(n, seed):
    """-> {"train": […], "valid": […], "test": […]}: n examples together"""
    return generate_splits(n, np.random.default_rng(seed), _example,
                           key=lambda example: example["prompt"], sizes=sizes(n))


def _example(rng, split):
    kind = pick(rng, list(KINDS))
    common, own, obey = KINDS[kind]
    wordings = own if split == "test" else common
    least, most = LENGTHS.get(kind, (2, 5))
    words = [_word(rng, split) for _ in range(rng.integers(least, most + 1))]
    if kind == "color":
        words[rng.integers(len(words))] = HUES.draw(rng, split, coins=False)
    return {"prompt": pick(rng, wordings).format(" ".join(words)),
            "completion": " ".join(obey(words))}


def _word(rng, split):
    category = pick(rng, CATEGORIES)
    words = pick(rng, (category.types, category.materials))
    while True:
        word = words.draw(rng, split) if rng.random() < 0.5 else coined_word(rng)
        if " " not in word:
            return word
