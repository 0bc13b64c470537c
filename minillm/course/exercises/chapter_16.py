"""The exercises of chapter 16, Tagging words."""

from minillm.course.checking import Exercise, Mistake

# ---- 16.1 entities_of_tags


def _entities(tags, *, last=0, merge=False, orphans=True, split=True, types=True):
    """The entities of BIO tags, or with one of the mistakes"""
    found, start, kind = [], None, None
    for word, tag in enumerate([*tags, "O"]):
        prefix, _, new = tag.partition("-")
        continues = start is not None and tag != "O" and (
            prefix == "I" or merge) and (new == kind or not types)
        if start is not None and not continues:
            found.append((start, word - last, kind))
            start = None
        if tag != "O" and not continues and (prefix == "B" or orphans):
            start, kind = word, new
    return found if split else found[:1]


def _with(**changes):
    return lambda tags: _entities(tags, **changes)


def _each(tags, change):
    return [change(*entity) for entity in _entities(tags)]


def _forgets_the_end(tags):
    return [entity for entity in _entities([*tags, "O"]) if entity[1] < len(tags)]


_TAGS = [
    (["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "O"],),
    (["O", "I-PER", "I-PER", "O", "B-DATE"],),
    (["B-PER", "I-LOC", "I-LOC", "O"],),
    (["B-ORG", "I-ORG", "B-ORG", "O", "B-PER", "I-PER", "I-PER"],),
    (["O", "O"],),
]

_ENTITIES_MISTAKES = [
    Mistake("The end is the place after the last word, as in a slice. You return the last word.",
            wrong=_with(last=1)),
    Mistake("You merge neighbors of one type. A B- always begins a new entity: that is what B is "
            "for.", wrong=_with(merge=True)),
    Mistake("You drop an I- that continues nothing. conlleval, and this exercise, let it begin an "
            "entity.", wrong=_with(orphans=False)),
    Mistake("An I- of another type doesn't continue the entity before it. It begins a new one.",
            wrong=_with(types=False)),
    Mistake("An entity that ends with the text is missing. What closes it when no tag follows?",
            wrong=_forgets_the_end),
    Mistake("You return the first entity only.", wrong=_with(split=False)),
    Mistake("The type comes without its prefix: \"PER\", not \"B-PER\".",
            wrong=lambda tags: _each(tags, lambda start, end, kind: (start, end, f"B-{kind}"))),
    Mistake("Each word is an entity in your answer. Words that continue one belong to it.",
            wrong=lambda tags: [(i, i + 1, tag[2:]) for i, tag in enumerate(tags) if tag != "O"]),
    Mistake("You count from 1. The first word is 0.",
            wrong=lambda tags: _each(tags, lambda start, end, kind: (start + 1, end + 1, kind))),
    Mistake("You return (start, length, type). The exercise asks for the end, not the length.",
            wrong=lambda tags: _each(tags, lambda start, end, kind: (start, end - start, kind))),
    Mistake("Put the type last: (start, end, type).",
            wrong=lambda tags: _each(tags, lambda start, end, kind: (kind, start, end))),
    Mistake("The types are missing. Each entity is (start, end, type).",
            wrong=lambda tags: _each(tags, lambda start, end, kind: (start, end))),
]

# ---- 16.2 span_f1


def _counts(predicted, true):
    return (sum(len(set(p) & set(t)) for p, t in zip(predicted, true)),
            sum(map(len, predicted)), sum(map(len, true)))


def _f1(correct, predicted, true):
    return 2 * correct / (predicted + true) if predicted + true else 0.0


def _micro_f1(predicted, true):
    return _f1(*_counts(predicted, true))


def _mean_of_texts(predicted, true):
    return sum(_f1(*_counts([p], [t])) for p, t in zip(predicted, true)) / len(true)


def _without_types(predicted, true):
    return _micro_f1(*([[entity[:2] for entity in text] for text in side]
                       for side in (predicted, true)))


def _overlapping(predicted, true):
    correct = sum(any(p[2] == t[2] and p[0] < t[1] and t[0] < p[1] for t in wanted)
                  for found, wanted in zip(predicted, true) for p in found)
    return _f1(correct, *_counts(predicted, true)[1:])


def _all_together(predicted, true):
    """The texts' entities in one set, so that places of different texts agree."""
    predicted, true = ({entity for text in side for entity in text} for side in (predicted, true))
    return _f1(len(predicted & true), len(predicted), len(true))


def _mean_of_types(predicted, true):
    kinds = sorted({entity[2] for side in (predicted, true) for text in side for entity in text})
    scores = [_micro_f1(*([[entity for entity in text if entity[2] == kind] for text in side]
                          for side in (predicted, true))) for kind in kinds]
    return sum(scores) / len(scores)


def _geometric(predicted, true):
    correct, n_predicted, n_true = _counts(predicted, true)
    return (correct / n_predicted * correct / n_true) ** 0.5


def _arithmetic(predicted, true):
    correct, n_predicted, n_true = _counts(predicted, true)
    return (correct / n_predicted + correct / n_true) / 2


def _span_cases(rng):
    one = [[(0, 2, "PER"), (3, 4, "LOC"), (5, 7, "LOC")], [(0, 1, "ORG")], [(2, 4, "DATE")]]
    two = [[(0, 2, "PER"), (3, 4, "ORG")], [(0, 1, "ORG"), (2, 3, "PER")], [(2, 3, "DATE")]]
    three = [[(1, 2, "PER")], [(1, 2, "PER"), (4, 6, "LOC")], [(0, 1, "LOC")]]
    four = [[(5, 6, "ORG")], [(1, 2, "PER"), (3, 6, "LOC")], [(0, 1, "LOC"), (1, 2, "PER")]]
    return [(two, one), (four, three), (one, three), ([[], []], [[], []])]


_F1_MISTAKES = [
    Mistake("You average the F1 of the texts. Add up the counts of all texts first, then divide "
            "once.", wrong=_mean_of_texts),
    Mistake("You ignore the types. An entity is right only if start, end and type are.",
            wrong=_without_types),
    Mistake("You count an overlap as right. Only the same start and the same end are.",
            wrong=_overlapping),
    Mistake("You put all texts into one set. A place means something only within its text.",
            wrong=_all_together),
    Mistake("You average over the types, which is the macro F1. Here every entity counts alike.",
            wrong=_mean_of_types),
    Mistake("That is the precision: correct / predicted.",
            wrong=lambda p, t: _counts(p, t)[0] / max(_counts(p, t)[1], 1)),
    Mistake("That is the recall: correct / true.",
            wrong=lambda p, t: _counts(p, t)[0] / max(_counts(p, t)[2], 1)),
    Mistake("The 2 is missing: F1 is 2 P R / (P + R).", wrong=lambda p, t: _micro_f1(p, t) / 2),
    Mistake("You take the geometric mean of precision and recall. F1 is their harmonic mean.",
            when=lambda got, want, p, t: abs(got - _geometric(p, t)) < 1e-9),
    Mistake("You take the arithmetic mean of precision and recall. F1 is their harmonic mean.",
            when=lambda got, want, p, t: abs(got - _arithmetic(p, t)) < 1e-9),
    Mistake("You divide by all different entities, predicted or true. That is the Jaccard index.",
            wrong=lambda p, t: _counts(p, t)[0] / max(
                sum(_counts(p, t)[1:]) - _counts(p, t)[0], 1)),
    Mistake("With nothing predicted and nothing true, F1 is 0 by convention.",
            when=lambda got, want, p, t: not any(p) and not any(t)),
    Mistake("F1 is a number from 0 to 1, not a percentage.",
            wrong=lambda p, t: 100 * _micro_f1(p, t)),
]

# ---- 16.3 piece_labels


def _labels(word_ids, labels, *, first=True, other=lambda label: -100, special=-100, shift=0):
    found, before = [], None
    for place, word in enumerate(word_ids):
        if word is None:
            found.append(special)
        else:
            ends = place + 1 == len(word_ids) or word_ids[place + 1] != word
            chosen = word != before if first else ends
            found.append(labels[word + shift] if chosen else other(labels[word]))
        before = word
    return found


def _labels_with(**changes):
    return lambda word_ids, labels: _labels(word_ids, labels, **changes)


def _by_position(word_ids, labels):
    """Takes the labels in order for all pieces that aren't special."""
    left = iter([*labels, *[-100] * len(word_ids)])
    return [-100 if word is None else next(left) for word in word_ids]


_PIECE_CASES = [
    ([None, 0, 0, 1, 2, 2, 2, None], [3, 0, 5]),
    ([None, 0, 1, 1, None, None, None], [1, 2]),
    ([None, 0, 0, 0, 1, 2, 3, 3, None], [1, 2, 0, 4]),
]

_PIECE_MISTAKES = [
    Mistake("All pieces of a word have its label in your answer. Only the first piece has; the "
            "others are -100.", wrong=_labels_with(other=lambda label: label)),
    Mistake("You label the last piece of each word. The first one is meant.",
            wrong=_labels_with(first=False)),
    Mistake("The pieces after the first get 0, which is the label O: the model would be trained to "
            "call them outside. -100 takes them out of the loss.",
            wrong=_labels_with(other=lambda label: 0)),
    Mistake("Special tokens and padding get 0, which is the label O. They belong to no word: -100.",
            wrong=_labels_with(special=0)),
    Mistake("You give labels to pieces in order. `labels` has one label for each word, so look it "
            "up by the number of the word.", wrong=_by_position),
    Mistake("You look up the number of the word plus 1. Words count from 0.",
            when=lambda got, want, word_ids, labels: any(
                g != w for g, w in zip(got, want)) and all(
                g in (-100, *labels) for g in got) and [g == -100 for g in got] == [
                w == -100 for w in want]),
    Mistake("You return one label for each word. The model needs one for each piece.",
            when=lambda got, want, word_ids, labels: list(got) == list(labels)),
    Mistake("The special tokens have no place in your answer. Return as many labels as there are "
            "pieces, -100 for these.",
            wrong=lambda word_ids, labels: [label for label, word in zip(
                _labels(word_ids, labels), word_ids) if word is not None]),
    Mistake("You return -1 where nothing is to be learned. The loss ignores -100.",
            wrong=lambda word_ids, labels: [-1 if label == -100 else label
                                            for label in _labels(word_ids, labels)]),
    Mistake("Nothing has a label in your answer: compare each word number with the one before it.",
            when=lambda got, want, *rest: all(label == -100 for label in got)),
]

# ---- 16.4 is_absent

_ENDS = ("but", ";", ".")


def _absent(words, place, *, reach=None, ends=_ENDS, cues=("no", "denies", "without"),
            after=False):
    """Is the word at `place` negated by a word before it, with nothing of `ends` between them?"""
    start = 0 if reach is None else max(place - reach, 0)
    for word in reversed(words[start:place]):
        if word.lower() in ends:
            return False
        if word.lower() in cues:
            return True
    return bool(after and any(word.lower() in cues for word in words[place + 1 :]))


def _absent_with(**changes):
    return lambda words, place: _absent(words, place, **changes)


def _case_sensitive(words, place):
    for word in reversed(words[:place]):
        if word in _ENDS:
            return False
        if word in ("no", "denies", "without"):
            return True
    return False


def _any_end(words, place):
    """Looks whether an end stands anywhere before, also before the negation."""
    before = [word.lower() for word in words[:place]]
    return any(word in ("no", "denies", "without") for word in before) and not any(
        word in _ENDS for word in before)


def _any_end_in_text(words, place):
    lower = [word.lower() for word in words]
    return any(word in ("no", "denies", "without") for word in lower[:place]) and not any(
        word in _ENDS for word in lower)


_NOTES = ("Denies fever , chills , cough , night sweats or rash .", "No fever but cough .",
          "Reports pain ; denies fever .", "Cough without fever . Rash .",
          "Has no pain , fever , chills , nausea , vomiting or edema ; has a rash .",
          "Pain but no fever .", "Rash .", "No fever or rash")


def _note_cases(rng):
    places = ((1, 3, 5, 10), (1, 3), (1, 4), (0, 2, 4), (2, 4, 13, 16), (0, 3), (0,), (1, 3))
    return [(note.split(), place) for note, found in zip(_NOTES, places) for place in found]


_ABSENT_MISTAKES = [
    Mistake("Your window of 5 words is still there. A list after \"denies\" may be longer.",
            wrong=_absent_with(reach=5, ends=())),
    Mistake("The scope ends now, but a long list is still cut after 5 words. Look back to the "
            "beginning of the text.", wrong=_absent_with(reach=5)),
    Mistake("Your scope doesn't end at \"but\": in \"no fever but cough\" there is a cough.",
            wrong=_absent_with(ends=(";", "."))),
    Mistake("A semicolon ends the scope too.", wrong=_absent_with(ends=("but", "."))),
    Mistake("A full stop ends the scope too.", wrong=_absent_with(ends=("but", ";"))),
    Mistake("Nothing ends your scope. It ends at \"but\", \";\" and \".\".",
            wrong=_absent_with(ends=())),
    Mistake("A comma doesn't end the scope: it separates the items of a list.",
            wrong=_absent_with(ends=(*_ENDS, ","))),
    Mistake("The scope doesn't end at \"or\": it is part of the list.",
            wrong=_absent_with(ends=(*_ENDS, "or"))),
    Mistake("You compare words as they are written. \"Denies\" at the beginning of a sentence "
            "denies as well.", wrong=_case_sensitive),
    Mistake("An end before the negation doesn't matter: in \"pain but no fever\" the fever is "
            "absent. Only an end between the negation and the finding counts.", wrong=_any_end),
    Mistake("Only an end between the negation and the finding counts, not one after the finding.",
            wrong=_any_end_in_text),
    Mistake("You also look behind the finding. These negations work forwards only.",
            wrong=_absent_with(after=True)),
    Mistake("The word \"denies\" negates too.", wrong=_absent_with(cues=("no", "without"))),
    Mistake("The word \"without\" negates too.", wrong=_absent_with(cues=("no", "denies"))),
    Mistake("It's the other way round: True means that the finding is absent.",
            wrong=lambda words, place: not _absent(words, place)),
    Mistake("You call every finding absent.", wrong=lambda words, place: True),
    Mistake("You call every finding present.", wrong=lambda words, place: False),
]

# ---- 16.5 f1_of_the_lazy_tagger: 200 words, 20 entities of 2 words each. Half of them are found
# with both words, a quarter with the first word only, and the rest is O.

_VALUE = 2 * 10 / (15 + 20)

_VALUE_MISTAKES = [
    Mistake("That is the share of the words that are right. F1 counts entities.",
            wrong=(200 - 15) / 200),
    Mistake("That is the recall. F1 also looks at what was predicted.", wrong=10 / 20),
    Mistake("That is the precision. F1 also looks at what was missed.", wrong=10 / 15),
    Mistake("Half an entity counts for nothing: the five that were found in part are wrong.",
            wrong=2 * 15 / (15 + 20)),
    Mistake("Half an entity doesn't count as half.", wrong=2 * 12.5 / (15 + 20)),
    Mistake("The 2 is missing: F1 is 2 · correct / (predicted + true).", wrong=10 / 35),
    Mistake("You count words. Count entities.", wrong=2 * 25 / (25 + 40)),
    Mistake("You take the arithmetic mean of precision and recall; F1 is the harmonic one.",
            wrong=(10 / 15 + 10 / 20) / 2),
    Mistake("F1 is a number from 0 to 1.", wrong=100 * _VALUE),
]

EXERCISES = [
    Exercise("16.1", "entities_of_tags", reference=_entities, cases=lambda rng: _TAGS,
             mistakes=_ENTITIES_MISTAKES),
    Exercise("16.2", "micro_f1", reference=_micro_f1, cases=_span_cases, mistakes=_F1_MISTAKES),
    Exercise("16.3", "piece_labels", reference=_labels, cases=lambda rng: _PIECE_CASES,
             mistakes=_PIECE_MISTAKES),
    Exercise("16.4", "is_absent", reference=_absent, cases=_note_cases, mistakes=_ABSENT_MISTAKES),
    Exercise("16.5", "lazy_f1", reference=_VALUE, mistakes=_VALUE_MISTAKES, tolerance=6e-4),
]
