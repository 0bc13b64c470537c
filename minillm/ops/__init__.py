"""The mathematics: pure functions in forward/backward pairs, one concept a file.

Every forward returns its result and a cache, a NamedTuple of what the backward needs. Every
backward takes the gradient of the loss with respect to the result, and the cache; its derivation
stands right above it. Gradients are named like what they belong to: dx is ∂loss/∂x.

The code of each op is the NumPy that runs for float64 and with `kernels.use("numpy")`, written to be
read. Where `@kernel(...)` stands above it, there is a twin of the same name in minillm/kernels/naive.py
and one in csrc/, which runs for float32.
"""
