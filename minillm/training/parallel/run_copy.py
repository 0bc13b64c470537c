"""The run folder as the other ranks see it.

Rank 0 alone prepares, opens and writes a run. Every other rank works in a private folder with

    run.json        rank 0's
    data/, model/   links to those of the run, if this rank sees the same disk; otherwise copies of
                    what rank 0 sends. Of model/ only what isn't weights: the tokenizer.

so that whatever it writes doesn't meet the run. The folder is deleted at the end; that of a killed
rank by the next one that comes.
"""

import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path

from minillm.files import PARTIAL, remove_leftovers, temporary_folder

SENT = ("data", "model")
WEIGHTS = (".safetensors", ".bin", ".png")  # of model/: the ranks get these over MPI, if at all
PIECE = 1 << 24  # bytes of a file that are sent at once


@contextmanager
def opened_on_all(ranks, open_run, run_class):
    """A context of a run for each rank: on rank 0 what open_run() returns, elsewhere a copy.

    run_class: called with a folder, it opens the run there
    """
    if ranks.size == 1:
        yield open_run()
        return
    run = open_run() if ranks.rank == 0 else None
    folder = Path(ranks.from_first(lambda: str(run.folder.resolve())))
    run_json = ranks.from_first(lambda: (run.folder / "run.json").read_bytes())
    sees_it = _see_the_same(ranks, folder)
    with _private_folder(ranks) as private:
        if ranks.rank > 0:
            (private / "run.json").write_bytes(run_json)
            if sees_it[ranks.rank]:
                for name in SENT:
                    (private / name).symlink_to(folder / name, target_is_directory=True)
        if not all(sees_it):
            is_wanted = not sees_it[ranks.rank] and ranks.rank > 0
            _send_files(ranks, folder, private if is_wanted else None)
        yield run if ranks.rank == 0 else run_class(private)


def _see_the_same(ranks, folder):
    """-> [whether rank 0, 1, … sees the folder of rank 0 under the same path]"""
    mark = folder / f".seen.{ranks.from_first(lambda: secrets.token_hex(4))}{PARTIAL}"
    if ranks.rank == 0:
        mark.touch()
    try:
        ranks.from_first(lambda: None)  # it is there now
        return ranks.all_gather(mark.exists())
    finally:
        if ranks.rank == 0:
            mark.unlink()


@contextmanager
def _private_folder(ranks):
    if ranks.rank == 0:
        yield None
        return
    parent = Path(tempfile.gettempdir())
    remove_leftovers(parent, "minillm-rank")
    with temporary_folder(parent / "minillm-rank") as private:
        yield private


def _send_files(ranks, folder, private):
    """Send the files of SENT from rank 0's `folder` into `private`; None: this rank has them."""
    names = ranks.from_first(lambda: [
        (str(path.relative_to(folder)), path.stat().st_size)
        for part in SENT for path in sorted((folder / part).rglob("*"))
        if path.is_file() and not (part == "model" and path.suffix in WEIGHTS)])
    for name, size in names:
        if private is not None:
            (private / name).parent.mkdir(parents=True, exist_ok=True)
        source = open(folder / name, "rb") if ranks.rank == 0 else None
        target = open(private / name, "wb") if private is not None else None
        for start in range(0, size, PIECE):
            piece = ranks.from_first(lambda: source.read(min(PIECE, size - start)))
            if target is not None:
                target.write(piece)
        for file in (source, target):
            if file is not None:
                file.close()
        if target is not None and size == 0:
            (private / name).touch()
