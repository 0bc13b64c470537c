"""The exercises of chapter 28, What it costs."""

from minillm.course.checking import Exercise, Mistake

# ---- 28.1 parameters


def _parameters(V, T, d, L, *, block=12, biases=13, last=2, tables=None):
    tables = (V + T) * d if tables is None else tables
    return tables + L * (block * d**2 + biases * d) + last * d


_PARAMETERS_MISTAKES = [
    Mistake("The positions are missing: their table has a row for each, too.",
            wrong=lambda V, T, d, L: _parameters(V, T, d, L, tables=V * d)),
    Mistake("You count the token table twice. The head has the same numbers as the embedding.",
            wrong=lambda V, T, d, L: _parameters(V, T, d, L, tables=(2 * V + T) * d)),
    Mistake("The norm after the last block is missing.",
            wrong=lambda V, T, d, L: _parameters(V, T, d, L, last=0)),
    Mistake("The biases and norms of the blocks are missing.",
            wrong=lambda V, T, d, L: _parameters(V, T, d, L, biases=0)),
    Mistake("The norms of the blocks are missing: two in each, with a scale and a shift.",
            wrong=lambda V, T, d, L: _parameters(V, T, d, L, biases=9)),
    Mistake("A norm has a scale and a shift: 2 d numbers, not d.",
            wrong=lambda V, T, d, L: _parameters(V, T, d, L, biases=11, last=1)),
    Mistake("The matrix after the heads is missing: attention has four of d × d.",
            wrong=lambda V, T, d, L: _parameters(V, T, d, L, block=11)),
    Mistake("The feed-forward network has two matrices, of 4 d² numbers each.",
            wrong=lambda V, T, d, L: _parameters(V, T, d, L, block=8)),
    Mistake("You leave out the tables. They are learned as well.",
            wrong=lambda V, T, d, L: _parameters(V, T, d, L, tables=0)),
    Mistake("That is one block. There are L of them.",
            wrong=lambda V, T, d, L: _parameters(V, T, d, 1)),
]

# ---- 28.2 step_flops


def _step_flops(B, T, d, L, V, *, each=2, backward=2, head=1, attention=6, pairs=None):
    products = each * B * T * (12 * L * d**2 + head * d * V)
    pairs = B * T * (T + 1) // 2 if pairs is None else pairs
    return (1 + backward) * products + attention * each * d * L * pairs


_FLOPS_MISTAKES = [
    Mistake("You count five products in the backward of attention. Here the scores are kept, so "
            "four are left.", wrong=lambda *sizes: _step_flops(*sizes, attention=7)),
    Mistake("That is the forward alone. The backward costs twice as much.",
            wrong=lambda *sizes: _step_flops(*sizes, backward=0, attention=2)),
    Mistake("That is the backward alone. A step begins with a forward.",
            wrong=lambda *sizes: _step_flops(*sizes, backward=1, attention=4)),
    Mistake("A multiply-add is two operations, and you count one.",
            wrong=lambda *sizes: _step_flops(*sizes, each=1)),
    Mistake("The head is missing. The table costs nothing as an embedding, but as a head it is a "
            "product.", wrong=lambda *sizes: _step_flops(*sizes, head=0)),
    Mistake("Attention is missing: its products have no weights, but they cost operations.",
            wrong=lambda *sizes: _step_flops(*sizes, attention=0)),
    Mistake("You count all T² pairs. With a causal mask a query sees itself and what comes before "
            "it.", wrong=lambda B, T, d, L, V: _step_flops(B, T, d, L, V, pairs=B * T * T)),
    Mistake("You count T (T - 1) / 2 pairs. A query also sees its own key.",
            wrong=lambda B, T, d, L, V: _step_flops(B, T, d, L, V, pairs=B * T * (T - 1) // 2)),
    Mistake("Attention's backward has as many products as its forward in your count. Each of the "
            "two products has two gradients.",
            wrong=lambda *sizes: _step_flops(*sizes, attention=4)),
    Mistake("The pairs of one sequence are counted. There are B of them.",
            wrong=lambda B, T, d, L, V: _step_flops(B, T, d, L, V, pairs=T * (T + 1) // 2)),
]

# ---- 28.3 largest_batch


def _largest_batch(P, each, room, *, per_weight=16):
    return max(0, (room - per_weight * P) // each)


_BATCH_MISTAKES = [
    Mistake("Adam's moments are missing: two numbers for each weight.",
            wrong=lambda *given: _largest_batch(*given, per_weight=8)),
    Mistake("Adam has two moments for each weight, and you count one.",
            wrong=lambda *given: _largest_batch(*given, per_weight=12)),
    Mistake("You count the weights alone. Their gradients and Adam's two moments are as large "
            "each.",
            wrong=lambda *given: _largest_batch(*given, per_weight=4)),
    Mistake("You count numbers. A float32 number takes four bytes, and a weight has four numbers.",
            wrong=lambda P, each, room: max(0, (room - P) // each)),
    Mistake("You leave out what is there whatever the batch: weights, gradients, moments.",
            wrong=lambda P, each, room: room // each),
    Mistake("You round up. The last sequence doesn't fit.",
            wrong=lambda P, each, room: max(0, -((16 * P - room) // each))),
    Mistake("Where the weights alone don't fit, you return a negative batch. Return 0.",
            wrong=lambda P, each, room: (room - 16 * P) // each),
    Mistake("You count the weights once for each sequence. They are shared by the batch.",
            wrong=lambda P, each, room: room // (16 * P + each)),
    Mistake("You count eight bytes for a number, which is float64. A float32 number takes four.",
            wrong=lambda *given: _largest_batch(*given, per_weight=32)),
]

# ---- 28.4 token_seconds


def _arithmetic(P, b, pi):
    return 2 * P * b / pi


def _token_seconds(P, cache, b, pi, beta):
    return max(_arithmetic(P, b, pi), (4 * P + b * cache) / beta)


_TOKEN_CASES = [(100_000_000, 40_000_000, 1, 1e11, 1e10), (100_000_000, 1_000_000, 64, 1e11, 1e10),
                (7_000_000, 2_000_000, 12, 1e11, 2e10), (1000, 50, 3, 1e6, 1e9)]
_TOKEN_MISTAKES = [
    Mistake("You add the two times. Arithmetic and memory can work at the same time, so the bound "
            "is the larger one.", wrong=lambda P, cache, b, pi, beta:
            _arithmetic(P, b, pi) + (4 * P + b * cache) / beta),
    Mistake("You take the smaller of the two times. The work is done when both are.",
            wrong=lambda P, cache, b, pi, beta:
            min(_arithmetic(P, b, pi), (4 * P + b * cache) / beta)),
    Mistake("You read the weights again for each sequence. One reading serves all of them.",
            wrong=lambda P, cache, b, pi, beta:
            max(_arithmetic(P, b, pi), b * (4 * P + cache) / beta)),
    Mistake("You read one cache. Each sequence has its own.",
            wrong=lambda P, cache, b, pi, beta:
            max(_arithmetic(P, b, pi), (4 * P + cache) / beta)),
    Mistake("The caches are missing from the bytes.", wrong=lambda P, cache, b, pi, beta:
            max(_arithmetic(P, b, pi), 4 * P / beta)),
    Mistake("You count a byte for each weight. A float32 number has four.",
            wrong=lambda P, cache, b, pi, beta:
            max(_arithmetic(P, b, pi), (P + b * cache) / beta)),
    Mistake("A multiply-add is two operations, and you count one.",
            wrong=lambda P, cache, b, pi, beta:
            max(P * b / pi, (4 * P + b * cache) / beta)),
    Mistake("You count the operations of one sequence. There are b of them.",
            wrong=lambda P, cache, b, pi, beta:
            max(_arithmetic(P, 1, pi), (4 * P + b * cache) / beta)),
    Mistake("That is the time of memory alone. With many sequences, arithmetic is the limit.",
            wrong=lambda P, cache, b, pi, beta: (4 * P + b * cache) / beta),
    Mistake("That is the time of arithmetic alone. With few sequences, memory is the limit.",
            wrong=lambda P, cache, b, pi, beta: _arithmetic(P, b, pi)),
]

# ---- 28.5 best_size


def _G(A, B, alpha, beta):
    return (alpha * A / (beta * B)) ** (1 / (alpha + beta))


def _best_size(C, A, B, alpha, beta):
    return _G(A, B, alpha, beta) * (C / 6) ** (beta / (alpha + beta))


_SIZE_CASES = [(1e20, 482.01, 2085.43, 0.3478, 0.3658), (5.76e23, 406.4, 410.7, 0.34, 0.28),
               (1e9, 3.0, 20.0, 0.5, 0.25)]
_SIZE_MISTAKES = [
    Mistake("Both bugs are still there. Put D = C / 6 N into α A / N^α = β B / D^β, and solve for "
            "N.", wrong=lambda C, A, B, alpha, beta:
            _G(A, B, alpha, beta) * C ** (alpha / (alpha + beta))),
    Mistake("One bug is left: the exponent. Solve N^(α+β) = α A / (β B) · (C / 6)^β for N.",
            wrong=lambda C, A, B, alpha, beta:
            _G(A, B, alpha, beta) * (C / 6) ** (alpha / (alpha + beta))),
    Mistake("One bug is left: C counts operations, and N D is a sixth of it.",
            wrong=lambda C, A, B, alpha, beta:
            _G(A, B, alpha, beta) * C ** (beta / (alpha + beta))),
    Mistake("That is the best number of tokens. The parameters are asked for.",
            wrong=lambda C, A, B, alpha, beta:
            (C / 6) ** (alpha / (alpha + beta)) / _G(A, B, alpha, beta)),
    Mistake("G was right as it was: α and A are above, β and B below. You turned it around.",
            wrong=lambda C, A, B, alpha, beta:
            (C / 6) ** (beta / (alpha + beta)) / _G(A, B, alpha, beta)),
    Mistake("You multiply C by 6. N D is a sixth of C.", wrong=lambda C, A, B, alpha, beta:
            _G(A, B, alpha, beta) * (6 * C) ** (beta / (alpha + beta))),
    Mistake("You divide the result by 6. The sixth belongs to C, inside the power.",
            wrong=lambda C, A, B, alpha, beta:
            _G(A, B, alpha, beta) * C ** (beta / (alpha + beta)) / 6),
    Mistake("You dropped α and β from G. They come down from the exponents by differentiating.",
            wrong=lambda C, A, B, alpha, beta:
            (A / B) ** (1 / (alpha + beta)) * (C / 6) ** (beta / (alpha + beta))),
    Mistake("You take the root of C / 6, as if α and β were equal.",
            wrong=lambda C, A, B, alpha, beta: _G(A, B, alpha, beta) * (C / 6) ** 0.5),
]

EXERCISES = [
    Exercise("28.1", "parameters", reference=_parameters,
             cases=lambda rng: [(2048, 128, 128, 4), (50257, 1024, 768, 12), (11, 5, 3, 2)],
             mistakes=_PARAMETERS_MISTAKES),
    Exercise("28.2", "step_flops", reference=_step_flops,
             cases=lambda rng: [(16, 128, 128, 4, 2048), (2, 7, 4, 3, 11), (3, 50, 6, 2, 20)],
             mistakes=_FLOPS_MISTAKES, tolerance=1e-9),
    Exercise("28.3", "largest_batch", reference=_largest_batch,
             cases=lambda rng: [(1_000_000, 6_000_000, 100_000_000),
                                (2_000_000, 700_001, 90_000_000),
                                (5_000_000, 1_000_000, 50_000_000)],
             mistakes=_BATCH_MISTAKES, tolerance=1e-9),
    Exercise("28.4", "token_seconds", reference=_token_seconds, cases=lambda rng: _TOKEN_CASES,
             mistakes=_TOKEN_MISTAKES),
    Exercise("28.5", "best_size", reference=_best_size, cases=lambda rng: _SIZE_CASES,
             mistakes=_SIZE_MISTAKES),
]
