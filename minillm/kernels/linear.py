"""The bindings of the linear map: one call of the C library for a forward, one for a backward.

The functions of minillm/ops/linear.py are made of calls of `matmul` and `sum_rows`. Each would check
the same arrays again, and after a large kernel all of Python comes from a slow cache. `fast` handles
float32 arrays that are contiguous, as those of a model are.
"""

import numpy as np

from minillm.kernels import c_library
from minillm.kernels.arguments import are_apart, is_plain

FLOAT32 = np.dtype(np.float32)


class Linear:
    """The binding of `linear`; make_cache: the class of its cache"""

    def __init__(self, make_cache):
        self.make_cache = make_cache

    def check(self, x, W, b=None, *, transpose_W=False):
        """-> dict of the arguments, which the function itself checks"""
        return {"x": x, "W": W, "b": b, "transpose_W": transpose_W}

    def fast(self, x, W, b=None, *, transpose_W=False):
        if not (is_plain(x, FLOAT32) and is_plain(W, FLOAT32) and W.ndim == 2 and x.size and
                W.size and type(transpose_W) is bool):
            return None
        d_in, d_out = W.shape[::-1] if transpose_W else W.shape
        *leading, last = x.shape
        if last != d_in or not (b is None or is_plain(b, FLOAT32) and b.shape == (d_out,)):
            return None
        rows = x.reshape(-1, d_in)
        y = np.empty((*leading, d_out), FLOAT32)
        ffi, floats = c_library.ffi, c_library.FLOATS
        from_buffer = ffi.from_buffer
        error = c_library.lib.minillm_matmul(
            1, len(rows), d_out, d_in, from_buffer(floats, x), d_in, 0, False,
            from_buffer(floats, W), W.shape[1], 0, transpose_W, from_buffer(floats, y), d_out, 0,
            False, ffi.NULL if b is None else from_buffer(floats, b))
        if error:
            c_library.check(error)
        return y, self.make_cache(rows, W, transpose_W, b is not None)


class LinearBackward:
    """The binding of `linear_backward`"""

    def check(self, dy, cache, *, dW=None, accumulate=False, with_dW=True):
        return {"dy": dy, "cache": cache, "dW": dW, "accumulate": accumulate, "with_dW": with_dW}

    def fast(self, dy, cache, *, dW=None, accumulate=False, with_dW=True):
        x, W, transpose_W, has_bias = cache
        if not (all([is_plain(array, FLOAT32) for array in (dy, x, W, dW)]) and
                dy.size and x.size and W.ndim == 2 and type(transpose_W) is type(accumulate) is bool
                and dW.shape == W.shape and dW.flags.writeable and are_apart((dW,), (dy, x, W))
                and with_dW is True):
            return None
        d_in, d_out = W.shape[::-1] if transpose_W else W.shape
        *leading, last = dy.shape
        N = len(x)
        if last != d_out or dy.size != N * d_out or x.shape != (N, d_in):
            return None
        dx = np.empty((*leading, d_in), FLOAT32)
        db = np.empty(d_out, FLOAT32) if has_bias else None
        ffi, floats = c_library.ffi, c_library.FLOATS
        from_buffer = ffi.from_buffer
        error = c_library.lib.minillm_linear_backward(
            N, d_in, d_out, from_buffer(floats, dy), from_buffer(floats, x),
            from_buffer(floats, W), transpose_W, accumulate, from_buffer(floats, dx),
            from_buffer(floats, dW), from_buffer(floats, db) if has_bias else ffi.NULL)
        if error:
            c_library.check(error)
        return dx, dW, db
