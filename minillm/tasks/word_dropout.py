"""Training on words that nobody knows: word dropout.

    Mira Holtby moved to Oslo .    ->    Mira Garby moved to Wexelp .

A model that is trained from nothing learns the names in its training texts by heart, which is easy,
and is at a loss with all others. So in each batch some words are replaced by words that don't
exist: a beginning of one training word and an end of another. What such a word is, only its place
in the sentence says. The labels stay. (Iyyer et al. 2015, "Deep unordered composition", section
3.1, leave words out; what a reader of names needs is unknown words in their places.)

The first letter keeps its kind, capital, small or Chinese, and words without a letter stay.
"""

import numpy as np

from minillm.tasks.examples import ExampleBatches

N_WORDS = 2000  # new words of each kind
LONGEST = 10  # letters
CHINESE = (0x4E00, 0x9FA6)  # the range of the common characters


class DisguisedBatches(ExampleBatches):
    """Batches of examples with a field "disguise": the seed for replacing words of this example.

    The seeds come from the state that a checkpoint has, so that a resumed run disguises alike.
    """

    def __next__(self):
        examples = super().__next__()
        state = self.epoch_state["state"]["state"], self.position
        return [{**example, "disguise": (*state, number)}
                for number, example in enumerate(examples)]


class Disguise:
    """Replaces words of a tagger.Row by new ones.

    words: all words of the training texts;  share: of the words to replace
    n: new words of each kind, made once
    """

    def __init__(self, words, tokenizer, share, seed=0, n=N_WORDS):
        rng, self.share, self.pieces = np.random.default_rng(seed), share, {}
        for kind in ("capital", "small", "letter"):
            known = sorted({word for word in words if kind_of(word) == kind})
            if known:
                new = [new_word(known, rng) for _ in range(n)]
                self.pieces[kind] = [ids for ids in tokenizer(new, add_special_tokens=False)[
                    "input_ids"] if ids]

    def __call__(self, row, kinds, rng, room):
        """-> the Row with some words replaced, `room` tokens longer at most

        kinds: `kind_of` each word of the text
        """
        ids, places = row.ids[: row.places[0]] if row.places else [], []
        for word, pieces in zip(row.words, pieces_of_words(row)):
            new = self.pieces.get(kinds[word])
            if new and rng.random() < self.share:
                new = new[rng.integers(len(new))][: len(pieces) + room]
                room -= len(new) - len(pieces)
                pieces = new
            places.append(len(ids))
            ids = ids + pieces
        return row._replace(ids=ids + row.ids[row.end :], places=places, end=len(ids))


def new_word(known, rng):
    """-> the beginning of one known word and the end of another; in Chinese any character"""
    first, last = (known[rng.integers(len(known))] for _ in range(2))
    if kind_of(first) == "letter":
        return first[0] if rng.random() < 0.5 else chr(rng.integers(*CHINESE))
    cut, rest = rng.integers(1, len(first) + 1), rng.integers(len(last))
    return (first[:cut] + last[rest:].lower())[:LONGEST]


def kind_of(word):
    """-> "capital", "small" or, without case, "letter", by the first letter; None for others"""
    first = word[0]
    return ("capital" if first.isupper() else "small" if first.islower() else
            "letter" if first.isalpha() else None)


def pieces_of_words(row):
    """-> for each word of the Row the list of its pieces"""
    return [row.ids[place:end] for place, end in zip(row.places, [*row.places[1:], row.end])]
