import pytest
from small_runs import small_run



@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a small run that is done. Tests only read it."""
    run = small_run(tmp_path_factory.mktemp("trained"), steps=30, eval_every=10)
    run.trainer().train()
    return run.folder


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    """So that runs/ of a test is not that of the checkout."""
    monkeypatch.chdir(tmp_path)
