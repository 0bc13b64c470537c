"""The bindings of kernels that take many arrays in one call of the C library.

A model has dozens of small arrays. One after another, they would cost more time on the way to C than
in it, and each alone is too small for several threads. Both kernels are made of calls of another
one, so they have no C function of their own: `fast` handles float32 arrays that are contiguous and
own their memory, as those of a model do, and otherwise the other kernel is called for each.
"""

import numpy as np

from minillm.kernels import c_library
from minillm.kernels.arguments import OWNED_AND_WRITEABLE, is_plain

FLOAT32 = np.dtype(np.float32)


class AdamAll:
    """The binding of `minillm.ops.adam.adam_all`."""

    def check(self, parts, t, beta1, beta2, eps, grad_scale=1.0):
        """-> dict of the arguments; `adam` checks those of each part"""
        return {"parts": parts, "t": t, "beta1": beta1, "beta2": beta2, "eps": eps,
                "grad_scale": grad_scale}

    def fast(self, parts, t, beta1, beta2, eps, grad_scale=1.0):
        arrays = [array for part in parts for array in part[:4]]
        numbers = [t, beta1, beta2, eps, grad_scale, *[x for part in parts for x in part[4:]]]
        if not (all([type(number) in (int, float) for number in numbers]) and t >= 1 and eps >= 0 and
                0 <= beta1 < 1 and 0 <= beta2 < 1 and
                all([is_plain(array, FLOAT32, OWNED_AND_WRITEABLE) for array in arrays]) and
                len({*map(id, arrays)}) == len(arrays) and
                all([w.shape == g.shape == m.shape == v.shape and w.size
                     for w, g, m, v, *_ in parts])):
            return None
        from_buffer, floats = c_library.ffi.from_buffer, c_library.FLOATS
        c_parts = c_library.ffi.new("minillm_adam_part[]", [
            (w.size, from_buffer(floats, w), from_buffer(floats, m), from_buffer(floats, v),
             from_buffer(floats, g), lr, l2, decay) for w, g, m, v, lr, l2, decay in parts])
        c_library.lib.minillm_adam_all(len(parts), c_parts, t, beta1, beta2, eps, grad_scale)
        return ()


class SumsOfSquares:
    """The binding of `minillm.ops.sum_of_squares.sums_of_squares`."""

    def check(self, arrays):
        return {"arrays": arrays}

    def fast(self, arrays):
        if not all([is_plain(array, FLOAT32) for array in arrays]):
            return None
        ffi, floats = c_library.ffi, c_library.FLOATS
        sizes = ffi.new("isize[]", [array.size for array in arrays])
        pointers = ffi.new("float *[]", [ffi.from_buffer(floats, array) for array in arrays])
        step = c_library.lib.MINILLM_SUMS
        sums = ffi.new("double[]", len(arrays) * step)
        c_library.lib.minillm_sums_of_squares(len(arrays), sizes, pointers, sums)
        return [sums[first] for first in range(0, len(sums), step)]
