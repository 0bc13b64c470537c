"""The exercises of chapter 2: positions."""

import numpy as np

from minillm.course.checking import Exercise, Mistake


def _pairs(angle):
    """angle: (n, d / 2) -> (n, d): sine, cosine, sine, cosine, …"""
    table = np.empty((len(angle), 2 * angle.shape[1]))
    table[:, 0::2], table[:, 1::2] = np.sin(angle), np.cos(angle)
    return table


def _angles(n_positions, d, exponent=None, base=10000.0, first=0):
    exponent = np.arange(0, d, 2) / d if exponent is None else exponent
    return (first + np.arange(n_positions))[:, None] / base**exponent


# ---- 2.1


def _sinusoidal_table(n_positions, d):
    return _pairs(_angles(n_positions, d))


def _by_column(n_positions, d):
    """The exponent is the number of the column, not of the pair."""
    angle = np.arange(n_positions)[:, None] / 10000 ** (np.arange(d) / d)
    return np.where(np.arange(d) % 2 == 0, np.sin(angle), np.cos(angle))


def _double_column(n_positions, d):
    """The exponent is twice the number of the column."""
    angle = np.arange(n_positions)[:, None] / 10000 ** (2 * np.arange(d) / d)
    return np.where(np.arange(d) % 2 == 0, np.sin(angle), np.cos(angle))


def _halves(n_positions, d):
    angle = _angles(n_positions, d)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


def _swapped(n_positions, d):
    table = _sinusoidal_table(n_positions, d)
    table[:, 0::2], table[:, 1::2] = table[:, 1::2].copy(), table[:, 0::2].copy()
    return table


def _sines_only(n_positions, d):
    return np.repeat(np.sin(_angles(n_positions, d)), 2, axis=1)


def _cosines_only(n_positions, d):
    return np.repeat(np.cos(_angles(n_positions, d)), 2, axis=1)


def _last_is_slowest(n_positions, d):
    return _pairs(_angles(n_positions, d, np.arange(d // 2) / max(d // 2 - 1, 1)))


def _cosines_of_the_next_pair(n_positions, d):
    table = _sinusoidal_table(n_positions, d)
    table[:, 1::2] = np.cos(_angles(n_positions, d, np.arange(2, d + 2, 2) / d))
    return table


def _overlapping_pairs(n_positions, d):
    table, angle = np.zeros((n_positions, d)), _angles(n_positions, d)
    for i in range(d // 2):
        table[:, i], table[:, i + 1] = np.sin(angle[:, i]), np.cos(angle[:, i])
    return table


# ---- 2.3


def _shift_matrix(k, d, turn=1, base=10000.0, speeds=None):
    R = np.zeros((d, d))
    for i in range(d // 2):
        angle = k / base ** (2 * i / d) if speeds is None else k * speeds(i, d)
        cos, sin = np.cos(angle), turn * np.sin(angle)
        R[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[cos, sin], [-sin, cos]]
    return R


def _with_blocks(block, exponent=lambda i, d: 2 * i / d, step=2):
    """-> a shift_matrix with other blocks: a function of the cosine and the sine of the angle"""
    def wrong(k, d):
        R = np.zeros((d, d))
        for i in range(d // 2):
            angle = k / 10000 ** exponent(i, d)
            at = step * i
            R[at : at + 2, at : at + 2] = block(np.cos(angle), np.sin(angle))
        return R
    return wrong


def _rotation(cos, sin):
    return [[cos, sin], [-sin, cos]]


def _halves_matrix(k, d):
    n = d // 2
    angle = k / 10000 ** (np.arange(0, d, 2) / d)
    cos, sin = np.diag(np.cos(angle)), np.diag(np.sin(angle))
    return np.block([[cos, sin], [-sin, cos]]) if n else np.zeros((d, d))


def _diagonal_only(k, d):
    return np.diag(np.repeat(np.cos(k / 10000 ** (np.arange(0, d, 2) / d)), 2))


# ---- 2.4


def _rotate_halves(x, cos, sin):
    n = cos.shape[1]
    a, b = x[:, :n], x[:, n:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=1)


def _overwritten(x, cos, sin):
    y = x.copy()
    n = cos.shape[1]
    a, b = y[:, :n], y[:, n:]
    a[...] = a * cos - b * sin
    b[...] = a * sin + b * cos
    return y


def _overwritten_second_first(x, cos, sin):
    y = x.copy()
    n = cos.shape[1]
    a, b = y[:, :n], y[:, n:]
    b[...] = a * sin + b * cos
    a[...] = a * cos - b * sin
    return y


def _backward_rotation(x, cos, sin):
    return _rotate_halves(x, cos, -sin)


def _interleaved(x, cos, sin):
    y = np.empty_like(x)
    a, b = x[:, 0::2], x[:, 1::2]
    y[:, 0::2], y[:, 1::2] = a * cos - b * sin, a * sin + b * cos
    return y


def _interleaved_result(x, cos, sin):
    n = cos.shape[1]
    y = np.empty_like(x)
    a, b = x[:, :n], x[:, n:]
    y[:, 0::2], y[:, 1::2] = a * cos - b * sin, a * sin + b * cos
    return y


def _plus_twice(x, cos, sin):
    n = cos.shape[1]
    a, b = x[:, :n], x[:, n:]
    return np.concatenate([a * cos + b * sin, a * sin + b * cos], axis=1)


def _minus_twice(x, cos, sin):
    n = cos.shape[1]
    a, b = x[:, :n], x[:, n:]
    return np.concatenate([a * cos - b * sin, a * sin - b * cos], axis=1)


def _swapped_roles(x, cos, sin):
    return _rotate_halves(x, sin, cos)


def _same_twice(x, cos, sin):
    n = cos.shape[1]
    a, b = x[:, :n], x[:, n:]
    return np.concatenate([a * cos - b * sin, b * cos - a * sin], axis=1)


def _second_half_swapped(x, cos, sin):
    n = cos.shape[1]
    a, b = x[:, :n], x[:, n:]
    return np.concatenate([a * cos - b * sin, a * cos + b * sin], axis=1)


def _roles_exchanged(x, cos, sin):
    return _rotate_halves(np.roll(x, cos.shape[1], axis=1), cos, sin)


def _swapped_halves(x, cos, sin):
    return np.roll(_rotate_halves(x, cos, sin), cos.shape[1], axis=1)


def _first_half_only(x, cos, sin):
    y = _rotate_halves(x, cos, sin)
    n = cos.shape[1]
    y[:, n:] = x[:, n:]
    return y


# ---- 2.5


def _table(b, Tq, Tk, index):
    return b[:, index(np.arange(Tq)[:, None], np.arange(Tk), Tq, Tk)]


def _bias_matrix(b, Tq, Tk):
    return _table(b, Tq, Tk, lambda i, j, Tq, Tk: j - i + Tq - 1)


def _wrong_index(index):
    return lambda b, Tq, Tk: _table(b, Tq, Tk, index)


EXERCISES = [
    Exercise(
        "2.1", "sinusoidal_table", _sinusoidal_table,
        cases=lambda rng: [(4, 10), (7, 6), (50, 64), (1, 4)],
        mistakes=[
            Mistake("Your exponent counts columns. The sine and the cosine of a pair turn at the "
                    "same speed: use the number i of the pair in 2i / d, so columns 2i and 2i + 1 "
                    "share it.", _by_column),
            Mistake("You take 2i / d with the number of the column as i. i counts pairs: it runs "
                    "from 0 to d/2 - 1, and both columns of a pair share it.", _double_column),
            Mistake("Your exponent is i / d. It is 2i / d: the last pair should turn by nearly "
                    "1/10000 per position, not by 1/100.",
                    lambda n, d: _pairs(_angles(n, d, np.arange(d // 2) / d))),
            Mistake("All sines stand before all cosines. That is the layout of tensor2tensor; "
                    "here they alternate: columns 0, 2, 4, … are sines, columns 1, 3, 5, … "
                    "cosines.",
                    _halves),
            Mistake("Sine and cosine have changed places: the even columns are sines. Position 0 "
                    "should begin with 0, 1.", _swapped),
            Mistake("Every column is a sine. The odd columns, 2i + 1, are cosines; without them a "
                    "shift is not a rotation.", _sines_only),
            Mistake("Every column is a cosine. The even columns, 2i, are sines.", _cosines_only),
            Mistake("Your positions begin with 1. The first word is at position 0, and its vector "
                    "begins with 0, 1, 0, 1.", lambda n, d: _pairs(_angles(n, d, first=1))),
            Mistake("Your base is 1,000. The formula has 10,000, four zeros.",
                    lambda n, d: _pairs(_angles(n, d, base=1000.0))),
            Mistake("Your hands speed up: the angle is multiplied by 10000^(2i/d). Divide by it, "
                    "so that later pairs turn more slowly.",
                    lambda n, d: _pairs(_angles(n, d, -np.arange(0, d, 2) / d))),
            Mistake("Your speeds go down to exactly 1/10000: you divide i by d/2 - 1. The formula "
                    "divides 2i by d, so the last pair doesn't quite reach 1/10000.",
                    _last_is_slowest),
            Mistake("Your angles are in degrees. np.sin and np.cos take radians, and so does the "
                    "formula.", lambda n, d: _pairs(np.deg2rad(_angles(n, d)))),
            Mistake("All pairs have the same speed. Divide the position by 10000^(2i/d), another "
                    "number for each pair i.",
                    lambda n, d: _pairs(_angles(n, d, np.zeros(d // 2)))),
            Mistake("Your exponent is 4i / d: a factor of 2 too much. np.arange(0, d, 2) is 2i "
                    "already.", lambda n, d: _pairs(_angles(n, d, 2 * np.arange(0, d, 2) / d))),
            Mistake("The sines are right. A cosine takes the same angle as the sine to its left; "
                    "yours uses the exponent of the next pair.", _cosines_of_the_next_pair),
            Mistake("You write pair i into the columns i and i + 1, so each pair overwrites a "
                    "part of the one before, and half of the table stays empty. Pair i belongs in "
                    "the columns 2i and 2i + 1.", _overlapping_pairs),
            Mistake("Your angles have a factor 2π. The formula takes the position itself as the "
                    "angle, in radians.", lambda n, d: _pairs(2 * np.pi * _angles(n, d))),
            Mistake("The positions run backward: row 0 is position 0.",
                    lambda n, d: _sinusoidal_table(n, d)[::-1]),
            Mistake("The pairs stand in the opposite order: the fastest, with speed 1, comes "
                    "first.",
                    lambda n, d: _pairs(_angles(n, d)[:, ::-1])),
            Mistake("Your sines have the wrong sign: the angles are negative.",
                    lambda n, d: _pairs(-_angles(n, d))),
            Mistake("You scale the vectors by 1/√(d/2), to the length 1. The formula doesn't: "
                    "every position vector has the length √(d/2).",
                    lambda n, d: _sinusoidal_table(n, d) / np.sqrt(d / 2)),
        ],
    ),
    Exercise(
        "2.2", "dot_product_3_7", float(np.cos(4) + np.cos(0.04)), tolerance=1e-4,
        mistakes=[
            Mistake("That is the first pair alone. d = 4 has two pairs; add the cosine of the "
                    "second one's angle.", float(np.cos(4))),
            Mistake("That is the second pair alone. Add the cosine of the first one's angle, 4.",
                    float(np.cos(0.04))),
            Mistake("You counted every pair twice. sin·sin + cos·cos of a pair together make one "
                    "cosine of the difference.", float(2 * (np.cos(4) + np.cos(0.04)))),
            Mistake("You added the angles. sin p sin q + cos p cos q is the cosine of the "
                    "difference, 7 - 3.", float(np.cos(10) + np.cos(0.1))),
            Mistake("The second speed is 10000^(-2/4) = 1/100, so its angle is 4/100. You used "
                    "4/10.",
                    float(np.cos(4) + np.cos(0.4))),
            Mistake("The second speed is 10000^(-2/4) = 1/100, not 1/10000: the exponent is 2i/d "
                    "with i = 1 and d = 4.", float(np.cos(4) + np.cos(0.0004))),
            Mistake("Your angles are in degrees: cos 4 of 4 radians is negative.",
                    float(np.cos(np.deg2rad(4)) + np.cos(np.deg2rad(0.04)))),
            Mistake("You took sines. The product of two pairs is the cosine of the difference of "
                    "their angles.", float(np.sin(4) + np.sin(0.04))),
            Mistake("That is scaled by 1/√d, as attention does with its scores. Here only the dot "
                    "product is asked for.", float((np.cos(4) + np.cos(0.04)) / 2)),
            Mistake("That is the squared length of one vector, d/2: the product of a position "
                    "with itself. Positions 3 and 7 are 4 apart.", 2.0),
            Mistake("You subtracted the second pair. The dot product adds all pairs.",
                    float(np.cos(4) - np.cos(0.04))),
            Mistake("You multiplied the two cosines. The dot product adds the pairs.",
                    float(np.cos(4) * np.cos(0.04))),
            Mistake("The sign is wrong: cos 4 is -0.6536, and cos 0.04 is +0.9992.",
                    -float(np.cos(4) + np.cos(0.04))),
            Mistake("You multiplied only the sines of the two vectors. The cosine columns belong "
                    "to the dot product too.",
                    float(np.sin(3) * np.sin(7) + np.sin(0.03) * np.sin(0.07))),
            Mistake("You multiplied only the cosines of the two vectors. The sine columns belong "
                    "to the dot product too.",
                    float(np.cos(3) * np.cos(7) + np.cos(0.03) * np.cos(0.07))),
            Mistake("Give the number itself, not a text or a list.",
                    when=lambda got, want: isinstance(got, (str, list, tuple))),
            Mistake("Almost: give four digits behind the decimal point.",
                    when=lambda got, want: abs(got - want) < 0.006),
        ],
    ),
    Exercise(
        "2.3", "shift_matrix", _shift_matrix,
        cases=lambda rng: [(3, 10), (1, 6), (-2, 8), (40, 4)],
        mistakes=[
            Mistake("Your matrix turns the hands back: it maps pos to pos - k. With the pair in "
                    "the order (sine, cosine), the + sin κ stands in the upper right. (Or your "
                    "matrix is for positions as rows.)", lambda k, d: _shift_matrix(-k, d)),
            Mistake("All pairs turn by the same angle k. Each pair i has its own speed, "
                    "10000^(-2i/d).", lambda k, d: _shift_matrix(k, d, speeds=lambda i, d: 1.0)),
            Mistake("Your exponent is i / d with the number of the pair i. It is 2i / d.",
                    lambda k, d: _shift_matrix(k, d, speeds=lambda i, d: 10000.0 ** (-i / d))),
            Mistake("Both sines have the same sign, so the block is no rotation: one of them is "
                    "-sin κ. Look at the second addition theorem.",
                    _with_blocks(lambda cos, sin: [[cos, sin], [sin, cos]])),
            Mistake("Both sines are negative, so the block is no rotation. In the first addition "
                    "theorem sin κ has a plus.",
                    _with_blocks(lambda cos, sin: [[cos, -sin], [-sin, cos]])),
            Mistake("Your blocks are reflections: the minus belongs to a sine, not to a cosine.",
                    _with_blocks(lambda cos, sin: [[cos, sin], [sin, -cos]])),
            Mistake("Your blocks are for pairs in the order (cosine, sine), with a minus at a "
                    "cosine. Here a pair is (sine, cosine), and for k = 0 its block is the "
                    "identity.",
                    _with_blocks(lambda cos, sin: [[sin, cos], [cos, -sin]])),
            Mistake("Your blocks mix column i with column i + d/2. Here the sine and the cosine "
                    "of a pair are neighbors, columns 2i and 2i + 1.", _halves_matrix),
            Mistake("Only the cosines on the diagonal are there. The two sines of each block "
                    "stand beside the diagonal.", _diagonal_only),
            Mistake("Sine and cosine have changed places in your blocks: for k = 0 the matrix "
                    "must be the identity, and cos 0 = 1 belongs on the diagonal.",
                    _with_blocks(lambda cos, sin: [[sin, cos], [-cos, sin]])),
            Mistake("You multiply the matrix of one step by k. k steps are k rotations one after "
                    "the other: the angles add, not the matrices.",
                    lambda k, d: k * _shift_matrix(1, d)),
            Mistake("Your exponent is 4i / d: a factor of 2 too much. If your i runs in steps of "
                    "2, it is 2i already.", _with_blocks(_rotation, lambda i, d: 4 * i / d)),
            Mistake("You write block i at row and column i, so the blocks overlap. It begins at "
                    "2i.", _with_blocks(_rotation, step=1)),
            Mistake("That is one block, of the first pair. The matrix has d/2 of them on its "
                    "diagonal, (d, d) in all.",
                    when=lambda got, want, k, d: np.shape(got) == (2, 2) and d > 2),
            Mistake("Those are the blocks, (d/2, 2, 2). Place them on the diagonal of a (d, d) "
                    "matrix.", when=lambda got, want, k, d: np.shape(got) == (d // 2, 2, 2)),
            Mistake("Your hands speed up from pair to pair: multiply k by 10000^(-2i/d), with a "
                    "minus.", lambda k, d: _shift_matrix(k, d, base=1 / 10000.0)),
            Mistake("Only the first pair turns; the other blocks are the identity. Every pair has "
                    "its block, though the later angles are small.",
                    lambda k, d: _shift_matrix(k, d, speeds=lambda i, d: float(i == 0))),
            Mistake("The matrix doesn't depend on k: it shifts by 1. The angle of a block is k "
                    "times the speed.", lambda k, d: _shift_matrix(1, d)),
            Mistake("You take the absolute value of k. For a negative k the hands turn back.",
                    lambda k, d: _shift_matrix(abs(k), d)),
            Mistake("That works only for a negative k: the angle has the wrong sign otherwise.",
                    lambda k, d: _shift_matrix(-abs(k), d)),
            Mistake("Your angles are in degrees. np.cos and np.sin take radians.",
                    lambda k, d: _shift_matrix(np.deg2rad(k), d)),
        ],
    ),
    Exercise(
        "2.4", "rotate_halves", _rotate_halves,
        cases=lambda rng: [_rotation_case(rng, 5, 3), _rotation_case(rng, 2, 4),
                           _rotation_case(rng, 7, 1)],
        mistakes=[
            Mistake("The bug is still there. Do one pair by hand, such as a = 1, b = 0 with cos = "
                    "0.6 and sin = 0.8, and follow the function line by line.", _overwritten),
            Mistake("Now b is overwritten before the line of a reads it: exchanging the lines "
                    "moves the bug. Both results need the old a and the old b.",
                    _overwritten_second_first),
            Mistake("That rotates backward. The first half is a cos - b sin; the minus belongs "
                    "there.",
                    _backward_rotation),
            Mistake("You pair neighbors, 2i with 2i + 1. Here element i belongs to element i + n, "
                    "in the other half; that wasn't the bug.", _interleaved),
            Mistake("The numbers are right, but you wrote the pairs side by side. The rotated "
                    "first elements belong in the first half, the others in the second.",
                    _interleaved_result),
            Mistake("Two plus signs are no rotation: the first half is a cos - b sin.",
                    _plus_twice),
            Mistake("Two minus signs are no rotation: the second half is a sin + b cos.",
                    _minus_twice),
            Mistake("The second half is a sin + b cos; in yours, a sin has a minus.", _same_twice),
            Mistake("In your function cos and sin have changed places: at position 0, cos = 1 and "
                    "sin = 0, and nothing may turn.", _swapped_roles),
            Mistake("Your second half is a cos + b sin. There a goes with the sine, and b with "
                    "the cosine.", _second_half_swapped),
            Mistake("In your function a and b have changed places: a is the first half of a row.",
                    _roles_exchanged),
            Mistake("The halves stand below each other, with shape (2 T, n). They belong side by "
                    "side: axis 1.", when=lambda got, want, x, cos, sin: np.shape(got) == (
                        2 * len(x), cos.shape[1])),
            Mistake("You return two arrays. Put the two rotated halves side by side in one.",
                    when=lambda got, want, x, cos, sin: isinstance(got, (tuple, list))),
            Mistake("The halves have changed places in your result: a cos - b sin comes first.",
                    _swapped_halves),
            Mistake("Only the first half is rotated; the second is that of x.", _first_half_only),
            Mistake("Your function returns x unchanged.", lambda x, cos, sin: x),
            Mistake("Your result has n columns, wanted 2 n: put the two rotated halves side by "
                    "side.",
                    when=lambda got, want, x, cos, sin: np.shape(got) == cos.shape),
        ],
    ),
    Exercise(
        "2.5", "bias_matrix", _bias_matrix,
        cases=lambda rng: [(rng.normal(size=(2, 7)), 4, 4), (rng.normal(size=(1, 7)), 3, 5),
                           (rng.normal(size=(3, 8)), 4, 5), (rng.normal(size=(2, 4)), 1, 4)],
        mistakes=[
            Mistake("The offset is missing: j - i is negative below the diagonal, and a negative "
                    "index counts from the end of b. The smallest j - i must become index 0.",
                    _wrong_index(lambda i, j, Tq, Tk: j - i)),
            Mistake("Your index is i - j + Tq - 1. Distances are key minus query, j - i.",
                    _wrong_index(lambda i, j, Tq, Tk: (i - j + Tq - 1))),
            Mistake("Your index is i - j + Tk - 1, so the bias is mirrored: distances are key "
                    "minus query, j - i, and the smallest one is -(Tq - 1).",
                    _wrong_index(lambda i, j, Tq, Tk: i - j + Tk - 1)),
            Mistake("Off by one: the offset is Tq - 1. Yours is Tq - 2, so the smallest distance "
                    "gets index -1, the last entry of b.",
                    _wrong_index(lambda i, j, Tq, Tk: j - i + Tq - 2)),
            Mistake("Your index is i - j, without an offset. Distances are key minus query, j - "
                    "i, and the smallest one, -(Tq - 1), must become index 0.",
                    _wrong_index(lambda i, j, Tq, Tk: i - j)),
            Mistake("All keys before the query get the same number. Negative distances have their "
                    "own entries: leave out the maximum.",
                    _wrong_index(lambda i, j, Tq, Tk: np.maximum(j - i, 0) + Tq - 1)),
            Mistake("You hide the future too. That is the causal mask's work; the bias has a "
                    "number for every distance.",
                    lambda b, Tq, Tk: np.tril(_bias_matrix(b, Tq, Tk))),
            Mistake("You look up |j - i|, so keys before and after the query get the same number. "
                    "The index is j - i + Tq - 1.",
                    _wrong_index(lambda i, j, Tq, Tk: np.abs(j - i))),
            Mistake("You look up |j - i| + Tq - 1, so keys before the query get the numbers of "
                    "those after it. Leave out the absolute value.",
                    lambda b, Tq, Tk: _table(np.pad(b, [(0, 0), (0, Tq)], "edge"), Tq, Tk,
                                             lambda i, j, Tq, Tk: np.abs(j - i) + Tq - 1)),
            Mistake("Every query gets the same row. The number depends on j - i, so each row is "
                    "the row above, moved by one place to the right.",
                    lambda b, Tq, Tk: np.repeat(b[:, None, Tq - 1 : Tq - 1 + Tk], Tq, axis=1)),
            Mistake("Your rows move to the left from query to query. Row i begins at index "
                    "Tq - 1 - i: the rows move to the right.",
                    _wrong_index(lambda i, j, Tq, Tk: j + i)),
            Mistake("The heads stand last: the result has shape (Tq, Tk, H), wanted (H, Tq, Tk). "
                    "The lookup belongs to the second axis of b.",
                    lambda b, Tq, Tk: _bias_matrix(b, Tq, Tk).transpose(1, 2, 0)),
            Mistake("You add up the heads. Each head keeps its own matrix: (H, Tq, Tk).",
                    when=lambda got, want, b, Tq, Tk: np.shape(got) == (Tq, Tk)
                    and np.allclose(got, want.sum(axis=0)) and len(b) > 1),
            Mistake("The queries stand first, (Tq, H, Tk). Stack them along axis 1.",
                    lambda b, Tq, Tk: _bias_matrix(b, Tq, Tk).transpose(1, 0, 2)),
            Mistake("Only the first head is there: the result has shape (Tq, Tk), wanted "
                    "(H, Tq, Tk).", lambda b, Tq, Tk: _bias_matrix(b, Tq, Tk)[0]),
        ],
    ),
    Exercise(
        "2.6", "alibi_outcome", "b",
        mistakes=[
            Mistake("ALiBi adds - slope |j - i|. What does it add for the word before the query, "
                    "and what for the word after it? Then train it and look.", "a"),
            Mistake("It doesn't learn the task at 16 words either. What does ALiBi add for the "
                    "word before the query, and what for the one after it?", "c"),
            Mistake("Answer with one letter in quotes: \"a\", \"b\" or \"c\".",
                    when=lambda got, want: got not in ("a", "b", "c")),
        ],
    ),
]


def _rotation_case(rng, T, n):
    angle = rng.uniform(0.2, 3, size=(T, n))
    return rng.normal(size=(T, 2 * n)), np.cos(angle), np.sin(angle)
