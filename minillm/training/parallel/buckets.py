"""The sum of gradients over the ranks, while the backward still runs.

Li et al. 2020, "PyTorch Distributed: Experiences on accelerating data parallel training", sections
3.2.2 and 3.2.3. The backward goes from the last layer to the first, so the gradients of the last
layers are complete while most of the work is yet to come. Parameters are put into *buckets* in
reverse order, and a bucket is sent as soon as all of its gradients are complete:

    backward      | head | layer 3 | layer 2 | layer 1 | embedding |
    bucket 0              ====
    bucket 1                        ====
    bucket 2                                  ====
    bucket 3                                                        ====    the only one waited for

**The sum has an order** (ordered_sum.py), which MPI_Allreduce doesn't promise. So each bucket is
cut into a piece for every rank, its owner. In round j, rank q computes micro-batch j·n + q, and

    all to all     every rank sends its part of piece p to rank p
    rank p adds    G ← ((G + g_0) + g_1) + … + g_{n-1}          the same fold as in one process
    all gather     after the last round, rank p sends G to all

moves 2 (n - 1)/n times the bucket per rank, as a ring all-reduce does. (With several rounds in a
step every round is exchanged, not only their sum, which has another order: exactness costs that.)

**When is a gradient complete?** A tied embedding is written to twice in one backward, the weights
of a module that runs n times n times. Parameter counts its writes, and the largest number that any
backward so far needed is what this one waits for. If it is exceeded, what was sent is wrong: all
ranks hear of that at the end of the round, and the bucket is exchanged once more.

Buckets are sent in their order on all ranks, whatever the order in which they complete: so messages
need no names. They are views of one array each, so nothing is packed or copied.
What progress such an operation makes on its own: communicator.py.
"""

from contextlib import contextmanager

import numpy as np

from minillm.nn.module import after_backward
from minillm.training.parallel.ordered_sum import OrderedSum

BUCKET_BYTES = 4 << 20  # at most, but for a larger parameter
FEWEST = 4  # buckets, so that even a small model's are sent in time
ALIGNED = 16  # numbers: each parameter starts at a cache line


class Bucket:
    """Parameters whose gradients travel together.

    parameters: of one dtype;  owners: the rank of each, or None to cut the whole evenly

    flat: (Σ counts,), the gradients of this rank's micro-batch, one after the other: the backward
        writes them here. counts[q] of these numbers are rank q's piece.
    received: (ranks, counts[my rank]), my piece from every rank
    total: (counts[my rank],), its sum
    """

    def __init__(self, ranks, parameters, owners=None):
        self.ranks, self.parameters = ranks, list(parameters)
        if owners is not None:  # the pieces lie one after the other
            order = sorted(range(len(owners)), key=lambda i: owners[i])
            self.parameters = [self.parameters[i] for i in order]
            owners = [owners[i] for i in order]
        sizes = [self.padded(parameter) for parameter in self.parameters]
        if owners is None:
            lines = sum(sizes) // ALIGNED
            self.counts = [(lines * (q + 1) // ranks.size - lines * q // ranks.size) * ALIGNED
                           for q in range(ranks.size)]
        else:
            self.counts = [sum(size for size, owner in zip(sizes, owners) if owner == q)
                           for q in range(ranks.size)]
        dtype = self.parameters[0].data.dtype
        mine = self.counts[ranks.rank]
        self.flat = aligned_zeros(sum(sizes), dtype)
        self.received = np.empty((ranks.size, mine), dtype)
        self.total = aligned_zeros(mine, dtype)
        self.owners = owners or [None] * len(sizes)
        self.starts = np.cumsum([0, *sizes[:-1]]).tolist()
        for parameter, _, place in self.places():
            parameter.zero_grad()
            parameter.write_next_to(place)
        self.requests = []

    @staticmethod
    def padded(parameter):
        """-> the length of its part of `flat`"""
        return -(-parameter.size // ALIGNED) * ALIGNED

    def places(self):
        """-> [(parameter, owner, its part of `flat`, in its shape)]"""
        return [(parameter, owner, self.flat[start : start + parameter.size].reshape(
            parameter.shape)) for parameter, owner, start
            in zip(self.parameters, self.owners, self.starts)]

    def start(self):
        """Send this micro-batch's gradients on their way; those that don't exist as zeros."""
        for parameter, _, place in self.places():
            if parameter.grad is None:
                place[...] = 0
        self.sent_writes = [parameter.writes for parameter in self.parameters]
        self.requests = self.ranks.start_exchange(self.flat, self.counts, self.received)

    def is_outdated(self):
        """-> whether a gradient was written to after it was sent"""
        return self.sent_writes != [parameter.writes for parameter in self.parameters]

    def add(self, is_first):
        """Add what was received to the sum, in the order of the ranks."""
        for number, part in enumerate(self.received):
            if is_first and number == 0:
                self.total[...] = part
            else:
                self.total += part


class BucketedSum(OrderedSum):
    """The sum over all ranks: the methods of OrderedSum.

    early: how many buckets of the last micro-batch were sent before its backward had ended
    done_early: how many of them had arrived by then
    repeated: how many were sent twice, in all micro-batches, because a gradient was not complete
    """

    owners = None  # of the parameters, in order, if they aren't shared out evenly

    def __init__(self, ranks, parameters, bucket_bytes=None):
        self.ranks, self.parameters = ranks, list(parameters)
        total = sum(parameter.data.nbytes for parameter in self.parameters)
        if bucket_bytes is None:
            bucket_bytes = min(BUCKET_BYTES, total // FEWEST)
        self.buckets = [Bucket(ranks, *self._members(indices))
                        for indices in _groups(self.parameters, bucket_bytes)]
        self.expected = dict.fromkeys(self.parameters, 0)  # writes: the most so far
        self.knows_writes = False
        self.early = self.done_early = self.repeated = 0

    def _members(self, indices):
        owners = None if self.owners is None else [self.owners[index] for index in indices]
        return [self.parameters[index] for index in indices], owners

    @contextmanager
    def of(self, index, count):
        """A context for the forward and backward of micro-batch `index` of `count`, mine."""
        round, rounds = index // self.ranks.size, count // self.ranks.size
        if round == 0:
            self.learned = np.zeros(len(self.parameters), bool)  # has a gradient on some rank
        for parameter in self.parameters:
            parameter.zero_grad()
        self.waiting = list(self.buckets)  # not sent yet
        self.watched = list(self.waiting[0].parameters)  # of the next one, those not complete
        with self.ranks.stepping():
            with after_backward(self._send_complete):
                yield
            self.early = len(self.buckets) - len(self.waiting)
            self.done_early = sum(self.ranks.are_done(bucket.requests) for bucket in self._sent())
            self._finish_round(is_first=round == 0, is_last=round == rounds - 1)

    def _send_complete(self):
        """Called after each module's backward: send what is complete, and let MPI work."""
        self.ranks.alive()
        while self.waiting and self.knows_writes:
            while self.watched and self.watched[-1].writes >= self.expected[self.watched[-1]]:
                self.watched.pop()
            if self.watched:
                break
            self._send_next()
        for bucket in self._sent():
            if not self.ranks.are_done(bucket.requests):
                break  # they progress together

    def _send_next(self):
        self.waiting.pop(0).start()
        self.watched = list(self.waiting[0].parameters) if self.waiting else []

    def _sent(self):
        return self.buckets[: len(self.buckets) - len(self.waiting)]

    def _finish_round(self, is_first, is_last):
        present = np.array([parameter.grad is not None for parameter in self.parameters])
        for parameter in self.parameters:
            self.expected[parameter] = max(self.expected[parameter], parameter.writes)
        self.knows_writes = True
        outdated = np.array([bucket.is_outdated() for bucket in self._sent()]
                            + [False] * len(self.waiting))
        while self.waiting:
            self._send_next()
        facts = self.ranks.all_gather_numbers(np.concatenate([present, outdated]))
        self.learned |= facts[:, : len(present)].any(axis=0)
        outdated = facts[:, len(present) :].any(axis=0)
        gathering = []
        for bucket, again in zip(self.buckets, outdated):
            self.ranks.wait(*bucket.requests)
            if again:
                bucket.start()
                self.repeated += 1
                self.ranks.wait(*bucket.requests)
            bucket.add(is_first)
            if is_last:
                gathering += self._distribute(bucket)
        self.ranks.wait(*gathering)
        if is_last:
            self._set_gradients()

    def _distribute(self, bucket):
        """Start to give the sum of a bucket to those who need it -> requests"""
        return self.ranks.start_gather(bucket.total, bucket.counts, bucket.flat)

    def _set_gradients(self):
        """The sums are in the memory that the backward writes to: that of each .grad."""
        for parameter, learned in zip(self.parameters, self.learned):
            parameter.zero_grad()
            if learned:
                parameter.gradient_target()


def _groups(parameters, bucket_bytes):
    """-> lists of indices, the last parameter first: of one dtype, and of at most bucket_bytes
    together unless one alone has more
    """
    groups, size = [], 0
    for index in range(len(parameters) - 1, -1, -1):
        data = parameters[index].data
        if not groups or size + data.nbytes > bucket_bytes or (
                data.dtype != parameters[groups[-1][-1]].data.dtype):
            groups.append([])
            size = 0
        groups[-1].append(index)
        size += data.nbytes
    return groups


def aligned_zeros(n, dtype):
    """-> (n,) zeros that start at a cache line"""
    memory = np.zeros(n + ALIGNED, dtype)
    skipped = -memory.ctypes.data % (ALIGNED * memory.itemsize) // memory.itemsize
    return memory[skipped : skipped + n]
