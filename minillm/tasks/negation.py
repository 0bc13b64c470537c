"""A rule for negated findings: is there a word like "no" or "denies" nearby?

    denies fever, cough and chest pain      absent: at most 5 words after "denies"
    pneumonia was ruled out                 absent: at most 5 words before "ruled out"

The idea of NegEx (Chapman et al. 2001, "A simple algorithm for identifying negated findings and
diseases in discharge summaries"), with fewer phrases and without those of false negations. It is
strong for its size; long lists and "but" are beyond it.
"""

WINDOW = 5  # words
BEFORE = {"no", "not", "denies", "denied", "without", "never", "negative", "free", "neither", "nor"}
AFTER = (("ruled", "out"), ("absent",), ("none",))


def is_negated(words, first, end):
    """-> whether the finding of words[first:end] is near a word that negates

    words: list of str
    """
    words = [word.lower() for word in words]
    after = words[end : end + WINDOW]
    return not BEFORE.isdisjoint(words[max(first - WINDOW, 0) : first]) or any(
        tuple(after[i : i + len(phrase)]) == phrase for phrase in AFTER for i in range(len(after)))
