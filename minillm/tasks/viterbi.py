"""The most probable row of tags, where a tag depends on the one before           (Viterbi 1967)

    y = argmax  Σ_i scores[i, y_i]  +  start[y_0]  +  Σ_i transitions[y_(i-1), y_i]

There are K^n rows of n tags, but the best row that ends in tag k at word i is one of K: the best
row that ends in some tag j at word i - 1, and then k.

    best[i, k] = scores[i, k] + max_j ( best[i-1, j] + transitions[j, k] )

Remember the j of each maximum, and go back from the best end. A model that tags each word by itself
may say O I-PER, or B-PER I-LOC, which are no tags of entities; transitions make that improbable.
"""

import numpy as np

IMPROBABLE = np.log(0.01)  # not impossible: in some checkpoints' tags, IOB1, I- begins an entity


def best_path(scores, transitions, start):
    """-> int64 (n,): the row of tags with the greatest sum

    scores: (n, K), n > 0, such as log-probabilities;  transitions: (K, K), from row to column
    start: (K,)
    """
    best, sources = scores[0] + start, []
    for score in scores[1:]:
        sums = best[:, None] + transitions  # (K, K): from j to k
        sources.append(sums.argmax(axis=0))
        best = score + sums.max(axis=0)
    path = [best.argmax()]
    for source in reversed(sources):
        path.append(source[path[-1]])
    return np.array(path[::-1], np.int64)


def bio_transitions(tags):
    """-> transitions (K, K), start (K,): IMPROBABLE for an I- that doesn't continue its type"""
    breaks = [[tag.startswith("I-") and before[2:] != tag[2:] for tag in tags] for before in tags]
    begins = [tag.startswith("I-") for tag in tags]
    return np.where(breaks, IMPROBABLE, 0.0), np.where(begins, IMPROBABLE, 0.0)
