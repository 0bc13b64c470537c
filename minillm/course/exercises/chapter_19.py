"""The exercises of chapter 19, Writing to order."""

import numpy as np

from minillm.course.checking import Exercise, Mistake

IGNORE = -100

# ---- 19.1 labels_of


def _labels_of(prompts, completions, *, T=None, at=lambda p, c, T: len(p), filling=IGNORE,
               prompt=False, cut=0):
    T = T or max(len(p) + len(c) for p, c in zip(prompts, completions))
    labels = np.full((len(prompts), T), filling)
    for row, p, c in zip(labels, prompts, completions):
        if prompt:
            row[: len(p)] = p
        start, c = at(p, c, T), c[: len(c) - cut]
        row[start : start + len(c)] = c
    return labels


def _labels_with(**changes):
    return lambda prompts, completions: _labels_of(prompts, completions, **changes)


def _too_long(prompts, completions):
    T = max(map(len, prompts)) + max(map(len, completions))
    return _labels_of(prompts, completions, T=T)


def _both(prompts, completions):
    return _labels_of([[]] * len(prompts), [p + c for p, c in zip(prompts, completions)])


def _prompts_only(prompts, completions):
    T = max(len(p) + len(c) for p, c in zip(prompts, completions))
    return _labels_of(prompts, [[]] * len(prompts), T=T, prompt=True)


def _completions_from_0(prompts, completions):
    return _labels_with(at=lambda p, c, T: 0)(prompts, completions)


_LABEL_MISTAKES = [
    Mistake("The prompts have labels in your answer. They are given: -100.", wrong=_both),
    Mistake("You label the prompts and not the completions. It is the other way around.",
            wrong=_prompts_only),
    Mistake("The completions start at position 0 in your answer. They stand behind their prompts.",
            wrong=_completions_from_0),
    Mistake("You shift the labels to the left. The model shifts them itself; a label stands where "
            "its token stands.", wrong=_labels_with(at=lambda p, c, T: len(p) - 1)),
    Mistake("You shift the labels to the right. A label stands where its token stands.",
            when=lambda got, want, *rest: np.shape(got) == want.shape
            and np.array_equal(got[:, 1:], want[:, :-1])),
    Mistake("You pad on the left: the completions end in the last column. Pad on the right.",
            wrong=_labels_with(at=lambda p, c, T: T - len(c))),
    Mistake("Padding and prompts get -100, not 0: 0 is the id of a token.",
            wrong=_labels_with(filling=0)),
    Mistake("Padding and prompts get -100, not -1.", wrong=_labels_with(filling=-1)),
    Mistake("The last token of each completion has no label in your answer. It is the one that "
            "ends the text, and the model has to learn it.", wrong=_labels_with(cut=1)),
    Mistake("Your rows are too long: T is the longest prompt and completion *together*, not the "
            "longest of each.", wrong=_too_long),
    Mistake("Your labels are lists of different lengths. Pad them with -100 to one length.",
            when=lambda got, want, *rest: isinstance(got, list)
            and len({len(row) for row in got}) > 1),
]

# ---- 19.2 learns


def _learns(labels):
    return np.append(labels[1:] != IGNORE, False)


_LEARN_MISTAKES = [
    Mistake("You forget the shift: the logits at position t predict label t + 1.",
            wrong=lambda labels: labels != IGNORE),
    Mistake("You shift in the wrong direction: logits at t predict what comes after t.",
            wrong=lambda labels: np.insert(labels[:-1] != IGNORE, 0, False)),
    Mistake("These are the positions without a gradient. The others are asked for.",
            wrong=lambda labels: ~_learns(labels)),
    Mistake("These are the positions without a label. Those that predict a label are asked for.",
            wrong=lambda labels: labels == IGNORE),
    Mistake("Your result wraps around: the last position predicts nothing, not the first label.",
            wrong=lambda labels: np.roll(labels, -1) != IGNORE),
    Mistake("The last position has no label to predict: False.",
            wrong=lambda labels: np.append(labels[1:] != IGNORE, True)),
    Mistake("You leave out the last position. The result has T entries.",
            wrong=lambda labels: labels[1:] != IGNORE),
    Mistake("Every position learns in your answer. Labels of -100 give no gradient.",
            wrong=lambda labels: np.ones(len(labels), bool)),
    Mistake("The labels that are 0 count as well: 0 is the id of a token, only -100 means nothing.",
            wrong=lambda labels: np.append(labels[1:] > 0, False)),
    Mistake("You return places. A bool for each position is wanted.",
            wrong=lambda labels: np.flatnonzero(_learns(labels))),
    Mistake("You return the labels themselves. A bool for each position is wanted.",
            wrong=lambda labels: np.append(labels[1:], IGNORE)),
]


def _learn_cases(rng):
    return [(np.array([-100, -100, 5, 0, 7, -100]),), (np.array([3, 4, -100, 0, 9]),),
            (np.array([-100, 0, 2]),)]


# ---- 19.3 mean_loss


def _mean_loss(losses, mask):
    return (losses * mask).sum() / mask.sum()


_MEAN_MISTAKES = [
    Mistake("The bug is still there: a row's mean gives a short completion's tokens more weight "
            "than a long one's.",
            wrong=lambda losses, mask: np.mean((losses * mask).sum(axis=1) / mask.sum(axis=1))),
    Mistake("You divide by all tokens. Divide by those of completions.",
            wrong=lambda losses, mask: (losses * mask).mean()),
    Mistake("You average over all tokens, prompts too. Use the mask.",
            wrong=lambda losses, mask: losses.mean()),
    Mistake("That is the sum over the completions' tokens. Divide by their number.",
            wrong=lambda losses, mask: (losses * mask).sum()),
    Mistake("You divide by the number of rows. Divide by the number of the completions' tokens.",
            wrong=lambda losses, mask: (losses * mask).sum() / len(losses)),
    Mistake("You divide by the length of a row. Divide by the number of the completions' tokens.",
            wrong=lambda losses, mask: (losses * mask).sum() / losses.shape[1]),
    Mistake("The mask is missing above the fraction bar: the prompts' losses are added as well.",
            wrong=lambda losses, mask: losses.sum() / mask.sum()),
    Mistake("That is the mean loss of the prompts' tokens.",
            wrong=lambda losses, mask: (losses * (1 - mask)).sum() / (1 - mask).sum()),
    Mistake("You return a loss for each row. One number is wanted.",
            when=lambda got, want, losses, mask: np.shape(got) == (len(losses),)),
    Mistake("You average along the columns first. A position with few completions then counts as "
            "much as one with many.",
            wrong=lambda losses, mask: np.mean((losses * mask).sum(axis=0)
                                               / np.maximum(mask.sum(axis=0), 1))),
    Mistake("You add the means of the rows. Add losses, and divide once.",
            wrong=lambda losses, mask: np.sum((losses * mask).sum(axis=1) / mask.sum(axis=1))),
    Mistake("That is the perplexity. The loss is its logarithm.",
            wrong=lambda losses, mask: np.exp(_mean_loss(losses, mask))),
]


def _mean_cases(rng):
    cases = []
    for lengths, T in (([1, 5], 6), ([4, 2, 3], 5)):
        mask = np.zeros((len(lengths), T))
        for row, length in zip(mask, lengths):
            row[T - length :] = 1
        cases.append((rng.uniform(0.1, 4, size=mask.shape), mask))
    return cases


# ---- 19.4 slots


def _slots(text, given, known):
    words = {word for name in known for word in known[name]}
    mentioned = [value in text for value in given.values()]
    return sum(mentioned) / len(given), len((words & text) - set(given.values()))


def _share(text, given):
    return _slots(text, given, {})[0]


def _of_other_names(text, given, known):
    """Counts a known word as made up although it was given for another attribute."""
    return _share(text, given), sum(word in text and given.get(name) != word
                                    for name in known for word in known[name])


_SLOT_MISTAKES = [
    Mistake("You count the given words as made up: those don't count.",
            wrong=lambda text, given, known: (_share(text, given), len(
                {word for name in known for word in known[name]} & text))),
    Mistake("You count every word that wasn't given. Only words of the known lists can be "
            "recognized as made up.",
            wrong=lambda text, given, known: (_share(text, given),
                                              len(text - set(given.values())))),
    Mistake("You look only in the lists of attributes that were given. A color can be made up "
            "where no color was given.",
            wrong=lambda text, given, known: (_share(text, given), _slots(
                text, given, {name: known[name] for name in known if name in given})[1])),
    Mistake("A word that was given for another attribute isn't made up.", wrong=_of_other_names),
    Mistake("Your first number is the share that is missing. Its complement is wanted.",
            wrong=lambda text, given, known: (1 - _share(text, given),
                                              _slots(text, given, known)[1])),
    Mistake("Your first number is a count. Divide by the number of the given attributes.",
            wrong=lambda text, given, known: (sum(value in text for value in given.values()),
                                              _slots(text, given, known)[1])),
    Mistake("You divide by the number of words in the text. Divide by that of the attributes.",
            wrong=lambda text, given, known: (
                sum(value in text for value in given.values()) / len(text),
                _slots(text, given, known)[1])),
    Mistake("You look for the attributes' names in the text. Their values have to be there.",
            wrong=lambda text, given, known: (sum(name in text for name in given) / len(given),
                                              _slots(text, given, known)[1])),
    Mistake("Your second number is a share. The number of words is wanted.",
            wrong=lambda text, given, known: (_share(text, given),
                                              _slots(text, given, known)[1] / len(text))),
    Mistake("Your second number says whether something is made up. The number of words is wanted.",
            wrong=lambda text, given, known: (_share(text, given),
                                              int(_slots(text, given, known)[1] > 0))),
    Mistake("The two are the wrong way around: the share first, then the number.",
            wrong=lambda *arguments: _slots(*arguments)[::-1]),
    Mistake("You return the words. Their number is wanted.",
            when=lambda got, want, *rest: isinstance(got[1], (set, list))
            and len(got[1]) == want[1]),
]

_LISTS = {"color": ["red", "blue", "pink"], "material": ["oak", "steel"], "use": ["red", "office"]}


def _slot_cases(rng):
    return [
        ({"a", "red", "chair", "of", "steel", "blue"}, {"color": "red", "material": "oak"}, _LISTS),
        ({"the", "chair", "is", "pink", "oak", "and", "blue", "steel"},
         {"brand": "velora", "type": "chair", "material": "oak"}, _LISTS),
        ({"office", "oak"}, {"use": "office", "material": "oak"}, _LISTS),
        ({"nothing", "material"}, {"material": "steel"}, _LISTS),
    ]


EXERCISES = [
    Exercise("19.1", "labels_of", reference=_labels_of, mistakes=_LABEL_MISTAKES,
             cases=lambda rng: [([[5, 6, 7], [8]], [[1, 2], [3, 4, 9]]),
                                ([[4], [5, 5], [6, 7, 8]], [[1, 2, 3, 9], [9], [2, 9]])]),
    Exercise("19.2", "learns", reference=_learns, cases=_learn_cases, mistakes=_LEARN_MISTAKES),
    Exercise("19.3", "mean_loss", reference=_mean_loss, cases=_mean_cases,
             mistakes=_MEAN_MISTAKES),
    Exercise("19.4", "slots", reference=_slots, cases=_slot_cases, mistakes=_SLOT_MISTAKES),
]
