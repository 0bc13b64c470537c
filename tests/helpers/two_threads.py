"""The fixture of folders whose tests see what threads change, also where a worker has one."""

import pytest

from minillm import kernels


@pytest.fixture(autouse=True, scope="module")
def two_threads():
    before = kernels.get_num_threads()
    kernels.set_num_threads(max(2, before))
    yield
    kernels.set_num_threads(before)
