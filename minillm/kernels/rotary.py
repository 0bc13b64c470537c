"""The binding of `minillm.ops.rotary.rotate`: heads are views of a fused buffer, with strides that a
signature can't describe.
"""

from minillm.checks import require_flag, require_float
from minillm.kernels import c_library
from minillm.kernels.arguments import require_apart, require_output, rows_contiguous
from minillm.kernels.attention import empty_heads, heads_of


class Rotate:
    """rotate(x, cos, sin, interleaved=False, out=None) -> out"""

    def check(self, x, cos, sin, interleaved=False, out=None):
        require_float("x", x)
        if x.ndim != 4:
            raise ValueError(f"x has shape {x.shape}, wanted 4 axes: (B, H, T, D)")
        cos, sin = (self._table(name, array, x) for name, array in (("cos", cos), ("sin", sin)))
        if sin.shape[3] != cos.shape[3]:
            raise ValueError(f"sin has shape {sin.shape}, wanted rows of {cos.shape[3]} numbers as "
                             "cos has")
        if out is None:
            out = empty_heads(*x.shape, x.dtype)
        else:
            require_output("out", out, x.shape, x.dtype)
            for name, array in (("x", x), ("cos", cos), ("sin", sin)):
                if array is not out:
                    require_apart("out", out, name, array)
        return {"x": rows_contiguous(x), "cos": cos, "sin": sin,
                "interleaved": require_flag("interleaved", interleaved), "out": out}

    @staticmethod
    def _table(name, array, x):
        """-> cos or sin with 4 axes and contiguous rows, broadcastable to (B, H, T, r / 2)"""
        B, H, T, D = x.shape
        require_float(name, array)
        if array.dtype != x.dtype:
            raise TypeError(f"{name} has dtype {array.dtype}, wanted {x.dtype} as x has")
        shape = (1,) * (4 - array.ndim) + array.shape
        fits = len(shape) == 4 and 2 * shape[3] <= D and shape[2] == T
        if not (fits and shape[0] in (1, B) and shape[1] in (1, H)):
            raise ValueError(f"{name} has shape {array.shape}, wanted ({T}, r / 2) with r <= {D} "
                             f"for x of shape {x.shape}")
        return rows_contiguous(array.reshape(shape))

    def trivial(self, out, **_):
        return out if out.size == 0 else None

    def c(self, x, cos, sin, interleaved, out):
        c_library.lib.minillm_rotate(*x.shape, cos.shape[3], heads_of(x), _table_heads(cos),
                                     _table_heads(sin), interleaved, heads_of(out))
        return out


def _table_heads(array):
    """(B or 1, H or 1, T, pairs) -> minillm.h's minillm_heads; a step of 0 along an axis of 1"""
    address, batch, head, row = heads_of(array)
    return address, batch * (len(array) > 1), head * (array.shape[1] > 1), row
