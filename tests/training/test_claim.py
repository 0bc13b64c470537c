"""One process at a time writes into a folder, and removes what it can't finish."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from minillm.training.claim import FolderInUse, claim_folder, claim_numbered_folder, lock_folder

HOLDER = """
import sys, time
from minillm.training.claim import claim_folder, lock_folder
with {what}:
    print("holding", flush=True)
    time.sleep(60)
"""


class Holder:
    """Another process that holds a folder inside `with`; it is killed, not asked, at the end."""

    def __init__(self, what):
        self.process = subprocess.Popen([sys.executable, "-c", HOLDER.format(what=what)],
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "holding\n"

    def __enter__(self):
        return self.process

    def __exit__(self, *error):
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL
        self.process.stdout.close()


def test_a_lock_says_who_holds_it_and_ends_with_its_process(tmp_path):
    with Holder(f'lock_folder("{tmp_path}")') as other:
        for refused in (lambda: lock_folder(tmp_path), lambda: claim_folder(tmp_path, [])):
            with pytest.raises(FolderInUse, match=f"in use by process {other.pid} on .* since 2"):
                refused().__enter__()
    assert os.listdir(tmp_path) == [".lock"]  # a dead process's lock is no obstacle
    with lock_folder(tmp_path), lock_folder(str(tmp_path)):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    assert os.listdir(tmp_path) == []


def test_a_lock_is_one_threads(tmp_path):
    errors = []

    def other_thread():
        try:
            with lock_folder(tmp_path):
                pass
        except FolderInUse as error:
            errors.append(error)

    with lock_folder(tmp_path):
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
    assert len(errors) == 1
    other_thread()
    assert len(errors) == 1


def test_a_lock_file_without_contents_has_a_holder(tmp_path):
    with Holder(f'lock_folder("{tmp_path}")'):
        for content in ("", "[1]", '{"pid": "\\u001b"}', "[" * 2000):
            (tmp_path / ".lock").write_text(content)
            with pytest.raises(FolderInUse, match="in use by another process"):
                lock_folder(tmp_path).__enter__()


@pytest.mark.parametrize("error", [ValueError("the text"), KeyboardInterrupt()])
def test_a_failed_claim_leaves_nothing_of_its_own_and_all_of_others(tmp_path, error):
    (tmp_path / "there").mkdir()
    for name in ("new", "a/b/new", "there"):
        with pytest.raises(type(error)), claim_folder(tmp_path / name, ["data", "file"]) as folder:
            (folder / "data").mkdir()
            (folder / "data" / "x").touch()
            (folder / "file").touch()
            raise error
    assert os.listdir(tmp_path) == ["there"] and os.listdir(tmp_path / "there") == []
    with pytest.raises(type(error)), claim_folder(tmp_path / "new", ["data"]) as folder:
        (folder / "mine").touch()  # another process creates it in the meantime
        raise error
    assert os.listdir(tmp_path / "new") == ["mine"]


def test_a_folder_that_is_not_empty_is_refused_untouched(tmp_path):
    for names, message in ((["data"], "another name with --out$"), (["run.json"], "--resume"),
                           (["run.json", ".preparing"], "--resume")):
        folder = tmp_path / names[0]
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).touch()
        with pytest.raises(FileExistsError, match=message):
            claim_folder(folder, ["data", "run.json"]).__enter__()
        assert sorted(os.listdir(folder)) == sorted(names)


def test_an_unfinished_claim_is_begun_again(tmp_path):
    folder = tmp_path / "run"
    with Holder(f'claim_folder("{folder}", ["data"])'):
        (folder / "data").mkdir()
        (folder / "data" / "train.bin").touch()
        (folder / ".run.json.abcd1234.minillm-partial").touch()
    assert set(os.listdir(folder)) == {".lock", ".preparing", "data",
                                       ".run.json.abcd1234.minillm-partial"}
    with claim_folder(folder, ["data"]):
        assert set(os.listdir(folder)) == {".lock", ".preparing"}
    assert os.listdir(folder) == []


def test_an_unfinished_claim_with_something_elses_in_it_is_refused(tmp_path):
    folder = tmp_path / "run"
    with Holder(f'claim_folder("{folder}", ["data"])'):
        (folder / "mine").touch()
    with pytest.raises(FileExistsError):
        claim_folder(folder, ["data"]).__enter__()
    assert (folder / "mine").exists()


def test_links_and_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(ValueError), claim_folder(tmp_path / "link", ["x"]) as folder:
        (folder / "x").touch()
        raise ValueError
    assert (tmp_path / "link").is_symlink() and os.listdir(tmp_path / "real") == []
    monkeypatch.chdir(tmp_path / "real")
    with claim_folder(".", ["x"]):
        Path("x").touch()
    assert os.listdir(tmp_path / "real") == ["x"]
    with pytest.raises(FileNotFoundError, match="dangling is a symbolic link to 'nowhere'"):
        claim_folder(tmp_path / "dangling", []).__enter__()


def test_the_reason_of_a_failure_is_not_hidden_by_the_clean_up(tmp_path, monkeypatch):
    def fails(*arguments, **options):
        raise PermissionError("can't delete")

    with pytest.raises(ValueError, match="the reason"):
        with claim_folder(tmp_path / "run", ["data", "file"]) as folder:
            (folder / "data").mkdir()
            (folder / "file").touch()
            monkeypatch.setattr("pathlib.Path.rmdir", fails)
            monkeypatch.setattr("os.rmdir", fails)
            monkeypatch.setattr("pathlib.Path.unlink", fails)
            raise ValueError("the reason")


def test_numbered_folders_are_claimed_by_one_process_each(tmp_path):
    program = ("from minillm.training.claim import claim_numbered_folder\n"
               "import time\n"
               f"with claim_numbered_folder({str(tmp_path / 'runs')!r}, 'train', []) as folder:\n"
               "    time.sleep(0.3)\n"
               "    print(folder.name)\n")
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
                 for _ in range(3)]
    names = sorted(process.communicate()[0].strip() for process in processes)
    assert names == ["train-1", "train-2", "train-3"]
    with pytest.raises(ValueError), claim_numbered_folder(tmp_path / "runs", "train", []):
        raise ValueError
    assert len(os.listdir(tmp_path / "runs")) == 3
