"""GELU, layer norm, cross-entropy, Adam, sums: naive == NumPy == C, and properties."""

import threading

import numpy as np
import pytest
from gradcheck import check_gradients
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minillm import kernels
from tests.kernels.test_dispatch import every_instruction_set, worst_error

every_implementation = pytest.mark.parametrize("name", ["naive", "numpy", "c"])
seeds = st.integers(0, 2**32 - 1)
# Row lengths around those of vectors (4, 8, 16); numbers of rows around the 64 blocks of the C.
lengths = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100])
rows = st.sampled_from([0, 1, 2, 3, 5, 63, 64, 65, 130])
smoothings = st.sampled_from([0.0, 0.1, 0.5])


@pytest.fixture(autouse=True)
def _restore():
    name, threads = kernels.current(), kernels.get_num_threads()
    yield
    kernels.use(name)
    kernels.set_num_threads(threads)


def normal(rng, *shape, scale=1.0, dtype=np.float32):
    return (scale * rng.standard_normal(shape)).astype(dtype)


class Gelu:
    @staticmethod
    def arguments(rng, n, d, dtype=np.float32):
        return {"x": normal(rng, n, d, scale=3, dtype=dtype), "dy": normal(rng, n, d, dtype=dtype)}

    @staticmethod
    def run(x, dy):
        return kernels.gelu_tanh(x), kernels.gelu_tanh_backward(dy, x)


class LayerNorm:
    @staticmethod
    def arguments(rng, n, d, dtype=np.float32):
        return {"x": normal(rng, n, d, dtype=dtype) * 3 + 1, "gain": normal(rng, d, dtype=dtype),
                "bias": normal(rng, d, dtype=dtype), "dy": normal(rng, n, d, dtype=dtype)}

    @staticmethod
    def run(x, gain, bias, dy):
        y, mean, inverse_std = kernels.layer_norm(x, gain, bias, 0.1)
        grads = kernels.layer_norm_backward(dy, x, mean, inverse_std, gain)
        return y, mean, inverse_std, *grads


class CrossEntropy:
    @staticmethod
    def arguments(rng, n, d, dtype=np.float32, smoothing=0.1):
        targets = rng.integers(0, d, n)
        targets[rng.random(n) < 0.2] = -100
        return {"logits": normal(rng, n, d, scale=4, dtype=dtype), "targets": targets,
                "smoothing": smoothing}

    @staticmethod
    def run(logits, targets, smoothing):
        losses, log_total = kernels.cross_entropy(logits, targets, smoothing)
        return losses, log_total, kernels.cross_entropy_backward(
            0.7, logits, targets, log_total, smoothing
        )


class Adam:
    @staticmethod
    def arguments(rng, n, d, dtype=np.float32, **options):
        w, g, m = (normal(rng, n, d, dtype=dtype) for _ in range(3))
        v = np.abs(normal(rng, n, d, dtype=dtype))
        options = {"t": 3, "lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-6} | options
        return {"w": w, "g": g, "m": m, "v": v, "options": options}

    @staticmethod
    def run(w, g, m, v, options):
        changed, g_before = [w.copy(), m.copy(), v.copy()], g.copy()
        kernels.adam(changed[0], g, *changed[1:], **options)
        np.testing.assert_array_equal(g, g_before)
        return changed


class SumOfSquares:
    @staticmethod
    def arguments(rng, n, d, dtype=np.float32):
        return {"x": normal(rng, n, d, dtype=dtype)}

    @staticmethod
    def run(x):
        total = kernels.sum_of_squares(x)
        assert type(total) is float
        return (np.array(total),)


class AddToRows:
    @staticmethod
    def arguments(rng, n, d, dtype=np.float32):
        return {"table": normal(rng, 5, d, dtype=dtype), "ids": rng.integers(0, 5, n),
                "x": normal(rng, n, d, dtype=dtype)}

    @staticmethod
    def run(table, ids, x):
        changed = table.copy()
        kernels.add_to_rows(changed, ids, x)
        return (changed,)


KERNELS = [Gelu, LayerNorm, CrossEntropy, Adam, SumOfSquares, AddToRows]
every_kernel = pytest.mark.parametrize("kernel", KERNELS)


def run(name, kernel, arguments):
    with kernels.use(name):
        return kernel.run(**arguments)


def exact(kernel, arguments):
    """NumPy in float64"""
    return run("numpy", kernel, {
        key: x.astype(np.float64) if getattr(x, "dtype", None) == np.float32 else x
        for key, x in arguments.items()
    })


def assert_close(results, expected, tolerance=2e-6):
    """Off by some units in the last place of the largest number: the size of what is summed."""
    assert len(results) == len(expected)
    for which, (result, wanted) in enumerate(zip(results, expected)):
        assert result.shape == wanted.shape
        error = np.abs(result - wanted).max(initial=0)
        assert error <= tolerance * (1 + np.abs(wanted).max(initial=0)), which


# ------------------------------------------------------------------ the implementations agree


@every_kernel
@given(n=st.integers(0, 4), d=st.integers(1, 7), seed=seeds)
@settings(max_examples=20)
def test_naive_is_the_definition(kernel, n, d, seed):
    arguments = kernel.arguments(np.random.default_rng(seed), n, d)
    expected = run("naive", kernel, arguments)
    for name in ("numpy", "c"):
        assert_close(run(name, kernel, arguments), expected, 1e-5)


@every_kernel
@given(n=rows, d=lengths, seed=seeds)
@example(n=1, d=5000, seed=0)
@example(n=300, d=200, seed=0)
@settings(max_examples=40)
def test_c_and_numpy_against_float64(kernel, n, d, seed):
    arguments = kernel.arguments(np.random.default_rng(seed), n, d)
    expected = exact(kernel, arguments)
    for name in ("numpy", "c"):
        results = run(name, kernel, arguments)
        assert all(result.dtype in (np.float32, np.float64) for result in results)
        assert_close(results, expected, 1e-5)


@every_kernel
@given(n=st.integers(0, 3), d=lengths, seed=seeds)
@settings(max_examples=15)
def test_float64_is_computed_by_numpy(kernel, n, d, seed):
    arguments = kernel.arguments(np.random.default_rng(seed), n, d, np.float64)
    for result, wanted in zip(run("c", kernel, arguments), run("numpy", kernel, arguments)):
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, wanted)


@given(n=rows, d=lengths, smoothing=smoothings, seed=seeds)
@settings(max_examples=20)
def test_label_smoothing(n, d, smoothing, seed):
    arguments = CrossEntropy.arguments(np.random.default_rng(seed), n, d, smoothing=smoothing)
    assert_close(run("c", CrossEntropy, arguments), exact(CrossEntropy, arguments))


@given(t=st.integers(1, 2000), l2=st.sampled_from([0.0, 0.1]), decay=st.sampled_from([0.0, 0.1]),
       grad_scale=st.sampled_from([1.0, 0.9]), beta2=st.sampled_from([0.0, 0.95, 0.999]),
       eps=st.sampled_from([0.0, 1e-8, 0.1]), seed=seeds)
@settings(max_examples=30)
def test_options_of_adam(t, l2, decay, grad_scale, beta2, eps, seed):
    arguments = Adam.arguments(np.random.default_rng(seed), 3, 7, t=t, l2=l2, decay=decay,
                               grad_scale=grad_scale, beta2=beta2, eps=eps)
    # √v divides, and with beta2 = 0 it is |grad_scale g + l2 w|: near 0 the error of w has no bound.
    arguments["v"] += 0.1
    arguments["g"] += np.copysign(np.float32(1), arguments["g"])
    for name in ("naive", "numpy", "c"):
        assert_close(run(name, Adam, arguments), exact(Adam, arguments), 1e-5)


@every_implementation
def test_any_number_of_axes_and_any_layout(name):
    rng = np.random.default_rng(0)
    x, dy = normal(rng, 2, 3, 5), normal(rng, 2, 3, 5)
    gain, bias = normal(rng, 10)[::2], normal(rng, 5)
    for view in (x, np.asfortranarray(x), np.repeat(x, 2, axis=2)[..., ::2], x[:, ::-1]):
        for y, wanted in ((kernels.gelu_tanh(view), kernels.gelu_tanh(view.copy("C"))),
                          (kernels.layer_norm(view, gain, bias)[0],
                           kernels.layer_norm(view.copy("C"), gain.copy(), bias)[0])):
            np.testing.assert_array_equal(y, wanted)
            assert y.shape == x.shape and y.flags.c_contiguous
    with kernels.use(name):
        y, mean, inverse_std = kernels.layer_norm(x, gain, bias)
        assert mean.shape == inverse_std.shape == (2, 3)
        dx, dgain, dbias = kernels.layer_norm_backward(
            np.asfortranarray(dy), x, mean, inverse_std, gain
        )
        assert dx.shape == x.shape and dgain.shape == dbias.shape == (5,)
        y, *statistics = kernels.layer_norm(x[0, 0], gain, bias)
        dx, _, _ = kernels.layer_norm_backward(dy[0, 0], x[0, 0], *statistics, gain)
        assert y.shape == dx.shape == (5,) and statistics[0].shape == ()
        losses, log_total = kernels.cross_entropy(x[0, 0], np.array(2))
        assert kernels.cross_entropy_backward(1, x[0, 0], np.array(2), log_total).shape == (5,)
        targets = np.array([[0, 4, -1], [2, 2, 3]], np.int32)
        losses, log_total = kernels.cross_entropy(np.asfortranarray(x), targets)
        assert losses.shape == log_total.shape == (2, 3) and losses[0, 2] == 0
        assert kernels.cross_entropy_backward(1, x, targets, log_total).shape == x.shape
        w, m, v = np.ones(()), np.zeros(()), np.zeros(())
        kernels.adam(w, np.ones(()), m, v, t=1, lr=0.25, beta1=0.9, beta2=0.9, eps=0)
        assert w == pytest.approx(0.75)


# ------------------------------------------------------------------ what must hold for any input


@given(seed=seeds, d=st.integers(1, 6), smoothing=smoothings)
@settings(max_examples=20)
def test_gradients_are_the_slopes_of_the_forward(seed, d, smoothing):
    rng = np.random.default_rng(seed)
    x, dy = normal(rng, 4, d, dtype=np.float64), normal(rng, 4, d, dtype=np.float64)
    gain, bias = normal(rng, 2, d, dtype=np.float64)
    targets = rng.integers(-1, d, 4)
    with kernels.use("numpy"):
        check_gradients(lambda: np.sum(kernels.gelu_tanh(x) * dy), {"x": x},
                        {"x": kernels.gelu_tanh_backward(dy, x)}, rng)
        _, mean, inverse_std = kernels.layer_norm(x, gain, bias, 0.1)
        grads = kernels.layer_norm_backward(dy, x, mean, inverse_std, gain)
        check_gradients(lambda: np.sum(kernels.layer_norm(x, gain, bias, 0.1)[0] * dy),
                        {"x": x, "gain": gain, "bias": bias},
                        dict(zip(("x", "gain", "bias"), grads)), rng)
        _, log_total = kernels.cross_entropy(x, targets, smoothing)
        dx = kernels.cross_entropy_backward(3.0, x, targets, log_total, smoothing)
        check_gradients(lambda: 3 * kernels.cross_entropy(x, targets, smoothing)[0].sum(),
                        {"x": x}, {"x": dx}, rng)


@every_implementation
def test_gelu_far_out_is_the_identity_or_zero(name):
    x = np.array([-1e15, -1e4, -30, -12, 0, 12, 30, 1e4, 1e15], np.float32)
    with kernels.use(name), np.errstate(over="ignore"):  # in x³; tanh(inf) is 1 all the same
        np.testing.assert_allclose(kernels.gelu_tanh(x), np.maximum(x, 0), atol=1e-12)
        slope = kernels.gelu_tanh_backward(np.ones_like(x), x)
    np.testing.assert_allclose(slope, [0, 0, 0, 0, 0.5, 1, 1, 1, 1], atol=1e-6)


@every_implementation
@given(d=st.integers(2, 20), scale=st.sampled_from([0.1, 1, 100]), seed=seeds)
@settings(max_examples=20)
def test_layer_norm_normalizes(name, d, scale, seed):
    """Mean 0 and variance 1, whatever the scale and the offset of the row."""
    rng = np.random.default_rng(seed)
    x = scale * rng.permuted(np.tile(np.arange(d, dtype=np.float32), (3, 1)), axis=1)
    one, zero = np.ones(d, np.float32), np.zeros(d, np.float32)
    with kernels.use(name):
        y, _, _ = kernels.layer_norm(x + 10, one, zero, 1e-9)
        np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-4)
        np.testing.assert_allclose(y.std(axis=-1), 1, rtol=1e-3)
        dy, statistics = normal(rng, 3, d), kernels.layer_norm(x, one, zero)[1:]
        dx, _, _ = kernels.layer_norm_backward(dy, x, *statistics, one)
    # Moving a row changes nothing in y, so dx has no part in that direction.
    assert np.all(np.abs(dx.sum(axis=-1)) < 1e-5 * d * np.abs(dy).max() / scale)


@every_implementation
@pytest.mark.parametrize("c", [0.1, np.pi, -1e8])
@pytest.mark.parametrize("d", [1, 15, 768])
def test_layer_norm_of_a_constant_row_is_its_bias(name, d, c):
    """Its variance is 0, but the mean of d equal numbers is rounded: that must not show."""
    x, bias = np.full((2, d), c, np.float32), np.arange(d, dtype=np.float32)
    with kernels.use(name):
        y, _, _ = kernels.layer_norm(x, np.ones_like(bias), bias)
    np.testing.assert_allclose(y, [bias, bias], atol=1e-4)


@every_implementation
def test_cross_entropy_of_extreme_logits(name):
    z = np.array([[1000, 0, -1000], [-np.inf, 2, 2], [1e30, 1e30, 0], [5, -np.inf, -np.inf]],
                 np.float32)
    targets = np.array([0, 1, 0, 0])
    with kernels.use(name):
        losses, log_total = kernels.cross_entropy(z, targets)
        dz = kernels.cross_entropy_backward(1.0, z, targets, log_total)
    np.testing.assert_allclose(losses[[0, 1, 3]], [0, np.log(2), 0], atol=1e-6)
    assert np.all(np.isfinite(dz))
    np.testing.assert_allclose(dz[[0, 1, 3]], [[0, 0, 0], [0, -0.5, 0.5], [0, 0, 0]], atol=1e-6)


@given(V=st.sampled_from([1, 7, 65, 1000, 50257]), seed=seeds)
@settings(max_examples=20)
def test_gradient_of_cross_entropy_adds_up_to_zero(V, seed):
    arguments = CrossEntropy.arguments(np.random.default_rng(seed), 5, V)
    losses, log_total, dlogits = run("c", CrossEntropy, arguments)
    assert_close((losses, log_total), exact(CrossEntropy, arguments)[:2], 5e-6)
    np.testing.assert_allclose(dlogits.sum(axis=1, dtype=np.float64), 0, atol=1e-5)
    assert not dlogits[arguments["targets"] < 0].any()


@every_implementation
@given(n=st.integers(1, 5), V=st.integers(1, 40), seed=seeds)
def test_gradient_of_cross_entropy_in_place_of_the_logits(name, n, V, seed):
    of = CrossEntropy.arguments(np.random.default_rng(seed), n, V)
    with kernels.use(name):
        _, log_total = kernels.cross_entropy(of["logits"], of["targets"], of["smoothing"])
        arguments = (of["targets"], log_total, of["smoothing"])
        expected = kernels.cross_entropy_backward(0.7, of["logits"], *arguments)
        for out in (np.full_like(expected, np.nan), of["logits"]):
            result = kernels.cross_entropy_backward(0.7, of["logits"], *arguments, out=out)
            assert result is out
            np.testing.assert_array_equal(out, expected)


@every_implementation
def test_sum_of_squares_does_not_overflow(name):
    with kernels.use(name):
        assert kernels.sum_of_squares(np.full(40, 1e30, np.float32)) == pytest.approx(4e61)
        assert kernels.sum_of_squares(np.full(3, np.inf, np.float32)) == np.inf
        assert np.isnan(kernels.sum_of_squares(np.array([1, np.nan], np.float32)))
        assert kernels.sum_of_squares(np.empty(0, np.float32)) == 0


@every_implementation
def test_nan_is_not_hidden(name):
    x = np.array([[1, np.nan, 2]], np.float32)
    one, targets = np.ones(3, np.float32), np.array([0])
    with kernels.use(name), np.errstate(all="ignore"):
        assert np.isnan(kernels.gelu_tanh(x)[0, 1])
        assert np.all(np.isnan(kernels.layer_norm(x, one, one)[0]))
        losses, log_total = kernels.cross_entropy(x, targets)
        assert np.isnan(losses[0])
        assert np.all(np.isnan(kernels.cross_entropy_backward(1.0, x, targets, log_total)))


# ------------------------------------------------------------------ memory and threads


@every_kernel
@pytest.mark.parametrize("n, d", [(130, 100), (7, 5000), (1000, 65), (1, 3)])
def test_bitwise_equal_for_any_number_of_threads(kernel, n, d):
    arguments = kernel.arguments(np.random.default_rng(0), n, d)
    results = []
    for threads in (1, 2, 3, 7):
        kernels.set_num_threads(threads)
        results.append(run("c", kernel, arguments))
    for result in results[1:]:
        for array, first in zip(result, results[0]):
            assert array.tobytes() == first.tobytes()


@given(n=rows, d=lengths, seed=seeds)
@settings(max_examples=30)
def test_adam_writes_nothing_outside_its_arrays(n, d, seed):
    arguments = Adam.arguments(np.random.default_rng(seed), n, d)
    options = arguments.pop("options")
    expected = run("numpy", Adam, {**arguments, "options": options})
    buffers = {key: np.full(n * d + 32, 7.5, np.float32) for key in arguments}
    windows = {key: buffer[16 : 16 + n * d].reshape(n, d) for key, buffer in buffers.items()}
    for key, window in windows.items():
        window[...] = arguments[key]
    with kernels.use("c"):
        kernels.adam(**windows, **options)
    assert_close([windows[key] for key in "wmv"], expected, 1e-5)
    for key, buffer in buffers.items():
        windows[key][...] = 7.5
        assert np.all(buffer == 7.5)


def test_two_python_threads_at_once():
    rng = np.random.default_rng(0)
    cases = [(kernel, kernel.arguments(rng, 70, 90)) for kernel in KERNELS]
    kernels.use("c")
    expected = [kernel.run(**arguments) for kernel, arguments in cases]
    wrong = []

    def work(kernel, arguments, right):
        for _ in range(30):
            results = kernel.run(**arguments)
            if not all(np.array_equal(a, b) for a, b in zip(results, right)):
                wrong.append(kernel.__name__)

    workers = [threading.Thread(target=work, args=(*case, right))
               for case, right in zip(cases, expected)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


FORCED = """
import json
import numpy as np
from minillm import kernels
rng = np.random.default_rng(0)
worst = 0.0
for n, d in [(1, 1), (3, 5), (70, 33), (2, 1000)]:
    x, dy, m = (rng.standard_normal((n, d)).astype("f4") for _ in range(3))
    gain, bias = rng.standard_normal((2, d)).astype("f4")
    targets = rng.integers(-1, d, n)
    results = []
    for dtype in (np.float32, np.float64):        # float64 is computed by NumPy
        X, DY, M, G, B = (array.astype(dtype) for array in (x, dy, m, gain, bias))
        y, mean, inverse = kernels.layer_norm(X, G, B, 0.1)
        losses, total = kernels.cross_entropy(X, targets, 0.1)
        W, V = DY.copy(), M * M + 1
        kernels.adam(W, X, M, V, t=2, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, l2=0.1, decay=0.1)
        results.append([kernels.gelu_tanh(X), kernels.gelu_tanh_backward(DY, X), y,
                        *kernels.layer_norm_backward(DY, X, mean, inverse, G), losses,
                        kernels.cross_entropy_backward(0.5, X, targets, total, 0.1), W, M, V,
                        kernels.sum_of_squares(X) / X.size])
    for single, double in zip(*results):
        worst = max(worst, np.abs(single - double).max() / (1 + np.abs(double).max()))
print(json.dumps([kernels.info()["instruction set"], float(worst)]))
"""


@every_instruction_set
def test_each_instruction_set(isa):
    assert 0 < worst_error(FORCED, isa) < 1e-5


# ------------------------------------------------------------------ bad input


def f32(*shape):
    return np.ones(shape, np.float32)


def read_only(*shape):
    array = f32(*shape)
    array.flags.writeable = False
    return array


SAME, ROWS = f32(3), f32(3, 3)
STEP = {"t": 1, "lr": 0.1, "beta1": 0.9, "beta2": 0.9, "eps": 1e-8}
IDS = np.array([0, 1])

BAD = {
    "a list": (TypeError, "x is a list", lambda: kernels.gelu_tanh([1.0])),
    "integers": (TypeError, "x has dtype int64", lambda: kernels.gelu_tanh(np.arange(3))),
    "dy's shape": (ValueError, "dy has shape (2,)",
                   lambda: kernels.gelu_tanh_backward(f32(2), f32(3))),
    "dy's dtype": (TypeError, "dy has dtype float64",
                   lambda: kernels.gelu_tanh_backward(np.ones(3), f32(3))),
    "no rows": (ValueError, "x has shape ()", lambda: kernels.layer_norm(f32(), f32(1), f32(1))),
    "empty rows": (ValueError, "x has shape (2, 0)",
                   lambda: kernels.layer_norm(f32(2, 0), f32(0), f32(0))),
    "gain's shape": (ValueError, "gain has shape (2,)",
                     lambda: kernels.layer_norm(f32(2, 3), f32(2), f32(3))),
    "bias's dtype": (TypeError, "bias has dtype float64",
                     lambda: kernels.layer_norm(f32(2, 3), f32(3), np.ones(3))),
    "mean's shape": (ValueError, "mean has shape (3,)", lambda: kernels.layer_norm_backward(
        f32(2, 3), f32(2, 3), f32(3), f32(2), f32(3))),
    "targets is a list": (TypeError, "targets is list",
                          lambda: kernels.cross_entropy(f32(2, 3), [0, 1])),
    "targets of floats": (TypeError, "targets is float32",
                          lambda: kernels.cross_entropy(f32(2, 3), f32(2))),
    "targets' shape": (ValueError, "targets has shape (2,)",
                       lambda: kernels.cross_entropy(f32(3, 3), IDS)),
    "target too large": (ValueError, "targets contains 1",
                         lambda: kernels.cross_entropy(f32(2, 1), IDS)),
    "smoothing": (ValueError, "label_smoothing is 1",
                  lambda: kernels.cross_entropy(f32(2, 3), IDS, 1)),
    "log_total's shape": (ValueError, "log_total has shape (3,)",
                          lambda: kernels.cross_entropy_backward(1, f32(2, 3), IDS, f32(3))),
    "out's shape": (ValueError, "out has shape (3, 2)", lambda: kernels.cross_entropy_backward(
        1, f32(2, 3), IDS, f32(2), out=f32(3, 2))),
    "out has gaps": (ValueError, "out is read-only or has gaps",
                     lambda: kernels.cross_entropy_backward(
                         1, f32(2, 3), IDS, f32(2), out=f32(2, 6)[:, ::2])),
    "out is moved": (ValueError, "out overlaps logits", lambda: kernels.cross_entropy_backward(
        1, ROWS[:2], IDS, f32(2), out=ROWS[1:])),
    "g's shape": (ValueError, "g has shape (4,)",
                  lambda: kernels.adam(f32(3), f32(4), f32(3), f32(3), **STEP)),
    "v's dtype": (TypeError, "v has dtype float64",
                  lambda: kernels.adam(f32(3), f32(3), f32(3), np.ones(3), **STEP)),
    "w is read-only": (ValueError, "w is read-only or has gaps",
                       lambda: kernels.adam(read_only(3), f32(3), f32(3), f32(3), **STEP)),
    "m has gaps": (ValueError, "m is read-only or has gaps",
                   lambda: kernels.adam(f32(3), f32(3), f32(6)[::2], f32(3), **STEP)),
    "m is v": (ValueError, "m overlaps v",
               lambda: kernels.adam(f32(3), f32(3), SAME, SAME, **STEP)),
    "w is g": (ValueError, "w overlaps g",
               lambda: kernels.adam(SAME, SAME, f32(3), f32(3), **STEP)),
    "sum of a list": (TypeError, "x is a list", lambda: kernels.sum_of_squares([1.0])),
    "the table's axes": (ValueError, "table has shape (3,)",
                         lambda: kernels.add_to_rows(f32(3), IDS, f32(2, 3))),
    "the table has gaps": (ValueError, "table is read-only or has gaps",
                           lambda: kernels.add_to_rows(f32(4, 6)[:, ::2], IDS, f32(2, 3))),
    "ids is a list": (TypeError, "ids is list",
                      lambda: kernels.add_to_rows(f32(2, 3), [0, 1], f32(2, 3))),
    "an id too large": (ValueError, "ids contains 1, wanted ids from 0 to 0",
                        lambda: kernels.add_to_rows(f32(1, 3), IDS, f32(2, 3))),
    "a negative id": (ValueError, "ids contains -1, wanted ids from 0 to 4",
                      lambda: kernels.add_to_rows(f32(5, 3), IDS - 1, f32(2, 3))),
    "x's shape": (ValueError, "x has shape (3, 3), wanted (2, 3)",
                  lambda: kernels.add_to_rows(f32(5, 3), IDS, f32(3, 3))),
    "x's dtype": (TypeError, "x has dtype float64",
                  lambda: kernels.add_to_rows(f32(5, 3), IDS, np.ones((2, 3)))),
    "x is in the table": (ValueError, "table overlaps x",
                          lambda: kernels.add_to_rows(ROWS, IDS, ROWS[1:])),
}


@every_implementation
@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(name, case):
    error, message, call = BAD[case]
    with kernels.use(name), pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
