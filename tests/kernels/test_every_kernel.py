"""Every kernel with a signature: naive == NumPy == C, within the memory of its arguments.

The cases are drawn from the signatures, so a new kernel is tested as soon as it exists.
"""

import importlib
import pkgutil
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import every_instruction_set, worst_error
from views import copied, inside, spoiled

import minillm.ops
from minillm import kernels
from minillm.kernels.dispatch import registry
from minillm.kernels.signature import Signature

for module in pkgutil.iter_modules(minillm.ops.__path__):
    importlib.import_module(f"minillm.ops.{module.name}")

SIGNATURES = {name: kernel.binding for name, kernel in registry.items()
              if isinstance(kernel.binding, Signature)}
every_kernel = pytest.mark.parametrize("name", SIGNATURES)
every_implementation = pytest.mark.parametrize("implementation", ["naive", "numpy", "c"])
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
leading_axes = st.sampled_from([(), (1,), (2,), (5,), (2, 3), (0,), (2, 0)])
lengths = st.sampled_from([1, 2, 3, 7, 8, 15, 16, 17, 33])


@pytest.fixture(autouse=True)
def _restore():
    implementation, threads = kernels.current(), kernels.get_num_threads()
    yield
    kernels.use(implementation)
    kernels.set_num_threads(threads)


def draw(name, rng, leading, length, dtype=np.float32):
    """-> list of arguments that match a kernel's signature"""
    signature = SIGNATURES[name]
    sizes = {"...": leading, "1": 1}
    for size in signature.size_names:
        sizes.setdefault(size, length if size in ("d", "V") else 5)
    values = []
    for item in signature.inputs:
        if item.kind == "number":
            low = 0.01 if item.low is None else max(item.low, 0.01)
            values.append(float(rng.uniform(low, low + 1 if item.high is None else float(item.high))))
        elif item.kind == "integers":
            low = -2 if item.low is None else item.low
            values.append(np.array(rng.integers(low, sizes[item.high], item.shape(sizes))))
        else:
            value = np.array(rng.standard_normal(item.shape(sizes)), dtype)
            if item.name in ("v", "inverse_std", "inverse_rms"):  # aren't negative
                value[...] = value**2 + 0.1
            values.append(value)
    return values


def run(name, values, **options):
    """Call a kernel with the arguments of its signature -> list of all results, those that are
    arguments changed in place, or fields of a cache, included"""
    signature, kernel = SIGNATURES[name], registry[name]
    takes_cache = "cache" in kernel.__wrapped__.__code__.co_varnames[:2]
    values = list(values)
    result = kernel(values[0], tuple(values[1:]), **options) if takes_cache else \
        kernel(*values, **options)
    if signature.in_place:
        assert result is None
        return [values[index] for index in signature.in_place]
    results = result if isinstance(result, tuple) else (result,)
    if hasattr(results[-1], "_fields"):
        *results, cache = results
        results = {item.name: getattr(cache, item.name, None) for item in signature.new} | dict(
            zip((item.name for item in signature.new if item.name not in cache._fields), results))
        results = list(results.values())
    return list(results)


def exact(name, values):
    """The definition, in double precision"""
    with kernels.use("naive"):
        return run(name, [value.astype(np.float64) if isinstance(value, np.ndarray) and
                          value.dtype == np.float32 else value for value in copied(values)])


def assert_close(results, wanted, tolerance=2e-5):
    assert len(results) == len(wanted)
    for result, right in zip(results, wanted):
        assert np.shape(result) == np.shape(right)
        np.testing.assert_allclose(result, right, rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------ the same in all three


@every_kernel
@given(rng=generators, leading=leading_axes, length=lengths)
def test_the_implementations_agree(name, rng, leading, length):
    values = draw(name, rng, leading, length)
    wanted = exact(name, values)
    for implementation in ("naive", "numpy", "c"):
        with kernels.use(implementation):
            results = run(name, copied(values))
        assert all(np.asarray(result).dtype == np.float32 for result in results
                   if isinstance(result, np.ndarray)), implementation
        assert_close(results, wanted)


@every_kernel
@given(rng=generators, leading=leading_axes, length=lengths)
@settings(max_examples=10)
def test_float64_stays_float64(name, rng, leading, length):
    values = draw(name, rng, leading, length, np.float64)
    wanted = exact(name, values)
    for implementation in ("numpy", "c"):
        with kernels.use(implementation):
            results = run(name, copied(values))
        assert all(result.dtype == np.float64 for result in results
                   if isinstance(result, np.ndarray))
        assert_close(results, wanted, 1e-12)


@every_kernel
@pytest.mark.parametrize("rows, length", [(130, 100), (7, 5000), (1000, 65)])
def test_larger_arrays_in_numpy_and_c(name, rows, length):
    values = draw(name, np.random.default_rng(0), (rows,), length)
    with kernels.use("numpy"):
        wanted = run(name, [value.astype(np.float64) if isinstance(value, np.ndarray) and
                            value.dtype == np.float32 else value for value in values])
    with kernels.use("c"):
        assert_close(run(name, copied(values)), wanted, 2e-4)


@every_kernel
@pytest.mark.parametrize("rows, length", [(130, 100), (7, 5000), (1000, 65), (1, 3)])
def test_bitwise_equal_for_any_number_of_threads(name, rows, length):
    values = draw(name, np.random.default_rng(0), (rows,), length)
    results = []
    kernels.use("c")
    for threads in (1, 2, 3, 7):
        kernels.set_num_threads(threads)
        results.append([np.asarray(result).tobytes() for result in run(name, copied(values))])
    assert all(result == results[0] for result in results)


def test_two_python_threads_at_once():
    rng = np.random.default_rng(0)
    cases = [(name, draw(name, rng, (70,), 90)) for name in SIGNATURES]
    kernels.use("c")
    expected = [run(name, copied(values)) for name, values in cases]
    wrong = []

    def work(name, values, right):
        for _ in range(30):
            if not all(np.array_equal(a, b) for a, b in zip(run(name, copied(values)), right)):
                wrong.append(name)

    workers = [threading.Thread(target=work, args=(*case, right))
               for case, right in zip(cases, expected)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


# ------------------------------------------------------------------ any arguments


@every_kernel
@every_implementation
@given(rng=generators, leading=leading_axes, length=lengths)
@settings(max_examples=100)
def test_any_argument_gives_the_right_result_or_an_error_that_names_it(
    name, implementation, rng, leading, length
):
    """Other layouts, types, sizes, and memory in common: see tests/helpers/views.py."""
    signature = SIGNATURES[name]
    values = draw(name, rng, leading, length)
    options = {}
    if signature.takes_out and rng.random() < 0.5:
        options["out"] = np.full(np.shape(exact(name, values)[0]), 7.5, np.float32)
    for _ in range(rng.integers(1, 3)):
        index = int(rng.integers(len(values)))
        if not isinstance(values[index], np.ndarray):
            values[index] = rng.choice(np.array([None, "x", 1, True, np.float32(0.5), -3.0,
                                                 np.nan, np.int8(1)], object))
        elif rng.random() < 0.3:
            others = [v for v in [*values, *options.values()] if isinstance(v, np.ndarray)]
            values[index] = inside(values[index], others[rng.integers(len(others))], rng)
        else:
            values[index] = spoiled(values[index], rng)
    if options and rng.random() < 0.3:
        options["out"] = spoiled(options["out"], rng)
    if options and isinstance(options["out"], np.ndarray):
        copied_out = {"out": np.empty(options["out"].shape, options["out"].dtype)}
    else:
        copied_out = options
    independent = copied(values)
    wanted = error = None
    with np.errstate(all="ignore"):
        try:
            with kernels.use("numpy"):
                wanted = run(name, independent, **copied_out)
        except (TypeError, ValueError) as caught:
            error = caught
        try:
            with kernels.use(implementation):
                results = run(name, values, **options)
        except (TypeError, ValueError) as caught:
            names = (*signature.names, "out", "cache")
            assert str(caught).startswith(names) and "\n" not in str(caught), caught
        except (OverflowError, ZeroDivisionError) as caught:
            assert implementation == "naive", caught  # math.exp and similar
        else:
            assert error is None, error
            assert_close(results, wanted, 1e-3)
            if options:
                assert results[0] is options["out"] or options["out"] is None


FORCED = """
import json
import numpy as np
from minillm import kernels
from minillm.ops.adam import adam
from minillm.ops.cross_entropy import token_losses, token_losses_backward
from minillm.ops.gelu import gelu_tanh, gelu_tanh_backward
from minillm.ops.layer_norm import layer_norm, layer_norm_backward
from minillm.ops.rms_norm import rms_norm, rms_norm_backward
from minillm.ops.sum_of_squares import sum_of_squares
from minillm.ops.sum_rows import sum_rows
rng = np.random.default_rng(0)
worst = 0.0
for n, d in [(1, 1), (3, 5), (70, 33), (2, 1000)]:
    x, dy, m = (rng.standard_normal((n, d)).astype("f4") for _ in range(3))
    weight, bias = rng.standard_normal((2, d)).astype("f4")
    targets = rng.integers(-1, d, n)
    results = []
    for dtype in (np.float32, np.float64):        # float64 is computed by NumPy
        X, DY, M, G, B = (array.astype(dtype) for array in (x, dy, m, weight, bias))
        y, cache = layer_norm(X, G, B, 0.1)
        r, r_cache = rms_norm(X, G, 0.1)
        g, g_cache = gelu_tanh(X)
        losses, lse = token_losses(X, targets, 0.1)
        W, V = DY.copy(), M * M + 1
        adam(W, X, M, V, t=2, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, l2=0.1, decay=0.1)
        results.append([g, gelu_tanh_backward(DY, g_cache), y, *layer_norm_backward(DY, cache),
                        r, *rms_norm_backward(DY, r_cache), losses,
                        token_losses_backward(0.5, X, targets, lse, 0.1), W, M, V,
                        sum_rows(X), sum_of_squares(X) / X.size])
    for single, double in zip(*results):
        worst = max(worst, np.abs(single - double).max() / (1 + np.abs(double).max()))
print(json.dumps([kernels.info()["instruction set"], float(worst)]))
"""


@every_instruction_set
def test_each_instruction_set(isa):
    assert 0 < worst_error(FORCED, isa) < 1e-5


def test_targets_inside_out():
    """Writing to `out` must not change the targets while the kernel reads them."""
    logits = np.ones((64, 16), np.float32)
    out = np.zeros((64, 16), np.float32)
    targets = out.reshape(-1).view(np.int64)[:64]
    lse = np.ones((64, 1), np.float32)
    with pytest.raises(ValueError, match="^out overlaps targets"):
        registry["token_losses_backward"](1.0, logits, targets, lse, 0.0, out=out)


def test_a_long_axis_beside_an_empty_one():
    x = np.empty((2**40, 0, 4), np.float32)
    for implementation in ("naive", "numpy", "c"):
        with kernels.use(implementation):
            y, _ = registry["layer_norm"](x, np.ones(4, np.float32), np.ones(4, np.float32))
            assert y.shape == x.shape


@every_kernel
@given(rng=generators, rows=st.integers(1, 40), length=lengths)
@settings(max_examples=20)
def test_nothing_is_written_outside_the_arrays(name, rng, rows, length):
    """Outputs are windows in larger arrays, whose other numbers must stay."""
    signature = SIGNATURES[name]
    values = draw(name, rng, (rows,), length)
    buffers = []

    def window(array):
        buffer = np.full(array.size + 64, 7.5, np.float32)
        buffers.append((buffer, array.size))
        inner = buffer[32 : 32 + array.size].reshape(array.shape)
        inner[...] = array
        return inner

    options = {}
    for index in signature.in_place:
        values[index] = window(values[index])
    if signature.takes_out:
        options["out"] = window(np.empty(np.shape(exact(name, values)[0]), np.float32))
    with kernels.use("c"):
        run(name, values, **options)
    for buffer, size in buffers:
        assert np.all(buffer[:32] == 7.5) and np.all(buffer[32 + size :] == 7.5)


@every_kernel
def test_the_c_function_is_declared_as_the_signature_says(name):
    """cffi would silently convert a double to a float."""
    from minillm.kernels import c_library

    signature = SIGNATURES[name]
    c_type = c_library.ffi.typeof(getattr(c_library.lib, f"minillm_{name}"))
    kinds = {"number": "double", "array": "float *", "integers": "int64_t *"}
    wanted = ["ptrdiff_t"] * len(signature.size_names)
    wanted += [kinds[item.kind] for item in signature.inputs] + ["float *"] * len(signature.new)
    is_number = not signature.new and not signature.in_place
    assert [argument.cname.replace("isize", "ptrdiff_t") for argument in c_type.args] == [
        c_library.ffi.typeof(one).cname for one in wanted]
    assert c_type.result.cname in (("double",) if is_number else ("void", "int"))
