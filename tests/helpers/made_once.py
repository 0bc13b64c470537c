"""Folders that all workers of pytest-xdist share: the first that needs one makes it."""

import fcntl
import os


def made_once(tmp_path_factory, name, make):
    """-> the folder `name` of this run of the tests, made by make(folder) if it isn't there yet

    Tests only read it. The other workers wait until it is made.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder in that of the run
        base = base.parent
    folder, unfinished = base / f"once-{name}", base / f"once-{name}.unfinished"
    with open(base / f"once-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make(unfinished)
            unfinished.rename(folder)
    return folder
