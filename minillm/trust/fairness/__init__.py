"""Fairness: how a model treats groups of people, measured, and made better.

What is measured:

    words.py                the words of groups, names, places, ages, in English and Chinese
    swapping.py             a text about one group -> the same text about the other
    pairs.py                minimal pairs from templates, and the user's own
    pair_scores.py          which of the two texts of a pair does a language model find likelier?
    association.py          association tests of vectors: WEAT, SEAT
    vectors.py              the vectors of words and of sentences that they are about
    counterfactual.py       how much do a classifier's answers change with the group?
    group_gaps.py           demographic parity and equalized odds
    report.py               all of them that a model allows: `minillm fairness --model MODEL`

What is done about it:

    augmentation.py         training texts, and the same with the groups swapped
    subspace.py             the directions of vectors that tell groups apart, taken out
    reweighting.py          weights of examples that make group and label independent
    biased_reviews.py       examples with a bias on purpose, so that there is a before
    mending.py              before and after, for bias and quality: `minillm fairness --mend`
    mending_text.py         the same for a language model: `--mend … --on text`

A template shows a bias where there is one. It can't show that there is none: `report.LIMITS`.
"""
