"""Hypothesis profiles: MINILLM_HYPOTHESIS=quick runs few examples (under the sanitizers).

Under pytest-xdist every core has a worker already, so each works on one thread, and so do the
programs that it starts. What threads change is tested in tests/kernels and tests/ops, which have two.
"""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before NumPy and the kernels read it
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

# No deadline: timing never decides a test, and a shared machine may pause at any moment.
_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=60, **_common)
settings.register_profile("quick", max_examples=12, **_common)
settings.load_profile(os.environ.get("MINILLM_HYPOTHESIS", "default"))


def pytest_collection_modifyitems(items):
    """Run the long tests first: at the end no worker waits for another's."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def open_subject(tmp_path_factory):
    """open_subject(kind): a Subject of each kind in tests/helpers/subjects.py. Don't change it."""
    from tests.helpers.subjects import write_subject

    from minillm.insight.subject import Subject

    opened = {}

    def open_one(kind):
        if kind not in opened:
            opened[kind] = Subject.open(write_subject(kind, tmp_path_factory.mktemp("model")))
        return opened[kind]

    return open_one
