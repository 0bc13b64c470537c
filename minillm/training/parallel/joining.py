"""Joining the other ranks: MPI, the watchdog, and what must be the same on all of them."""

import os
import select
import signal
import socket
import sys
from contextlib import contextmanager

from minillm.kernels import set_num_threads
from minillm.training.environment import environment
from minillm.training.parallel import watchdog


def join(started, timeout, shard_optimizer=False):
    """-> Ranks, with a running watchdog

    started: a Launched (launcher.py);  timeout: seconds, of the watchdog
    Raises ImportError, in one line, without mpi4py, and without the MPI library of the launcher.
    """
    _prefer(started.library)
    with limited(max(timeout, SLOWEST_START), started.rank):
        _initialize(started)
        from minillm.training.parallel.communicator import Ranks

        ranks = Ranks(shard_optimizer=shard_optimizer)
        ranks.watchdog = watchdog.connect(ranks, timeout)
    _share_cores(ranks)
    return ranks


def _initialize(started):
    """Call MPI_Init. Raises ImportError."""
    try:
        import mpi4py

        mpi4py.rc.thread_level = "funneled"  # only the main thread calls MPI
        mpi4py.rc.finalize = False  # with a dead rank it would never end: Ranks.finish calls it
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        what = ("mpi4py isn't installed" if getattr(error, "name", None) == "mpi4py" else
                f"mpi4py finds no MPI library for {started.library} ({str(error).splitlines()[0]})")
        raise ImportError(started.missing(what)) from None
    if MPI.COMM_WORLD.size != started.size:
        library = MPI.Get_library_version().split(",")[0].split("\n")[0]
        raise ImportError(started.missing(
            f"mpi4py uses {library}, which sees {MPI.COMM_WORLD.size} of them: wanted the mpirun "
            "of this library"))


SLOWEST_START = 10.0  # seconds between the first rank's start and the last one's, at least


@contextmanager
def limited(seconds, rank):
    """A context in which this process gets `seconds`; then it is killed, with one line.

    MPI_Init has no time limit: if a rank ended before its own, because it has no mpi4py, the others
    hang, and no thread of Python runs meanwhile. So another process watches. It ends when the pipe
    closes, so also when this process dies.
    """
    if not hasattr(os, "fork"):
        yield
        return
    reading, writing = os.pipe()
    here = os.getpid()
    guard = os.fork()
    if guard == 0:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.close(writing)
            # Rank 0 writes the line; mpirun then ends the others, if their guards wait a little.
            if not select.select([reading], [], [], seconds + min(rank, 3))[0]:
                watchdog.write_line(f"rank {rank} has waited {seconds:g} s for other ranks to start")
                os.kill(here, signal.SIGKILL)
        finally:
            os._exit(0)
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        os.waitpid(guard, 0)


# The file of a library on Linux, whose number says which one it is.
LIBRARIES = {"mpich": "libmpi.so.12", "openmpi": "libmpi.so.40"}


def _prefer(library):
    """Let mpi4py, whose wheels fit several libraries, find that of the launcher first."""
    if sys.platform == "linux" and not {"MPI4PY_MPIABI", "MPI4PY_LIBMPI"} & os.environ.keys():
        name = LIBRARIES[library]
        os.environ["MPI4PY_LIBMPI"] = os.pathsep.join([f"{sys.prefix}/lib/{name}", name])


def require_alike(ranks, facts):
    """ValueError, on all ranks and in one line, unless {name: value} and the software are equal."""
    facts = {**environment(), **facts}
    all_facts = ranks.all_gather(facts)
    for rank, theirs in enumerate(all_facts):
        for name in sorted(all_facts[0].keys() | theirs.keys()):
            first, other = all_facts[0].get(name), theirs.get(name)
            if first != other:
                raise ValueError(f"{name} is {other!r} on rank {rank} and {first!r} on rank 0, "
                                 "wanted the same on all ranks")


def _share_cores(ranks):
    """Use as many threads as this rank has cores, counting one that k ranks may use as 1/k."""
    if "OMP_NUM_THREADS" in os.environ or not hasattr(os, "sched_getaffinity"):
        return
    mine = socket.gethostname(), sorted(os.sched_getaffinity(0))
    everyone = ranks.all_gather(mine)
    neighbors = [cores for host, cores in everyone if host == mine[0]]
    share = sum(1 / sum(core in cores for cores in neighbors) for core in mine[1])
    set_num_threads(max(1, int(share + 1e-9)))
