"""The best span: where an answer starts and ends, from two scores of each token.

Devlin et al. 2018, sections 4.2 and 4.3. With s the scores of a start and e those of an end,

    score of the span i … j  =  s_i + e_j        i ≤ j < i + max_tokens, both in the paragraph
    score of no answer       =  s_0 + e_0        at [CLS]
"""

import numpy as np


def span_scores(start, end, in_paragraph, max_tokens):
    """-> S (T, T): S[i, j] = start_i + end_j where i … j may be an answer, -inf elsewhere

    start, end: floats (T,);  in_paragraph: bools (T,), True at the paragraph's tokens
    """
    T = len(start)
    length = np.arange(T) - np.arange(T)[:, None] + 1  # of the span from row i to column j
    allowed = (length >= 1) & (length <= max_tokens) & in_paragraph & in_paragraph[:, None]
    return np.where(allowed, start[:, None] + end, -np.inf)


def best_spans(S, n):
    """-> list of (score, i, j), the best first: the n best cells of S that aren't -inf"""
    flat = S.ravel()
    n = min(n, flat.size)
    places = np.argpartition(-flat, n - 1)[:n]
    places = places[np.lexsort((places, -flat[places]))]  # of equal ones, the first in the text
    T = S.shape[1]
    return [(float(flat[place]), int(place // T), int(place % T)) for place in places
            if flat[place] > -np.inf]
