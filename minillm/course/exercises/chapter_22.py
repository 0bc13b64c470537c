"""The exercises of chapter 22, A circuit, found and proven."""

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 22.1 adder_logits


def _adder_logits(a, b, p, ks, alphas, *, wave=np.cos, turn=2 * np.pi, sign=-1, other=1):
    c = np.arange(p)
    return sum(alpha * wave(turn * k * (a + other * b + sign * c) / p)
               for k, alpha in zip(ks, alphas))


def _with(**changes):
    return lambda *arguments: _adder_logits(*arguments, **changes)


def _per_frequency(a, b, p, ks, alphas):
    angles = 2 * np.pi * np.outer(ks, a + b - np.arange(p)) / p
    return np.array(alphas)[:, None] * np.cos(angles)


_ADDER_MISTAKES = [
    Mistake("You use the sine. At the right answer the angle is 0, and there the cosine is at its "
            "top; the sine is 0.", wrong=_with(wave=np.sin)),
    Mistake("Your angle is k (a + b - c) / p of a half turn. A whole turn is 2π.",
            wrong=_with(turn=np.pi)),
    Mistake("The 2π is missing: w_k is 2πk/p.", wrong=_with(turn=1)),
    Mistake("You add c. The angle must be 0 where c is a + b: subtract it.", wrong=_with(sign=1)),
    Mistake("You subtract b. That adder answers a - b.", wrong=_with(other=-1)),
    Mistake("The alphas are missing: each wave has its own height.",
            wrong=lambda a, b, p, ks, alphas: _adder_logits(a, b, p, ks, np.ones(len(ks)))),
    Mistake("You return one row for each frequency. The logits are their sum.",
            wrong=_per_frequency),
    Mistake("You take the mean over the frequencies. The logits are their sum.",
            wrong=lambda a, b, p, ks, alphas: _adder_logits(a, b, p, ks, alphas) / len(ks)),
    Mistake("You return the answer. The logits of all p answers are wanted.",
            wrong=lambda a, b, p, ks, alphas: int(_adder_logits(a, b, p, ks, alphas).argmax())),
    Mistake("Your c runs from 1 to p. The numbers modulo p begin with 0.",
            wrong=lambda a, b, p, ks, alphas: np.roll(_adder_logits(a, b, p, ks, alphas), -1)),
    Mistake("You use only the first frequency.",
            wrong=lambda a, b, p, ks, alphas: _adder_logits(a, b, p, ks[:1], alphas[:1])),
]

# ---- 22.2 power


def _power(W):
    squares = (np.abs(np.fft.rfft(W, axis=0)) ** 2).sum(axis=1) / len(W)
    squares[1:] *= 2
    return squares


def _raw(W):
    return (np.abs(np.fft.rfft(W, axis=0)) ** 2).sum(axis=1)


def _twice_all(W):
    return 2 * _raw(W) / len(W)


_POWER_MISTAKES = [
    Mistake("All but the constant are half as large as they should be: rfft returns one of two "
            "mirror images of each wave. Their powers must add up to ‖W‖².",
            wrong=lambda W: _raw(W) / len(W)),
    Mistake("The scale of the transform is missing: its sums aren't divided by anything. Compare "
            "the sum of your powers with ‖W‖².",
            wrong=lambda W: _power(W) * len(W)),
    Mistake("These are the bare squares of rfft: neither scaled, nor counted for both mirror "
            "images. Compare their sum with ‖W‖².", wrong=_raw),
    Mistake("You count the constant twice, too. It has no mirror image.", wrong=_twice_all),
    Mistake("You divide by p². The squares are only p times too large.",
            wrong=lambda W: _power(W) / len(W)),
    Mistake("You add up absolute values. Power is their square.",
            wrong=lambda W: np.abs(np.fft.rfft(W, axis=0)).sum(axis=1)),
    Mistake("You transform along the columns' axis. The waves are functions of n, axis 0.",
            wrong=lambda W: (np.abs(np.fft.rfft(W, axis=1)) ** 2).sum(axis=0)),
    Mistake("You take the mean over the columns. Their powers add up.",
            wrong=lambda W: _power(W) / W.shape[1]),
    Mistake("You return the power of each column. Add up the columns.",
            wrong=lambda W: np.abs(np.fft.rfft(W, axis=0)) ** 2 / len(W)
            * np.r_[1, np.full(len(W) // 2, 2)][:, None]),
    Mistake("You return p powers, each frequency with its mirror image apart. Put k and p - k "
            "together.", wrong=lambda W: (np.abs(np.fft.fft(W, axis=0)) ** 2).sum(axis=1) / len(W)),
    Mistake("The constant, k = 0, is missing.", wrong=lambda W: _power(W)[1:]),
    Mistake("You square only the real part. A wave has a cosine and a sine.",
            wrong=lambda W: (np.fft.rfft(W, axis=0).real ** 2).sum(axis=1) / len(W)
            * np.r_[1, np.full(len(W) // 2, 2)]),
]

# ---- 22.3 margin_of_one_wave

_MARGIN = float(1 - np.cos(2 * np.pi / 59))
_MARGIN_MISTAKES = [
    Mistake("That is the logit of the strongest wrong answer. How much lower is it than 1?",
            wrong=float(np.cos(2 * np.pi / 59))),
    Mistake("That is half a turn divided by p. Two neighbors on the circle are a whole turn, 2π, "
            "divided by p apart.", wrong=float(1 - np.cos(np.pi / 59))),
    Mistake("There are 59 numbers on the circle, not 58.", wrong=float(1 - np.cos(2 * np.pi / 58))),
    Mistake("There are 59 numbers on the circle, not 60.", wrong=float(1 - np.cos(2 * np.pi / 60))),
    Mistake("NumPy's cosine takes radians: a whole turn is 2π, not 360.",
            wrong=float(1 - np.cos(360 / 59))),
    Mistake("That is the angle between two neighbors. How much lower is its cosine than 1?",
            wrong=float(2 * np.pi / 59)),
    Mistake("That is the sine of the angle. The logit is a cosine.",
            wrong=float(np.sin(2 * np.pi / 59))),
    Mistake("That is how far the weakest answer is below. The strongest wrong one is wanted, which "
            "is a single step away on the circle.", wrong=float(1 - np.cos(2 * np.pi * 29 / 59))),
    Mistake("Right but for the sign: the right answer is above the others.", wrong=-_MARGIN),
]

# ---- 22.4 without_waves


def _without_waves(W, ks, second=lambda k: -k):
    spectrum = np.fft.fft(W, axis=0)
    for k in ks:
        spectrum[k] = 0
        spectrum[second(k)] = 0
    return np.fft.ifft(spectrum, axis=0).real


def _only_one(W, ks):
    return _without_waves(W, ks, lambda k: k)


def _kept(W, ks):
    return W - _without_waves(W, ks)


def _along_columns(W, ks):
    spectrum = np.fft.rfft(W, axis=1)
    spectrum[:, [k for k in ks if k < spectrum.shape[1]]] = 0
    return np.fft.irfft(spectrum, W.shape[1], axis=1)


def _real_spectrum(W, ks):
    spectrum = np.fft.fft(W, axis=0).real
    for k in ks:
        spectrum[k] = spectrum[-k] = 0
    return np.fft.ifft(spectrum, axis=0).real



_REMOVAL_MISTAKES = [
    Mistake("The frequencies are still there, at half their height. A real wave is two complex "
            "ones. Which is the other?", wrong=_only_one),
    Mistake("You remove k and p - k - 1. In NumPy's order, the frequency -k is at the index p - k.",
            wrong=lambda W, ks: _without_waves(W, ks, lambda k: -k - 1)),
    Mistake("You remove k and p - k + 1. In NumPy's order, the frequency -k is at the index p - k.",
            wrong=lambda W, ks: _without_waves(W, ks, lambda k: (len(W) - k + 1) % len(W))),
    Mistake("You keep these waves and remove everything else. The other way around.", wrong=_kept),
    Mistake("You keep these waves and the mean. They are to be removed, and all else kept.",
            wrong=lambda W, ks: _kept(W, ks) + W.mean(axis=0)),
    Mistake("The mean is gone, too. It has the frequency 0, which isn't among `ks`.",
            wrong=lambda W, ks: _without_waves(W, [0, *ks])),
    Mistake("You transform along axis 1. The waves are functions of n, axis 0.",
            wrong=_along_columns),
    Mistake("You take the real part of the spectrum, which drops all sines. Only the result is "
            "real.",
            wrong=_real_spectrum),
    Mistake("You return the absolute value of the result. It has negative numbers: take .real.",
            wrong=lambda W, ks: np.abs(_without_waves(W, ks))),
    Mistake("You return complex numbers. What is left is real: take .real.",
            when=lambda got, *rest: np.iscomplexobj(got)),
    Mistake("You remove the frequencies k + 1. Index k of the spectrum is frequency k, because "
            "index 0 is the mean.", wrong=lambda W, ks: _without_waves(W, [k + 1 for k in ks])),
    Mistake("You remove the frequencies k - 1. Index 0 of the spectrum is the mean, so index k is "
            "frequency k.", wrong=lambda W, ks: _without_waves(W, [k - 1 for k in ks])),
]

# ---- 22.5 quiet_steps


def _quiet_steps(steps, train_accuracy, test_accuracy, known=lambda x: x >= 0.99, pick=0):
    firsts = []
    for accuracies in (train_accuracy, test_accuracy):
        found = [step for step, each in zip(steps, accuracies) if known(each)]
        if not found:
            return None
        firsts.append(found[pick])
    return firsts[1] - firsts[0]


def _in_measurements(steps, train_accuracy, test_accuracy):
    return _quiet_steps(list(range(len(steps))), train_accuracy, test_accuracy)


def _zero_for_none(*arguments):
    found = _quiet_steps(*arguments)
    return 0 if found is None else found


def _last_for_none(steps, train_accuracy, test_accuracy):
    found = _quiet_steps(steps, train_accuracy, test_accuracy)
    if found is None:
        train = [step for step, each in zip(steps, train_accuracy) if each >= 0.99]
        return steps[-1] - (train[0] if train else 0)
    return found


def _argmax(steps, train_accuracy, test_accuracy):
    first = [int(np.argmax(np.array(each) >= 0.99)) for each in (train_accuracy, test_accuracy)]
    return steps[first[1]] - steps[first[0]]


_QUIET_MISTAKES = [
    Mistake("You count measurements. Between two of them are several steps: take the entries of "
            "`steps`.", wrong=_in_measurements),
    Mistake("The sign is wrong: the others become known later.",
            wrong=lambda *arguments: None if _quiet_steps(*arguments) is None
            else -_quiet_steps(*arguments)),
    Mistake("You wait for an accuracy above 0.99. Exactly 0.99 is known, too.",
            wrong=lambda *arguments: _quiet_steps(*arguments, known=lambda x: x > 0.99)),
    Mistake("You wait for an accuracy of 1. From 0.99 on something counts as known.",
            wrong=lambda *arguments: _quiet_steps(*arguments, known=lambda x: x >= 1)),
    Mistake("You take the last steps at which they are known. The first are wanted.",
            wrong=lambda *arguments: _quiet_steps(*arguments, pick=-1)),
    Mistake("Where one of them never is known you return 0. That would mean: both at once. Return "
            "None.", wrong=_zero_for_none),
    Mistake("Where the others never are known you count up to the last step. Nobody knows how long "
            "it would have taken: return None.", wrong=_last_for_none),
    Mistake("NumPy's argmax is 0 for an array without any True, so a model that never knows seems "
            "to know at once. Return None there.", wrong=_argmax),
    Mistake("You return the step at which the others are known. Subtract the first one of the "
            "questions trained on.",
            wrong=lambda steps, train, test: None if _quiet_steps(steps, train, test) is None
            else _quiet_steps(steps, [1] * len(steps), test) + steps[0]),
    Mistake("You return None although both become known. Look at all measurements.",
            when=lambda got, want, *rest: got is None and want is not None),
]


EXERCISES = [
    Exercise("22.1", "adder_logits", reference=_adder_logits,
             cases=lambda rng: [(50, 31, 59, [2, 13, 17], [5.0, 8.0, 16.0]),
                                (3, 9, 11, [4, 1], [2.0, 0.5])],
             mistakes=_ADDER_MISTAKES),
    Exercise("22.2", "power", reference=_power,
             cases=lambda rng: [(rng.normal(size=(p, d)) + 1,) for p, d in ((7, 3), (11, 4))],
             mistakes=_POWER_MISTAKES),
    Exercise("22.3", "margin_of_one_wave", reference=_MARGIN, mistakes=_MARGIN_MISTAKES,
             tolerance=2e-5),
    Exercise("22.4", "without_waves", reference=_without_waves,
             cases=lambda rng: [(rng.normal(size=(11, 4)) + 1, [2, 4]),
                                (rng.normal(size=(7, 9)), [3])],
             mistakes=_REMOVAL_MISTAKES),
    Exercise("22.5", "quiet_steps", reference=_quiet_steps,
             cases=lambda rng: [
                 ([50, 100, 150, 200, 250, 300], [0.4, 1.0, 1.0, 1.0, 1.0, 1.0],
                  [0.1, 0.1, 0.2, 0.7, 0.99, 1.0]),
                 ([25, 50, 75], [0.5, 0.995, 1.0], [0.2, 0.5, 0.98]),
                 ([10, 40, 90, 120], [0.5, 0.9, 0.995, 1.0], [0.1, 0.3, 0.6, 0.992])],
             mistakes=_QUIET_MISTAKES),
]
