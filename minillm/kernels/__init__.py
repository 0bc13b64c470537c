"""The hot loops of a transformer, three times: naive, NumPy and C.

    naive.py       nested Python loops: the definition
    minillm/ops    whole arrays at a time, in the file of each op
    csrc/          the C library

`use("numpy")` chooses the implementation, `with use("numpy"):` for a while, and the environment
variable MINILLM_KERNELS gives the first one. It is "c" by default. If the C extension isn't built,
NumPy takes its place, with one warning.

float32 is the working type. float64 (gradient checks) is computed by NumPy also in mode "c".
Importing this package loads no library: the first kernel does, or `info()`.
"""

import numpy as np

from minillm.kernels import c_library
from minillm.kernels.dispatch import current, kernel, observe, use
from minillm.kernels.process import tune_process

__all__ = ["current", "get_num_threads", "info", "kernel", "observe", "set_num_threads",
           "tune_process", "use"]


class _Old:
    def __getattr__(self, name):
        import importlib

        module = {"naive": "old_naive", "numpy": "numpy_kernels", "c": "c"}[current()]
        return getattr(importlib.import_module(f"minillm.kernels.{module}"), name)


_implementation = _Old()


def matmul(A, B, out=None, *, transpose_A=False, transpose_B=False, accumulate=False, bias=None):
    """C = op(A) @ op(B) [+ bias], or C += op(A) @ op(B) with `accumulate`.

    A: (..., M, K), or (..., K, M) with `transpose_A`;  B: (..., K, N), or (..., N, K) with
    `transpose_B`;  float32 or float64, both the same  ->  C: (..., M, N).
    The leading axes are equal, or one of A and B is 2-D and serves the whole batch. Rows may be
    strided views (columns of a wider matrix, heads of a fused buffer): nothing is copied as long
    as the last axis is contiguous.

    out: where C is written (and added to, with `accumulate`): any view with a contiguous last axis
    that has no memory in common with A, B and bias.
    bias: (N,), added to every row of C

    Raises TypeError for a wrong type or dtype, ValueError for shapes that don't fit, an `out` that
    can't be written or that overlaps an input, and `accumulate` without `out` or with
    a bias.
    """
    return _implementation.matmul(
        A, B, out, transpose_A=transpose_A, transpose_B=transpose_B, accumulate=accumulate,
        bias=bias,
    )


def matmul_stored(x, weights, scale=None, bias=None):
    """y = x Wᵀ + bias, with the weights W stored in fewer bits: `minillm.kernels.stored_weights`.

    x: (..., K), float32 or float64;  weights: (N, K), float32, uint16 (the bits of bfloat16) or int8;
    scale: (N,) float32 for int8, then W = scale[:, None] * weights, otherwise None;
    bias: (N,) of x's dtype or None  ->  y: (..., N)

    For inference: there is no backward. The sums are made in float32. Raises TypeError for a wrong
    type or dtype, ValueError for shapes that don't fit and a `scale` too many or too few.
    """
    return _implementation.matmul_stored(x, weights, scale, bias)


def gelu_tanh(x):
    """y = x (1 + tanh(u)) / 2,   u = √(2/π) (x + 0.044715 x³)     (Hendrycks and Gimpel 2016)

    x: any shape -> y: the same shape. Like all that follow: float32 or float64, all arguments
    the same; results are new arrays, contiguous; TypeError and ValueError name the argument.
    """
    return _implementation.gelu_tanh(x)


def gelu_tanh_backward(dy, x):
    """-> dx, the gradient of `gelu_tanh`, given dy and the same x"""
    return _implementation.gelu_tanh_backward(dy, x)


def layer_norm(x, gain, bias, eps=1e-5):
    """y = gain * (x - mean) / sqrt(var + eps) + bias          (Ba et al. 2016, eq. 4)

    x: (..., d); gain, bias: (d,)  ->  y: (..., d), mean: (...), inverse_std: (...), of each row;
    `layer_norm_backward` wants them.
    """
    return _implementation.layer_norm(x, gain, bias, eps)


def layer_norm_backward(dy, x, mean, inverse_std, gain):
    """-> dx: (..., d), dgain: (d,), dbias: (d,), the gradients of `layer_norm`"""
    return _implementation.layer_norm_backward(dy, x, mean, inverse_std, gain)


def cross_entropy(logits, targets, label_smoothing=0.0):
    """loss = log Σ_j exp(z_j) - (1 - ε) z_target - ε mean_j(z_j) for each row z of logits

    logits: (..., V); targets: integers (...) below V, negative where nothing is to be counted (the
    loss is 0); ε = label_smoothing  ->  losses: (...), log_total: (...), that is log Σ_j exp(z_j).
    """
    return _implementation.cross_entropy(logits, targets, label_smoothing)


def cross_entropy_backward(weight, logits, targets, log_total, label_smoothing=0.0, out=None):
    """-> dlogits: (..., V), `weight` times the gradient of the sum of `cross_entropy`'s losses

    out: where it is written, a contiguous array; it may be `logits` itself, the largest array of a
    step when V is large.
    """
    return _implementation.cross_entropy_backward(
        weight, logits, targets, log_total, label_smoothing, out
    )


def adam(w, g, m, v, *, t, lr, beta1, beta2, eps, grad_scale=1.0, l2=0.0, decay=0.0):
    """Step number t of Adam, in place (Kingma & Ba 2015, algorithm 1), for arrays of one shape.

        g ← grad_scale g + l2 w    m ← β₁ m + (1 - β₁) g    v ← β₂ v + (1 - β₂) g²
        w ← w - lr decay w - lr m̂ / (√v̂ + eps)   with m̂ = m / (1 - β₁ᵗ), v̂ = v / (1 - β₂ᵗ)

    grad_scale is 1, or less to clip the gradient; l2 the penalty of plain Adam, `decay` that of AdamW
    (Loshchilov & Hutter 2019, algorithm 2). w, m and v are changed, so they must be contiguous and
    writable; g itself stays as it is.
    """
    _implementation.adam(
        w, g, m, v, t=t, lr=lr, beta1=beta1, beta2=beta2, eps=eps, grad_scale=grad_scale, l2=l2,
        decay=decay,
    )


def sum_of_squares(x):
    """Σ x² over all elements, summed in double precision -> float"""
    return _implementation.sum_of_squares(x)


def add_to_rows(table, ids, x):
    """table[ids[i]] += x[i] for i = 0, 1, …, in place: the gradient of an embedding

    table: (n, d), contiguous and writable;  ids: integers (...) from 0 to n - 1, the same id may
    occur often;  x: (..., d)
    """
    _implementation.add_to_rows(table, ids, x)


def set_num_threads(n):
    """Let each C kernel use up to `n` threads. The results are the same bit for bit for any `n`.

    The start value is OMP_NUM_THREADS or the number of cores. The threads are OpenMP's. They begin
    with the first kernel that has work for them, and each thread of the program that calls kernels
    has its own; so has a child made by os.fork(). The system must allow so many: if it gives fewer,
    OpenMP ends the process.
    """
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
        raise TypeError(f"n is a {type(n).__name__}, wanted an integer")
    if not 1 <= n <= 1024:
        raise ValueError(f"n is {n}, wanted a number of threads from 1 to 1024")
    if c_library.why_missing() is None:
        c_library.lib.minillm_set_num_threads(int(n))


def get_num_threads():
    """How many threads a C kernel may use; 1 without the extension, or one without OpenMP."""
    return 1 if c_library.why_missing() else c_library.lib.minillm_get_num_threads()


def info():
    """The facts for `minillm info` -> dict: the implementation, the C library, NumPy's BLAS."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    facts = {"implementation": current()}
    missing = c_library.why_missing()
    facts.update({"c extension": f"not built ({missing})"} if missing else c_library.info())
    facts["numpy"] = np.__version__
    facts["numpy blas"] = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    return facts
