"""The ranks of one run over MPI: the methods of OneProcess (one_process.py), for many.

Every wait is a loop of tests, for three reasons. A blocking MPI call would wait for ever if another
rank is dead; the loop asks the watchdog. It would also occupy a core, because MPI libraries spin;
where ranks share cores, the loop lets the others run. And MPI moves data only while some MPI call
runs (*progress*): a library without a progress thread, which is the default of MPICH and Open MPI,
sends the next piece of a large message when the receiver's or sender's program calls it the next
time. So a nonblocking operation that was started and then left alone is hardly faster than a
blocking one. buckets.py therefore tests its requests after every layer of the backward.
"""

import os
import pickle
import time
from contextlib import nullcontext

import numpy as np

from minillm.training.parallel.buckets import BucketedSum
from minillm.training.parallel.sharding import ShardedSum

# Seconds for which a wait tests without sleeping. A large message travels in pieces, each of which
# needs a test on both sides: with sleeps between them it took 30 times as long, measured on one
# machine. Each test yields the core, so where ranks share cores the others go on.
SPINNING = 0.05
LONGEST_SLEEP = 0.002
TAG = 1  # of the pieces of gradients and weights


class Ranks:
    """This process and the others, after `MPI_Init`.

    watchdog: a Watchdog, or None
    shard_optimizer: ZeRO-1, see sharding.py
    """

    def __init__(self, watchdog=None, shard_optimizer=False):
        from mpi4py import MPI

        self.MPI, self.comm = MPI, MPI.COMM_WORLD
        self.rank, self.size = self.comm.rank, self.comm.size
        self.watchdog, self.shard_optimizer = watchdog, shard_optimizer

    # ---- what OneProcess has

    def share(self, grad_accum):
        if grad_accum % self.size:
            raise ValueError(f"grad_accum is {grad_accum}, wanted a multiple of the {self.size} "
                             "ranks: it is the number of batches in a step of all ranks together")
        return [index % self.size == self.rank for index in range(grad_accum)]

    def gradients(self, parameters):
        return (ShardedSum if self.shard_optimizer else BucketedSum)(self, parameters)

    def in_order(self, values):
        parts = self.all_gather(list(values))
        longest = max(map(len, parts))
        return [part[place] for place in range(longest) for part in parts if place < len(part)]

    def largest(self, number):
        return int(self.all_gather_numbers(np.array([number], np.int64)).max())

    def from_first(self, function):
        return self.broadcast(function() if self.rank == 0 else None)

    def broadcast_into(self, array):
        buffer = np.ascontiguousarray(array)
        self.wait(self.comm.Ibcast(buffer.reshape(-1).view(np.uint8), root=0))
        if buffer is not array:
            array[...] = buffer

    def stepping(self):
        return self.watchdog.stepping() if self.watchdog else nullcontext()

    def failed(self, line):
        return self.watchdog.fail(line) if self.watchdog else True

    def finish(self):
        """Wait until all ranks are done, and leave MPI."""
        self.wait(self.comm.Ibarrier())
        if self.watchdog:
            self.watchdog.end()
        self.MPI.Finalize()

    # ---- communication

    def send(self, array, rank):
        self.wait(self.comm.Isend(_bytes(np.ascontiguousarray(array)), rank))

    def receive(self, array, rank):
        """Fill `array`, which is contiguous."""
        self.wait(self.comm.Irecv(_bytes(array), rank))

    def wait(self, *requests):
        """Return once all requests are done; RankLost if a rank is dead or stalls."""
        started, sleep = time.perf_counter(), 0.0
        while not self.MPI.Request.Testall(list(requests)):
            self.alive()
            if time.perf_counter() - started < SPINNING:
                os.sched_yield()
            else:
                sleep = min(sleep + 2e-5, LONGEST_SLEEP)
                time.sleep(sleep)

    def are_done(self, requests):
        """-> whether all are; the call lets MPI work on these and all others"""
        return self.MPI.Request.Testall(list(requests))

    def alive(self):
        """Tell the watchdog that this rank is at work, and hear whether the others are."""
        if self.watchdog:
            self.watchdog.beat()

    def all_gather_numbers(self, mine):
        """mine: an array of the same shape on all ranks -> (size, *shape)"""
        all_of_them = np.empty((self.size, *mine.shape), mine.dtype)
        self.wait(self.comm.Iallgather(_bytes(mine), _bytes(all_of_them)))
        return all_of_them

    def all_gather(self, thing):
        """-> [thing of rank 0, thing of rank 1, …]; anything that can be pickled"""
        data = np.frombuffer(pickle.dumps(thing), np.uint8)
        sizes = self.all_gather_numbers(np.array([data.size], np.int64))[:, 0]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        parts = np.empty(starts[-1], np.uint8)
        self.wait(self.comm.Iallgatherv(data, [parts, (sizes, starts[:-1]), self.MPI.BYTE]))
        return [pickle.loads(parts[start:end]) for start, end in zip(starts, starts[1:])]

    def broadcast(self, thing):
        """-> the thing of rank 0, on every rank"""
        data = pickle.dumps(thing) if self.rank == 0 else b""
        size = np.array([len(data)], np.int64)
        self.wait(self.comm.Ibcast(_bytes(size), root=0))
        buffer = np.frombuffer(data, np.uint8).copy() if self.rank == 0 else np.empty(
            size[0], np.uint8)
        self.wait(self.comm.Ibcast(buffer, root=0))
        return pickle.loads(buffer)

    def start_exchange(self, sent, counts, received):
        """Start to send a piece of `sent` to each rank, and to receive mine of all ranks' pieces

        sent: (Σ counts,): piece q, counts[q] numbers, goes to rank q
        received: (size, counts[my rank]): row q comes from rank q
        -> list of requests
        """
        pieces = _pieces(sent, counts)
        received[self.rank] = pieces[self.rank]
        return self._start(pieces, list(received))

    def start_gather(self, mine, counts, whole):
        """Start to collect every rank's piece: `mine` goes to its place in `whole` on all ranks

        mine: (counts[my rank],), or None if it is in its place;  whole: (Σ counts,)
        -> list of requests
        """
        pieces = _pieces(whole, counts)
        if mine is None:
            mine = pieces[self.rank]
        else:
            pieces[self.rank][...] = mine
        return self._start([mine] * self.size, pieces)

    def _start(self, sent, received):
        """Start to send an array to each other rank, and to receive one from each

        These are plain messages, not MPI_Ialltoallv and MPI_Iallgatherv: with 24 of those at once,
        and empty pieces in them, MPICH 5.0.2 stands still, and without empty ones two ranks take
        1.5 times as long. Messages between two ranks don't overtake each
        other, so the order of the calls, which is the same on all ranks, says what belongs together.
        """
        others = [(self.rank + distance) % self.size for distance in range(1, self.size)]
        return ([self.comm.Irecv(_bytes(received[q]), q, TAG) for q in others[::-1]
                 if received[q].size]
                + [self.comm.Isend(_bytes(sent[q]), q, TAG) for q in others if sent[q].size])


def _pieces(array, counts):
    return np.split(array, np.cumsum(counts)[:-1])


def _bytes(array):
    return array.reshape(-1).view(np.uint8)
