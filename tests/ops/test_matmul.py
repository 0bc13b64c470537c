import numpy as np

from minillm.ops.matmul import matmul
from minillm.ops.sum_of_squares import sum_of_squares
from minillm.ops.sum_rows import sum_rows


def test_a_product_by_hand():
    A, B = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]])
    assert matmul(A, B).tolist() == [[1 * 3 + 2 * 5, 1 * 4 + 2 * 6]]
    assert matmul(A, B, transpose_B=True).tolist() == [[1 * 3 + 2 * 4, 1 * 5 + 2 * 6]]
    assert matmul(A, A, transpose_A=True).tolist() == [[1, 2], [2, 4]]
    assert matmul(A, B, bias=np.array([10.0, 20.0])).tolist() == [[23, 36]]
    out = np.array([[100.0, 200.0]])
    assert matmul(A, B, out, accumulate=True) is out
    assert out.tolist() == [[113, 216]]


def test_sums_by_hand():
    x = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    assert sum_rows(x).tolist() == [1 + 3 + 5 + 7, 2 + 4 + 6 + 8]
    assert sum_of_squares(x) == 1 + 4 + 9 + 16 + 25 + 36 + 49 + 64
    assert sum_of_squares(np.full(3, 1e30, np.float32)) > 2.9e60  # more than float32 can hold
