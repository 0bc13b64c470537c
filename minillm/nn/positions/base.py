"""What the kinds of positions share: an interface of those inside attention, rows of a table."""

from minillm.nn.module import Module


class AttentionPositions(Module):
    """The interface of the `positions` of an attention layer. This base class changes nothing."""

    window = None  # how many keys a query sees, up to its own position; None: all of them
    depends_on_length = False  # whether the rotation at a position depends on the sequence's length

    def rotate(self, Q, K, position_ids):
        """Q, K: (B, H, T, D) at the positions (T,) or (B, T) -> the rotated Q, K"""
        return Q, K

    def rotate_backward(self, dQ, dK):
        """The gradients of the rotated Q, K -> those of Q, K; may write over its arguments"""
        return dQ, dK

    def distance_bias(self, Tq, Tk):
        """-> (H, Tq + Tk - 1) to add to the scores, or None: see `ops.attention.AttentionBias`"""
        return None

    def learns_bias(self):
        """-> whether `distance_bias_backward` needs the gradient of the distance_bias"""
        return False

    def distance_bias_backward(self, dbias):
        """dbias: (H, Tq + Tk - 1), from the backward of attention; inside `per_example_gradients`
        (B, H, Tq + Tk - 1), one for each example -> None
        """


def table_rows(x, start, table):
    """-> the slice of the T rows of `table` for the tokens of x: (..., T, d_model)"""
    n_positions, d_model = table.shape
    if x.ndim < 2 or x.shape[-1] != d_model:
        raise ValueError(f"x has shape {x.shape}, wanted (..., T, {d_model})")
    end = start + x.shape[-2]
    if not 0 <= start <= end <= n_positions:
        raise ValueError(
            f"x has positions {start} to {end - 1}, wanted positions from 0 to {n_positions - 1}"
        )
    return slice(start, end)
