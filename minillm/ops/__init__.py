"""The mathematics: pure functions in forward/backward pairs, one concept per file.

A forward returns its result and a cache, a NamedTuple of what the backward needs. A backward takes
the gradient of the loss with respect to the result, and the cache. Its derivation stands right
above it. A gradient has the name of its variable with a d in front: dx is ∂loss/∂x.

The code of each op is plain NumPy, written to be read; it runs for float64 and under
`kernels.use("numpy")`. A function decorated with `@kernel(...)` also has two twins of the same
name: nested loops in minillm/kernels/naive.py, and a C function in csrc/ that runs for float32.
"""
