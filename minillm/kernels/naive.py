"""The kernels as nested Python loops: the definitions that the other implementations must equal.

Nothing here is fast. Sums are Python floats (53 bits), rounded once when they are stored. The
arguments arrive checked, with all leading axes as one: `x (..., d)` is an array (rows, d). The
derivations of the gradients are in minillm/ops, above each backward; the letters are the same.
"""

import math

import numpy as np

from minillm.kernels.naive_attention import fused_attention, fused_attention_backward  # noqa: F401

# ---------------------------------------------------------------- nonlinearities

A, B = math.sqrt(2 / math.pi), 0.044715


def gelu_tanh(x):
    """y = x (1 + tanh(u)) / 2,   u = √(2/π) (x + 0.044715 x³)"""
    return [x_i * (1 + math.tanh(A * (x_i + B * x_i**3))) / 2 for x_i in x.tolist()]


def gelu_tanh_backward(dy, x):
    """dx = dy ((1 + T) / 2 + x (1 - T²) u' / 2),   T = tanh(u)"""
    dx = []
    for dy_i, x_i in zip(dy.tolist(), x.tolist()):
        T = math.tanh(A * (x_i + B * x_i**3))
        dx.append(dy_i * ((1 + T) / 2 + x_i * (1 - T * T) * A * (1 + 3 * B * x_i**2) / 2))
    return dx


# ---------------------------------------------------------------- normalization


def layer_norm(x, weight, bias, eps):
    """y = weight * (x - mean) / sqrt(var + eps) + bias"""
    y, mean, inverse_std = np.empty_like(x), [], []
    weight, bias = weight.tolist(), bias.tolist()
    for row, x_row in enumerate(x.tolist()):
        d = len(x_row)
        m = sum(x_row) / d
        variance = sum((x_i - m) ** 2 for x_i in x_row) / d
        for i in range(d):
            y[row, i] = weight[i] * (x_row[i] - m) / math.sqrt(variance + eps) + bias[i]
        mean.append(m)
        inverse_std.append(1 / math.sqrt(variance + eps))
    return y, mean, inverse_std


def layer_norm_backward(dy, x, mean, inverse_std, weight):
    """dx = (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)) / std,   dweight = Σ dy x̂,   dbias = Σ dy"""
    rows, d = x.shape
    dx, dweight, dbias = np.empty_like(x), [0.0] * d, [0.0] * d
    dy, weight = dy.tolist(), weight.tolist()
    for row in range(rows):
        m, inverse = float(mean[row]), float(inverse_std[row])
        x_hat = [(x_i - m) * inverse for x_i in x[row].tolist()]
        dx_hat = [dy[row][i] * weight[i] for i in range(d)]
        mean_dx_hat = sum(dx_hat) / d
        along_x_hat = sum(dx_hat[i] * x_hat[i] for i in range(d)) / d
        for i in range(d):
            dx[row, i] = (dx_hat[i] - mean_dx_hat - x_hat[i] * along_x_hat) * inverse
            dweight[i] += dy[row][i] * x_hat[i]
            dbias[i] += dy[row][i]
    return dx, dweight, dbias


def rms_norm(x, weight, eps):
    """y = weight * x / sqrt(mean(x²) + eps)"""
    y, inverse_rms = np.empty_like(x), []
    for row, x_row in enumerate(x.tolist()):
        mean_square = sum(x_i * x_i for x_i in x_row) / len(x_row)
        inverse_rms.append(1 / math.sqrt(mean_square + eps))
        for i, x_i in enumerate(x_row):
            y[row, i] = float(weight[i]) * x_i * inverse_rms[row]
    return y, inverse_rms


def rms_norm_backward(dy, x, inverse_rms, weight):
    """dx = (dx̂ - x̂ mean(dx̂ x̂)) / rms,   dweight = Σ dy x̂"""
    rows, d = x.shape
    dx, dweight = np.empty_like(x), [0.0] * d
    dy, weight = dy.tolist(), weight.tolist()
    for row in range(rows):
        inverse = float(inverse_rms[row])
        x_hat = [x_i * inverse for x_i in x[row].tolist()]
        dx_hat = [dy[row][i] * weight[i] for i in range(d)]
        along_x_hat = sum(dx_hat[i] * x_hat[i] for i in range(d)) / d
        for i in range(d):
            dx[row, i] = (dx_hat[i] - x_hat[i] * along_x_hat) * inverse
            dweight[i] += dy[row][i] * x_hat[i]
    return dx, dweight
