"""The bindings of the matrix products: their checks, and their calls of the C library.

A signature can't describe arguments with strides and options, so `Matmul` and `QuantizedMatmul` are
bindings written by hand (dispatch.py).
"""

import math

import numpy as np

from minillm.checks import require_axes, require_flag, require_float
from minillm.kernels import c_library
from minillm.kernels.arguments import (
    C_CONTIGUOUS_AND_ALIGNED,
    are_apart,
    contiguous,
    is_plain,
    require_apart,
    require_array,
    require_output,
    rows_contiguous,
)

FLOAT32 = np.dtype(np.float32)


class Matmul:
    """The binding of `minillm.ops.matmul`."""

    def check(self, A, B, out=None, *, transpose_A=False, transpose_B=False, accumulate=False,
              bias=None):
        """-> dict of the arguments: inputs with a contiguous last axis, copied only if necessary,
        and `out`, a new array if it is None."""
        for name, array in (("A", A), ("B", B)):
            require_float(name, array)
            require_axes(name, array, 2)
        require_array("B", B, A.dtype)
        transpose_A = require_flag("transpose_A", transpose_A)
        transpose_B = require_flag("transpose_B", transpose_B)
        accumulate = require_flag("accumulate", accumulate)

        M, K = reversed(A.shape[-2:]) if transpose_A else A.shape[-2:]
        N, B_K = B.shape[-2:] if transpose_B else reversed(B.shape[-2:])
        if B_K != K:
            wanted = f"(..., N, {K})" if transpose_B else f"(..., {K}, N)"
            raise ValueError(f"B has shape {B.shape}, wanted {wanted} to match A")
        if A.ndim > 2 and B.ndim > 2 and A.shape[:-2] != B.shape[:-2]:
            raise ValueError(f"B has shape {B.shape}, wanted 2 axes or A's leading {A.shape[:-2]}")

        if bias is not None:
            require_array("bias", bias, A.dtype)
            if bias.shape != (N,):
                raise ValueError(f"bias has shape {bias.shape}, wanted {(N,)}")
            if accumulate:
                raise ValueError("bias is an array, wanted None with accumulate=True")

        shape = (A.shape[:-2] if A.ndim > 2 else B.shape[:-2]) + (M, N)
        if out is None:
            if accumulate:
                raise ValueError("out is None, wanted the array to accumulate into")
            out = np.empty(shape, A.dtype)
        else:
            require_output("out", out, shape, A.dtype)
            for name, array in (("A", A), ("B", B), ("bias", bias)):
                require_apart("out", out, name, array)
        return dict(A=rows_contiguous(A), B=rows_contiguous(B), out=out,
                    transpose_A=transpose_A, transpose_B=transpose_B, accumulate=accumulate,
                    bias=None if bias is None else contiguous(bias))

    def trivial(self, out, **_):
        return out if out.size == 0 else None

    def fast(self, A, B, out=None, *, transpose_A=False, transpose_B=False, accumulate=False,
             bias=None):
        """Multiply contiguous float32 matrices; return None for every other case.

        For small matrices, `check` alone takes longer than the multiplication.
        """
        ndarray, empty, from_buffer, floats, null, plain_matmul, matmul = self.at_hand or self.load()
        if not (type(A) is ndarray and type(B) is ndarray and A.dtype is FLOAT32 and
                B.dtype is FLOAT32 and A.ndim == 2 and B.ndim == 2 and
                A.flags.num & B.flags.num & C_CONTIGUOUS_AND_ALIGNED == C_CONTIGUOUS_AND_ALIGNED):
            return None
        rows_A, lda = A.shape
        rows_B, ldb = B.shape
        if out is bias is None and transpose_A is transpose_B is accumulate is False:
            if lda != rows_B:
                return None
            C = empty((rows_A, ldb), FLOAT32)
            error = plain_matmul(rows_A, ldb, lda, from_buffer(floats, A), from_buffer(floats, B),
                                 from_buffer(floats, C))
            if error:
                c_library.check(error)
            return C
        if not type(transpose_A) is type(transpose_B) is type(accumulate) is bool:
            return None
        M, K = (lda, rows_A) if transpose_A else (rows_A, lda)
        N, K_of_B = (rows_B, ldb) if transpose_B else (ldb, rows_B)
        if K != K_of_B or not (bias is None or _is_plain_row(bias, N)):
            return None
        if out is None and not accumulate:
            C = np.empty((M, N), FLOAT32)
        elif bias is None and _is_plain_out(out, (M, N), A, B):
            C = out
        else:
            return None
        error = matmul(
            1, M, N, K, from_buffer(floats, A), lda, 0, transpose_A,
            from_buffer(floats, B), ldb, 0, transpose_B, from_buffer(floats, C), N, 0,
            accumulate, null if bias is None else from_buffer(floats, bias),
        )
        if error:
            c_library.check(error)
        return C

    at_hand = None

    def load(self):
        """-> what `fast` needs, looked up once"""
        lib, ffi = c_library.lib, c_library.ffi
        self.at_hand = (np.ndarray, np.empty, ffi.from_buffer, c_library.FLOATS, ffi.NULL,
                        lib.minillm_plain_matmul, lib.minillm_matmul)
        return self.at_hand

    def c(self, A, B, out, transpose_A, transpose_B, accumulate, bias):
        """Call minillm_matmul: once if each array has one step for the whole batch."""
        M, N = out.shape[-2:]
        K = A.shape[-2] if transpose_A else A.shape[-1]
        lda, ldb, ldc = A.strides[-2] // 4, B.strides[-2] // 4, out.strides[-2] // 4
        batch, step_A, step_B, step_C = 1, 0, 0, 0
        if out.ndim > 2:
            step_A, step_B, step_C = _batch_step(A), _batch_step(B), _batch_step(out)
            if None in (step_A, step_B, step_C):
                # Loop over the first axis, for example with the heads of a fused Q K V buffer.
                for b in range(out.shape[0]):
                    self.c(A[b] if A.ndim > 2 else A, B[b] if B.ndim > 2 else B, out[b],
                           transpose_A, transpose_B, accumulate, bias)
                return out
            batch = out.size // (M * N)
            if B.ndim == 2 and step_A == M * lda and step_C == M * ldc and not transpose_A:
                batch, M = 1, batch * M  # all share B: one tall A, so B is packed once
        pointer = c_library.pointer
        c_library.check(c_library.lib.minillm_matmul(
            batch, M, N, K, pointer(A), lda, step_A, transpose_A,
            pointer(B), ldb, step_B, transpose_B, pointer(out), ldc, step_C, accumulate,
            c_library.ffi.NULL if bias is None else pointer(bias),
        ))
        return out


def _is_plain_scale(scale, wanted):
    if scale is None or wanted is None:
        return scale is wanted
    dtype, shape = wanted
    return is_plain(scale, dtype) and scale.shape == shape


def _is_plain_row(array, N):
    return is_plain(array, FLOAT32) and array.shape == (N,)


def _is_plain_out(out, shape, A, B):
    return (is_plain(out, FLOAT32) and out.shape == shape and out.flags.writeable and
            are_apart((out,), (A, B)))


def _batch_step(array):
    """-> the distance in floats between consecutive matrices of a stack; None if it varies

    The leading axes are one axis if each stride is the next axis's stride times its length.
    """
    axes = zip(array.shape[:-2], array.strides[:-2])
    axes = [(size, stride) for size, stride in axes if size != 1]
    for (_, stride), (inner_size, inner_stride) in zip(axes, axes[1:]):
        if stride != inner_stride * inner_size:
            return None
    return axes[-1][1] // 4 if axes else 0  # 0: the same matrix for the whole batch


# The dtype of the stored weights -> its name in minillm.h. A uint16 holds a bfloat16, a uint8 two
# weights of 4 bits.
C_TYPES = {np.dtype(np.float32): "MINILLM_FLOAT32", np.dtype(np.uint16): "MINILLM_BFLOAT16",
           np.dtype(np.int8): "MINILLM_INT8", np.dtype(np.uint8): "MINILLM_INT4"}
INT8, INT4 = np.dtype(np.int8), np.dtype(np.uint8)
GROUP = 32  # weights of 4 bits that share a scale: MINILLM_GROUP in minillm.h


def n_groups(n_inputs):
    """-> the number of groups that a row of n_inputs weights of 4 bits has; the last one may be
    incomplete
    """
    return -(-n_inputs // GROUP)


def _columns(dtype, K):
    """-> how many numbers a row of K weights takes in an array of this dtype"""
    return n_groups(K) * GROUP // 2 if dtype == INT4 else K


def _scale_of(dtype, N, K):
    """-> the dtype and the shape of the scale that weights of this dtype need, or None"""
    return {INT8: (FLOAT32, (N,)), INT4: (np.dtype(np.uint16), (N, n_groups(K)))}.get(dtype)


class QuantizedMatmul:
    """The binding of `minillm.ops.quantized.quantized_matmul`."""

    def check(self, x, weights, scale=None, bias=None):
        require_float("x", x)
        if not isinstance(weights, np.ndarray):
            raise TypeError(f"weights is a {type(weights).__name__}, wanted a NumPy array")
        if weights.dtype not in C_TYPES:
            raise TypeError(f"weights has dtype {weights.dtype}, wanted float32, uint16 (bfloat16),"
                            " int8 or uint8 (int4)")
        if weights.ndim != 2:
            raise ValueError(f"weights has shape {weights.shape}, wanted 2 axes: (N, K)")
        N, columns = weights.shape
        if x.ndim == 0 or _columns(weights.dtype, x.shape[-1]) != columns:
            wanted = columns
            if weights.dtype == INT4:
                wanted = f"K from {2 * columns - GROUP + 1} to {2 * columns}"
            raise ValueError(f"x has shape {x.shape}, wanted (..., {wanted}) to match weights")
        wanted = _scale_of(weights.dtype, N, x.shape[-1])
        if (scale is None) != (wanted is None):
            came, other = ("None", "an array") if scale is None else ("an array", "None")
            raise ValueError(f"scale is {came}, wanted {other} with weights of {weights.dtype}")
        for name, array, (dtype, shape) in (("scale", scale, wanted or (None, None)),
                                            ("bias", bias, (x.dtype, (N,)))):
            if array is not None:
                require_array(name, array, dtype)
                if array.shape != shape:
                    raise ValueError(f"{name} has shape {array.shape}, wanted {shape}")
        return {name: array if array is None else contiguous(array) for name, array in (
            ("x", x), ("weights", weights), ("scale", scale), ("bias", bias))}

    def trivial(self, x, weights, **_):
        shape = (*x.shape[:-1], len(weights))
        return np.empty(shape, x.dtype) if 0 in shape else None

    def fast(self, x, weights, scale=None, bias=None):
        """Multiply if x and the weights are contiguous, x is float32; otherwise return None."""
        if (is_plain(x, FLOAT32) and type(weights) is np.ndarray and weights.ndim == 2 and
                weights.dtype in C_TYPES and weights.flags.c_contiguous and
                weights.flags.aligned and
                x.ndim > 0 and x.size and
                _columns(weights.dtype, x.shape[-1]) == weights.shape[1] and
                _is_plain_scale(scale, _scale_of(weights.dtype, len(weights), x.shape[-1])) and
                (bias is None or _is_plain_row(bias, len(weights)))):
            return self.c(x, weights, scale, bias)
        return None

    def c(self, x, weights, scale, bias):
        N, K = len(weights), x.shape[-1]
        y = np.empty((*x.shape[:-1], N), FLOAT32)
        ffi, floats = c_library.ffi, c_library.FLOATS
        from_buffer = ffi.from_buffer
        error = c_library.lib.minillm_gemv(
            math.prod(x.shape[:-1]), N, K, from_buffer(floats, x), K,
            getattr(c_library.lib, C_TYPES[weights.dtype]), from_buffer(weights),
            GROUP * scale.shape[1] if weights.dtype == INT4 else K, True,
            ffi.NULL if scale is None else from_buffer(scale),
            ffi.NULL if bias is None else from_buffer(floats, bias), from_buffer(floats, y), N,
        )
        if error:
            c_library.check(error)
        return y
