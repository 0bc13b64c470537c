"""The work of the benchmark in NumPy alone: its BLAS, with the chosen kernels."""

import ctypes
from pathlib import Path

import numpy as np

from benchmarks.cases import normal, stored_shape


def matmul(M, N, K, transpose_A=False, transpose_B=False):
    A = normal(*stored_shape(M, K, transpose_A))
    B = normal(*stored_shape(K, N, transpose_B))
    A, B = A.T if transpose_A else A, B.T if transpose_B else B
    return lambda: A @ B


def matrix_vector(N, K):
    W, x = normal(N, K), normal(1, K)
    return lambda: x @ W.T


def blas():
    """-> {"name", "version", "kernel"}: "kernel" is OpenBLAS's name for the chip that it chose"""
    built_with = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return {"name": built_with.get("name"), "version": built_with.get("version"),
            "kernel": openblas_kernel()}


def openblas_kernel():
    """-> "Haswell", "SkylakeX", …; None if NumPy doesn't bundle OpenBLAS"""
    for file in Path(np.__file__).parent.parent.glob("numpy.libs/*openblas*"):
        library = ctypes.CDLL(str(file))
        for name in ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename",
                     "openblas_get_corename64_", "openblas_get_corename"):
            if hasattr(library, name):
                function = getattr(library, name)
                function.restype = ctypes.c_char_p
                return function().decode()
    return None
