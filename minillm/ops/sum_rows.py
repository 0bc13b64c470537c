"""The sum of all rows: the gradient of a parameter that all rows share, such as a bias."""

from minillm.kernels import kernel


@kernel("x (..., d) -> total (d,)")
def sum_rows(x):
    """total_j = Σ_n x_nj

    x: (..., d)  ->  total: (d,)
    """
    return x.reshape(-1, x.shape[-1]).sum(axis=0)
