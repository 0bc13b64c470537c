"""The exercises of chapter 4: feed-forward, residuals, layer norm."""

import math

import numpy as np

from minillm.course.checking import Exercise, Mistake

# ---- 4.1


def _layer_norm(x, weight, bias, eps=1e-5):
    return weight * _centered(x, -1) / np.sqrt(_variance(x, -1) + eps) + bias


def _centered(x, axis):
    return x - x.mean(axis=axis, keepdims=True)


def _variance(x, axis, ddof=0):
    return x.var(axis=axis, keepdims=True, ddof=ddof)


def _over(axis):
    def wrong(x, weight, bias, eps=1e-5):
        return weight * _centered(x, axis) / np.sqrt(_variance(x, axis) + eps) + bias

    return wrong


def _norm_unbiased(x, weight, bias, eps=1e-5):
    return weight * _centered(x, -1) / np.sqrt(_variance(x, -1, ddof=1) + eps) + bias


def _norm_eps_outside(x, weight, bias, eps=1e-5):
    return weight * _centered(x, -1) / (np.sqrt(_variance(x, -1)) + eps) + bias


def _norm_annotated(x, weight, bias, eps=1e-5):
    return weight * _centered(x, -1) / (np.sqrt(_variance(x, -1, ddof=1)) + eps) + bias


def _norm_by_variance(x, weight, bias, eps=1e-5):
    return weight * _centered(x, -1) / (_variance(x, -1) + eps) + bias


def _norm_not_centered(x, weight, bias, eps=1e-5):
    return weight * x / np.sqrt(_variance(x, -1) + eps) + bias


def _norm_rms(x, weight, bias, eps=1e-5):
    return weight * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) + bias


def _norm_mean_square(x, weight, bias, eps=1e-5):
    return weight * _centered(x, -1) / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) + bias


def _norm_length(x, weight, bias, eps=1e-5):
    sums = (_centered(x, -1) ** 2).sum(axis=-1, keepdims=True)
    return weight * _centered(x, -1) / np.sqrt(sums + eps) + bias


def _norm_plain(x, weight, bias, eps=1e-5):
    return _layer_norm(x, 1.0, 0.0, eps)


def _norm_bias_inside(x, weight, bias, eps=1e-5):
    return weight * (_layer_norm(x, 1.0, 0.0, eps) + bias)


def _norm_only_centered(x, weight, bias, eps=1e-5):
    return weight * _centered(x, -1) + bias


# ---- 4.3


def _relu_network(x, W1, W2):
    """relu(x W1) W2, for W1: (d, 2 d) and W2: (2 d, d)"""
    d = x.shape[-1]
    for name, W, shape in (("W1", W1, (d, 2 * d)), ("W2", W2, (2 * d, d))):
        if np.shape(W) != shape:
            raise ValueError(f"{name} has shape {np.shape(W)}, wanted {shape}")
    return np.maximum(x @ W1, 0) @ W2


def _negate(x, relu_network):
    one = np.eye(x.shape[1])
    return relu_network(x, np.hstack([one, -one]), np.vstack([-one, one]))


def _through(first, second, third, fourth):
    """The network with W1 = [first I | second I] and W2 = [third I; fourth I]"""

    def wrong(x, relu_network):
        one = np.eye(x.shape[1])
        return relu_network(x, np.hstack([first * one, second * one]),
                            np.vstack([third * one, fourth * one]))

    return wrong


# ---- 4.4


def _mix(x):
    """Stands for attention: every row becomes a mean of the rows so far, a little turned."""
    return np.cumsum(x, axis=0)[:, ::-1] / np.arange(1, len(x) + 1)[:, None]


def _think(x):
    return np.maximum(x, 0) - 0.3 * x**2


def _norm1(x):
    return 1.5 * _layer_norm(x, 1.0, 0.1)


def _norm2(x):
    return 0.7 * _layer_norm(x, 1.0, -0.2)


def _block(x, attention, feed_forward, norm1, norm2):
    x = x + attention(norm1(x))
    return x + feed_forward(norm2(x))


def _block_planted(x, attention, feed_forward, norm1, norm2):
    x = norm1(x)
    x = x + attention(x)
    x = norm2(x)
    return x + feed_forward(x)


def _block_first_repaired(x, attention, feed_forward, norm1, norm2):
    x = norm2(x + attention(norm1(x)))
    return x + feed_forward(x)


def _block_second_repaired(x, attention, feed_forward, norm1, norm2):
    x = norm1(x)
    x = x + attention(x)
    return x + feed_forward(norm2(x))


def _block_post(x, attention, feed_forward, norm1, norm2):
    x = norm1(x + attention(x))
    return norm2(x + feed_forward(x))


def _block_no_norm(x, attention, feed_forward, norm1, norm2):
    x = x + attention(x)
    return x + feed_forward(x)


def _block_output_norm(x, attention, feed_forward, norm1, norm2):
    x = x + norm1(attention(x))
    return x + norm2(feed_forward(x))


def _block_parallel(x, attention, feed_forward, norm1, norm2):
    return x + attention(norm1(x)) + feed_forward(norm2(x))


def _block_swapped(x, attention, feed_forward, norm1, norm2):
    return _block(x, attention, feed_forward, norm2, norm1)


def _block_one_norm(x, attention, feed_forward, norm1, norm2):
    return _block(x, attention, feed_forward, norm1, norm1)


def _block_no_residuals(x, attention, feed_forward, norm1, norm2):
    return feed_forward(norm2(attention(norm1(x))))


def _block_no_second_residual(x, attention, feed_forward, norm1, norm2):
    return feed_forward(norm2(x + attention(norm1(x))))


def _block_no_first_residual(x, attention, feed_forward, norm1, norm2):
    x = attention(norm1(x))
    return x + feed_forward(norm2(x))


def _block_input_again(x, attention, feed_forward, norm1, norm2):
    after = x + attention(norm1(x))
    return x + feed_forward(norm2(after))


def _block_other_order(x, attention, feed_forward, norm1, norm2):
    x = x + feed_forward(norm2(x))
    return x + attention(norm1(x))


# ---- 4.6


def _parameters(d, d_ff):
    return 4 * (d * d + d) + 2 * d * d_ff + d_ff + d + 4 * d


EXERCISES = [
    Exercise(
        "4.1", "my_layer_norm",
        reference=_layer_norm,
        cases=lambda rng: [(rng.normal(size=(2, 3, 4)), rng.normal(size=4), rng.normal(size=4)),
                           (3 * rng.normal(size=(4, 4, 4)) + 2, rng.normal(size=4),
                            rng.normal(size=4)),
                           (rng.normal(size=(1, 2, 6)), rng.normal(size=6), rng.normal(size=6), 0.1)],
        tolerance=1e-7,
        mistakes=[
            Mistake("Your statistics run over the positions, axis -2. Each position has its own mean "
                    "and variance, over its d numbers: axis -1.", wrong=_over(-2)),
            Mistake("Your statistics run over the batch, axis 0. Every vector is normalized alone: "
                    "axis -1. (Over the batch is batch norm.)", wrong=_over(0)),
            Mistake("Your statistics run over the whole array. Each position of each sequence has "
                    "its own: axis -1, with keepdims=True.", wrong=_over(None)),
            Mistake("Your statistics run over all positions of a sequence together. Each position "
                    "has its own: axis -1 alone.", wrong=_over((1, 2))),
            Mistake("Your variance divides by d - 1 (ddof=1, or PyTorch's std). Layer norm divides "
                    "by d.", wrong=_norm_unbiased),
            Mistake("You add eps to the standard deviation. It belongs under the root, to the "
                    "variance.", wrong=_norm_eps_outside),
            Mistake("This is The Annotated Transformer's version: it divides by d - 1, and adds eps "
                    "outside the root. Both differ from the formula.", wrong=_norm_annotated),
            Mistake("You divide by the variance; take its root.", wrong=_norm_by_variance),
            Mistake("The mean isn't subtracted from x, only used in the variance.",
                    wrong=_norm_not_centered),
            Mistake("This is RMS norm: no mean is subtracted anywhere.", wrong=_norm_rms),
            Mistake("The numerator is right. In the denominator, take the squares of x - mean, not "
                    "of x.", wrong=_norm_mean_square),
            Mistake("You divide by the length of the vector, the root of the sum of squares. It must "
                    "be the mean of the squares.", wrong=_norm_length),
            Mistake("The normalization is right. Weight and bias are not applied.",
                    wrong=_norm_plain),
            Mistake("Weight and bias are not applied, and eps is missing under the root.",
                    wrong=lambda x, weight, bias, eps=1e-5: _layer_norm(x, 1.0, 0.0, 0.0)),
            Mistake("Weight and bias are swapped: weight multiplies, bias is added.",
                    wrong=lambda x, weight, bias, eps=1e-5: _layer_norm(x, bias, weight, eps)),
            Mistake("The bias is subtracted; it must be added.",
                    wrong=lambda x, weight, bias, eps=1e-5: _layer_norm(x, weight, -bias, eps)),
            Mistake("The weight also multiplies the bias: the bias is added last.",
                    wrong=_norm_bias_inside),
            Mistake("The mean is subtracted, and nothing is divided: the variance isn't 1 yet.",
                    wrong=_norm_only_centered),
            Mistake("This ignores the argument eps and uses 1e-5 always.",
                    wrong=lambda x, weight, bias, eps=1e-5: _layer_norm(x, weight, bias)),
            Mistake("This ignores eps. It belongs under the root.",
                    wrong=lambda x, weight, bias, eps=1e-5: _layer_norm(x, weight, bias, 0.0)),
        ],
    ),
    Exercise(
        "4.2", "two_norms",
        reference=[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0],
        mistakes=[
            Mistake("The mean is subtracted; now divide by the standard deviation. The second vector is "
                    "the first one, stretched and shifted: what does layer norm ignore?",
                    wrong=[-1, 1, -1, 1, -1000, 1000, -1000, 1000]),
            Mistake("Stretching doesn't change the result; look again at the second half.",
                    wrong=[-1, 1, -1, 1, -500, 500, -500, 500]),
            Mistake("The signs are the other way round: 2 lies below the mean, so its norm is "
                    "negative.", wrong=[1, -1, 1, -1, 1, -1, 1, -1]),
            Mistake("You divided by the standard deviation with 1/(d - 1). Layer norm uses 1/d.",
                    wrong=[sign * math.sqrt(3) / 2 for sign in (-1, 1, -1, 1) * 2]),
            Mistake("You divided by the length of the centered vector. Divide by the standard "
                    "deviation, so that the variance is 1, not the length.",
                    wrong=[-0.5, 0.5] * 4),
            Mistake("You mapped each vector to the range from 0 to 1. Layer norm gives mean 0 and "
                    "variance 1.", wrong=[0, 1] * 4),
            Mistake("These are the vectors divided by their rms: RMS norm. Subtract the mean first.",
                    wrong=[value / math.sqrt(10) for value in (2, 4, 2, 4)]
                    + [value / math.sqrt(5) for value in (1, 3, 1, 3)]),
            Mistake("You divided by the mean instead of the standard deviation.",
                    wrong=[-1 / 3, 1 / 3, -1 / 3, 1 / 3, -0.5, 0.5, -0.5, 0.5]),
            Mistake("Constant vectors become 0; these are not constant. How far is each number from "
                    "the mean, in standard deviations?", wrong=[0.0] * 8),
            Mistake("This is the norm of one vector. Give both, one after the other: eight numbers.",
                    wrong=[-1, 1, -1, 1]),
            Mistake("Right, as two lists. Give one list of eight numbers.",
                    wrong=[[-1, 1, -1, 1], [-1, 1, -1, 1]]),
            Mistake("You divided by the variance of the second vector; take its root.",
                    wrong=[-1, 1, -1, 1, -0.001, 0.001, -0.001, 0.001]),
        ],
    ),
    Exercise(
        "4.3", "negate",
        reference=_negate,
        cases=lambda rng: [(rng.normal(size=(3, 4)), _relu_network),
                           (rng.normal(size=(2, 1)), _relu_network),
                           (rng.normal(size=(4, 6)), _relu_network)],
        mistakes=[
            Mistake("Positive numbers are negated; negative ones became 0, because the ReLU cuts "
                    "them off. Which key matches a negative number?", wrong=_through(1, 0, -1, 0)),
            Mistake("Negative numbers are negated; positive ones became 0. They need a neuron each, "
                    "too.", wrong=_through(-1, 0, 1, 0)),
            Mistake("The result is x itself. Both keys match; the signs of both values are the other "
                    "way round.", wrong=_through(1, -1, 1, -1)),
            Mistake("The result is the absolute value |x|: both kinds of neurons write with the sign "
                    "plus. One of them must write minus.", wrong=_through(1, -1, 1, 1)),
            Mistake("The result is -|x|: both kinds of neurons write with the sign minus. One of "
                    "them must write plus.", wrong=_through(1, -1, -1, -1)),
            Mistake("The positive part is counted twice and the negative part not at all: both "
                    "halves of W1 have the same sign.", wrong=_through(1, 1, -1, -1)),
            Mistake("The negative part is counted twice and the positive part not at all: both "
                    "halves of W1 have the same sign.", wrong=_through(-1, -1, 1, 1)),
            Mistake("Everything is 0: the two halves cancel. What should a positive x write, and "
                    "what a negative one?", wrong=_through(1, 1, 1, -1)),
            Mistake("The result is twice too large: each number goes through one neuron of its sign, "
                    "with weight 1.", wrong=_through(1, -1, -2, 2)),
            Mistake("The result is half as large as it should be. Of the two neurons of a number "
                    "only one is on at a time.", wrong=_through(1, -1, -0.5, 0.5)),
        ],
    ),
    Exercise(
        "4.4", "pre_norm_block",
        reference=_block,
        cases=lambda rng: [(3 * rng.normal(size=(3, 4)) + 1, _mix, _think, _norm1, _norm2),
                           (rng.normal(size=(5, 6)), _mix, _think, _norm1, _norm2)],
        mistakes=[
            Mistake("The bug is still there. Follow x through the block: which operation can't be "
                    "undone by the sums after it?", wrong=_block_planted),
            Mistake("The first half is right now. The second has the same mistake.",
                    wrong=_block_first_repaired),
            Mistake("The second half is right now. The first has the same mistake.",
                    wrong=_block_second_repaired),
            Mistake("This is post-norm: the norm stands around the sum. In pre-norm it stands inside "
                    "the branch only.", wrong=_block_post),
            Mistake("Now there is no norm at all. Each sub-layer should see its norm's output.",
                    wrong=_block_no_norm),
            Mistake("The norms stand behind the sub-layers. In pre-norm they stand in front of them.",
                    wrong=_block_output_norm),
            Mistake("Both sub-layers read the same x. The feed-forward network must read what "
                    "attention has written: two sums, one after the other.", wrong=_block_parallel),
            Mistake("The two norms are swapped: norm1 belongs to attention.", wrong=_block_swapped),
            Mistake("You used norm1 twice. Each sub-layer has a norm of its own.",
                    wrong=_block_one_norm),
            Mistake("Both residual connections are gone. Add each branch to x.",
                    wrong=_block_no_residuals),
            Mistake("The residual around the feed-forward network is missing.",
                    wrong=_block_no_second_residual),
            Mistake("The residual around attention is missing.", wrong=_block_no_first_residual),
            Mistake("The second sum adds to the block's input. It must add to the stream after "
                    "attention, or attention's write is lost.", wrong=_block_input_again),
            Mistake("The input x is added once more at the end. Each sum keeps the stream already.",
                    wrong=lambda x, attention, feed_forward, norm1, norm2:
                    x + _block(x, attention, feed_forward, norm1, norm2)),
            Mistake("There is one norm too many, around the result. A pre-norm block leaves its "
                    "output as the sum; the model norms it once, after the last block.",
                    wrong=lambda x, attention, feed_forward, norm1, norm2:
                    norm2(_block(x, attention, feed_forward, norm1, norm2))),
            Mistake("The feed-forward network comes first here. In a transformer block attention "
                    "does.", wrong=_block_other_order),
        ],
    ),
    Exercise(
        "4.5", "rms_of_stream",
        reference=lambda N, sigma: math.sqrt(1 + 2 * N * sigma**2),
        cases=lambda rng: [(12, 0.5), (6, 1.0), (48, 0.1), (3, 2.0)],
        mistakes=[
            Mistake("Each layer writes twice: there are 2N writes.",
                    wrong=lambda N, sigma: math.sqrt(1 + N * sigma**2)),
            Mistake("Each layer writes twice, and the rms is the root of the variance.",
                    wrong=lambda N, sigma: 1 + N * sigma**2),
            Mistake("This is the variance of the writes alone. Add the input's, and take the root.",
                    wrong=lambda N, sigma: 2 * N * sigma**2),
            Mistake("This is one over the rms: the factor that would bring the stream back to 1.",
                    wrong=lambda N, sigma: 1 / math.sqrt(1 + 2 * N * sigma**2)),
            Mistake("This multiplies by 1 + σ at every write. Independent writes add variances.",
                    wrong=lambda N, sigma: (1 + sigma) ** (2 * N)),
            Mistake("This is the variance. The rms is its root.",
                    wrong=lambda N, sigma: 1 + 2 * N * sigma**2),
            Mistake("You added the sizes of the writes. Independent terms add their variances, so "
                    "sizes grow like a root.", wrong=lambda N, sigma: 1 + 2 * N * sigma),
            Mistake("You added σ instead of σ². Variances add.",
                    wrong=lambda N, sigma: math.sqrt(1 + 2 * N * sigma)),
            Mistake("The input is missing: its variance 1 is part of the sum.",
                    wrong=lambda N, sigma: math.sqrt(2 * N) * sigma),
            Mistake("The roots are added. Add the variances first, and take one root of the sum.",
                    wrong=lambda N, sigma: 1 + math.sqrt(2 * N) * sigma),
            Mistake("This multiplies at every write, as in a stack without a norm. Here each write "
                    "has the same variance σ², whatever the stream is.",
                    wrong=lambda N, sigma: (1 + sigma**2) ** N),
            Mistake("The input counts once for each layer here. It is there once.",
                    wrong=lambda N, sigma: math.sqrt(N * (1 + 2 * sigma**2))),
            Mistake("You squared 2N together with σ: (2Nσ)². Variances of independent writes add, "
                    "they aren't one write of 2N times the size.",
                    wrong=lambda N, sigma: math.sqrt(1 + (2 * N * sigma) ** 2)),
            Mistake("There are 2N writes after the input, not 2N terms in all.",
                    wrong=lambda N, sigma: math.sqrt(1 + (2 * N - 1) * sigma**2)),
            Mistake("The variance is divided by the number of terms: that is a mean. The stream is "
                    "a sum.", wrong=lambda N, sigma: math.sqrt((1 + 2 * N * sigma**2) / (2 * N + 1))),
        ],
    ),
    Exercise(
        "4.6", "block_parameters",
        reference=_parameters,
        cases=lambda rng: [(128, 512), (768, 3072), (10, 24)],
        mistakes=[
            Mistake("The biases of the linear maps are missing.",
                    wrong=lambda d, d_ff: 4 * d * d + 2 * d * d_ff + 4 * d),
            Mistake("The two layer norms are missing: a weight and a bias each.",
                    wrong=lambda d, d_ff: _parameters(d, d_ff) - 4 * d),
            Mistake("Too few by 2d: a block has two layer norms, and each has two vectors, a weight "
                    "and a bias.",
                    wrong=lambda d, d_ff: _parameters(d, d_ff) - 2 * d),
            Mistake("The output projection of attention is missing.",
                    wrong=lambda d, d_ff: _parameters(d, d_ff) - d * d - d),
            Mistake("Only the matrices are counted: biases and norms are missing.",
                    wrong=lambda d, d_ff: 4 * d * d + 2 * d * d_ff),
            Mistake("This is 12 d², the matrices of a block with d_ff = 4d. Here d_ff is an argument, "
                    "and there are biases and norms.", wrong=lambda d, d_ff: 12 * d * d),
            Mistake("These are the matrices without the output projection of attention, and without "
                    "biases and norms.", wrong=lambda d, d_ff: 3 * d * d + 2 * d * d_ff),
            Mistake("You took d_ff = 4d. It is an argument here.",
                    wrong=lambda d, d_ff: _parameters(d, 4 * d)),
            Mistake("Attention is counted as one d × d matrix with a bias. Queries, keys, values and "
                    "the output have one each.",
                    wrong=lambda d, d_ff: _parameters(d, d_ff) - 3 * (d * d + d)),
            Mistake("The feed-forward network has two matrices; one is missing.",
                    wrong=lambda d, d_ff: _parameters(d, d_ff) - d * d_ff - d),
            Mistake("The biases of the feed-forward network have d_ff and d numbers, one for each "
                    "output of its maps.", wrong=lambda d, d_ff: _parameters(d, d_ff) - d + d_ff),
            Mistake("The bias of the second feed-forward matrix is missing: d numbers.",
                    wrong=lambda d, d_ff: _parameters(d, d_ff) - d),
            Mistake("The bias of the first feed-forward matrix is missing: d_ff numbers.",
                    wrong=lambda d, d_ff: _parameters(d, d_ff) - d_ff),
            Mistake("The biases of Q, K and V are missing.",
                    wrong=lambda d, d_ff: _parameters(d, d_ff) - 3 * d),
            Mistake("This is the feed-forward network alone.",
                    wrong=lambda d, d_ff: 2 * d * d_ff + d_ff + d),
            Mistake("This is attention alone.", wrong=lambda d, d_ff: 4 * (d * d + d)),
        ],
    ),
]
