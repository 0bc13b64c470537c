"""The fixture of tests that send signals."""

import signal

import pytest


@pytest.fixture(autouse=True, scope="module")
def hangups_are_heard():
    """Also where `nohup` started pytest: then SIGHUP is ignored, here and in what tests start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
