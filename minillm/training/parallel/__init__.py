"""Data-parallel training on many processes: `mpirun -n 4 minillm train …`

Each process, a *rank*, has the whole model and computes the gradients of its share of a step's
micro-batches. Their sum, and with it every number of the run, is the same bit for bit for any
number of ranks, because three things don't depend on that number:

    the order of sums      g_0 + g_1 + g_2 + …, in the order of the micro-batches   ordered_sum.py
    the randomness         of micro-batch i in step t is a function of (seed, t, i)
    the data               all ranks walk through the same batches, and each skips the others'

In reading order: ordered_sum.py, the sum in one process; one_process.py, what every run
sees of the ranks when there is only one; launcher.py, which notices `mpirun`; communicator.py,
the same over MPI; buckets.py, the sum over MPI while the backward still runs; sharding.py, the
optimizer's state spread over the ranks (ZeRO-1); watchdog.py, which ends all ranks when one dies;
run_copy.py, the run folder on machines that don't share a disk.
"""
