"""Adam: gradient descent with momentum and a step size for each weight."""

import numpy as np

from minillm.kernels import kernel
from minillm.kernels.together import AdamAll


@kernel("w (...), g (...), m (...), v (...), 1 <= t, lr, 0 <= beta1 < 1, 0 <= beta2 < 1, 0 <= eps, "
        "grad_scale, l2, decay -> w (...), m (...), v (...)")
def adam(w, g, m, v, t, lr, beta1, beta2, eps, grad_scale=1.0, l2=0.0, decay=0.0):
    """Step number t of Adam, in place (Kingma and Ba 2015, algorithm 1).

        g ← grad_scale g + l2 w    m ← β₁ m + (1 - β₁) g    v ← β₂ v + (1 - β₂) g²
        w ← w - lr decay w - lr m̂ / (√v̂ + eps)   with m̂ = m / (1 - β₁ᵗ), v̂ = v / (1 - β₂ᵗ)

    w, g, m, v: arrays of one shape: the weights, their gradient, and the running means of the
                gradient and of its square. w, m and v are contiguous and change in place.
    grad_scale: a factor for the gradient, below 1 to clip it
    l2, decay:  weight decay: as an L2 penalty in the gradient (plain Adam), and decoupled from the
                gradient (AdamW: Loshchilov and Hutter 2019, algorithm 2)
    """
    g = grad_scale * g + l2 * w
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w[...] = w - lr * decay * w - lr * m_hat / (np.sqrt(v_hat) + eps)


@kernel(AdamAll())
def adam_all(parts, t, beta1, beta2, eps, grad_scale=1.0):
    """`adam` for each of several arrays, such as the weights of a model

    parts: list of (w, g, m, v, lr, l2, decay); in float32, all in one call of the C library
    """
    for w, g, m, v, lr, l2, decay in parts:
        adam(w, g, m, v, t, lr, beta1, beta2, eps, grad_scale, l2, decay)
