"""GELU, layer norm, cross-entropy and Adam in NumPy: whole arrays, one operation at a time.

Written with few temporaries (`out=`, `*=`), because each of them goes through the memory. The
derivations of the gradients are in minillm/ops, above each backward.
"""

import math

import numpy as np

from minillm.kernels.rows_arguments import (
    adam_arguments,
    add_to_rows_arguments,
    cross_entropy_arguments,
    cross_entropy_backward_arguments,
    elementwise_arguments,
    layer_norm_arguments,
    layer_norm_backward_arguments,
)

A, B = math.sqrt(2 / math.pi), 0.044715


def gelu_tanh(x):
    """-> y: see `minillm.kernels.gelu_tanh`."""
    (x,) = elementwise_arguments(x=x)
    y = _tanh_u(x)
    y += 1
    y *= x
    y *= 0.5
    return y


def gelu_tanh_backward(dy, x):
    """-> dx: see `minillm.kernels.gelu_tanh_backward`."""
    x, dy = elementwise_arguments(x=x, dy=dy)
    tanh = _tanh_u(x)
    slope = x * x  # (1 + T + (1 - T) (1 + T) u' x) / 2, from the inside out: T = -1 comes before x
    slope *= 3 * A * B
    slope += A  # u'
    slope *= 1 - tanh
    slope *= 1 + tanh
    slope *= x
    slope += 1 + tanh
    slope *= 0.5
    slope *= dy
    return slope


def _tanh_u(x):
    tanh = x * x
    tanh *= A * B
    tanh += A
    tanh *= x  # u
    return np.tanh(tanh, out=tanh)


def layer_norm(x, gain, bias, eps=1e-5):
    """-> y, mean, inverse_std: see `minillm.kernels.layer_norm`."""
    x, gain, bias = layer_norm_arguments(x, gain, bias)
    rows = x.reshape(-1, x.shape[-1])
    mean = rows.mean(axis=1)
    y = rows - mean[:, None]
    inverse_std = 1 / np.sqrt(_mean_of_product(y, y) + x.dtype.type(eps))
    y *= inverse_std[:, None]  # x̂
    y *= gain
    y += bias
    return y.reshape(x.shape), mean.reshape(x.shape[:-1]), inverse_std.reshape(x.shape[:-1])


def layer_norm_backward(dy, x, mean, inverse_std, gain):
    """-> dx, dgain, dbias: see `minillm.kernels.layer_norm_backward`."""
    dy, x, mean, inverse_std, gain = layer_norm_backward_arguments(dy, x, mean, inverse_std, gain)
    rows, drows = (array.reshape(-1, x.shape[-1]) for array in (x, dy))
    mean, inverse_std = mean.reshape(-1, 1), inverse_std.reshape(-1, 1)
    x_hat = rows - mean
    x_hat *= inverse_std
    dgain = np.einsum("ni,ni->i", drows, x_hat)
    dbias = drows.sum(axis=0)
    dx = drows * gain  # dx̂ so far
    along_x_hat = _mean_of_product(dx, x_hat)
    dx -= dx.mean(axis=1, keepdims=True)
    x_hat *= along_x_hat[:, None]
    dx -= x_hat
    dx *= inverse_std
    return dx.reshape(x.shape), dgain, dbias


def _mean_of_product(a, b):
    """mean(a * b) of each row without an array for a * b"""
    return np.einsum("ni,ni->n", a, b) / a.dtype.type(a.shape[1])


def cross_entropy(logits, targets, label_smoothing=0.0):
    """-> losses, log_total: see `minillm.kernels.cross_entropy`."""
    logits, targets = cross_entropy_arguments(logits, targets, label_smoothing)
    z = logits.reshape(-1, logits.shape[-1])
    wanted = targets.ravel()
    at_target = np.arange(len(z)), np.maximum(wanted, 0)
    largest = z.max(axis=1, keepdims=True)
    largest[largest == -np.inf] = 0  # -inf - -inf is not a number
    shifted = z - largest
    np.exp(shifted, out=shifted)
    with np.errstate(divide="ignore"):
        log_total = np.log(shifted.sum(axis=1)) + largest[:, 0]
    losses = log_total - z.dtype.type(1 - label_smoothing) * z[at_target]
    if label_smoothing:
        losses -= z.dtype.type(label_smoothing) * z.mean(axis=1)
    losses[wanted < 0] = 0
    return losses.reshape(targets.shape), log_total.reshape(targets.shape)


def cross_entropy_backward(weight, logits, targets, log_total, label_smoothing=0.0, out=None):
    """-> dlogits: see `minillm.kernels.cross_entropy_backward`."""
    logits, targets, log_total, out = cross_entropy_backward_arguments(
        logits, targets, log_total, label_smoothing, out
    )
    z, dz = (array.reshape(-1, logits.shape[-1]) for array in (logits, out))
    wanted = targets.ravel()
    np.subtract(z, log_total.reshape(-1, 1), out=dz)
    np.exp(dz, out=dz)  # p
    if label_smoothing:
        dz -= label_smoothing / z.shape[1]
    dz[np.arange(len(dz)), np.maximum(wanted, 0)] -= 1 - label_smoothing
    dz *= weight
    dz[wanted < 0] = 0
    return out


def adam(w, g, m, v, *, t, lr, beta1, beta2, eps, grad_scale=1.0, l2=0.0, decay=0.0):
    """Change w, m and v in place: see `minillm.kernels.adam`."""
    g = adam_arguments(w, g, m, v)
    w, g, m, v = np.atleast_1d(w, g, m, v)  # NumPy's sums of 0-d arrays would be scalars
    if grad_scale != 1:
        g = g * w.dtype.type(grad_scale)
    if l2:
        g = g + w * w.dtype.type(l2)
    m *= beta1
    m += g * w.dtype.type(1 - beta1)
    change = g * g
    change *= 1 - beta2
    v *= beta2
    v += change
    np.sqrt(v, out=change)
    change *= (1 - beta2**t) ** -0.5  # √v̂
    change += eps
    np.divide(m, change, out=change)
    change *= lr / (1 - beta1**t)
    if decay:
        w *= 1 - lr * decay
    w -= change


def sum_of_squares(x):
    """-> float: see `minillm.kernels.sum_of_squares`."""
    (x,) = elementwise_arguments(x=x)
    # einsum sums in one thread and in float64: the same bits for any number of threads.
    return float(np.einsum("i,i->", x.ravel(), x.ravel(), dtype=np.float64))


def add_to_rows(table, ids, x):
    """Change `table` in place: see `minillm.kernels.add_to_rows`."""
    ids, x = add_to_rows_arguments(table, ids, x)
    # One row at a time, in order: about as fast as sorting the ids or np.add.at, or faster,
    # because a row is a vector addition, and the result is the same in every run.
    for token, row in zip(ids.tolist(), x):
        table[token] += row
