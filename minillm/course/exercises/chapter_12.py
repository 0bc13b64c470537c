"""Exercises of chapter 12: reading the code."""

import sys

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 12.1 cache_shapes

def _shape(got, which):
    """-> the shape of Q (0) or K (1) in an answer; raises an error for another form"""
    return tuple(int(size) for size in got[which])


def _has(which, axis, values):
    """A test: one size of Q or K is one of `values`, and the form of the answer is right"""
    def test(got, want):
        return all(len(_shape(got, i)) == 4 for i in (0, 1)) and _shape(got, which)[axis] in values

    return test


SHAPES = Exercise(
    "12.1", "cache_shapes", ((1, 4, 1, 32), (1, 4, 7, 32)),
    mistakes=[
        Mistake("Those are the shapes while the prompt is read, the first time that the line runs. "
                "In the last step only one token comes in.", wrong=((1, 4, 3, 32), (1, 4, 3, 32))),
        Mistake("Those are the shapes in the first step after the prompt. Each further step adds "
                "one key: continue to the last one.", wrong=((1, 4, 1, 32), (1, 4, 4, 32))),
        Mistake("You count all five new tokens as keys. When the last step runs, the fifth token "
                "doesn't exist yet: this step computes its scores.",
                wrong=((1, 4, 1, 32), (1, 4, 8, 32))),
        Mistake("One step too early. Count the forwards: one for the prompt, and one for each new "
                "token that is read.", wrong=((1, 4, 1, 32), (1, 4, 6, 32))),
        Mistake("That is K before the line has run: the key of the new token alone. Stop at the "
                "line after it.", wrong=((1, 4, 1, 32), (1, 4, 1, 32))),
        Mistake("Only the keys of earlier tokens come from the cache. The queries of earlier "
                "tokens are never computed again.", wrong=((1, 4, 7, 32), (1, 4, 7, 32))),
        Mistake("You swapped Q and K: there is one query, and a key for each token so far.",
                wrong=((1, 4, 7, 32), (1, 4, 1, 32))),
        Mistake("Those are the shapes before the heads are split. At this line Q and K are "
                "(B, H, T, D).", wrong=((1, 1, 128), (1, 7, 128))),
        Mistake("The axes are in another order here: batch, head, position, number. Heads come "
                "before positions.", wrong=((1, 1, 4, 32), (1, 7, 4, 32))),
        Mistake("The axis of the batch is missing. It has size 1, but it is there.",
                wrong=((4, 1, 32), (4, 7, 32))),
        Mistake("The width of a head is d / H = 128 / 4 numbers, not d.",
                wrong=((1, 4, 1, 128), (1, 4, 7, 128))),
        Mistake("Give the whole shapes, four sizes each: ((B, H, T, D) of Q, (B, H, T, D) of K).",
                when=lambda got, want: not isinstance(got, (tuple, list)) or len(got) != 2
                or any(not isinstance(each, (tuple, list)) for each in got)),
        Mistake("At this line Q and K have four axes: (B, H, T, D).",
                when=lambda got, want: any(len(_shape(got, i)) != 4 for i in (0, 1))),
        Mistake("The first axis is the batch. There is one prompt, so its size is 1.",
                when=lambda got, want: any(_shape(got, i)[0] != 1 for i in (0, 1))),
        Mistake("The second axis is that of the heads. This model has four.",
                when=lambda got, want: any(_shape(got, i)[1] != 4 for i in (0, 1))),
        Mistake("The last axis is the width of a head: d / H = 128 / 4.",
                when=lambda got, want: any(_shape(got, i)[3] != 32 for i in (0, 1))),
        Mistake("Look at Q again: in a step after the prompt only the newest token asks.",
                when=_has(0, 2, range(2, 100))),
        Mistake("Q is right. That is K in a step before the last: continue until the program "
                "ends.", when=_has(1, 2, range(2, 7))),
        Mistake("Q is right, but K has too many keys. Count the tokens that the model has *read*, "
                "up to this line.", when=_has(1, 2, range(8, 1000))),
        Mistake("One of the sizes isn't right yet. Let pdb print both shapes in the last step.",
                when=lambda got, want: True),
    ],
)

# ---- 12.2 matmul_calls


def _matmul_calls(n_layer, n_new):
    return n_new * (4 * n_layer + 1)


MATMULS = Exercise(
    "12.2", "matmul_calls", _matmul_calls,
    cases=lambda rng: [(4, 5), (1, 1), (12, 20), (2, 7)],
    mistakes=[
        Mistake("One forward too many. The forward of the prompt already yields the scores of the "
                "first new token, and nobody reads the last one.",
                wrong=lambda n_layer, n_new: (n_new + 1) * (4 * n_layer + 1)),
        Mistake("One forward is missing: the one that reads the prompt.",
                wrong=lambda n_layer, n_new: (n_new - 1) * (4 * n_layer + 1)),
        Mistake("The output head is missing. It is a matrix product too, one in each forward.",
                wrong=lambda n_layer, n_new: n_new * 4 * n_layer),
        Mistake("The output head runs in every forward, not once in all.",
                wrong=lambda n_layer, n_new: n_new * 4 * n_layer + 1),
        Mistake("The output head stands behind the last block, once; it is not in every block.",
                wrong=lambda n_layer, n_new: n_new * 5 * n_layer),
        Mistake("Six in a block are two too many. Q, K and V come from one fused matrix, `qkv`; "
                "and Q Kᵀ and P V are inside the kernel of attention.",
                wrong=lambda n_layer, n_new: n_new * (6 * n_layer + 1)),
        Mistake("Three in a block: one is missing. List them: into attention, out of it, and the "
                "two of the feed-forward network.",
                wrong=lambda n_layer, n_new: n_new * (3 * n_layer + 1)),
        Mistake("Two in a block: you counted only one of its two sub-layers.",
                wrong=lambda n_layer, n_new: n_new * (2 * n_layer + 1)),
        Mistake("Eight in a block are those of the whole attention written out. Q, K and V are one "
                "product here, and those inside the kernel of attention don't count.",
                wrong=lambda n_layer, n_new: n_new * (8 * n_layer + 1)),
        Mistake("That is one forward. Generating runs one for each new token.",
                wrong=lambda n_layer, n_new: 4 * n_layer + 1),
        Mistake("The embeddings are lookups, not products: the one that you counted in front of "
                "the blocks doesn't call `matmul`.",
                wrong=lambda n_layer, n_new: n_new * (4 * n_layer + 2)),
        Mistake("The products of one forward are right. But how many forwards does it take, with the "
                "one that reads the prompt?",
                when=lambda got, want, n_layer, n_new: got % (4 * n_layer + 1) == 0),
        Mistake("The number of forwards is right. Now list the products of one forward: the linear "
                "maps of a block, and what stands behind the blocks.",
                when=lambda got, want, n_layer, n_new: got % n_new == 0),
        Mistake("The answer is a product: the number of forwards times the matrix products of one "
                "forward. Count the two separately.",
                when=lambda got, want, n_layer, n_new: isinstance(got, int) and got != 85),
    ],
)

# ---- 12.3 first_difference


def _differ(a, b, tolerance):
    return a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=tolerance, equal_nan=True)


def _first_difference(right, wrong, tolerance):
    names = [name for (name, a), (_, b) in zip(right, wrong) if _differ(a, b, tolerance)]
    return names[0] if names else None


def _search(test, which=0, none=None):
    """A first_difference with another test of a pair"""

    def search(right, wrong, tolerance):
        names = [name for (name, a), (_, b) in zip(right, wrong) if test(a, b, tolerance)]
        return names[which] if names else none

    return search


def _with_one_different(rng, where, change):
    """Two runs that differ from one place on: first by `change`, then by more and more"""
    names = ["embedding", "h.0", "h.1", "logits"]
    right = [(name, rng.normal(size=(3, 3))) for name in names]
    wrong = [(name, array.copy()) for name, array in right]
    wrong[where] = (names[where], change(wrong[where][1]))
    for place in range(where + 1, 4):
        wrong[place] = (names[place], wrong[place][1] + 10 * place)
    return right, wrong, 1e-6


def _one_number(amount):
    def change(array):
        array = array.copy()
        array[1, 2] += amount
        return array

    return change


def _first_difference_cases(rng):
    rounding = _with_one_different(rng, 2, _one_number(1.0))
    rounding[1][0] = ("embedding", rounding[0][0][1] + 1e-9)
    column = [("a", np.ones((3, 1))), ("b", np.zeros((3, 3)))]
    row = [("a", np.ones((1, 3))), ("b", np.ones((3, 3)))]
    both_nan = [("a", np.array([np.nan, 1.0])), ("b", np.array([2.0, 3.0]))]
    later = [("a", np.array([np.nan, 1.0])), ("b", np.array([2.0, 4.0]))]
    large = [("a", np.array([1e6, 1.0])), ("b", np.array([1.0]))]
    little_more = [("a", np.array([1e6 + 0.5, 1.0])), ("b", np.array([9.0]))]
    return [
        rounding,
        _with_one_different(rng, 1, _one_number(np.nan)),
        _with_one_different(rng, 1, _one_number(-0.01)),
        _with_one_different(rng, 2, lambda array: array[::-1] * 1.0),
        (column, row, 1e-6), (both_nan, later, 1e-6), (large, little_more, 1e-3),
        _with_one_different(rng, 1, _one_number(1e-3)),
        (*[[("a", np.ones(3))]] * 2, 1e-6),
    ]


def _names_of_all(right, wrong, tolerance):
    return [name for (name, a), (_, b) in zip(right, wrong) if _differ(a, b, tolerance)]


def _index_of_first(right, wrong, tolerance):
    found = [i for i, ((_, a), (_, b)) in enumerate(zip(right, wrong)) if _differ(a, b, tolerance)]
    return found[0] if found else -1


def _gap(a, b):
    return a - b if a.shape == b.shape else np.inf


def _name_of_largest(right, wrong):
    sizes = [np.nanmax(np.abs(a - b), initial=0) if a.shape == b.shape else 0
             for (_, a), (_, b) in zip(right, wrong)]
    return right[int(np.argmax(sizes))][0]


FIRST_DIFFERENCE = Exercise(
    "12.3", "first_difference", _first_difference, cases=_first_difference_cases,
    mistakes=[
        Mistake("That is a list of all that differ. Return the name of the first one only, a "
                "string.", when=lambda got, want, *_: isinstance(got, list)),
        Mistake("That is the place of the pair. Return its name.",
                when=lambda got, want, *_: isinstance(got, (int, np.integer))
                and not isinstance(got, bool)),
        Mistake("Right where there is a difference. Where there is none, return None.",
                when=lambda got, want, *_: want is None and not got),
        Mistake("That is the last pair that differs. An error spreads to everything behind it, so "
                "what you need is the first.", wrong=_search(_differ, -1)),
        Mistake("You call every tiny rounding a difference. Two numbers differ if they are more "
                "than `tolerance` apart.",
                wrong=_search(lambda a, b, t: not np.array_equal(a, b, equal_nan=True))),
        Mistake("You miss NaN. Every comparison with NaN is false, `nan > tolerance` too: ask "
                "whether all numbers are close, not whether one is far.",
                wrong=_search(lambda a, b, t: bool((np.abs(_gap(a, b)) > t).any()))),
        Mistake("NaN at the same place in both is no difference here: see `equal_nan` of "
                "np.allclose.",
                wrong=_search(lambda a, b, t: a.shape != b.shape
                              or not np.allclose(a, b, rtol=0, atol=t))),
        Mistake("Besides the absolute tolerance, np.allclose allows a relative one, `rtol`, by "
                "default 1e-5 of the number: set it to 0.",
                wrong=_search(lambda a, b, t: a.shape != b.shape
                              or not np.allclose(a, b, atol=t, equal_nan=True))),
        Mistake("Compare the shapes too: (3, 1) and (1, 3) are broadcast to (3, 3), and may then "
                "look equal.",
                wrong=_search(lambda a, b, t: not np.allclose(a, b, rtol=0, atol=t,
                                                              equal_nan=True))),
        Mistake("You ask whether all numbers differ. One is enough.",
                wrong=_search(lambda a, b, t: a.shape != b.shape
                              or bool((np.abs(a - b) > t).all()))),
        Mistake("You miss NaN, because every comparison with it is false, and arrays of different "
                "shapes, which are broadcast. Test both.",
                wrong=_search(lambda a, b, t: bool((np.abs(a - b) > t).any()))),
        Mistake("The default of np.allclose isn't this test: it allows a relative difference too "
                "(rtol), calls NaN different from NaN (equal_nan), and broadcasts the shapes.",
                wrong=_search(lambda a, b, t: not np.allclose(a, b, atol=t))),
        Mistake("With np.allclose it is nearly right. Two NaN at the same place are no difference (equal_nan), "
                "and shapes must be compared, since it broadcasts them.",
                wrong=_search(lambda a, b, t: not np.allclose(a, b, rtol=0, atol=t))),
        Mistake("You call every tiny rounding a difference, and NaN different from NaN. Two numbers "
                "differ if they are more than `tolerance` apart.",
                wrong=_search(lambda a, b, t: bool((a != b).any()))),
        Mistake("You compare exactly. Two numbers differ if they are more than `tolerance` apart.",
                wrong=_search(lambda a, b, t: not np.array_equal(a, b))),
        Mistake("You look at the signed difference: numbers that became smaller escape you. Take "
                "its absolute value.",
                wrong=_search(lambda a, b, t: a.shape != b.shape or bool(
                    (np.isnan(a) != np.isnan(b)).any() or (b - a > t).any()))),
        Mistake("You compare sums, norms or means: the same numbers in another order have the same "
                "ones. Compare number by number.",
                wrong=_search(lambda a, b, t: a.shape != b.shape or not np.allclose(
                    a.sum(), b.sum(), rtol=0, atol=t, equal_nan=True))),
        Mistake("You compare the sizes of the arrays, their norms. Different numbers can have the "
                "same norm: compare number by number.",
                wrong=_search(lambda a, b, t: bool(
                    np.abs(np.linalg.norm(a) - np.linalg.norm(b)) > t))),
        Mistake("You compare the mean difference: in a large array one wrong number drowns in it. "
                "Take the largest.",
                wrong=_search(lambda a, b, t: a.shape != b.shape or bool(
                    (np.isnan(a) != np.isnan(b)).any() or np.nanmean(np.abs(a - b)) > 1000 * t))),
        Mistake("That is where the difference is largest. An error grows on its way: look for the "
                "first one.", when=lambda got, want, right, wrong, tolerance:
                got == _name_of_largest(right, wrong)),
    ],
)

# ---- 12.4 next_output


def _next_output(x, W_q, W_k, W_v, keys, values, *, scale=lambda x, q, keys: np.sqrt(len(q)),
                 sees_itself=True, in_front=False, swapped=False, normalized=True, value=None,
                 after_softmax=False, uses_query_as_key=False, forgets=False):
    """One step of a head with a cache, with its parts to get wrong"""
    q, k, v = x @ W_q, x @ W_k, x @ W_v
    k = q if uses_query_as_key else k
    v = value(x, q, k, v) if value else v
    join = (lambda new, old: [new[None], old]) if in_front else (lambda new, old: [old, new[None]])
    all_keys, all_values = np.concatenate(join(k, keys)), np.concatenate(join(v, values))
    seen_keys, seen_values = (all_keys, all_values) if sees_itself or not len(keys) else (keys,
                                                                                         values)
    divisor = scale(x, q, seen_keys)
    scores = seen_keys @ q / (1 if after_softmax else divisor)
    weights = np.exp(scores - scores.max())
    weights = weights / weights.sum() if normalized else weights
    out = weights / (divisor if after_softmax else 1) @ seen_values
    if forgets:
        return out, keys, values
    return (out, all_values, all_keys) if swapped else (out, all_keys, all_values)


def _wrong_head(**options):
    return lambda *arguments: _next_output(*arguments, **options)


def _head_cases(rng):
    def case(t, d, D):
        return (rng.normal(size=d), *rng.normal(size=(3, d, D)), *rng.normal(size=(2, t, D)))

    return [case(2, 8, 4), case(0, 8, 4), case(6, 5, 3), case(3, 8, 4)]


HEAD = Exercise(
    "12.4", "next_output", lambda x, W_q, W_k, W_v, keys, values:
    _next_output(x, W_q, W_k, W_v, keys, values), cases=_head_cases,
    mistakes=[
        Mistake("The bug is still there. Stop at the line of the scores in two consecutive steps "
                "and compare, number by number, what they are divided by.",
                wrong=_wrong_head(scale=lambda x, q, keys: np.sqrt(len(keys)))),
        Mistake("Now the scores aren't scaled at all. The scaling is needed; look at what size it "
                "depends on.", wrong=_wrong_head(scale=lambda x, q, keys: 1.0)),
        Mistake("You divide by √d, the width of the model. A dot product of a query and a key has "
                "only as many terms as the head is wide.",
                wrong=_wrong_head(scale=lambda x, q, keys: np.sqrt(len(x)))),
        Mistake("You divide by D itself: its root is missing.",
                wrong=_wrong_head(scale=lambda x, q, keys: len(q))),
        Mistake("You multiply by √D. Dot products grow with D, so divide.",
                wrong=_wrong_head(scale=lambda x, q, keys: 1 / np.sqrt(len(q)))),
        Mistake("Divide by √D before the softmax, not after it: the weights must sum to 1.",
                wrong=_wrong_head(after_softmax=True)),
        Mistake("The position no longer sees itself: you attend to the keys from before the new "
                "one was appended.", wrong=_wrong_head(sees_itself=False)),
        Mistake("The output is right, but keys and values come back without the new position. The "
                "next step would not see it.", wrong=_wrong_head(forgets=True)),
        Mistake("The output is right, but the new key and value belong behind the old ones, in the "
                "order of the positions.", wrong=_wrong_head(in_front=True)),
        Mistake("You return the values before the keys.", wrong=_wrong_head(swapped=True)),
        Mistake("The weights don't sum to 1: divide them by their sum.",
                wrong=_wrong_head(normalized=False)),
        Mistake("The new key is made with W_q. It was right before: the bug is elsewhere.",
                wrong=_wrong_head(uses_query_as_key=True)),
        Mistake("The value of the new position is its key now. That was right before: the bug is "
                "elsewhere.", wrong=_wrong_head(value=lambda x, q, k, v: k)),
        Mistake("You divide by √(t), the number of keys before this one. The scale doesn't depend "
                "on how many keys there are.",
                wrong=_wrong_head(scale=lambda x, q, keys: np.sqrt(max(len(keys) - 1, 1)))),
        Mistake("The output is right. Return keys and values too.",
                when=lambda got, want, *_: isinstance(got, np.ndarray)
                and got.shape == want[0].shape and np.allclose(got, want[0])),
    ],
)

# ---- 12.5 count_calls


def leaf():
    return 1


def leaflet():
    first = leaf()
    second = leaf()
    return first + second


def countdown(n):
    return 0 if n == 0 else 1 + countdown(n - 1)


def _program_1():
    return leaf() + leaflet() + leaflet()


def _program_2():
    return countdown(4) + len([leaf() for _ in range(3)])


def _count(function, name, counts, depth_limit=None, event_names=("call",)):
    """Count the events for which counts(frame, name) holds"""
    total, depth, before = 0, 0, sys.getprofile()

    def on_event(frame, event, argument):
        nonlocal total, depth
        if event in event_names and (depth_limit is None or depth <= depth_limit):
            total += bool(counts(frame, name))
        if event in ("call", "return"):
            depth += 1 if event == "call" else -1

    sys.setprofile(on_event)
    try:
        function()
    finally:
        sys.setprofile(before)
    return total


def _is_named(frame, name):
    return frame.f_code.co_name == name


def _count_calls(function, name):
    return _count(function, name, _is_named)


def _outermost(function, name):
    """Recursive calls not counted"""
    def counts(frame, name):
        above = frame.f_back
        while above is not None:
            if _is_named(above, name):
                return False
            above = above.f_back
        return _is_named(frame, name)

    return _count(function, name, counts)


def _count_lines(function, name):
    total, before = 0, sys.gettrace()

    def on_event(frame, event, argument):
        nonlocal total
        total += event in ("call", "line") and _is_named(frame, name)
        return on_event

    sys.settrace(on_event)
    try:
        function()
    finally:
        sys.settrace(before)
    return total


COUNT = Exercise(
    "12.5", "count_calls", _count_calls,
    cases=lambda rng: [(_program_1, "leaf"), (_program_2, "countdown"), (_program_1, "leaflet"),
                       (leaf, "leaf"), (_program_2, "nothing"), (_program_2, "leaf")],
    mistakes=[
        Mistake("You count each call twice, when it begins and when it returns. Look at `event`: "
                'only "call" is one.',
                wrong=lambda function, name: _count(function, name, _is_named,
                                                    event_names=("call", "return"))),
        Mistake("You count lines as well as calls. sys.setprofile reports no lines; with "
                'sys.settrace, test that the event is "call".', wrong=_count_lines),
        Mistake("You also count functions whose names only contain the name, such as `leaflet` for "
                "`leaf`. Compare with ==.",
                wrong=lambda function, name: _count(
                    function, name, lambda frame, name: name in frame.f_code.co_name)),
        Mistake("You count every call, whatever it is called. Compare frame.f_code.co_name with "
                "the name.",
                wrong=lambda function, name: _count(  # but not what a garbage collection may call
                    function, name, lambda frame, name: frame.f_globals is globals())),
        Mistake("You only count the calls that `function` itself makes, not those within them. The "
                "hook sees all of them: leave out the test of the caller.",
                wrong=lambda function, name: _count(function, name, _is_named, depth_limit=1)),
        Mistake("A recursive function counts only once with you. Each of its calls is a call.",
                wrong=_outermost),
        Mistake("You return whether there was a call. Count how many.",
                when=lambda got, want, *_: isinstance(got, bool)),
        Mistake("You return at most 1: the count is reset, or never added up. Use `nonlocal` "
                "and +=.",
                wrong=lambda function, name: min(1, _count_calls(function, name))),
        Mistake("One too many: something is counted before the program has begun. Start at 0.",
                wrong=lambda function, name: _count_calls(function, name) + 1),
        Mistake("One too few. If `function` itself has the name, its own call counts too.",
                wrong=lambda function, name: max(
                    0, _count_calls(function, name) - (function.__name__ == name))),
        Mistake("Nothing is ever counted. Is the hook set before `function` runs, and does it "
                'compare with "call"? (The profiler has no event "line".)',
                wrong=lambda function, name: 0),
        Mistake("You return the list of calls. Return how many there are.",
                when=lambda got, want, *_: isinstance(got, (list, tuple, set))
                and len(got) == want),
    ],
)

EXERCISES = [SHAPES, MATMULS, FIRST_DIFFERENCE, HEAD, COUNT]
