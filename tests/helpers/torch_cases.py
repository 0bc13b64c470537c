"""The outputs and gradients of PyTorch that tests/fixtures/make_ops.py froze."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

_arrays = load_file(Path(__file__).parents[1] / "fixtures" / "ops.safetensors")

# What PyTorch gave in float64 is kept as float32, so nothing can agree better than 1e-7.
TOLERANCE = {np.float32: 5e-5, np.float64: 1e-6}


def load_case(case, dtype):
    """-> {role: {name: array}} for one case of the fixture, its floats converted to `dtype`"""
    roles = defaultdict(dict)
    for path, array in _arrays.items():
        name_of_case, role, name = path.split("/")
        if name_of_case == case:
            floating = array.dtype == np.float32
            roles[role][name] = array.astype(dtype) if floating else array
    return roles


def assert_close(actual, expected, dtype, name=""):
    assert actual.dtype == dtype
    np.testing.assert_allclose(
        actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=name
    )
