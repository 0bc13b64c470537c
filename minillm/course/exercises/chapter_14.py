"""The exercises of chapter 14, BERT."""

import numpy as np

from minillm.course.checking import Exercise, Mistake

IGNORE = -100

# ---- 14.1 hide


def _hide(ids, chosen, fate, random_ids, mask_id, *, masked=lambda fate: fate < 0.8,
          drawn=lambda fate: fate >= 0.9, keep=IGNORE, only_changed=False, every=False):
    inputs = ids.copy()
    inputs[chosen & masked(fate)] = mask_id
    inputs[chosen & drawn(fate)] = random_ids[chosen & drawn(fate)]
    labels = np.where(chosen, ids, keep)
    if only_changed:
        labels = np.where(chosen & (masked(fate) | drawn(fate)), ids, keep)
    return inputs, ids.copy() if every else labels


def _hide_with(**changes):
    return lambda *arguments: _hide(*arguments, **changes)


def _labels_of_inputs(ids, chosen, fate, random_ids, mask_id):
    inputs, _ = _hide(ids, chosen, fate, random_ids, mask_id)
    return inputs, np.where(chosen, inputs, IGNORE)


def _everywhere(ids, chosen, fate, random_ids, mask_id):
    inputs, _ = _hide(ids, np.ones_like(chosen), fate, random_ids, mask_id)
    return inputs, np.where(chosen, ids, IGNORE)


def _hide_cases(rng):
    cases = []
    for shape in ((2, 12), (3, 20), (1, 40)):
        ids = rng.integers(5, 100, size=shape)
        chosen = rng.random(shape) < 0.5
        fate = rng.random(shape)
        chosen[0, :3], fate[0, :3] = True, (0.5, 0.85, 0.95)
        cases.append((ids, chosen, fate, rng.integers(5, 100, size=shape), 4))
    return cases


_HIDE_MISTAKES = [
    Mistake("You put [MASK] at every chosen token. Only 80 % of them are hidden; look at `fate`.",
            wrong=_hide_with(masked=lambda fate: fate < 2, drawn=lambda fate: fate > 2)),
    Mistake("You never put in a random token: 10 % of the chosen ones get one.",
            wrong=_hide_with(drawn=lambda fate: fate > 2)),
    Mistake("You replace all of the other 20 % by random tokens. Half of them stay as they are.",
            wrong=_hide_with(drawn=lambda fate: fate >= 0.8)),
    Mistake("You mask 10 % and replace 80 % by random tokens. It is the other way around.",
            wrong=_hide_with(masked=lambda fate: fate >= 0.9, drawn=lambda fate: fate < 0.8)),
    Mistake("You mask 90 %. Below 0.8 is [MASK], from 0.9 on a random token, between them nothing "
            "changes.", wrong=_hide_with(masked=lambda fate: fate < 0.9)),
    Mistake("You score only the tokens that changed. The chosen ones that stay are scored as well: "
            "the model must not know which are right.", wrong=_hide_with(only_changed=True)),
    Mistake("You score every token. Only the chosen ones have a label; all others are -100.",
            wrong=_hide_with(every=True)),
    Mistake("Your labels are taken from the changed inputs. A label is the token that was there "
            "before.", wrong=_labels_of_inputs),
    Mistake("You change tokens that weren't chosen. `fate` decides about the chosen ones only.",
            wrong=_everywhere),
    Mistake("A token without a label is -100, not 0: 0 is the id of a token.",
            wrong=_hide_with(keep=0)),
    Mistake("A token without a label is -100, not -1.", wrong=_hide_with(keep=-1)),
    Mistake("The two are the wrong way around: inputs first, then labels.",
            wrong=lambda *arguments: _hide(*arguments)[::-1]),
    Mistake("You return the inputs alone. The labels are wanted too.",
            when=lambda got, want, *rest: isinstance(got, np.ndarray)),
]

# ---- 14.2 trust


def _trust(p, V, *, keep=0.1, draw=0.1):
    shown = p * (keep + draw / V)
    return shown / (shown + (1 - p) * draw / V)


_TRUST_MISTAKES = [
    Mistake("You believe the context alone. That a token stands there is evidence, too: multiply "
            "by how likely it is to be shown.", wrong=lambda p, V: p),
    Mistake("You trust whatever is shown. It was drawn at random in some of the cases.",
            wrong=lambda p, V: 1.0),
    Mistake("That is one half: right before you know the context. Weigh it with p.",
            wrong=lambda p, V: 0.5),
    Mistake("You leave the context out: p is missing.",
            wrong=lambda p, V: (0.1 + 0.1 / V) / (0.1 + 0.2 / V)),
    Mistake("A random draw shows one certain token with probability 0.1 / V, not 0.1.",
            wrong=lambda p, V: 0.2 * p / (0.2 * p + 0.1 * (1 - p))),
    Mistake("A random draw may hit the right token as well: to the 0.1 that stay belongs another "
            "0.1 / V.", wrong=lambda p, V: 0.1 * p / (0.1 * p + 0.1 / V * (1 - p))),
    Mistake("You count the 80 % as shown. There [MASK] stands, and no token is to be seen.",
            wrong=lambda p, V: _trust(p, V, keep=0.8)),
    Mistake("You take 90 % for the tokens that stay. Of the chosen ones only 10 % do; the others "
            "of the text aren't scored.", wrong=lambda p, V: _trust(p, V, keep=0.9)),
    Mistake("You forget to divide by the sum of both cases: a posterior is a share.",
            wrong=lambda p, V: p * (0.1 + 0.1 / V)),
    Mistake("That is the probability that another token is right. The shown one is asked for.",
            wrong=lambda p, V: 1 - _trust(p, V)),
    Mistake("You divide the random 10 % among V - 1 tokens. BERT draws among all V.",
            wrong=lambda p, V: 0.1 * p / (0.1 * p + (1 - p) * 0.1 / (V - 1))),
]

# ---- 14.3 pieces


def _pieces(word, vocab, *, ends=None, prefix="##", on_failure=lambda done: ["[UNK]"]):
    found, start = [], 0
    while start < len(word):
        mark = prefix if start else ""
        order = range(len(word), start, -1) if ends is None else ends(start, len(word))
        for end in order:
            if mark + word[start:end] in vocab:
                break
        else:
            return on_failure(found)
        found.append(mark + word[start:end])
        start = end
    return found


def _shortest_first(word, vocab):
    return _pieces(word, vocab, ends=lambda start, n: range(start + 1, n + 1))


def _no_marks(word, vocab):
    return [piece.removeprefix("##") for piece in _pieces(word, vocab)]


def _unmarked_lookup(word, vocab):
    return _pieces(word, vocab, prefix="")


def _one_character(word, vocab):
    return [("##" if index else "") + character for index, character in enumerate(word)]


def _from_the_right(word, vocab):
    found, end = [], len(word)
    while end:
        for start in range(end):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocab:
                break
        else:
            return ["[UNK]"]
        found.insert(0, piece)
        end = start
    return found


_VOCAB = {"[UNK]", "un", "##aff", "##a", "##able", "a", "aff", "##ffa", "##ble", "una", "##b", "u",
          "##n", "##l", "##e", "able", "##f", "apple", "app", "##le", "##les", "##s", "##p",
          "fable", "f", "##ab", "##un"}


def _pieces_cases(rng):
    return [(word, set(_VOCAB)) for word in ("unaffable", "apples", "apple", "unable", "unaxable",
                                             "fable", "xa", "unfable", "appable")]


_PIECES_MISTAKES = [
    Mistake("You take the shortest piece that fits. WordPiece takes the longest one.",
            wrong=_shortest_first),
    Mistake("You cut into single characters. Take the longest piece of the vocabulary each time.",
            wrong=_one_character),
    Mistake("The marks are missing: a piece inside a word is looked up, and returned, with ## in "
            "front.", wrong=_no_marks),
    Mistake("You look up the inside of a word without ##: \"able\" and \"##able\" are two tokens.",
            wrong=_unmarked_lookup),
    Mistake("You mark the first piece as well. It begins the word, and has no ##.",
            when=lambda got, want, *rest: bool(got) and got[0].startswith("##")),
    Mistake("You go from right to left. WordPiece begins at the left.", wrong=_from_the_right),
    Mistake("If a part has no piece, the whole word becomes one [UNK]; you keep the pieces before "
            "it.", wrong=lambda word, vocab: _pieces(word, vocab,
                                                     on_failure=lambda done: [*done, "[UNK]"])),
    Mistake("If a part has no piece, the word becomes [UNK]; you return the pieces before it.",
            wrong=lambda word, vocab: _pieces(word, vocab, on_failure=lambda done: done)),
    Mistake("If a part has no piece, the word becomes [UNK]; you return an empty list.",
            wrong=lambda word, vocab: _pieces(word, vocab, on_failure=lambda done: [])),
    Mistake("You return a text. A list of pieces is wanted.",
            when=lambda got, want, *rest: isinstance(got, str)),
    Mistake("You return only the first piece. Go on from where it ends.",
            when=lambda got, want, *rest: len(want) > 1 and list(got) == want[:1]),
]

# ---- 14.4 pair_input


def _pair_input(a, b, cls, sep, *, own=None, ids=None):
    ids = [cls, *a, sep, *b, sep] if ids is None else ids
    first = len(a) + 2 if own is None else own
    return ids, [int(place >= first) for place in range(len(ids))]


def _pair_from(first):
    return lambda a, b, cls, sep: _pair_input(a, b, cls, sep, own=first(a))


_PAIR_MISTAKES = [
    Mistake("The bug is still there: to which sentence does the [SEP] between the two belong?",
            wrong=_pair_from(lambda a: len(a) + 1)),
    Mistake("The first token of B has type 0 in your answer. B begins right after the first [SEP].",
            wrong=_pair_from(lambda a: len(a) + 3)),
    Mistake("You forget [CLS] when you count: the types are shifted by one and more.",
            wrong=_pair_from(lambda a: len(a))),
    Mistake("All types are 0. B and its [SEP] have type 1.", wrong=_pair_from(lambda a: 10**6)),
    Mistake("All types are 1. [CLS], A and its [SEP] have type 0.",
            wrong=_pair_from(lambda a: -1)),
    Mistake("The type of [CLS] is 0: it stands in the first segment.",
            when=lambda got, want, *rest: got[1][1:] == want[1][1:]),
    Mistake("The types are exchanged: A has 0, B has 1.",
            wrong=lambda *arguments: (_pair_input(*arguments)[0],
                                      [1 - kind for kind in _pair_input(*arguments)[1]])),
    Mistake("The last [SEP] belongs to B, type 1.",
            when=lambda got, want, *rest: got[1][:-1] == want[1][:-1] and got[0] == want[0]),
    Mistake("The last [SEP] is missing from your ids.",
            when=lambda got, want, *rest: got[0] == want[0][:-1]),
    Mistake("Your ids begin with A: [CLS] is missing.",
            when=lambda got, want, *rest: got[0] == want[0][1:]),
    Mistake("Both [SEP] are needed: one after A and one after B.",
            wrong=lambda a, b, cls, sep: _pair_input(a, b, cls, sep, ids=[cls, *a, *b, sep],
                                                     own=len(a) + 1)),
    Mistake("Types count from 0: the segments are 0 and 1, not 1 and 2.",
            when=lambda got, want, *rest: [kind - 1 for kind in got[1]] == want[1]),
]

# ---- 14.5 wrong_words

_V, _N = 30522, 512
_WRONG = _N * 0.15 * 0.1 * (1 - 1 / _V)

_WRONG_MISTAKES = [
    Mistake("A random draw hits the right token in one of V cases, and then nothing is wrong.",
            wrong=_N * 0.15 * 0.1),
    Mistake("That is the number of chosen tokens.", wrong=_N * 0.15),
    Mistake("That is the number of [MASK]. They aren't words.", wrong=_N * 0.15 * 0.8),
    Mistake("You count the tokens that stay as wrong. They are right.", wrong=_N * 0.15 * 0.2),
    Mistake("You also count the tokens that stay. Only the random ones are wrong.",
            wrong=_N * 0.15 * 0.2 * (1 - 1 / _V)),
    Mistake("You take 10 % of all tokens. It is 10 % of the chosen ones.", wrong=_N * 0.1),
    Mistake("You take 10 % of all tokens. It is 10 % of the chosen ones.",
            wrong=_N * 0.1 * (1 - 1 / _V)),
    Mistake("You count the masks as well: a reader sees that they aren't words.",
            wrong=_N * 0.15 * 0.9),
    Mistake("You count the masks as well: a reader sees that they aren't words.",
            wrong=_N * 0.15 * (0.8 + 0.1 * (1 - 1 / _V))),
    Mistake("That is a share. The number of tokens out of 512 is wanted.",
            wrong=0.15 * 0.1 * (1 - 1 / _V)),
    Mistake("That is a share. The number of tokens out of 512 is wanted.", wrong=0.015),
    Mistake("You rounded. It is a mean, and needn't be whole.",
            when=lambda got, *rest: float(got) in (7.0, 8.0, 7.7)),
]

EXERCISES = [
    Exercise("14.1", "hide", reference=_hide, cases=_hide_cases, mistakes=_HIDE_MISTAKES),
    Exercise("14.2", "trust", reference=_trust,
             cases=lambda rng: [(0.5, 10), (0.01, 1000), (1e-4, 30522)],
             mistakes=_TRUST_MISTAKES),
    Exercise("14.3", "pieces", reference=_pieces, cases=_pieces_cases, mistakes=_PIECES_MISTAKES),
    Exercise("14.4", "pair_input", reference=_pair_input,
             cases=lambda rng: [([7, 8, 9], [5, 6], 2, 3), ([4], [11, 12, 13], 2, 3)],
             mistakes=_PAIR_MISTAKES),
    Exercise("14.5", "wrong_words", reference=_WRONG, mistakes=_WRONG_MISTAKES, tolerance=1e-6),
]
