"""Metrics of ranked answers: is the right one found, and how far from the top?"""


def reciprocal_rank(ranking, wanted):
    """-> 1 / rank of `wanted` in the list `ranking`, the best first; 0 if it isn't there

    The mean over questions is the MRR, mean reciprocal rank (Voorhees 1999): 1 if the right answer
    is always first, 1/2 if it is always second.
    """
    return 1 / (ranking.index(wanted) + 1) if wanted in ranking else 0.0


def recall_at(k, ranking, wanted):
    """-> 1.0 if `wanted` is among the first k of `ranking`, else 0.0

    With one right answer, the mean over questions is recall@k (Manning, Raghavan and Schütze 2008,
    ch. 8): the share of questions whose answer a reader of k lines finds.
    """
    return float(wanted in ranking[:k])


def best_threshold(scores, is_right, is_outside, share=0.05):
    """-> the score below which it is best to say "I don't know"

    scores: of the first answer to each question;  is_right: whether that answer is right
    is_outside: whether the question has no answer at all

    It maximizes (share of the questions with an answer that get the right one)
    + (share of the questions without one that get none); of equally good thresholds, the middle one
    of the widest gap. Without outside questions, it refuses the lowest `share` of right answers.
    Raises ValueError for no questions.
    """
    triples = sorted(zip(map(float, scores), map(bool, is_right), map(bool, is_outside)))
    if not triples:
        raise ValueError("scores is empty, wanted the score of at least one question")
    n_outside = sum(outside for *_, outside in triples)
    n_inside = len(triples) - n_outside
    if n_outside == 0:
        right = [score for score, good, _ in triples if good] or [triples[0][0]]
        return right[int(share * len(right))]
    # Raise the threshold over one question after the other.
    value = sum(good for _, good, outside in triples if not outside) / max(n_inside, 1)
    levels = [(value, -1.0, triples[0][0])]  # (value, threshold is above this, at most this)
    for index, (score, good, outside) in enumerate(triples):
        value += 1 / n_outside if outside else -good / n_inside
        above = triples[index + 1][0] if index + 1 < len(triples) else score + 1
        if above > score:
            levels.append((value, score, above))
    best = max(value for value, *_ in levels)
    widest = max((above - below, below, above) for value, below, above in levels
                 if value > best - 1e-12)
    return (widest[1] + widest[2]) / 2
