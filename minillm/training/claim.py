"""Claims and locks: one process at a time writes into a folder, and only into its own.

A lock is the file `.lock` in the folder, locked by flock; its content names the holder. The system
releases the lock whenever the process ends, even by a kill, so a dead process blocks nothing.
"""

import json
import os
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from minillm.checks import shown
from minillm.files import expand, is_open_at, remove_leftovers, try_lock
from minillm.json_files import parse_json

LOCK = ".lock"
PREPARING = ".preparing"  # marks a folder whose contents aren't complete yet

_held = {}  # real path of a folder -> (process, thread) that has its lock, for this process only


class FolderInUse(OSError):
    """Another process or thread is writing into the folder."""


@contextmanager
def lock_folder(folder):
    """Lock an existing folder while the body runs. The same thread may lock it again inside.

    Raises FolderInUse, which names the holder, if another process or thread has the lock. On a file
    system that can't lock files (some network drives) the body runs unprotected.
    """
    folder = expand(folder)
    key, me = os.path.realpath(folder), (os.getpid(), threading.get_ident())
    if _held.get(key) == me:
        yield
        return
    path = folder / LOCK
    descriptor = _locked_file(path)
    if descriptor is None:
        raise FolderInUse(f"{folder} is in use by {_holder(path)}: wait until that has ended")
    _held[key] = me
    try:
        _write_holder(descriptor)
        yield
    finally:
        del _held[key]
        if is_open_at(descriptor, path):
            _unlink(path)
        os.close(descriptor)


def _locked_file(path):
    """-> descriptor of the locked file at `path`, None if another process has it locked"""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        if try_lock(descriptor) is False:
            os.close(descriptor)
            return None
        # Its last holder may have deleted it between the two calls.
        if is_open_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def _write_holder(descriptor):
    holder = {"pid": os.getpid(), "host": socket.gethostname(),
              "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)
    except OSError:
        pass  # the lock works without it


def _holder(path):
    """-> the holder of the lock, as named in the file"""
    try:
        holder = parse_json(path, path.read_bytes()[:1000])
        return (f"process {holder['pid']:d} on {shown(holder['host'])[1:-1]} since "
                f"{shown(holder['since'])[1:-1]}")
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextmanager
def claim_folder(folder, makes):
    """Lock a new or empty folder while the body fills it -> Path

    makes: the names of the files and folders that the body will create in it. If the body raises,
    exactly these are deleted, and the folder too if it is new. The remains of a process that was
    killed in the body are recognized by the marker `.preparing`, and deleted first.
    `folder` may be a symbolic link, a mount point or the current directory.

    Raises FileExistsError for a folder that has something in it, FolderInUse while another process
    fills it, OSError for one that can't be made or written to.
    """
    folder = expand(folder)
    new = _make_folders(folder)
    with _removed_on_error(new):
        with _claimed(folder, makes):
            yield folder


@contextmanager
def claim_numbered_folder(parent, name, makes):
    """`claim_folder` for the first of parent/name-1, parent/name-2, … that doesn't exist

    Two processes at once get two folders.
    """
    parent = expand(parent)
    new = _make_folders(parent)
    with _removed_on_error(new):
        number = 1
        while True:
            folder = parent / f"{name}-{number}"
            try:
                folder.mkdir()  # fails if it exists: creating and claiming are one step
            except FileExistsError:
                number += 1
                continue
            break
        with _removed_on_error([folder]), _claimed(folder, makes):
            yield folder


@contextmanager
def _claimed(folder, makes):
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} can't be written to")
    with lock_folder(folder):
        names = set(os.listdir(folder)) - {LOCK}
        if PREPARING in names and "run.json" not in names:
            _remove(folder, makes)
            names = set(os.listdir(folder)) - {LOCK}
        if names:
            is_run = "run.json" in names
            go_on = f", or go on with minillm train --resume {folder}" if is_run else ""
            raise FileExistsError(
                f"{folder} exists and is not an empty folder: give another name with --out{go_on}"
            )
        try:
            (folder / PREPARING).touch()
            yield
            (folder / PREPARING).unlink()
        except BaseException:
            _remove(folder, makes)
            raise


def _remove(folder, makes):
    """Delete what the body created in `folder`, the marker last; skip what can't be deleted."""
    for name in makes:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            _unlink(path)
    remove_leftovers(folder)
    _unlink(folder / PREPARING)


def _unlink(path):
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # report the error that led here instead


def _make_folders(folder):
    """Create `folder` and its missing parents -> list of the new ones, innermost first"""
    missing = []
    for path in (folder, *folder.parents):
        if path.exists():
            break
        missing.append(path)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} exists and is not an empty folder: give another name with "
                              "--out")
    if folder.is_symlink() and missing:
        raise FileNotFoundError(f"{folder} is a symbolic link to {os.readlink(folder)!r}, which "
                                "doesn't exist")
    made = []
    for path in reversed(missing):
        try:
            path.mkdir()
            made.insert(0, path)
        except FileExistsError:  # another process created it in the meantime
            if not path.is_dir():
                raise
    return made


@contextmanager
def _removed_on_error(folders):
    try:
        yield
    except BaseException:
        for path in folders:
            try:
                path.rmdir()
            except OSError:
                break  # not empty: something in it isn't ours
        raise
