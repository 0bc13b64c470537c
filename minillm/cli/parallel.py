"""`mpirun -n 4 minillm train …`: one command line for several processes."""

import os
import socket
import sys

from minillm.training.parallel.launcher import launched
from minillm.training.parallel.one_process import OneProcess
from minillm.training.parallel.watchdog import write_line

RANK_TIMEOUT = 60.0  # seconds


def join_ranks(options):
    """-> the ranks that work on this command together; OneProcess without a launcher

    Raises ValueError for a command that doesn't train, ImportError without mpi4py.
    """
    started = launched()
    if started is None:
        return OneProcess()
    if not getattr(options, "trains", False):
        raise ValueError(f"the launcher started {started.size} processes of a command that isn't "
                         "training, wanted it once, without mpirun; train, finetune and train-task "
                         "run in parallel")
    from minillm.training.parallel.joining import join

    try:
        ranks = join(started, options.rank_timeout, options.shard_optimizer)
    except (ImportError, OSError) as error:
        if started.rank > 0 and started.local_rank == 0:  # another machine than rank 0's
            write_line(f"rank {started.rank} on {socket.gethostname()}: {error}")
        raise
    return ranks


def agree(ranks, options):
    """ValueError unless all ranks were given the same options. Without --grad-accum, a new run's
    steps have a batch for each rank.
    """
    if ranks.size == 1:
        return
    from minillm.training.parallel.joining import require_alike

    require_alike(ranks, {f"--{name.replace('_', '-')}": value
                          for name, value in vars(options).items()
                          if not callable(value) and name not in ("setting_defaults", "ranks")})
    if not hasattr(options, "grad_accum") and not getattr(options, "resume", None):
        options.grad_accum = ranks.size


def silence_others():
    """On every rank but the first, drop what is written to stdout and stderr: rank 0 reports."""
    started = launched()
    if started is not None and started.rank > 0:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")
