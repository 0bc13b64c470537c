"""The error function, which NumPy lacks: erf(x) = 2/√π ∫₀ˣ exp(-t²) dt."""

import math

import numpy as np
from numpy.polynomial import chebyshev

# For x >= 0, erf(x) = 1 - exp(-x²) g(x), where g(x) = exp(x²) erfc(x) falls smoothly from 1
# towards 0 like 1/x. (W. J. Cody, "Rational Chebyshev Approximations for the Error Function",
# 1969, splits off the same factor.) As a function of u = (3 - 2x) / (3 + x), which runs from 1 at
# x = 0 to -1 at x = 6, g is nearly a straight line, so a polynomial in u approximates it well. It
# interpolates g at the Chebyshev points, where math.erfc, exact but slow, gives the values; no
# table of coefficients is needed. Beyond x = 6, 1 - erf(x) < 3e-17 is lost in rounding.
LAST = 6.0


def _g(u):
    """g at x = (3 - 3u) / (2 + u)"""
    x = [(3 - 3 * point) / (2 + point) for point in u]
    return np.array([math.exp(point * point) * math.erfc(point) for point in x])


# Each degree reduces the error of the interpolation about tenfold; float32 needs fewer degrees.
_POLYNOMIALS = {
    np.dtype(np.float32): chebyshev.cheb2poly(chebyshev.chebinterpolate(_g, 9)).tolist(),
    np.dtype(np.float64): chebyshev.cheb2poly(chebyshev.chebinterpolate(_g, 17)).tolist(),
}


def erf(x):
    """x: float32 or float64, any shape  ->  erf(x), with an absolute error below 4e-7 or 1e-14"""
    magnitude = np.minimum(np.abs(x), x.dtype.type(LAST))
    u = 3 - 2 * magnitude
    u /= 3 + magnitude
    *lower, highest = _POLYNOMIALS[x.dtype]
    g = np.full_like(u, highest)
    for coefficient in reversed(lower):  # Horner's rule
        g *= u
        g += coefficient
    g *= np.exp(-magnitude * magnitude)
    return np.copysign(1 - g, x)
