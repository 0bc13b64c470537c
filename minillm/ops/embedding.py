"""The embedding: row `id` of a table is the vector of token `id`."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_ids, require_shape
from minillm.kernels import kernel
from minillm.kernels.arguments import require_apart, require_array, require_output
from minillm.ops.quantized import QuantizedWeights


class EmbeddingCache(NamedTuple):
    ids: np.ndarray
    table: np.ndarray


def embedding(ids, table):
    """y = table[ids]          (Vaswani et al. 2017, sec. 3.4)

    ids: (...) integers, table: (n, d)  ->  y: (..., d), cache for `embedding_backward`
    The table may be QuantizedWeights, for inference only; the cache is then None.

    Raises ValueError for an id outside 0 … n - 1, and TypeError for ids that are not integers.
    """
    if isinstance(table, QuantizedWeights):
        return table.rows(require_ids("ids", ids, table.shape[0])), None
    require_float("table", table)
    require_shape("table", table, (None, None))
    ids = require_ids("ids", ids, len(table))
    return table[ids], EmbeddingCache(ids, table)


# With the one-hot matrix E (E_nv = 1 where ids_n = v), y = E table is a linear map, so
#   dtable = Eᵀ dy:    row v is the sum of dy_n over all n with ids_n = v
# An id that occurs twice gets two contributions. E itself is never built: the sum is a scatter-add.
def embedding_backward(dy, cache, *, dtable=None, accumulate=False):
    """dy: (..., d)  ->  dtable: (n, d)

    dtable: the array to write to, or, with `accumulate`, to add to; by default a new one
    """
    ids, table = cache
    _check_gradients(dy, dtable, ids, table)
    if dtable is None:
        dtable = np.zeros(table.shape, table.dtype)
    elif not accumulate:
        dtable[...] = 0
    scatter_add(dtable, ids, dy)
    return dtable


def _check_gradients(dy, dtable, ids, table):
    """Check everything before `dtable` changes."""
    require_array("dy", dy, table.dtype)
    require_shape("dy", dy, (*ids.shape, table.shape[1]))
    if dtable is not None:
        require_output("dtable", dtable, table.shape, table.dtype)
        if not dtable.flags.c_contiguous:
            raise ValueError(f"dtable has strides {dtable.strides}, wanted a contiguous array")
        require_apart("dtable", dtable, "dy", dy)
        require_apart("dtable", dtable, "ids", ids)


@kernel("table (n, d), 0 <= ids (...) < n, x (..., d) -> table (n, d)")
def scatter_add(table, ids, x):
    """table[ids[i]] += x[i] for i = 0, 1, …, in place; an id may occur several times

    table: (n, d), contiguous and writable;  ids: integers (...) from 0 to n - 1;  x: (..., d)
    """
    np.add.at(table, ids, x)
