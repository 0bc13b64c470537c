"""The exercises of chapter 7, A GPT from the parts."""

import math
from itertools import combinations, product

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 7.1 count_parameters


def _parameters(V, T, d, L, tied, *, block=lambda d: 12 * d * d + 13 * d, final=2, head=None):
    head = (0 if tied else V * d) if head is None else head(V, d, tied)
    return V * d + T * d + L * block(d) + final * d + head


def _with_block(block, **others):
    return lambda V, T, d, L, tied: _parameters(V, T, d, L, tied, block=block, **others)


_PARAMETER_MISTAKES = [
    Mistake("You count the tied head as well. With tied=True the head is the token table itself, "
            "so its numbers are learned, and counted, once.",
            wrong=_with_block(lambda d: 12 * d * d + 13 * d, head=lambda V, d, tied: V * d)),
    Mistake("You never count a head. With tied=False the head has a matrix of its own.",
            wrong=_with_block(lambda d: 12 * d * d + 13 * d, head=lambda V, d, tied: 0)),
    Mistake("You have the two cases of the head the wrong way around: tied=True shares the token "
            "table and adds nothing.",
            wrong=_with_block(lambda d: 12 * d * d + 13 * d,
                              head=lambda V, d, tied: V * d if tied else 0)),
    Mistake("The head of this exercise has no bias; yours has one number more for each token.",
            wrong=_with_block(lambda d: 12 * d * d + 13 * d,
                              head=lambda V, d, tied: 0 if tied else V * d + V)),
    Mistake("You leave out all biases. A linear map from a to b numbers has b of them: look at Q, "
            "K and V, at W_O and at both maps of the feed-forward network.",
            wrong=_with_block(lambda d: 12 * d * d + 4 * d)),
    Mistake("You leave out the layer norms of the blocks: each has a weight and a bias of d "
            "numbers, and a block has two norms.", wrong=_with_block(lambda d: 12 * d * d + 9 * d)),
    Mistake("You leave out everything about layer norms, also the one after the last block.",
            wrong=_with_block(lambda d: 12 * d * d + 9 * d, final=0)),
    Mistake("You count one layer norm per block, but there are two: before attention and before "
            "the feed-forward network.", wrong=_with_block(lambda d: 12 * d * d + 11 * d)),
    Mistake("A layer norm has a weight and a bias, 2 d numbers. You count d for each.",
            wrong=_with_block(lambda d: 12 * d * d + 11 * d, final=1)),
    Mistake("The layer norm after the last block is missing.",
            wrong=_with_block(lambda d: 12 * d * d + 13 * d, final=0)),
    Mistake("The position table is missing: it has a row of d numbers for each of T positions.",
            wrong=lambda V, T, d, L, tied: _parameters(V, T, d, L, tied) - T * d),
    Mistake("You count the output matrix of attention, W_O, and its bias nowhere.",
            wrong=_with_block(lambda d: 11 * d * d + 12 * d)),
    Mistake("You count a single matrix for Q, K and V. There are three of them, d × d each.",
            wrong=_with_block(lambda d: 10 * d * d + 11 * d)),
    Mistake("You count one of the two matrices of the feed-forward network. One maps d to 4 d, "
            "the other maps back.", wrong=_with_block(lambda d: 8 * d * d + 9 * d)),
    Mistake("You count the parameters of a single block. There are L of them.",
            wrong=lambda V, T, d, L, tied: _parameters(V, T, d, 1, tied)),
    Mistake("The last layer norm stands once behind all blocks, not in each of them.",
            wrong=lambda V, T, d, L, tied: _parameters(V, T, d, L, tied) + 2 * d * (L - 1)),
]



def _terms(difference, terms, most=2):
    """-> {name: integer coefficient}, the simplest sum of at most `most` terms that is `difference`

    terms: {name: (size, largest coefficient)}
    """
    for n in range(1, most + 1):
        for names in combinations(terms, n):
            *others, last = names
            ranges = [range(-terms[name][1], terms[name][1] + 1) for name in others]
            for coefficients in product(*ranges):
                rest = difference - sum(c * terms[name][0] for c, name in zip(coefficients, others))
                size, largest = terms[last]
                if rest % size == 0 and 0 < abs(rest // size) <= largest and all(coefficients):
                    return dict(zip(names, (*coefficients, rest // size)))
    return {}


def _off_in(*names):
    """-> the test of whether a count is wrong in one of these terms, whatever else is wrong"""

    def shows(got, want, V, T, d, L, tied):
        found = _terms(int(got) - want, {
            "block matrices": (L * d * d, 12), "block vectors": (L * d, 13), "last norm": (d, 2),
            "positions": (T * d, 1), "tokens": (V * d, 2), "head bias": (V, 1)})
        return any(name in found for name in names)

    return shows


_PARAMETER_MISTAKES += [
    Mistake("Those are the matrices of the blocks alone. Add the tables, the biases and the layer "
            "norms.",
            wrong=lambda V, T, d, L, tied: 12 * L * d * d),
    Mistake("Those are the blocks alone. Add the tables and the last layer norm.",
            wrong=lambda V, T, d, L, tied: L * (12 * d * d + 13 * d)),
    Mistake("You return bytes. The exercise asks for the number of parameters.",
            wrong=lambda V, T, d, L, tied: 4 * _parameters(V, T, d, L, tied)),
    Mistake("The tables have V + T rows of d numbers. You multiply V by T.",
            wrong=lambda V, T, d, L, tied: _parameters(V, T, d, L, tied) + (V * T - V - T) * d),
    Mistake("Count the matrices of a block again, in units of d²: Q, K and V have three, W_O has "
            "one, the two of the feed-forward network have four each.",
            when=_off_in("block matrices")),
    Mistake("The matrices are right. Count the vectors of a block again, in units of d: the "
            "biases of Q, K and V, of W_O and of two maps, and two layer norms with two vectors "
            "each.",
            when=_off_in("block vectors")),
    Mistake("The blocks are right. Look at the tables again: tokens, positions, and the head in "
            "its two cases.", when=_off_in("positions", "tokens", "head bias")),
]

# ---- 7.2 prompt_flops


def _flops(V, T, d, L, B, *, factor=2, pairs=lambda T: (T + 1) / 2, products=2, block=12,
           head=lambda B, T: B, layers=None):
    layers = L if layers is None else layers
    return (factor * B * T * block * d * d * layers
            + factor * products * B * T * pairs(T) * d * layers
            + factor * head(B, T) * V * d)


def _flops_with(**changes):
    return lambda V, T, d, L, B: _flops(V, T, d, L, B, **changes)


_FLOPS_MISTAKES = [
    Mistake("You apply the head at every position. Here it works on the last position of each "
            "prompt only.", wrong=_flops_with(head=lambda B, T: B * T)),
    Mistake("You count multiplications only. A product of (n, a) and (a, b) takes n a b additions "
            "as well.", wrong=_flops_with(factor=1)),
    Mistake("You let every query meet all T keys. Attention is causal: query i meets i keys.",
            wrong=_flops_with(pairs=lambda T: T)),
    Mistake("Nearly right: query 1 meets one key, query T meets T, so the average is (T + 1) / 2 "
            "and not T / 2.", wrong=_flops_with(pairs=lambda T: T / 2)),
    Mistake("Nearly right: a query also meets its own key, so the average is (T + 1) / 2 and not "
            "(T - 1) / 2.", wrong=_flops_with(pairs=lambda T: (T - 1) / 2)),
    Mistake("You count one product of attention, but there are two: the scores, and the weighted "
            "sum of the values.", wrong=_flops_with(products=1)),
    Mistake("Attention itself is missing: the scores and the weighted sum of the values are "
            "products too, though they have no parameters.", wrong=_flops_with(products=0)),
    Mistake("The feed-forward network is missing, or too small: its two matrices have 8 d² "
            "numbers, twice as many as attention's four.", wrong=_flops_with(block=4)),
    Mistake("W_O is missing: after the heads, another d × d matrix mixes them.",
            wrong=_flops_with(block=11)),
    Mistake("The head is missing: at the last position it multiplies d numbers with V rows.",
            wrong=_flops_with(head=lambda B, T: 0)),
    Mistake("The head runs for each of the B prompts, not once.",
            wrong=_flops_with(head=lambda B, T: 1)),
    Mistake("That is the cost of one block. There are L of them.", wrong=_flops_with(layers=1)),
    Mistake("You count a whole training step. The exercise asks for the forward only.",
            wrong=_flops_with(factor=6)),
    Mistake("You return GFLOP. The exercise asks for FLOPs.",
            wrong=lambda V, T, d, L, B: _flops(V, T, d, L, B) / 1e9),
    Mistake("That is attention's part alone.",
            wrong=lambda V, T, d, L, B: _flops_with(block=0, head=lambda B, T: 0)(V, T, d, L, B)),
    Mistake("That is the part of the blocks' matrices alone.",
            wrong=_flops_with(products=0, head=lambda B, T: 0)),
    Mistake("You also count biases or layer norms. Only matrix products are asked for.",
            when=lambda got, want, V, T, d, L, B: got != want
            and (got - want) % (2 * B * T * d * L) == 0 and 0 < (got - want) // (2 * B * T * d * L)
            <= 13 and (got - want) // (2 * B * T * d * L) not in ((T + 1) // 2, T, T + 1)),
    Mistake("You count one prompt. There are B of them, and the weights multiply the tokens of "
            "all.",
            wrong=lambda V, T, d, L, B: _flops(V, T, d, L, 1)),
]



def _flops_off_in(*names):
    def shows(got, want, V, T, d, L, B):
        if got != int(got):
            return False
        found = _terms(int(got) - int(want), {
            "matrices": (B * T * L * d * d, 48), "attention": (B * T * (T + 1) * L * d, 12),
            "all keys": (B * T * T * L * d, 8), "head": (B * V * d, 4),
            "head everywhere": (B * T * V * d, 4)})
        return any(name in found for name in names)

    return shows


_FLOPS_MISTAKES += [
    Mistake("The part of the matrices is off: each of 12 d² numbers in each of L blocks is "
            "multiplied and added once for each of B T tokens.", when=_flops_off_in("matrices")),
    Mistake("The part of the matrices is right. Look at attention: two products, each 2 d FLOPs "
            "for a pair of a query and a key that it sees, (T + 1) / 2 keys on average. In a "
            "forward.",
            when=_flops_off_in("attention", "all keys")),
    Mistake("The blocks are right. Look at the head: d numbers times V rows, for B positions.",
            when=_flops_off_in("head", "head everywhere")),
]

# ---- 7.3 first_loss

_FIRST_LOSS = math.log(50257) + 768 * 0.02**2 / 2


def _near(value):
    return lambda got, want, *arguments: abs(float(got) - value) < 0.006


_FIRST_LOSS_MISTAKES = [
    Mistake("That is log V: the loss if all logits were equal. They are random, with a variance "
            "of d s², and that costs a little more.", when=_near(math.log(50257))),
    Mistake("You add the whole variance d s². The mean of exp(z) is exp(σ² / 2): half of it.",
            when=_near(math.log(50257) + 768 * 0.02**2)),
    Mistake("You add the standard deviation of the logits, s √d, or half of it. What counts is "
            "half the variance, d s² / 2.",
            when=lambda got, *rest: _near(math.log(50257) + 0.02 * math.sqrt(768))(got, None)
            or _near(math.log(50257) + 0.01 * math.sqrt(768))(got, None)),
    Mistake("You subtract half the variance. Random logits make the loss larger, not smaller.",
            when=_near(math.log(50257) - 768 * 0.02**2 / 2)),
    Mistake("You forgot to square s: the variance of a logit is d s².",
            when=_near(math.log(50257) + 768 * 0.02 / 2)),
    Mistake("That is in bits. The loss is in nats: take the natural logarithm.",
            when=lambda got, *rest: _near(math.log2(50257))(got, None)
            or _near(math.log2(50257) + 768 * 0.02**2 / 2)(got, None)
            or _near(_FIRST_LOSS / math.log(2))(got, None)),
    Mistake("You took the logarithm to base 10. The loss is in nats: take the natural logarithm.",
            when=lambda got, *rest: _near(math.log10(50257))(got, None)
            or _near(math.log10(50257) + 768 * 0.02**2 / 2)(got, None)),
    Mistake("That is the initialization of minillm's narrow models, 1 / √(2 d). GPT-2's s is "
            "0.02.",
            when=_near(math.log(50257) + 0.25)),
    Mistake("That is the perplexity, or the size of the vocabulary. The loss is its logarithm.",
            when=lambda got, *rest: float(got) > 1000),
    Mistake("That is half the variance alone. It comes on top of log V.",
            when=_near(768 * 0.02**2 / 2)),
    Mistake("A loss is positive: it is minus the logarithm of a probability.",
            when=lambda got, *rest: float(got) < 0),
    Mistake("A loss of 0 would mean that the model is certain, and right. It knows nothing yet.",
            when=lambda got, *rest: float(got) == 0),
    Mistake("That is the first loss of a model with 2,048 tokens. GPT-2 has 50,257.",
            when=lambda got, *rest: abs(float(got) - math.log(2048)) < 0.3),
    Mistake("Close. Both parts are right in size: compute log V and d s² / 2 to three decimals, "
            "and add them.", when=lambda got, *rest: abs(float(got) - _FIRST_LOSS) < 0.1),
    Mistake("That is less than log V. Random logits can only make the loss of a model that knows "
            "nothing larger.", when=lambda got, *rest: float(got) < math.log(50257)),
    Mistake("That is too much. Start with log V, and add half the variance of a logit, d s² / 2.",
            when=lambda got, *rest: float(got) > _FIRST_LOSS),
]

# ---- 7.4 clip


def _clip(gradients, max_norm):
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    return [g * min(1.0, max_norm / norm) for g in gradients]


def _scaled(factor):
    """A wrong clip: factor(norm of all, max_norm, gradients) scales everything."""

    def wrong(gradients, max_norm):
        squares = sum((g**2).sum() for g in gradients)
        return [g * factor(squares, max_norm, gradients) for g in gradients]

    return wrong


def _each_alone(gradients, max_norm):
    return [g * min(1.0, max_norm / np.sqrt((g**2).sum())) for g in gradients]


def _clip_cases(rng):
    shapes = [(3, 4), (4,), (4, 2)]
    large = [10 * rng.normal(size=shape) for shape in shapes]
    small = [0.01 * rng.normal(size=shape) for shape in shapes]
    mixed = [g * size for g, size in zip(map(np.copy, small), (1000, 1, 3))]
    return [(large, 1.0), (small, 2.0), (mixed, 0.5), (small[:1], 1.0)]


_CLIP_MISTAKES = [
    Mistake("The bug is still there: every array is clipped by its own norm, so large gradients "
            "shrink and small ones don't, and the direction of the step changes. Which norm does "
            "the chapter speak of?", wrong=_each_alone),
    Mistake("You scale even if the norm is below max_norm, and so make small gradients larger. "
            "Clipping only ever shrinks.",
            wrong=_scaled(lambda squares, most, gs: most / np.sqrt(squares))),
    Mistake("You make them longer: the factor is max_norm / norm, and at most 1.",
            wrong=_scaled(lambda squares, most, gs: max(1.0, most / np.sqrt(squares)))),
    Mistake("The factor is upside down: it is max_norm / norm.",
            wrong=_scaled(lambda squares, most, gs: min(1.0, np.sqrt(squares) / most))),
    Mistake("The square root is missing: the norm is the root of the sum of squares.",
            wrong=_scaled(lambda squares, most, gs: min(1.0, most / squares))),
    Mistake("You add up the norms of the arrays. Add up their squares, and take the root at the "
            "end.",
            wrong=_scaled(lambda squares, most, gs: min(1.0, most / sum(
                np.sqrt((g**2).sum()) for g in gs)))),
    Mistake("You take the largest of the norms. The arrays together are one long vector: what is "
            "its length?", wrong=_scaled(lambda squares, most, gs: min(1.0, most / max(
                np.sqrt((g**2).sum()) for g in gs)))),
    Mistake("You take a mean of the squares, not their sum: the norm doesn't divide by the number "
            "of entries.", wrong=_scaled(lambda squares, most, gs: min(1.0, most / np.sqrt(
                squares / sum(g.size for g in gs))))),
    Mistake("You divide by the norm without multiplying by max_norm.",
            wrong=_scaled(lambda squares, most, gs: min(1.0, 1 / np.sqrt(squares)))),
    Mistake("You cut single entries at ± max_norm. That changes the direction; scale all entries "
            "by one factor.",
            wrong=lambda gradients, max_norm: [np.clip(g, -max_norm, max_norm)
                                               for g in gradients]),
    Mistake("You scale by the norm of the last array only: the loop has to finish its sum before "
            "anything is scaled.",
            wrong=_scaled(lambda squares, most, gs: min(1.0, most / np.sqrt((gs[-1]**2).sum())))),
    Mistake("You scale by the norm of the first array only. All arrays count.",
            wrong=_scaled(lambda squares, most, gs: min(1.0, most / np.sqrt((gs[0]**2).sum())))),
    Mistake("You give each array the norm max_norm. All of them together have one norm, and "
            "clipping only ever shrinks.",
            wrong=lambda gradients, max_norm: [g / np.sqrt((g**2).sum()) * max_norm
                                               for g in gradients]),
    Mistake("Nothing is scaled: the gradients come back as they were.",
            wrong=lambda gradients, max_norm: [g.copy() for g in gradients]),
    Mistake("You limit the factor to max_norm. The factor is at most 1, whatever max_norm is.",
            wrong=_scaled(lambda squares, most, gs: min(most, most / np.sqrt(squares)))),
    Mistake("You scale by the largest entry. The norm is the root of the sum of all squares.",
            wrong=_scaled(lambda squares, most, gs: min(1.0, most / max(
                np.abs(g).max() for g in gs)))),
    Mistake("You add up means of squares. The norm is the root of the sum of all squares.",
            wrong=_scaled(lambda squares, most, gs: min(1.0, most / np.sqrt(sum(
                (g**2).mean() for g in gs))))),
    Mistake("Each array is scaled by its own sum of absolute values. One norm for all of them, "
            "the root of the sum of squares, is wanted.",
            wrong=lambda gradients, max_norm: [g * min(1.0, max_norm / np.abs(g).sum())
                                               for g in gradients]),
    Mistake("You apply the factor twice.",
            wrong=_scaled(lambda squares, most, gs: min(1.0, most / np.sqrt(squares)) ** 2)),
    Mistake("You return the norm. The scaled gradients are wanted, a list of arrays.",
            when=lambda got, want, gradients, max_norm: np.isscalar(got)),
    Mistake("You return one long array. A list of arrays is wanted, with the shapes of the "
            "arguments.",
            when=lambda got, want, gradients, max_norm: isinstance(got, np.ndarray)),
    Mistake("You take absolute values instead of squares. The norm is the root of the sum of "
            "squares.",
            wrong=_scaled(lambda squares, most, gs: min(1.0, most / sum(
                np.abs(g).sum() for g in gs)))),
]

# ---- 7.5 add_k_loss


def _add_k(train, test, V, k, *, smooth=lambda c, h, k, V: (c + k) / (h + k * V), score=None):
    counts = np.zeros((V, V))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    with np.errstate(all="ignore"):
        p = smooth(counts, counts.sum(axis=1, keepdims=True), k, V)
        score = score or (lambda p: -np.log(p[test[:-1], test[1:]]).mean())
        return score(p)


def _add_k_with(smooth):
    return lambda train, test, V, k: _add_k(train, test, V, k, smooth=smooth)


def _add_k_scored(score):
    return lambda train, test, V, k: _add_k(train, test, V, k, score=lambda p: score(p, test))


def _unigram_add_k(train, test, V, k):
    p = (np.bincount(train, minlength=V) + k) / (len(train) + k * V)
    return -np.log(p[test[1:]]).mean()


def _add_k_cases(rng):
    cases = []
    for V, k in ((5, 1.0), (9, 0.25), (30, 0.1)):
        weights = rng.dirichlet(np.ones(V))
        # The last token of `train` is one that nothing follows there.
        train = np.append(rng.choice(V - 1, p=weights[:-1] / weights[:-1].sum(), size=60), V - 1)
        cases.append((train, rng.choice(V, p=weights, size=25), V, k))
    return cases


def _add_k_counted(count, smooth=lambda c, h, k, V: (c + k) / (h + k * V)):
    """add_k_loss with another way to count: count(table, train) fills it."""

    def wrong(train, test, V, k):
        counts = np.zeros((V, V))
        count(counts, train)
        p = smooth(counts, counts.sum(axis=1, keepdims=True), k, V)
        return -np.log(p[test[:-1], test[1:]]).mean()

    return wrong


def _count_each_pair_once(counts, train):
    counts[train[:-1], train[1:]] += 1


def _count_around_the_end(counts, train):
    np.add.at(counts, (train, np.roll(train, -1)), 1)


def _softmax_of_counts(c, h, k, V):
    e = np.exp(c + k)
    return e / e.sum(axis=1, keepdims=True)


_ADD_K_MISTAKES = [
    Mistake("With index arrays a and b, counts[a, b] += 1 counts a pair that occurs five times "
            "only once: NumPy adds to a copy. Use np.add.at, or a loop.",
            wrong=_add_k_counted(_count_each_pair_once)),
    Mistake("You let the first token of `train` follow the last one. They aren't neighbors.",
            wrong=_add_k_counted(_count_around_the_end)),
    Mistake("The sums over the second token have to stay a column, (V, 1), to divide the rows of "
            "the table. As (V,) they divide its columns.",
            wrong=_add_k_with(lambda c, h, k, V: (c + k) / (h[:, 0] + k * V))),
    Mistake("You apply a softmax to the counts. A count is no logit: divide it by the sum.",
            wrong=_add_k_with(_softmax_of_counts)),
    Mistake("You don't smooth, so a pair that never occurred has the probability 0 and the loss "
            "is infinite.", when=lambda got, want, *arguments: np.isinf(got)),
    Mistake("You return one loss for each token. Return their mean.",
            when=lambda got, want, train, test, V, k: np.shape(got) == (len(test) - 1,)),
    Mistake("You divide by the length of `train`. The mean is over the predictions in `test`.",
            wrong=lambda train, test, V, k: _add_k(train, test, V, k) * (len(test) - 1)
            / len(train)),
    Mistake("That is the perplexity, with base 2. The mean loss in nats is wanted.",
            wrong=_add_k_scored(lambda p, test: 2 ** -np.log(p[test[:-1], test[1:]]).mean())),
    Mistake("You let the first token of `test` follow the last one.",
            wrong=_add_k_scored(lambda p, test: -np.log(p[test, np.roll(test, -1)]).mean())),
    Mistake("The probabilities of one history don't sum to 1: if each of V tokens gets k more, "
            "the denominator grows by k V.",
            wrong=_add_k_with(lambda c, h, k, V: (c + k) / (h + k))),
    Mistake("You smooth the numerator but not the denominator, so the probabilities sum to more "
            "than 1.", wrong=_add_k_with(lambda c, h, k, V: (c + k) / np.maximum(h, 1e-300))),
    Mistake("You divide by c(h) + V, whatever k is. Each of the V counts grows by k.",
            wrong=_add_k_with(lambda c, h, k, V: (c + k) / (h + V))),
    Mistake("You add 1 instead of k.", wrong=_add_k_with(lambda c, h, k, V: (c + 1) / (h + V))),
    Mistake("You divide by the count of the predicted token w. Divide by that of the history h: "
            "sum the table of pairs over its second token.",
            wrong=_add_k_with(lambda c, h, k, V: (c + k) / (c.sum(axis=0, keepdims=True) + k * V))),
    Mistake("You divide by the number of all pairs. The probability is that of w *given* h: "
            "divide by the count of h.",
            wrong=_add_k_with(lambda c, h, k, V: (c + k) / (c.sum() + k * V))),
    Mistake("You divide by the number of all pairs, smoothed: that is the probability of the "
            "pair, not of w given h.",
            wrong=_add_k_with(lambda c, h, k, V: (c + k) / (c.sum() + k * V * V))),
    Mistake("Your table of pairs is the wrong way around: the first token is the history, the "
            "second one is predicted.", wrong=_add_k_scored(
                lambda p, test: -np.log(p[test[1:], test[:-1]]).mean())),
    Mistake("That is the loss in bits. Take the natural logarithm.",
            wrong=_add_k_scored(lambda p, test: -np.log2(p[test[:-1], test[1:]]).mean())),
    Mistake("That is the sum over the tokens. The loss is their mean.",
            wrong=_add_k_scored(lambda p, test: -np.log(p[test[:-1], test[1:]]).sum())),
    Mistake("You divide the sum by the number of tokens. The first one has no history, so there "
            "is one prediction fewer.", wrong=_add_k_scored(
                lambda p, test: -np.log(p[test[:-1], test[1:]]).sum() / len(test))),
    Mistake("The sign: the loss is minus the mean logarithm.",
            wrong=_add_k_scored(lambda p, test: np.log(p[test[:-1], test[1:]]).mean())),
    Mistake("That is the perplexity. Leave out the exponential.",
            wrong=_add_k_scored(lambda p, test: np.exp(-np.log(p[test[:-1], test[1:]]).mean()))),
    Mistake("You take the logarithm of the mean probability. Take the mean of the logarithms.",
            wrong=_add_k_scored(lambda p, test: -np.log(p[test[:-1], test[1:]].mean()))),
    Mistake("That is a unigram model: it doesn't look at the token before.", wrong=_unigram_add_k),
    Mistake("You measure on the training text. Count in `train`, measure on `test`.",
            wrong=lambda train, test, V, k: _add_k(train, train, V, k)),
    Mistake("You count in the text on which you measure. Count in `train`, measure on `test`.",
            wrong=lambda train, test, V, k: _add_k(test, test, V, k)),
    Mistake("You count how often h occurs, with the last token of `train`, which nothing follows. "
            "c(h) is the sum of c(hw) over w.",
            wrong=lambda train, test, V, k: _add_k(
                train, test, V, k, smooth=lambda c, h, k, V: (c + k) / (
                    np.bincount(train, minlength=V)[:, None] + k * V))),
]

# ---- 7.6 diagnoses


def patients():
    """-> {name: (training loss, validation loss)}, float (200,) each: made, to look like real runs"""
    rng, step = np.random.default_rng(7), np.arange(200)

    def noisy(curve, size=0.12):
        return curve + size * rng.normal(size=curve.shape)

    a = 4.8 + 1.4 * np.exp(-step / 60) + 16 * np.exp(-step / 6)
    b_train = 0.1 + 7.5 * np.exp(-step / 35)
    b_valid = 5.2 + 2.4 * np.exp(-step / 20) + 2.6 * np.clip(step - 60, 0, None) / 140
    c = 0.03 + 7.6 * np.exp(-step / 9)
    d = 7.87 - 0.006 * step
    return {"A": (noisy(a), a + 0.1), "B": (noisy(b_train, 0.06), b_valid),
            "C": (noisy(c, 0.02), c + 0.01), "D": (noisy(d), d + 0.01)}


_DIAGNOSES = {"A": "bad initialization", "B": "overfitting", "C": "sees its target",
              "D": "rate too low"}
_DISEASES = ("healthy", "overfitting", "rate too high", "rate too low", "bad initialization",
             "sees its target")


def _said(patient, *diseases):
    return lambda got, want, *arguments: got[patient] in diseases


_DIAGNOSIS_MISTAKES = [
    Mistake("A patient has no diagnosis yet: give one to each of A, B, C and D.",
            when=lambda got, want, *rest: any(got.get(name) is None for name in "ABCD")),
    Mistake("Use exactly one of the six names for each patient: " + ", ".join(_DISEASES) + ".",
            when=lambda got, want, *rest: set(got) == set(want) and any(
                answer is not None and answer not in _DISEASES for answer in got.values())),
    Mistake("Look at patient B again: training falls to nearly 0, but what does validation do "
            "after step 60?", when=lambda got, want, *rest: got["B"] not in (None, "overfitting")),
    Mistake("Look at patient C again: its loss nears 0 on text that it has never seen. Nobody can "
            "predict a language so well. What must be in its input?",
            when=_said("C", "healthy", "overfitting", "rate too high", "rate too low",
                       "bad initialization")),
    Mistake("Patient A isn't overfitting: training and validation stay together. Compare its "
            "first loss with the dotted line, log V.",
            when=_said("A", "overfitting", "sees its target")),
    Mistake("Patient A's rate isn't too high: the loss falls from the first step on. What is "
            "strange is where it starts, compared with the dotted line.",
            when=_said("A", "rate too high")),
    Mistake("Patient A falls fast, so its rate isn't too low. Where does it start, compared with "
            "the dotted line?", when=_said("A", "rate too low")),
    Mistake("Patient A is not healthy: a new model has a loss of about log V, the dotted line.",
            when=_said("A", "healthy")),
    Mistake("Patient D starts where a new model should, at log V, so its initialization is fine.",
            when=_said("D", "bad initialization")),
    Mistake("Patient D isn't flat, and has no jumps: it falls steadily, in a straight line. Does "
            "that look like steps that are too large?", when=_said("D", "rate too high")),
    Mistake("Patient D is not healthy: after 200 steps it has hardly left log V.",
            when=_said("D", "healthy", "overfitting", "sees its target")),
]

EXERCISES = [
    Exercise("7.1", "count_parameters", reference=_parameters,
             cases=lambda rng: [(2048, 100, 128, 4, True), (2048, 100, 128, 4, False),
                                (50257, 1024, 768, 12, True), (50257, 1024, 768, 12, False)],
             mistakes=_PARAMETER_MISTAKES),
    Exercise("7.2", "prompt_flops", reference=_flops,
             cases=lambda rng: [(2039, 101, 128, 4, 5), (50257, 1023, 768, 12, 3)],
             mistakes=_FLOPS_MISTAKES),
    Exercise("7.3", "first_loss", reference=_FIRST_LOSS, mistakes=_FIRST_LOSS_MISTAKES,
             tolerance=5e-4),
    Exercise("7.4", "clip", reference=_clip, cases=_clip_cases, mistakes=_CLIP_MISTAKES),
    Exercise("7.5", "add_k_loss", reference=_add_k, cases=_add_k_cases, mistakes=_ADD_K_MISTAKES),
    Exercise("7.6", "diagnoses", reference=_DIAGNOSES, mistakes=_DIAGNOSIS_MISTAKES),
]
