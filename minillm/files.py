"""Writing files so that nothing is ever lost: to a temporary name first, then renamed."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path, mode="wb", **open_arguments):
    """Open a temporary file beside `path`; on success it replaces `path` in one step.

    If the body raises (a full disk, Ctrl-C), whatever stood at `path` before is untouched
    and the temporary file is removed. Text files are written as UTF-8 unless told otherwise.
    """
    path = Path(path)
    if "b" not in mode:
        open_arguments.setdefault("encoding", "utf-8")
        open_arguments.setdefault("newline", "\n")
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, mode, **open_arguments) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path):
    """Give an empty temporary folder that becomes `path` in one rename when the body succeeds.

    An older folder at `path` is moved aside first and deleted only after the new one stands.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        if path.exists():
            aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            os.replace(path, aside)
            os.replace(temporary, path)
            shutil.rmtree(aside)
        else:
            os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _umask():
    """The process's umask. It can only be read by setting it, so it is set back at once."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
