"""The row-wise kernels in C: checks, then one call into csrc/rows.c. float64 goes to NumPy."""

import numpy as np

from minillm.kernels import numpy_rows
from minillm.kernels.c_library import FLOAT32, FLOATS, ffi, lib
from minillm.kernels.rows_arguments import (
    adam_arguments,
    add_to_rows_arguments,
    cross_entropy_arguments,
    cross_entropy_backward_arguments,
    elementwise_arguments,
    layer_norm_arguments,
    layer_norm_backward_arguments,
)

from_buffer = ffi.from_buffer


def gelu_tanh(x):
    """-> y: see `minillm.kernels.gelu_tanh`."""
    (x,) = elementwise_arguments(x=x)
    if x.dtype != FLOAT32:
        return numpy_rows.gelu_tanh(x)
    y = np.empty_like(x)
    lib.minillm_gelu_tanh(x.size, *_pointers(x, y))
    return y


def gelu_tanh_backward(dy, x):
    """-> dx: see `minillm.kernels.gelu_tanh_backward`."""
    x, dy = elementwise_arguments(x=x, dy=dy)
    if x.dtype != FLOAT32:
        return numpy_rows.gelu_tanh_backward(dy, x)
    dx = np.empty_like(x)
    lib.minillm_gelu_tanh_backward(x.size, *_pointers(dy, x, dx))
    return dx


def layer_norm(x, gain, bias, eps=1e-5):
    """-> y, mean, inverse_std: see `minillm.kernels.layer_norm`."""
    x, gain, bias = layer_norm_arguments(x, gain, bias)
    if x.dtype != FLOAT32:
        return numpy_rows.layer_norm(x, gain, bias, eps)
    y = np.empty_like(x)
    mean, inverse_std = np.empty(x.shape[:-1], FLOAT32), np.empty(x.shape[:-1], FLOAT32)
    lib.minillm_layer_norm(
        mean.size, x.shape[-1], *_pointers(x, gain, bias), eps, *_pointers(y, mean, inverse_std)
    )
    return y, mean, inverse_std


def layer_norm_backward(dy, x, mean, inverse_std, gain):
    """-> dx, dgain, dbias: see `minillm.kernels.layer_norm_backward`."""
    inputs = layer_norm_backward_arguments(dy, x, mean, inverse_std, gain)
    if x.dtype != FLOAT32:
        return numpy_rows.layer_norm_backward(*inputs)
    dx, dgain, dbias = np.empty(x.shape, FLOAT32), np.empty_like(gain), np.empty_like(gain)
    lib.minillm_layer_norm_backward(mean.size, len(gain), *_pointers(*inputs, dx, dgain, dbias))
    return dx, dgain, dbias


def cross_entropy(logits, targets, label_smoothing=0.0):
    """-> losses, log_total: see `minillm.kernels.cross_entropy`."""
    logits, targets = cross_entropy_arguments(logits, targets, label_smoothing)
    if logits.dtype != FLOAT32:
        return numpy_rows.cross_entropy(logits, targets, label_smoothing)
    losses, log_total = np.empty(targets.shape, FLOAT32), np.empty(targets.shape, FLOAT32)
    lib.minillm_cross_entropy(
        targets.size, logits.shape[-1], *_pointers(logits), from_buffer("int64_t[]", targets),
        label_smoothing, *_pointers(losses, log_total),
    )
    return losses, log_total


def cross_entropy_backward(weight, logits, targets, log_total, label_smoothing=0.0, out=None):
    """-> dlogits: see `minillm.kernels.cross_entropy_backward`."""
    logits, targets, log_total, out = cross_entropy_backward_arguments(
        logits, targets, log_total, label_smoothing, out
    )
    if logits.dtype != FLOAT32:
        return numpy_rows.cross_entropy_backward(
            weight, logits, targets, log_total, label_smoothing, out
        )
    lib.minillm_cross_entropy_backward(
        targets.size, logits.shape[-1], *_pointers(logits), from_buffer("int64_t[]", targets),
        *_pointers(log_total), label_smoothing, weight, *_pointers(out),
    )
    return out


def adam(w, g, m, v, *, t, lr, beta1, beta2, eps, grad_scale=1.0, l2=0.0, decay=0.0):
    """Change w, m and v in place: see `minillm.kernels.adam`."""
    g = adam_arguments(w, g, m, v)
    if w.dtype != FLOAT32:
        numpy_rows.adam(w, g, m, v, t=t, lr=lr, beta1=beta1, beta2=beta2, eps=eps,
                        grad_scale=grad_scale, l2=l2, decay=decay)
        return
    lib.minillm_adam(
        w.size, *_pointers(w, g, m, v), beta1, beta2, grad_scale, l2, 1 - lr * decay,
        lr / (1 - beta1**t), (1 - beta2**t) ** -0.5, eps,
    )


def sum_of_squares(x):
    """-> float: see `minillm.kernels.sum_of_squares`."""
    (x,) = elementwise_arguments(x=x)
    if x.dtype != FLOAT32:
        return numpy_rows.sum_of_squares(x)
    return lib.minillm_sum_of_squares(x.size, *_pointers(x))


def add_to_rows(table, ids, x):
    """Change `table` in place: see `minillm.kernels.add_to_rows`."""
    ids, x = add_to_rows_arguments(table, ids, x)
    if x.dtype != FLOAT32:
        numpy_rows.add_to_rows(table, ids, x)
        return
    lib.minillm_add_to_rows(
        *x.shape, from_buffer("int64_t[]", ids), *_pointers(x, table)
    )


def _pointers(*arrays):
    """The addresses of contiguous float32 arrays."""
    return [from_buffer(FLOATS, array) for array in arrays]
