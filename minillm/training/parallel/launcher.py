"""Was this process started by `mpirun`? The launchers say so in the environment.

Nothing of MPI is imported for the answer, so that a program without `mpirun` doesn't need it.
"""

import os
from typing import NamedTuple

# (of all ranks: how many, which one; which one on this machine)
OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
MPICH = ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID")  # also Intel MPI, MVAPICH, Slurm's --mpi=pmi2
MISSING = ('{n} processes were started by an MPI launcher, but {what}: pip install "minillm[mpi]", '
           "or start minillm once, without mpirun")


class Launched(NamedTuple):
    """This process among those that a launcher started."""

    size: int
    rank: int
    local_rank: int  # among those on this machine
    library: str  # "openmpi" or "mpich", as mpi4py calls them

    def missing(self, what):
        """-> an error message in one line"""
        return MISSING.format(n=self.size, what=what)


def launched(environment=os.environ):
    """-> Launched; None without a launcher, or if it started this process alone"""
    for library, names in (("openmpi", OPEN_MPI), ("mpich", MPICH)):
        size, rank, local_rank = (_number(environment.get(name)) for name in names)
        if size is not None and rank is not None and size > 1:
            return Launched(size, rank, local_rank or 0, library)
    return None


def _number(text):
    return int(text) if text is not None and text.isdecimal() else None
