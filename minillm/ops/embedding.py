"""The embedding: row `id` of a table stands for the token `id`."""

from typing import NamedTuple

import numpy as np

from minillm.checks import require_float, require_ids
from minillm.kernels import kernel
from minillm.ops.quantized import QuantizedWeights


class EmbeddingCache(NamedTuple):
    ids: np.ndarray
    table: np.ndarray


def embedding(ids, table):
    """y = table[ids]          (Vaswani et al. 2017, sec. 3.4)

    ids: (...) integers, table: (n, d)  ->  y: (..., d), cache for `embedding_backward`
    The table may be QuantizedWeights, for inference only: then the cache is None.

    Raises ValueError for an id outside 0 … n - 1, and TypeError for ids that aren't integers.
    """
    if isinstance(table, QuantizedWeights):
        return table.rows(require_ids("ids", ids, table.shape[0])), None
    require_float("table", table)
    ids = require_ids("ids", ids, len(table))
    return table[ids], EmbeddingCache(ids, table)


# With the one-hot matrix E (E_nv = 1 where ids_n = v), y = E table, a linear map without bias, so
#   dtable = Eᵀ dy:    row v is the sum of dy_n over all n where the token v stood.
# An id that occurs twice therefore gets two contributions; E itself is never built.
def embedding_backward(dy, cache, *, dtable=None, accumulate=False):
    """-> dtable: (n, d). A given `dtable` is overwritten, or with `accumulate` added to."""
    ids, table = cache
    if dtable is None:
        dtable = np.zeros_like(table)
    elif not accumulate:
        dtable[...] = 0
    scatter_add(dtable, ids, dy)
    return dtable


@kernel("table (n, d), 0 <= ids (...) < n, x (..., d) -> table (n, d)")
def scatter_add(table, ids, x):
    """table[ids[i]] += x[i] for i = 0, 1, …, in place; the same id may occur often

    table: (n, d), contiguous and writable;  ids: integers (...) from 0 to n - 1;  x: (..., d)
    """
    np.add.at(table, ids, x)
