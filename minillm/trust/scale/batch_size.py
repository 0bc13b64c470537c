"""How many steps a larger batch saves, and from where on it saves none.

A step of size ε along the mean gradient g of B examples, with the loss expanded to second order,
lowers the loss by

    ε gᵀG - ε²/2 gᵀH g,     E g = G, Cov g = Σ / B.

Its expectation is ε |G|² - ε²/2 (GᵀH G + tr(HΣ) / B), and the best ε gives

    ΔL = ΔL_max / (1 + 𝓑 / B),     𝓑 = tr(HΣ) / GᵀH G

(McCandlish et al. 2018, eq. 2.7 and 2.8). If H is a multiple of the identity, 𝓑 = tr Σ / |G|²,
the *gradient noise scale* (eq. 2.9; training/noise_scale.py measures it). So a training that needs
S_min steps with the exact gradient needs, as far as 𝓑 stays the same,

    S = S_min (1 + 𝓑 / B) steps,  and  E = B S = S_min (B + 𝓑) examples.

At B = 𝓑 both are twice the least. Below it, twice the batch nearly halves the steps; above it,
examples are wasted.
"""

KAPLAN_B, KAPLAN_ALPHA = 2e8, 0.21  # tokens; Kaplan et al. 2020, eq. 1.4


def steps_needed(batch, critical, least=1.0):
    """S_min (1 + 𝓑 / B) -> steps; batch and critical in the same unit, examples or tokens"""
    return least * (1 + critical / batch)


def examples_needed(batch, critical, least=1.0):
    """S_min (B + 𝓑); `least` is S_min"""
    return least * (batch + critical)


def useful(batch, critical):
    """-> the share of the examples that isn't wasted: that of the least E, S_min 𝓑"""
    return critical / (batch + critical)


def critical_batch(loss):
    """-> tokens: what Kaplan et al. 2020 fitted for language models at a loss in nats a token

    B_crit = 2·10⁸ / L^(1/0.21): 1 million tokens at a loss of 3. The better the model, the larger.
    """
    return KAPLAN_B / loss ** (1 / KAPLAN_ALPHA)
