"""benchmarks/ isn't installed: it is found in the checkout. At the end of the search path, so that
the installed minillm is what is tested, also when it isn't this source tree."""

import sys
from pathlib import Path

import pytest

from minillm import kernels

sys.path.append(str(Path(__file__).resolve().parents[2]))


@pytest.fixture(autouse=True)
def one_thread():
    """The work in these tests is tiny, and threads that wait for a busy core only slow it down."""
    before = kernels.get_num_threads()
    kernels.set_num_threads(1)
    yield
    kernels.set_num_threads(before)
