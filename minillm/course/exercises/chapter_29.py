"""The exercises of chapter 29, More than one machine."""

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 29.1 after_steps


def _after_steps(chunks, steps, *, to=1, sign=-1, offset=0, moves=True, replaces=False,
                 in_turn=False):
    chunks, n = chunks.copy(), len(chunks)
    for s in range(steps):
        which = [(i + offset + sign * s * moves) % n for i in range(n)]
        moving = [chunks[i, which[i]].copy() for i in range(n)]
        for i in range(n):
            sent = chunks[i, which[i]] if in_turn else moving[i]
            place = (i + to) % n, which[i]
            chunks[place] = sent if replaces else chunks[place] + sent
    return chunks


_STEPS_MISTAKES = [
    Mistake("Your ranks send to rank i - 1. Here the ring goes to rank i + 1.",
            wrong=lambda chunks, steps: _after_steps(chunks, steps, to=-1)),
    Mistake("Your rank i sends chunk i + s in step s. What it got in the step before is chunk "
            "i - s.", wrong=lambda chunks, steps: _after_steps(chunks, steps, sign=1)),
    Mistake("Your ranks send the same chunk in every step. In step s, rank i sends chunk i - s.",
            wrong=lambda chunks, steps: _after_steps(chunks, steps, moves=False)),
    Mistake("You replace the chunk by what arrives. In the reduce-scatter it is added; the "
            "all-gather replaces.",
            wrong=lambda chunks, steps: _after_steps(chunks, steps, replaces=True)),
    Mistake("You start with chunk i + 1. In step 0, rank i sends chunk i.",
            wrong=lambda chunks, steps: _after_steps(chunks, steps, offset=1)),
    Mistake("You start with chunk i - 1. Steps count from 0: in step 0, rank i sends chunk i.",
            wrong=lambda chunks, steps: _after_steps(chunks, steps, offset=-1)),
    Mistake("You take one step more than wanted.",
            wrong=lambda chunks, steps: _after_steps(chunks, steps + 1)),
    Mistake("You take one step less than wanted. range(steps) has them all.",
            wrong=lambda chunks, steps: _after_steps(chunks, max(0, steps - 1))),
    Mistake("You add up all ranks at once. A step moves one chunk from each rank to the next.",
            wrong=lambda chunks, steps: np.broadcast_to(
                chunks.sum(axis=0), chunks.shape).copy()),
    Mistake("Nothing has moved. Did you change a copy, and return the original?",
            wrong=lambda chunks, steps: chunks.copy()),
]

# ---- 29.2 ring_seconds


def _ring(n, N, alpha, beta, *, steps=None, twice=2, chunk=None, latencies=None):
    steps = n - 1 if steps is None else steps
    chunk = N / n if chunk is None else chunk
    latencies = twice * steps if latencies is None else latencies
    return latencies * alpha + twice * steps * chunk / beta


_RING_MISTAKES = [
    Mistake("That is one half, the reduce-scatter. The all-gather takes as long again.",
            wrong=lambda *a: _ring(*a, twice=1)),
    Mistake("You count n steps. After n - 1 steps a chunk has been on all ranks.",
            wrong=lambda n, N, alpha, beta: _ring(n, N, alpha, beta, steps=n)),
    Mistake("Your messages have N bytes. A chunk has N / n.",
            wrong=lambda n, N, alpha, beta: _ring(n, N, alpha, beta, chunk=N)),
    Mistake("Each of the 2 (n - 1) messages has its latency, and you count one.",
            wrong=lambda *a: _ring(*a, latencies=1)),
    Mistake("Each half has n - 1 latencies. You count two in all.",
            wrong=lambda *a: _ring(*a, latencies=2)),
    Mistake("The latencies of the all-gather are missing.",
            wrong=lambda n, N, alpha, beta: _ring(n, N, alpha, beta, latencies=n - 1)),
    Mistake("The latency is missing.", wrong=lambda *a: _ring(*a, latencies=0)),
    Mistake("You let the ranks send one after another. They all send at the same time.",
            wrong=lambda n, N, alpha, beta: n * _ring(n, N, alpha, beta)),
    Mistake("You divide the latency by n as well. A short message takes it just the same.",
            wrong=lambda n, N, alpha, beta: 2 * (n - 1) * (alpha + N / beta) / n),
    Mistake("You multiply by the bandwidth. It is in bytes a second: divide by it.",
            wrong=lambda n, N, alpha, beta: 2 * (n - 1) * (alpha + N / n * beta)),
    Mistake("That is the tree's time. The ring takes n - 1 steps with small chunks, twice.",
            wrong=lambda n, N, alpha, beta: 2 * np.ceil(np.log2(n)) * (alpha + N / beta)),
]

# ---- 29.3 step_seconds


def _step_seconds(forward, stages, update):
    now, free = 0.0, 0.0
    for backward, travel in stages:
        now += backward
        free = max(now, free) + travel
    return forward + max(now, free) + update


def _parallel_links(forward, stages, update):
    now, arrived = 0.0, 0.0
    for backward, travel in stages:
        now += backward
        arrived = max(arrived, now + travel)
    return forward + max(now, arrived) + update


def _sums(stages):
    return sum(backward for backward, _ in stages), sum(travel for _, travel in stages)


def _starts_early(forward, stages, update):
    now, free = 0.0, 0.0
    for backward, travel in stages:
        free = max(now, free) + travel
        now += backward
    return forward + max(now, free) + update


def _blocking(forward, stages, update):
    return forward + sum(_sums(stages)) + update


def _only_the_last(forward, stages, update):
    return forward + _sums(stages)[0] + stages[-1][1] + update


def _adds_without_waiting(forward, stages, update):
    now, arrived = 0.0, 0.0
    for backward, travel in stages:
        now += backward
        arrived = arrived + travel
    return forward + max(now, arrived) + update


def _in_reverse(forward, stages, update):
    return _step_seconds(forward, stages[::-1], update)


_STAGE_CASES = [(1.0, [(1.0, 2.0), (1.0, 2.0), (1.0, 0.5)], 0.25),
                (0.5, [(2.0, 0.5), (0.1, 1.0), (0.4, 3.0), (2.0, 0.2)], 0.0),
                (0.3, [(0.5, 0.1), (0.7, 0.2)], 0.1),
                (0.2, [(0.0, 1.5), (0.6, 0.1), (0.2, 0.1)], 0.3)]
_STAGE_MISTAKES = [
    Mistake("The bug is still there: all buckets travel at the same time. Let a bucket wait until "
            "the one before it has arrived.", wrong=_parallel_links),
    Mistake("Now nothing overlaps: you add all times. The backward goes on while buckets travel.",
            wrong=_blocking),
    Mistake("Your bucket starts before its layer's backward is over. Add the backward first.",
            wrong=_starts_early),
    Mistake("You count the last bucket alone. Earlier ones may still be on the link.",
            wrong=_only_the_last),
    Mistake("Your link starts at the beginning of the backward, before any gradient is complete.",
            wrong=_adds_without_waiting),
    Mistake("You go through the stages in reverse. They are in the order of the backward already.",
            wrong=_in_reverse),
    Mistake("The forward is missing.", wrong=lambda f, s, u: _step_seconds(0.0, s, u)),
    Mistake("The update is missing: it waits for all gradients.",
            wrong=lambda f, s, u: _step_seconds(f, s, 0.0)),
    Mistake("You add the backward to the link's time. Where buckets arrive late, the backward is "
            "over long before.",
            wrong=lambda f, s, u: _step_seconds(f, s, u) + _sums(s)[0]),
    Mistake("You take the larger of all computing and all travel. The first bucket can't travel "
            "before it is complete.",
            wrong=lambda f, s, u: max(f + _sums(s)[0] + u, _sums(s)[1])),
]

# ---- 29.4 whole_batch


def _whole_batch(P, n, each, room, *, shared=8, sharded=8, times=None, clip=True):
    left = room - shared * P - -(-sharded * P // n)
    left = max(0, left) if clip else left
    return (n if times is None else times) * (left // each)


_ZERO_MISTAKES = [
    Mistake("You share out nothing: 16 P bytes on each machine. With ZeRO-1 a machine has its n-th "
            "of the moments.",
            wrong=lambda *a: _whole_batch(*a, shared=16, sharded=0)),
    Mistake("You share out everything. With ZeRO-1 each machine has all weights and gradients.",
            wrong=lambda *a: _whole_batch(*a, shared=0, sharded=16)),
    Mistake("You share out the gradients as well, which is ZeRO's second stage.",
            wrong=lambda *a: _whole_batch(*a, shared=4, sharded=12)),
    Mistake("That is the batch of one machine. All together have n times as much.",
            wrong=lambda *a: _whole_batch(*a, times=1)),
    Mistake("The gradients are missing.",
            wrong=lambda *a: _whole_batch(*a, shared=4)),
    Mistake("Adam has two moments for each weight, and you count one.",
            wrong=lambda *a: _whole_batch(*a, sharded=4)),
    Mistake("The moments are missing: each machine has its n-th of them.",
            wrong=lambda *a: _whole_batch(*a, sharded=0)),
    Mistake("You count numbers, not bytes. A float32 number has four.",
            wrong=lambda *a: _whole_batch(*a, shared=2, sharded=2)),
    Mistake("You multiply before you round. A sequence can't lie on two machines: round down for "
            "one machine first.",
            wrong=lambda P, n, each, room: max(0, n * (room - 8 * P - -(-8 * P // n)) // each)),
    Mistake("Where the weights alone don't fit, you return a negative batch. Return 0.",
            wrong=lambda *a: _whole_batch(*a, clip=False)),
    Mistake("You put all machines' room together. Each needs the weights itself.",
            wrong=lambda P, n, each, room: max(0, (n * room - 16 * P) // each)),
]

# ---- 29.5 critical


def _norms(gradients):
    return np.mean(np.sum(gradients**2, axis=1)), np.sum(np.mean(gradients, axis=0) ** 2)


def _critical(gradients, b, *, B=None, norms=_norms):
    small, large = norms(gradients)
    B = len(gradients) * b if B is None else B
    signal = (B * large - b * small) / (B - b)
    return (small - large) / (1 / b - 1 / B) / signal


def _part(gradients, b, noise):
    small, large = _norms(gradients)
    B = len(gradients) * b
    return (small - large) / (1 / b - 1 / B) if noise else (B * large - b * small) / (B - b)


def _biased(gradients, b):
    return _part(gradients, b, True) / _norms(gradients)[1]


def _of_sum(gradients):
    return _norms(gradients)[0], np.sum(np.sum(gradients, axis=0) ** 2)


def _without_squares(gradients):
    small, large = _norms(gradients)
    return np.mean(np.sqrt(np.sum(gradients**2, axis=1))), np.sqrt(large)


def _summed_norms(gradients):
    return np.sum(gradients**2), _norms(gradients)[1]


def _mean_entries(gradients):
    return np.mean(gradients**2), _norms(gradients)[1]


def _critical_cases(rng):
    return [(rng.normal(size=(4, 30)) + 0.8, 2), (rng.normal(size=(8, 12)) + 1.5, 4),
            (rng.normal(size=(3, 50)) - 1.0, 5)]


_CRITICAL_MISTAKES = [
    Mistake("That is |G|² / tr Σ, upside down. More noise wants larger batches.",
            wrong=lambda g, b: 1 / _critical(g, b)),
    Mistake("That is tr Σ alone. Divide it by |G|².", wrong=lambda g, b: _part(g, b, True)),
    Mistake("That is |G|² alone. It divides tr Σ.", wrong=lambda g, b: _part(g, b, False)),
    Mistake("You take the norm of the mean for |G|². It still contains noise, of the whole batch: "
            "subtract that.", wrong=_biased),
    Mistake("You sum the gradients. The gradient of the whole batch is their mean.",
            wrong=lambda g, b: _critical(g, b, norms=_of_sum)),
    Mistake("You take norms. The equations are about their squares.",
            wrong=lambda g, b: _critical(g, b, norms=_without_squares)),
    Mistake("You sum the ranks' squared norms. The small batch wants their mean.",
            wrong=lambda g, b: _critical(g, b, norms=_summed_norms)),
    Mistake("You take the mean over the parameters as well. A squared norm is a sum over them.",
            wrong=lambda g, b: _critical(g, b, norms=_mean_entries)),
    Mistake("You count ranks, not sequences: the small batch has b of them.",
            wrong=lambda g, b: _critical(g, 1)),
    Mistake("You square the mean of all numbers. The mean is over the ranks, axis 0, and stays a "
            "vector.",
            wrong=lambda g, b: _critical(g, b, norms=lambda g: (_norms(g)[0], np.mean(g) ** 2))),
]

# ---- 29.6 outer_step


def _outer(theta, v, ranks, eta, mu, *, sign=1, mean=np.mean, nesterov=True, decay=None,
           direction=1):
    delta = direction * (theta - mean(ranks, axis=0))
    new = (mu if decay is None else decay) * v + delta
    along = delta + mu * new if nesterov else new
    return theta - sign * eta * along, new


def _outer_cases(rng):
    return [(rng.normal(size=5), rng.normal(size=5), rng.normal(size=(4, 5)), 0.7, 0.9),
            (rng.normal(size=3), rng.normal(size=3), rng.normal(size=(2, 3)), 0.5, 0.3)]


_OUTER_MISTAKES = [
    Mistake("You go away from where the ranks are: Δ points back to the start, so subtract it.",
            wrong=lambda *a: _outer(*a, sign=-1)),
    Mistake("Your Δ points to the ranks. It stands for a gradient, which points uphill: θ minus "
            "the mean.", wrong=lambda *a: _outer(*a, direction=-1)),
    Mistake("That is plain momentum, a step along v. Nesterov's goes along Δ + μ v, where v is the "
            "new one.",
            wrong=lambda *a: _outer(*a, nesterov=False)),
    Mistake("You sum the ranks' weights. Take their mean.",
            wrong=lambda *a: _outer(*a, mean=np.sum)),
    Mistake("The old velocity isn't multiplied by μ.", wrong=lambda *a: _outer(*a, decay=1.0)),
    Mistake("You forget the old velocity.", wrong=lambda *a: _outer(*a, decay=0.0)),
    Mistake("You weigh Δ in the velocity with 1 - μ, as Adam does. Here it is added whole.",
            wrong=lambda *a: _averaged(*a)),
    Mistake("The outer rate η is missing.",
            wrong=lambda theta, v, ranks, eta, mu: _outer(theta, v, ranks, 1.0, mu)),
    Mistake("You return the plain mean of the ranks. That is the step with μ = 0 and η = 1.",
            wrong=lambda theta, v, ranks, eta, mu: (
                ranks.mean(axis=0), _outer(theta, v, ranks, eta, mu)[1])),
    Mistake("The velocity comes first in your result. Return the weights, then the velocity.",
            wrong=lambda *a: _outer(*a)[::-1]),
]


def _averaged(theta, v, ranks, eta, mu):
    delta = theta - ranks.mean(axis=0)
    v = mu * v + (1 - mu) * delta
    return theta - eta * (delta + mu * v), v


EXERCISES = [
    Exercise("29.1", "after_steps", reference=_after_steps,
             cases=lambda rng: [(rng.normal(size=(4, 4, 2)), 2), (rng.normal(size=(3, 3, 1)), 2),
                                (rng.normal(size=(5, 5, 3)), 4)], mistakes=_STEPS_MISTAKES),
    Exercise("29.2", "ring_seconds", reference=_ring,
             cases=lambda rng: [(4, 1e8, 2e-5, 1.25e9), (1024, 25e6, 2e-5, 12.5e9),
                                (3, 1000, 1e-3, 1e6)], mistakes=_RING_MISTAKES, tolerance=1e-9),
    Exercise("29.3", "step_seconds", reference=_step_seconds, cases=lambda rng: _STAGE_CASES,
             mistakes=_STAGE_MISTAKES),
    Exercise("29.4", "whole_batch", reference=_whole_batch,
             cases=lambda rng: [(1_000_000, 4, 3_000_001, 100_000_000),
                                (2_000_003, 8, 700_000, 60_000_000),
                                (5_000_000, 2, 1_000_000, 50_000_000)],
             mistakes=_ZERO_MISTAKES, tolerance=1e-9),
    Exercise("29.5", "critical", reference=_critical, cases=_critical_cases,
             mistakes=_CRITICAL_MISTAKES),
    Exercise("29.6", "outer_step", reference=_outer, cases=_outer_cases,
             mistakes=_OUTER_MISTAKES),
]
