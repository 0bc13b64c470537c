"""Softmax attention in NumPy: the whole matrix of scores at once.

Clear, and fast enough for small models, but the arrays S and P are (B, H, Tq, Tk): their size grows
with the square of the text's length. The C kernel computes the same without ever holding them.
"""

import numpy as np

from minillm.kernels.arguments import attention_arguments, attention_backward_arguments


def attention(Q, K, V, *, causal=False, key_mask=None, scale=None, out=None):
    """-> out (B, H, Tq, D), lse (B, H, Tq): see `minillm.kernels.attention`."""
    Q, K, V, scale, out = attention_arguments(Q, K, V, key_mask, scale, out)
    S = _masked_scores(Q, K, causal, key_mask, scale)
    # exp(S - max) / sum(exp(S - max)) = exp(S) / sum(exp(S)), and cannot overflow.
    largest = S.max(axis=-1, initial=-np.inf)
    largest_or_zero = np.where(np.isneginf(largest), 0, largest)  # -inf - -inf would be NaN
    P = np.exp(S - largest_or_zero[..., None])
    total = P.sum(axis=-1)
    with np.errstate(divide="ignore"):
        lse = largest_or_zero + np.log(total)  # log(0) = -inf where a query sees no key
    # Dividing after the product instead of before: D divisions a query instead of Tk.
    np.matmul(P, V, out=out)
    out /= np.where(total == 0, 1, total)[..., None]
    return out, lse


# Backward. With dout the gradient that arrives at out, and every sum over the visible keys:
#
#   out = P V               =>  dV = P^T dout,   dP = dout V^T
#   P_i = softmax(S_i)      =>  the Jacobian of one row is dP_ij'/dS_ij = P_ij' ([j = j'] - P_ij),
#                               so  dS_ij = P_ij (dP_ij - delta_i),  delta_i = sum_j P_ij dP_ij
#   S = scale * Q K^T       =>  dQ = scale * dS K,   dK = scale * dS^T Q
#
# delta needs no pass over the keys, because out_i is itself the P-weighted mean of the V_j:
#
#   delta_i = sum_j P_ij (dout_i . V_j) = dout_i . sum_j P_ij V_j = dout_i . out_i
#
# And P needs not be kept: exp(S_ij) / sum_j exp(S_ij) = exp(S_ij - lse_i), one matmul away from
# Q and K. So the forward remembers `out` and one number a query, the backward computes the rest
# anew (Dao et al. 2022, "FlashAttention", sec. 3.1 and appendix B.2; lse as in Dao 2023, sec. 3.1).
def attention_backward(
    dout, Q, K, V, out, lse, *, causal=False, key_mask=None, scale=None, grads=None
):
    """-> dQ, dK, dV: see `minillm.kernels.attention_backward`."""
    dout, Q, K, V, out, lse, scale, grads = attention_backward_arguments(
        dout, Q, K, V, out, lse, key_mask, scale, grads
    )
    dQ, dK, dV = grads
    S = _masked_scores(Q, K, causal, key_mask, scale)
    lse_or_zero = np.where(np.isneginf(lse), 0, lse)  # where every S is -inf: P = exp(-inf) = 0
    P = np.exp(S - lse_or_zero[..., None])
    dP = dout @ np.swapaxes(V, -1, -2)
    delta = np.sum(dout * out, axis=-1, keepdims=True)
    dS = P * (dP - delta)
    dS *= scale
    np.matmul(np.swapaxes(P, -1, -2), dout, out=dV)
    np.matmul(dS, K, out=dQ)
    np.matmul(np.swapaxes(dS, -1, -2), Q, out=dK)
    return grads


def _masked_scores(Q, K, causal, key_mask, scale):
    """scale * Q K^T (B, H, Tq, Tk), and -inf where the query may not see the key."""
    S = (Q * Q.dtype.type(scale)) @ np.swapaxes(K, -1, -2)
    Tq, Tk = S.shape[-2:]
    if causal:
        i, j = np.arange(Tq)[:, None], np.arange(Tk)
        S[..., j > i + (Tk - Tq)] = -np.inf
    if key_mask is not None:
        S[np.broadcast_to(~key_mask[:, None, None, :], S.shape)] = -np.inf
    return S
