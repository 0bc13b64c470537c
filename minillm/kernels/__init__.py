"""The hot loops of a transformer, three times: naive, NumPy and C."""

from minillm.kernels.numpy_kernels import matmul

__all__ = ["matmul"]
