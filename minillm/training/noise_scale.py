"""The gradient noise scale: how many examples a batch needs before its gradient is mostly signal.

The mean gradient of B examples is G plus noise of covariance Σ / B, so

    E |g_B|² = |G|² + tr Σ / B.

Two batch sizes give two equations. Data-parallel training has both for nothing: the squared norm on
each node, and that of the mean. Solve them          (McCandlish et al. 2018, appendix A.1)

    |G|² = (B |g_B|² - b |g_b|²) / (B - b)
    tr Σ = (|g_b|² - |g_B|²) / (1/b - 1/B)

and 𝓑 = tr Σ / |G|². Each is unbiased, their quotient isn't, and single ones vary widely: average
both over many steps before you divide.
"""

from typing import NamedTuple


class NoiseScale(NamedTuple):
    signal: float  # |G|²
    noise: float  # tr Σ, of one example

    @property
    def examples(self):
        """𝓑; nan where noise hides the signal"""
        return self.noise / self.signal if self.signal > 0 else float("nan")


def noise_scale(small, large, b, B):
    """-> NoiseScale, in the unit of b and B

    small, large: the mean |g|² of batches of b and of B examples, b < B
    """
    if not 0 < b < B:
        raise ValueError(f"b is {b} and B is {B}, wanted 0 < b < B")
    return NoiseScale((B * large - b * small) / (B - b), (small - large) / (1 / b - 1 / B))
