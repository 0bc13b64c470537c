"""The optimizer's state spread over the ranks: ZeRO, stage 1.

Rajbhandari, Rasley, Ruwase and He 2020, "ZeRO: Memory optimizations toward training trillion
parameter models", section 5.1 (P_os). In plain data parallelism every rank keeps the moments of all
parameters, and computes the same update. Here every parameter belongs to one rank, which alone
keeps its moments and updates it:

    all to all     rank p gets the sum of the gradients of *its* parameters       (buckets.py)
    update         of its parameters alone
    all gather     their new weights go to all                  instead of the gradient's sum

The bytes that travel are the same. With N numbers in the model, n ranks and Adam, the moments take
2 N / n numbers in place of 2 N. The weights are the same bit for bit.

A parameter isn't cut: an optimizer may need whole matrices (Muon's orthogonalization does). The
largest are dealt out first, each to the rank that has least.
"""

import math

import numpy as np

from minillm.ops.sum_of_squares import sum_of_squares
from minillm.training.parallel.buckets import BucketedSum


def balanced_owners(sizes, n):
    """-> a rank for each size: the largest first, each to the rank with the smallest sum so far

    The largest sum is at most 4/3 of the smallest possible (Graham 1969).
    """
    loads, owners = [0] * n, [0] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        owners[index] = loads.index(min(loads))
        loads[owners[index]] += sizes[index]
    return owners


class ShardedSum(BucketedSum):
    """A BucketedSum that leaves each sum where it is needed, with the owner of the parameter."""

    def __init__(self, ranks, parameters, bucket_bytes=None):
        parameters = list(parameters)
        if len(parameters) < ranks.size:
            raise ValueError(f"shard_optimizer can't share {len(parameters)} parameters out over "
                             f"{ranks.size} ranks, wanted at least one for each")
        self.owners = balanced_owners([parameter.size for parameter in parameters], ranks.size)
        super().__init__(ranks, parameters, bucket_bytes)

    def _is_mine(self, index):
        return self.owners[index] == self.ranks.rank

    def _distribute(self, bucket):
        return []

    def _set_gradients(self):
        learned = dict(zip(self.parameters, self.learned))
        for bucket in self.buckets:
            start = 0
            for parameter, owner in zip(bucket.parameters, bucket.owners):
                parameter.zero_grad()
                if owner == self.ranks.rank:
                    if learned[parameter]:
                        parameter.grad = bucket.total[start : start + parameter.size].reshape(
                            parameter.shape)
                    start += bucket.padded(parameter)

    def norm(self):
        """-> the norm of the whole gradient: the squares are added in the order of one process"""
        squares = np.array([sum_of_squares(parameter.grad) if parameter.grad is not None else 0.0
                            for parameter in self.parameters])
        squares = self.ranks.all_gather_numbers(squares)
        return math.sqrt(sum(squares[owner, index] for index, owner in enumerate(self.owners)
                             if self.learned[index]))

    def optimized(self, groups):
        mine = {parameter for index, parameter in enumerate(self.parameters)
                if self._is_mine(index)}
        shares = [{**group, "params": [each for each in group["params"] if each in mine]}
                  for group in groups]
        return [group for group in shares if group["params"]]

    def share_weights(self):
        """Give the new weights of my parameters to all, and take over theirs."""
        gathering = []
        for bucket in self.buckets:
            for parameter, owner, place in bucket.places():
                if owner == self.ranks.rank:
                    place[...] = parameter.data
            gathering.append(self.ranks.start_gather(None, bucket.counts, bucket.flat))
        for bucket, requests in zip(self.buckets, gathering):
            self.ranks.wait(*requests)
            for parameter, owner, place in bucket.places():
                if owner != self.ranks.rank:
                    parameter.data[...] = place

    # ---- moments: "m.3" is of parameter 3 of all; my optimizer counts only mine

    def moments(self, optimizer):
        """-> {name: array} of all parameters on rank 0; {} on the others"""
        mine = self._mine()
        names = {}  # name among all -> array, of mine
        for name, array in super().moments(optimizer).items():
            moment, number = name.rsplit(".", 1)
            names[f"{moment}.{mine[int(number)]}"] = array
        facts = self.ranks.all_gather([(name, array.shape, array.dtype.str)
                                       for name, array in names.items()])
        found = dict(names) if self.ranks.rank == 0 else {}
        for rank, arrays in enumerate(facts[1:], 1):
            for name, shape, dtype in arrays:
                if self.ranks.rank == 0:
                    found[name] = np.empty(shape, dtype)
                    self.ranks.receive(found[name], rank)
                elif self.ranks.rank == rank:
                    self.ranks.send(names[name], 0)
        return dict(sorted(found.items(), key=lambda item: _order(item[0])))

    def wants(self, name):
        return self._is_mine(int(name.rsplit(".", 1)[1]))

    def restore(self, optimizer, t, lr, moments):
        numbers = {index: number for number, index in enumerate(self._mine())}
        mine = {}
        for name, array in moments.items():
            moment, index = name.rsplit(".", 1)
            if int(index) in numbers:
                mine[f"{moment}.{numbers[int(index)]}"] = array
        super().restore(optimizer, t, lr, mine)

    def _mine(self):
        """-> the indices of my parameters, in the order of my optimizer"""
        return [index for index in range(len(self.parameters)) if self._is_mine(index)]


def _order(name):
    moment, index = name.rsplit(".", 1)
    return moment, int(index)
