"""GELU, layer norm, cross-entropy and Adam in plain Python loops: the definitions.

The derivations of the gradients are in minillm/ops, above each backward.
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
    """y = x (1 + tanh(u)) / 2,   u = √(2/π) (x + 0.044715 x³)"""
    (x,) = elementwise_arguments(x=x)
    y = [x_i * (1 + math.tanh(A * (x_i + B * x_i**3))) / 2 for x_i in x.ravel().tolist()]
    return np.array(y, x.dtype).reshape(x.shape)


def gelu_tanh_backward(dy, x):
    """dx = dy ((1 + T) / 2 + x (1 - T²) u' / 2),   T = tanh(u)"""
    x, dy = elementwise_arguments(x=x, dy=dy)
    dx = []
    for dy_i, x_i in zip(dy.ravel().tolist(), x.ravel().tolist()):
        T = math.tanh(A * (x_i + B * x_i**3))
        dx.append(dy_i * ((1 + T) / 2 + x_i * (1 - T * T) * A * (1 + 3 * B * x_i**2) / 2))
    return np.array(dx, x.dtype).reshape(x.shape)


def layer_norm(x, gain, bias, eps=1e-5):
    """y = gain * (x - mean) / sqrt(var + eps) + bias"""
    x, gain, bias = layer_norm_arguments(x, gain, bias)
    y = np.empty_like(x)
    mean, inverse_std = (np.empty(x.shape[:-1], x.dtype) for _ in range(2))
    for row in np.ndindex(x.shape[:-1]):
        x_row = x[row].tolist()
        m = sum(x_row) / len(x_row)
        variance = sum((x_i - m) ** 2 for x_i in x_row) / len(x_row)
        mean[row], inverse_std[row] = m, 1 / math.sqrt(variance + eps)
        for i, x_i in enumerate(x_row):
            y[row][i] = gain[i] * (x_i - m) / math.sqrt(variance + eps) + bias[i]
    return y, mean, inverse_std


def layer_norm_backward(dy, x, mean, inverse_std, gain):
    """dx = (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)) / std,   dgain = Σ dy x̂,   dbias = Σ dy"""
    dy, x, mean, inverse_std, gain = layer_norm_backward_arguments(dy, x, mean, inverse_std, gain)
    d = x.shape[-1]
    dx = np.empty_like(x)
    dgain, dbias = [0.0] * d, [0.0] * d
    for row in np.ndindex(x.shape[:-1]):
        x_hat = [(x_i - float(mean[row])) * float(inverse_std[row]) for x_i in x[row].tolist()]
        dx_hat = [dy_i * gain_i for dy_i, gain_i in zip(dy[row].tolist(), gain.tolist())]
        mean_dx_hat = sum(dx_hat) / d
        along_x_hat = sum(a * b for a, b in zip(dx_hat, x_hat)) / d
        for i in range(d):
            dx[row][i] = (dx_hat[i] - mean_dx_hat - x_hat[i] * along_x_hat) * inverse_std[row]
            dgain[i] += float(dy[row][i]) * x_hat[i]
            dbias[i] += float(dy[row][i])
    return dx, np.array(dgain, x.dtype), np.array(dbias, x.dtype)


def cross_entropy(logits, targets, label_smoothing=0.0):
    """loss = - Σ_j q_j log p_j for each row;  log p_j = z_j - log Σ_k exp(z_k)"""
    logits, targets = cross_entropy_arguments(logits, targets, label_smoothing)
    losses, log_total = (np.zeros(targets.shape, logits.dtype) for _ in range(2))
    for row in np.ndindex(targets.shape):
        z = logits[row].tolist()
        log_total[row] = log_sum_exp = _log_sum_exp(z)
        if targets[row] >= 0:
            q = _wanted(int(targets[row]), len(z), label_smoothing)
            losses[row] = sum(q_j * (log_sum_exp - z_j) for q_j, z_j in zip(q, z) if q_j)
    return losses, log_total


def cross_entropy_backward(weight, logits, targets, log_total, label_smoothing=0.0, out=None):
    """dz_j = weight (p_j - q_j)"""
    logits, targets, log_total, out = cross_entropy_backward_arguments(
        logits, targets, log_total, label_smoothing, out
    )
    for row in np.ndindex(targets.shape):
        if targets[row] < 0:
            out[row] = 0
        else:
            q = _wanted(int(targets[row]), logits.shape[-1], label_smoothing)
            for j, z_j in enumerate(logits[row].tolist()):
                out[row][j] = weight * (math.exp(z_j - float(log_total[row])) - q[j])
    return out


def _wanted(target, V, label_smoothing):
    """The distribution q that the model should have: 1 - ε at the target, and ε for all alike."""
    q = [label_smoothing / V] * V
    q[target] += 1 - label_smoothing
    return q


def _log_sum_exp(z):
    largest = max(z)
    if largest == -math.inf:
        return largest
    return largest + math.log(sum(math.exp(z_j - largest) for z_j in z))


def adam(w, g, m, v, *, t, lr, beta1, beta2, eps, grad_scale=1.0, l2=0.0, decay=0.0):
    """w ← w - lr decay w - lr m̂ / (√v̂ + eps), in place"""
    g = adam_arguments(w, g, m, v)
    for i in np.ndindex(w.shape):
        w_i, g_i = float(w[i]), grad_scale * float(g[i]) + l2 * float(w[i])
        m[i] = m_i = beta1 * float(m[i]) + (1 - beta1) * g_i
        v[i] = v_i = beta2 * float(v[i]) + (1 - beta2) * g_i**2
        m_hat, v_hat = m_i / (1 - beta1**t), v_i / (1 - beta2**t)
        w[i] = w_i - lr * decay * w_i - lr * m_hat / (math.sqrt(v_hat) + eps)


def sum_of_squares(x):
    """Σ x²"""
    (x,) = elementwise_arguments(x=x)
    return float(sum(x_i * x_i for x_i in x.ravel().tolist()))


def add_to_rows(table, ids, x):
    """table[ids[n]] += x[n] for n = 0, 1, …"""
    ids, x = add_to_rows_arguments(table, ids, x)
    for n, token in enumerate(ids.tolist()):
        for i in range(x.shape[1]):
            table[token, i] = float(table[token, i]) + float(x[n, i])
