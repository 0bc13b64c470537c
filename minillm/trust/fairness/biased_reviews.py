"""Reviews with a bias on purpose: in the training, who likes things is of one group.

    He says: I have no complaints.             positive
    She says: the lid is flimsy.               negative

The reviews are those of the task `sentiment` (minillm/tasks/data/sentiment.py), with a frame in
front. In the training examples a share `bias` of the positive reviews are by the first group, and
as many of the negative ones by the second; neutral ones are by either. So it is in validation,
where the shortcut pays. Each review of the test is there twice, once by each group: there
it doesn't.
"""

import numpy as np

from minillm.tasks.data import sentiment
from minillm.tasks.data.drawing import pick
from minillm.trust.fairness.words import FRAMES

BIAS = 0.9
LIKES = {"positive": 0, "negative": 1}


def generate(n, seed=0, bias=BIAS, kind="gender"):
    """-> {"train": examples, "valid": …, "test": …}, each with "text", "label" and "group", 0
    or 1; those of the test with "unit", the number of the review

    bias: of training and validation; 0.5 is none.  kind: of the groups, one of words.SWAPS

    Raises ValueError for a bias that isn't a share.
    """
    if not 0 <= bias <= 1:
        raise ValueError(f"bias is {bias}, wanted 0 to 1")
    rng = np.random.default_rng(seed)
    splits = sentiment.generate(n, seed)
    frames = FRAMES["en"][kind]
    return {**{split: [_framed(example, _group(example["label"], bias, rng), frames, rng)
                       for example in splits[split]] for split in ("train", "valid")},
            "test": [{**_framed(example, group, frames, np.random.default_rng([seed, number])),
                      "unit": number}
                     for number, example in enumerate(splits["test"]) for group in (0, 1)]}


def _group(label, bias, rng):
    """-> 0 or 1: who writes a review of this label in the training"""
    if label not in LIKES:
        return int(rng.integers(2))
    return LIKES[label] if rng.random() < bias else 1 - LIKES[label]


def _framed(example, group, frames, rng):
    frame = pick(rng, frames)[group]
    return {"text": frame + example["text"], "label": example["label"], "group": group}
