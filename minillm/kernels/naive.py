"""The kernels as nested Python loops: the definitions that the other implementations must equal.

Sums are Python floats (53 bits), rounded once when they are stored. The arguments arrive checked,
with all leading axes merged into one: `x (..., d)` is an array (rows, d). The derivations of the
gradients are in minillm/ops, above each backward; the letters are the same.
"""

import math
import struct

import numpy as np

from minillm.kernels.naive_attention import fused_attention, fused_attention_backward  # noqa: F401

# ---------------------------------------------------------------- products


def matmul(A, B, out, transpose_A, transpose_B, accumulate, bias):
    """C_ij = Σ_k A_ik B_kj + bias_j, or C_ij += Σ_k A_ik B_kj"""
    if not accumulate:
        out[...] = 0 if bias is None else bias
    for batch in np.ndindex(out.shape[:-2]):
        A_b = A[batch] if A.ndim > 2 else A
        B_b = B[batch] if B.ndim > 2 else B
        _add_product(A_b.T if transpose_A else A_b, B_b.T if transpose_B else B_b, out[batch])
    return out


def _add_product(A, B, C):
    M, N = C.shape
    K = A.shape[1]
    for i in range(M):
        for j in range(N):
            total = float(C[i, j])
            for k in range(K):
                total += float(A[i, k]) * float(B[k, j])
            C[i, j] = total


def quantized_matmul(x, weights, scale, bias):
    """y_nj = Σ_k x_nk W_jk + bias_j

    W_jk = scale_j weights_jk for int8;   W_jk = scale_jg (q - 8), g = k // 32, for int4, with q a
    half of a byte
    """
    y = np.empty((*x.shape[:-1], len(weights)), x.dtype)
    for n in np.ndindex(x.shape[:-1]):
        for j, row in enumerate(weights):
            total = 0.0 if bias is None else float(bias[j])
            for k, x_k in enumerate(x[n].tolist()):
                if weights.dtype == np.uint8:  # int4: byte i has the weights i and i + 16
                    group, i = divmod(k, 32)
                    byte = int(row[16 * group + i % 16])
                    q = byte & 15 if i < 16 else byte >> 4
                    w = _from_bfloat16(scale[j, group]) * (q - 8)
                elif weights.dtype == np.uint16:
                    w = _from_bfloat16(row[k])
                else:
                    w = float(row[k]) if scale is None else float(scale[j]) * int(row[k])
                total += x_k * w
            y[n][j] = total
    return y


def _from_bfloat16(bits):
    """A bfloat16 is the upper half of a float32."""
    return struct.unpack("f", struct.pack("I", int(bits) << 16))[0]


# ---------------------------------------------------------------- nonlinearities


def add(x, y):
    """sum = x + y"""
    return [x_i + y_i for x_i, y_i in zip(x.tolist(), y.tolist())]


def gelu(x):
    """y = x Φ(x),   Φ(x) = (1 + erf(x / √2)) / 2"""
    return [x_i * (1 + math.erf(x_i / math.sqrt(2))) / 2 for x_i in x.tolist()]


def gelu_backward(dy, x):
    """dx = dy (Φ(x) + x φ(x)),   φ(x) = exp(-x²/2) / √(2π)"""
    dx = []
    for dy_i, x_i in zip(dy.tolist(), x.tolist()):
        cdf = (1 + math.erf(x_i / math.sqrt(2))) / 2
        density = math.exp(-min(x_i * x_i, 1000.0) / 2) / math.sqrt(2 * math.pi)
        dx.append(dy_i * (cdf + x_i * density))
    return dx


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


def relu2(x):
    """y = max(0, x)²"""
    positive = [max(x_i, 0) for x_i in x.tolist()]  # NaN if x_i is NaN: no comparison with it holds
    return [p_i * p_i for p_i in positive]


def relu2_backward(dy, x):
    """dx = 2 max(0, x) dy"""
    return [2 * max(x_i, 0) * dy_i for dy_i, x_i in zip(dy.tolist(), x.tolist())]


def swiglu(g, u):
    """h = g σ(g) u,   σ(g) = 1 / (1 + exp(-g))"""
    return [g_i * _sigmoid(g_i) * u_i for g_i, u_i in zip(g.tolist(), u.tolist())]


def swiglu_backward(dh, g, u):
    """dg = dh u (s + g s (1 - s)),   du = dh g s,   s = σ(g)"""
    dg, du = [], []
    for dh_i, g_i, u_i in zip(dh.tolist(), g.tolist(), u.tolist()):
        s = _sigmoid(g_i)
        dg.append(dh_i * u_i * (s + g_i * s * (1 - s)))
        du.append(dh_i * g_i * s)
    return dg, du


def _sigmoid(x):
    return (1 + math.tanh(x / 2)) / 2  # this form cannot overflow


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


# ---------------------------------------------------------------- positions


def rotate(x, cos, sin, interleaved, out):
    """(a, b) -> (a cos θ - b sin θ, a sin θ + b cos θ) for pair i: elements 2i and 2i + 1, or i and
    i + the number of pairs
    """
    cos, sin = (np.broadcast_to(table, (*x.shape[:3], table.shape[3])) for table in (cos, sin))
    n_pairs = cos.shape[3]
    for row in np.ndindex(x.shape[:3]):
        x_row = x[row].tolist()
        out[row] = x_row
        for i in range(n_pairs):
            first, second = (2 * i, 2 * i + 1) if interleaved else (i, i + n_pairs)
            a, b, c, s = x_row[first], x_row[second], float(cos[row][i]), float(sin[row][i])
            out[row][first], out[row][second] = a * c - b * s, a * s + b * c
    return out


# ---------------------------------------------------------------- loss and optimizer


def token_losses(logits, targets, label_smoothing):
    """loss = - Σ_j q_j log p_j for each row z of logits;  log p_j = z_j - log Σ_k exp(z_k)"""
    losses, lse = [], []
    for z, target in zip(logits.tolist(), targets.tolist()):
        lse_z = _logsumexp(z)
        loss = 0.0
        if target >= 0:
            q = _target_distribution(target, len(z), label_smoothing)
            loss = sum(q_j * (lse_z - z_j) for q_j, z_j in zip(q, z) if q_j)
        losses.append(loss)
        lse.append(lse_z)
    return losses, lse


def token_losses_backward(dlosses, logits, targets, lse, label_smoothing):
    """dz_j = dlosses (p_j - q_j)"""
    dlogits = np.zeros_like(logits)
    for row, target in enumerate(targets.tolist()):
        if target >= 0:
            q = _target_distribution(target, logits.shape[1], label_smoothing)
            for j, z_j in enumerate(logits[row].tolist()):
                dlogits[row, j] = dlosses * (math.exp(z_j - float(lse[row])) - q[j])
    return dlogits


def _target_distribution(target, V, label_smoothing):
    """-> q: 1 - ε at the target, plus ε / V everywhere"""
    q = [label_smoothing / V] * V
    q[target] += 1 - label_smoothing
    return q


def _logsumexp(z):
    largest = max(z)
    if largest == -math.inf:
        return largest
    return largest + math.log(sum(math.exp(z_j - largest) for z_j in z))


def adam(w, g, m, v, t, lr, beta1, beta2, eps, grad_scale, l2, decay):
    """w ← w - lr decay w - lr m̂ / (√v̂ + eps), in place"""
    for i in range(len(w)):
        w_i, g_i = float(w[i]), grad_scale * float(g[i]) + l2 * float(w[i])
        m[i] = m_i = beta1 * float(m[i]) + (1 - beta1) * g_i
        v[i] = v_i = beta2 * float(v[i]) + (1 - beta2) * g_i**2
        m_hat, v_hat = m_i / (1 - beta1**t), v_i / (1 - beta2**t)
        w[i] = w_i - lr * decay * w_i - lr * m_hat / (math.sqrt(v_hat) + eps)


# ---------------------------------------------------------------- sums


def sum_of_squares(x):
    """Σ x²"""
    return float(sum(x_i * x_i for x_i in x.tolist()))


def sum_rows(x):
    """total_j = Σ_n x_nj"""
    total = [0.0] * x.shape[1]
    for row in x.tolist():
        for j, x_j in enumerate(row):
            total[j] += x_j
    return total


def scatter_add(table, ids, x):
    """table[ids[n]] += x[n] for n = 0, 1, …"""
    for n, token in enumerate(ids.tolist()):
        for j in range(x.shape[1]):
            table[token, j] = float(table[token, j]) + float(x[n, j])
