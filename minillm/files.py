"""Writing files so that nothing is ever lost: to a temporary name first, then renamed.

A temporary file is named `.NAME.xxxxxxxx.minillm-partial`. Its writer locks it (flock), and the
system releases the lock when the process ends, in whatever way. So the leftovers of a killed
process are unlocked, and can be deleted without touching what another process is writing.
"""

import errno
import os
import re
import shutil
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # a system without POSIX locks: no locks, and no leftovers deleted
    fcntl = None

PARTIAL = ".minillm-partial"
_PARTIAL_NAME = re.compile(rf"\.(.+)\.[a-z0-9_]{{8}}{re.escape(PARTIAL)}")


def expand(path):
    """-> Path of `path` with a leading ~ or ~user replaced by that home directory

    Call it for every path that comes from a user. Raises FileNotFoundError for an unknown user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise FileNotFoundError(f"{path}: there is no home directory of this name") from None


def require_regular(path):
    """Raise FileNotFoundError unless `path` exists, and ValueError unless it is a regular file.

    Reading a FIFO or a device may never end.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is not a regular file")


def require_folder_of(path, name=None):
    """Raise FileNotFoundError, which names the argument `name`, unless `path` is in a folder."""
    folder = Path(path).parent
    if not folder.is_dir():
        what = f"{path}:" if name is None else f"{name} is {str(path)!r}, but"
        raise FileNotFoundError(f"{what} there is no folder {folder}")


@contextmanager
def atomic_write(path, mode="wb", *, private=False, **open_arguments):
    """Open a temporary file beside `path`; on success it replaces `path` in one step.

    private: only the user may read and write the file, from its first moment (permissions 0600)

    If the body raises (a full disk, Ctrl-C), an older file at `path` is untouched
    and the temporary file is removed. Text files are written as UTF-8 unless told otherwise.
    A device, a pipe or an open file (/dev/stdout) is not replaced, but written to directly.
    """
    path = Path(path)
    if "b" not in mode:
        open_arguments.setdefault("encoding", "utf-8")
        open_arguments.setdefault("newline", "\n")
    if _is_open_or_special(path):
        with open(path, mode, **open_arguments) as file:
            yield file
        return
    remove_leftovers(path.parent, path.name)
    temporary, lock = _locked_temporary(path, folder=False)
    try:
        with open(temporary, mode, **open_arguments) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o600 if private else 0o666 & ~_umask())
        with _errors_name(path):
            os.replace(temporary, path)
    except BaseException:
        _try(temporary.unlink)
        raise
    finally:
        os.close(lock)


def _is_open_or_special(path):
    """-> whether `path` is a device or a pipe, or stands for an open file: /dev/stdout, /dev/fd/3"""
    folder = os.path.realpath(path.parent)
    return (folder == "/dev" or re.fullmatch(r"/proc/\d+/fd", folder) is not None
            or path.exists() and not (path.is_file() or path.is_dir()))


@contextmanager
def atomic_folder(path):
    """Give an empty temporary folder that becomes `path` in one rename when the body succeeds.

    An older folder there (a symbolic link is followed) is moved aside first, and deleted only after
    the new one is in place. A mount point raises OSError: it can't be renamed.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    temporary, lock = _locked_temporary(path, folder=True)
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        if path.exists():
            with _moved_aside(path):
                os.replace(temporary, path)
        else:
            os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        os.close(lock)


@contextmanager
def temporary_folder(path):
    """A context of a new folder beside `path`, named after it, which is deleted at the end.

    `remove_leftovers` finds that of a killed process.
    """
    path = Path(path)
    temporary, lock = _locked_temporary(path, folder=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


@contextmanager
def _moved_aside(path):
    """Rename `path` while the body runs; then delete it, or restore it if the body raises."""
    aside, lock = _locked_temporary(path, folder=True)
    try:
        os.replace(path, aside)  # the temporary folder is empty, so the rename takes its place
        try:
            yield
        except BaseException:
            os.replace(aside, path)
            raise
        shutil.rmtree(aside)
    finally:
        os.close(lock)


def remove_leftovers(folder, name=None):
    """Delete the temporary files in `folder` whose writer is dead: those for `name`, or all.

    Files that are being written, and files that this process may not delete, stay.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for leftover in names:
        match = _PARTIAL_NAME.fullmatch(leftover)
        if match and name in (None, match[1]):
            _try(lambda: _remove_if_dead(Path(folder, leftover)))


def _remove_if_dead(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # FIFOs don't block
    try:
        if not try_lock(descriptor):
            return
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


def _locked_temporary(path, *, folder):
    """-> (Path of a new temporary file or folder for `path`, descriptor that holds its lock)"""
    make = tempfile.mkdtemp if folder else tempfile.mkstemp
    while True:
        with _errors_name(path):
            made = make(prefix=f".{path.name}.", suffix=PARTIAL, dir=path.parent)
        temporary = Path(made if folder else made[1])
        try:
            lock = os.open(temporary, os.O_RDONLY) if folder else made[0]
        except FileNotFoundError:
            continue  # deleted as a leftover: see below
        try_lock(lock, wait=True)
        # Before it was locked, another process may have deleted it as a leftover.
        if is_open_at(lock, temporary):
            return temporary, lock
        os.close(lock)


@contextmanager
def _errors_name(path):
    """Let an error of the system name `path`, which the user knows, and not the temporary file."""
    try:
        yield
    except OSError as error:
        require_folder_of(path)
        raise OSError(error.errno, error.strerror, str(path)) from None


def try_lock(descriptor, wait=False):
    """Lock an open file exclusively, until it is closed or the process ends -> whether that worked

    False if another process holds the lock (unless `wait`); None where files can't be locked (some
    network drives).
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_open_at(descriptor, path):
    """-> whether `path` is still the file that `descriptor` opened"""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _try(action):
    """Clean up as far as possible: a failure here must not hide the error that led here."""
    try:
        action()
    except OSError:
        pass


def _umask():
    """The process's umask. It can only be read by setting it, so it is set back at once."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
