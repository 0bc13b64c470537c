"""The choice of implementation, instruction set and threads; and minillm without the C."""

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from processes import every_instruction_set, run_python, worst_error

from minillm import kernels
from minillm.ops.attention import streaming_attention, streaming_attention_backward
from minillm.ops.matmul import matmul


def test_use_as_a_call_and_as_a_context():
    before = kernels.current()
    with kernels.use("naive"):
        assert kernels.current() == "naive"
        with kernels.use("numpy"):
            assert kernels.current() == "numpy"
        assert kernels.current() == "naive"
    assert kernels.current() == before
    try:
        kernels.use("numpy")
        assert kernels.current() == "numpy"
    finally:
        kernels.use(before)


def test_use_is_undone_after_an_exception():
    before = kernels.current()
    with pytest.raises(KeyError), kernels.use("naive"):
        raise KeyError
    assert kernels.current() == before


@pytest.mark.parametrize("name", ["fortran", "", None])
def test_unknown_implementation(name):
    before = kernels.current()
    with pytest.raises(ValueError, match="wanted 'naive', 'numpy' or 'c'"):
        kernels.use(name)
    assert kernels.current() == before


@pytest.mark.parametrize("name", ["naive", "numpy", "c"])
def test_environment_chooses_the_implementation(name):
    run = run_python("from minillm import kernels; print(kernels.current())", MINILLM_KERNELS=name)
    assert (run.stdout.strip(), run.stderr) == (name, "")


def test_nothing_but_its_own_imports_is_needed():
    """-I -S: without modules that an editable install or a test runner imports."""
    folders = [Path(kernels.__file__).parents[2], Path(np.__file__).parents[1]]
    program = f"import sys; sys.path[:0] = {[str(folder) for folder in folders]}; " \
              "import minillm.kernels; print(minillm.kernels.current())"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == kernels.current(), run.stderr


def test_c_is_the_default():
    run = run_python("from minillm import kernels; print(kernels.current())")
    assert (run.stdout.strip(), run.stderr) == ("c", "")


WITHOUT_EXTENSION = """
import sys
sys.modules["minillm.kernels._c_baseline"] = None    # importing it now raises ImportError
import numpy as np
from minillm import kernels
from minillm.ops.matmul import matmul
A = np.ones((2, 3), np.float32)
print(kernels.current(), matmul(A, A.T).tolist(), kernels.get_num_threads())
kernels.set_num_threads(2)
print(kernels.info()["c extension"])
with kernels.use("naive"):
    print(matmul(A, A.T).tolist())
try:
    kernels.use("c")
except ImportError as error:
    print(error)
"""


def test_without_the_extension_one_warning_and_numpy():
    run = run_python(WITHOUT_EXTENSION)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0] == "numpy [[3.0, 3.0], [3.0, 3.0]] 1"
    assert lines[1].startswith("not built")
    assert lines[2] == "[[3.0, 3.0], [3.0, 3.0]]"
    assert lines[3].startswith("the C extension of minillm isn't built")
    assert run.stderr.count("RuntimeWarning") == 1
    assert "NumPy computes" in run.stderr


def test_no_warning_without_the_extension_when_numpy_was_asked_for():
    run = run_python(WITHOUT_EXTENSION, MINILLM_KERNELS="numpy")
    assert run.returncode == 0 and "Warning" not in run.stderr


CHOSEN = """
import sys
sys.modules["minillm.kernels._c_baseline"] = None
from minillm import kernels
with kernels.use("numpy"):
    print(kernels.current())
print(kernels.current())
"""


def test_choosing_numpy_is_no_reason_to_warn_of_missing_c_but_the_default_is():
    run = run_python(CHOSEN)
    assert run.stdout.split() == ["numpy", "numpy"] and run.stderr.count("RuntimeWarning") == 1
    run = run_python(CHOSEN.rpartition("print")[0])
    assert run.stdout.split() == ["numpy"] and run.stderr == ""


@pytest.mark.parametrize("implementation", ["naive", "numpy"])
def test_a_kernel_inside_another_is_not_reported_twice(implementation):
    seen = []
    Q = np.ones((1, 2, 3, 4), np.float32)
    with kernels.use(implementation), kernels.observe(lambda name, *_: seen.append(name)):
        out, cache = streaming_attention(Q, Q, Q)  # its NumPy formula calls matmul
        streaming_attention_backward(out, cache)
        with pytest.raises(ValueError):
            streaming_attention(Q, Q, Q[:, :1])
        streaming_attention(Q, Q, Q)
    assert seen == ["fused_attention", "fused_attention_backward", "fused_attention"]


FORCED = """
import json
import numpy as np
from minillm import kernels
from minillm.ops.matmul import matmul
rng = np.random.default_rng(0)
worst = 0.0
for M, N, K in [(1, 1, 1), (7, 9, 5), (65, 67, 401), (1, 300, 130), (200, 1, 50), (12, 32, 16)]:
    for transpose_A in (False, True):
        for transpose_B in (False, True):
            A = rng.standard_normal((K, M) if transpose_A else (M, K)).astype(np.float32)
            B = rng.standard_normal((N, K) if transpose_B else (K, N)).astype(np.float32)
            C = rng.standard_normal((M, N)).astype(np.float32)
            exact = C + (A.T if transpose_A else A).astype(float) @ (B.T if transpose_B else B)
            matmul(A, B, C, transpose_A=transpose_A, transpose_B=transpose_B,
                           accumulate=True)
            worst = max(worst, np.abs(C - exact).max())
print(json.dumps([kernels.info()["instruction set"], float(worst)]))
"""


@every_instruction_set
def test_each_instruction_set(isa):
    assert 0 < worst_error(FORCED, isa) < 1e-3


def test_an_instruction_set_that_is_not_there_is_an_error():
    run = run_python("import minillm.kernels; minillm.kernels.info()", MINILLM_ISA="avx1024")
    assert run.returncode != 0
    assert "ValueError: MINILLM_ISA is 'avx1024', wanted one that this machine has: " in run.stderr


def test_the_widest_instruction_set_is_the_default():
    run = run_python("from minillm.kernels import info; i = info();"
                     "print(i['instruction set'] == i['supported'][0])")
    assert run.stdout.strip() == "True"


def test_number_of_threads():
    before = kernels.get_num_threads()
    try:
        kernels.set_num_threads(np.int64(3))
        assert kernels.get_num_threads() == 3
    finally:
        kernels.set_num_threads(before)
    for wrong, error in [(0, ValueError), (-1, ValueError), (10**9, ValueError), (1.5, TypeError),
                         ("2", TypeError), (True, TypeError)]:
        with pytest.raises(error, match="n is "):
            kernels.set_num_threads(wrong)
    assert kernels.get_num_threads() == before


@pytest.mark.parametrize("value", ["3", "3,2", " 3 "])
def test_omp_num_threads_is_respected(value):
    run = run_python("from minillm import kernels; print(kernels.get_num_threads())",
                     OMP_NUM_THREADS=value)
    assert run.stdout.strip() == "3"


COUNT_AND_WORK = """
import os
import numpy as np
from minillm import kernels
from minillm.ops.matmul import matmul
print(kernels.get_num_threads())
print(repr(os.environ["OMP_NUM_THREADS"]))
kernels.set_num_threads(2)
A = np.ones((300, 300), np.float32)
print(np.all(matmul(A, A) == 300))
"""


@pytest.mark.parametrize("value", ["", "0", "-1", "many", "99999999999"])
def test_omp_num_threads_that_says_nothing_is_ignored(value):
    run = run_python(COUNT_AND_WORK, OMP_NUM_THREADS=value)
    assert run.returncode == 0, run.stderr
    threads, environment, right = run.stdout.splitlines()
    assert int(threads) >= 1 and environment == repr(value) and right == "True"


FORK = """
import os
import platform
import numpy as np
from minillm import kernels
from minillm.ops.matmul import matmul
kernels.set_num_threads(3)
A = np.ones((300, 300), np.float32)
matmul(A, A)                       # the parent's threads exist now
child = os.fork()
if child == 0:
    threads = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
    right = all(np.all(matmul(A, A) == 300) for _ in range(50))
    os._exit(0 if right and threads == 1 and kernels.get_num_threads() == 3 else 1)
right = all(np.all(matmul(A, A) == 300) for _ in range(50))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), right)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_gets_threads_of_its_own():
    run = run_python(FORK)
    assert run.stdout.split() == ["0", "True"], run.stderr


def test_kernels_called_from_several_threads_at_once():
    """Each thread of the program that calls a kernel gets its own team."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((150, 130)).astype(np.float32)
    B = rng.standard_normal((130, 170)).astype(np.float32)
    expected = matmul(A, B)
    before = kernels.get_num_threads()
    try:
        kernels.set_num_threads(3)
        with ThreadPoolExecutor(4) as callers:
            results = list(callers.map(lambda _: matmul(A, B), range(400)))
    finally:
        kernels.set_num_threads(before)
    assert all(np.array_equal(result, expected) for result in results)


def test_info_has_the_facts():
    facts = kernels.info()
    assert facts["implementation"] == kernels.current()
    assert facts["instruction set"] in facts["supported"]
    assert set(facts["supported"]) <= set(facts["compiled in"])
    assert facts["threads"] == kernels.get_num_threads()
    assert facts["compiler"] and facts["numpy"] == np.__version__


KEPT = """
import resource
import numpy as np
import minillm.kernels
minillm.kernels.tune_process()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    before = faults()
    arrays = [np.ones(500_000, np.float32) for _ in range(10)]  # 4,883 pages of 4 KB, if all are new
    del arrays
    last = faults() - before
print(last)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or "LD_PRELOAD" in os.environ,
                    reason="only glibc's malloc has these settings")
def test_freed_memory_is_kept_unless_the_environment_says_otherwise():
    assert int(run_python(KEPT).stdout) < 1000
    assert int(run_python(KEPT, MALLOC_MMAP_THRESHOLD_="100000").stdout) > 1000
    assert int(run_python(KEPT.replace("minillm.kernels.tune_process()", "")).stdout) > 1000


IMPORTED = """
import os, sys
before = dict(os.environ)
import minillm, minillm.kernels, minillm.ops.linear, minillm.nn, minillm.models, minillm.training.loop
print(dict(os.environ) == before, any("_c_" in name for name in sys.modules),
      len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1)
minillm.kernels.tune_process()
print(dict(os.environ) == before)
"""


def test_importing_loads_no_library_and_starts_no_thread():
    run = run_python(IMPORTED, OPENBLAS_NUM_THREADS="1")
    assert run.stdout.split() == ["True", "False", "1", "True"], run.stderr
