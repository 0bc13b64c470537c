"""Writing files: nothing is lost, nothing of somebody else's is deleted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minillm.files import atomic_folder, atomic_write, expand, remove_leftovers, require_regular
from minillm.json_files import read_json
from minillm.text.dataset import TokenDataset
from minillm.training.checkpoint import FILES, load_checkpoint
from minillm.training.metrics import read_metrics

PARTIAL = ".name.abcd1234.minillm-partial"

WRITER = """
import sys, time
from minillm.files import atomic_folder, atomic_write
with {what}("{path}"):
    print("writing", flush=True)
    time.sleep(60)
"""


def start_writer(what, path):
    process = subprocess.Popen([sys.executable, "-c", WRITER.format(what=what, path=path)],
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.parametrize("what", ["atomic_write", "atomic_folder"])
def test_leftovers_of_a_killed_process_go_and_files_being_written_stay(tmp_path, what):
    process = start_writer(what, tmp_path / "name")
    (before,) = os.listdir(tmp_path)
    (tmp_path / ".name.mine").write_text("somebody else's")
    for _ in range(2):
        remove_leftovers(tmp_path)
        assert set(os.listdir(tmp_path)) == {before, ".name.mine"}
    process.kill()
    process.wait()
    process.stdout.close()
    remove_leftovers(tmp_path, "other")
    assert before in os.listdir(tmp_path)
    with atomic_write(tmp_path / "name", "w") as file:  # writing the same name cleans up
        file.write("new")
    assert set(os.listdir(tmp_path)) == {"name", ".name.mine"}


@pytest.mark.parametrize("name", [
    ".name.abcd1234", "name.abcd1234.minillm-partial", ".name.ABCD1234.minillm-partial",
    ".minillm-partial", ".name.abcd1234.minillm-partial.txt",
])
def test_what_only_resembles_a_leftover_stays(tmp_path, name):
    (tmp_path / name).write_text("mine")
    (tmp_path / PARTIAL).mkdir()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == [name]


def test_a_symbolic_link_with_the_name_of_a_leftover_leads_nowhere(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / PARTIAL).symlink_to(tmp_path / "mine")
    remove_leftovers(tmp_path)
    assert (tmp_path / "mine" / "file").read_text() == "mine"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    with pytest.raises(type(error)), atomic_write(tmp_path / "file", "w") as file:
        file.write("half")
        raise error
    with pytest.raises(type(error)), atomic_folder(tmp_path / "folder") as folder:
        (folder / "new").touch()
        raise error
    assert set(os.listdir(tmp_path)) == {"file", "folder"}
    assert (tmp_path / "file").read_text() == "old" and os.listdir(tmp_path / "folder") == ["old"]


def test_errors_name_the_path_and_not_the_temporary_file(tmp_path):
    (tmp_path / "folder").mkdir()
    for path, message in ((tmp_path / "none" / "a", "there is no folder .*none$"),
                          (tmp_path / ("a" * 250), "File name too long"),
                          (tmp_path / "folder", "Is a directory")):
        with pytest.raises(OSError, match=message) as found, atomic_write(path, "w") as file:
            file.write("text")
        assert str(path) in str(found.value) and "minillm-partial" not in str(found.value)
    assert os.listdir(tmp_path) == ["folder"]


def test_a_new_folder_takes_the_place_of_the_old_one_also_behind_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    (tmp_path / "link").symlink_to("folder")
    with atomic_folder(tmp_path / "link") as folder:
        (folder / "new").touch()
    assert (tmp_path / "link").is_symlink() and os.listdir(tmp_path / "folder") == ["new"]
    assert set(os.listdir(tmp_path)) == {"folder", "link"}


def test_the_home_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expand("~/x") == Path("/home/me/x") and expand("a/~") == Path("a/~")
    with pytest.raises(FileNotFoundError, match="^~nosuchuser/x: there is no home directory"):
        expand("~nosuchuser/x")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("read", [
    read_metrics, TokenDataset, read_json, require_regular,
    lambda path: load_checkpoint(path.parent),
])
def test_a_file_of_a_run_that_could_be_read_for_ever_is_refused(tmp_path, make, read):
    path = tmp_path / FILES[0]
    make(path)
    with pytest.raises(ValueError, match=f"^{path} is not a regular file"):
        read(path)


def test_a_fifo_with_the_name_of_a_leftover_does_not_block(tmp_path):
    os.mkfifo(tmp_path / PARTIAL)
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(pipe) as file:
        file.write(b"text")
    assert os.read(reader, 9) == b"text" and pipe.is_fifo()
    os.close(reader)


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="no /dev/fd on this system")
def test_an_open_file_is_written_to_and_stays(tmp_path):
    with open(tmp_path / "file", "w+b") as opened:
        with atomic_write(f"/dev/fd/{opened.fileno()}") as file:
            file.write(b"text")
        assert os.fstat(opened.fileno()).st_ino == (tmp_path / "file").stat().st_ino
        assert opened.read() == b"text"
