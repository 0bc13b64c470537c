"""The simulator: a training step of n machines, each with its own part of the batch.

Every machine computes the gradients of its examples, and all need the sum of all. The backward
completes the last layer's gradients first, so their sum can travel while it goes on: gradients are
collected in buckets, and a link serves one bucket after another (Li et al. 2020, "PyTorch
Distributed", section 3.2).

    a bucket's start = max(its gradients are complete, the bucket before it has arrived)
    a bucket's end   = its start + its all-reduce
    step             = forward + max(backward, the last bucket's end) + update

What of the communication isn't hidden behind the backward is *exposed*.
"""

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from minillm.trust.scale.compression import NONE, Compression
from minillm.trust.scale.network import ALGORITHMS, Network, all_gather

BUCKET = 25_000_000  # bytes, about PyTorch's default


@dataclass(frozen=True)
class Cluster:
    """n machines of one speed, and how they share their gradients.

    algorithm: of the all-reduce: "ring", "tree", "halving", or "best", the fastest for each bucket
    bucket: bytes of gradients that travel together, at least
    overlap: whether they travel while the backward runs
    shard_optimizer: each node updates its n-th of the weights (ZeRO-1, Rajbhandari et al. 2020):
        gradients are reduce-scattered, and the new weights gathered after the update
    compression: of the gradients
    jitter: standard deviation of a machine's computing time, as a share of it: all wait for the
        slowest
    local_steps: H: steps between two sums, which are of weights (DiLoCo, Douillard et al. 2023)
    """

    nodes: int
    network: Network
    algorithm: str = "best"
    bucket: int = BUCKET
    overlap: bool = True
    shard_optimizer: bool = False
    compression: Compression = NONE
    jitter: float = 0.0
    local_steps: int = 1

    def __post_init__(self):
        for name in ("nodes", "bucket", "local_steps"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted at least 1")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter is {self.jitter}, wanted at least 0 and below 1")
        if self.algorithm not in ("best", *ALGORITHMS):
            raise ValueError(f"algorithm is {self.algorithm!r}, wanted best or one of "
                             f"{', '.join(ALGORITHMS)}")
        if self.shard_optimizer and self.local_steps > 1:
            raise ValueError("shard_optimizer and local_steps are both given: a machine that "
                             "steps on its own needs all moments")
        if self.shard_optimizer and self.compression.is_sparse:
            raise ValueError(f"compress is {self.compression.name} with shard_optimizer: sparse "
                             "gradients can't be added on the way")


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step of a cluster; `sent` is in bytes, of each node."""

    seconds: float
    compute: float  # forward, backward and update of the slowest node
    exposed: float  # communication that everything waits for
    communication: float  # all of it
    sent: float
    alone: float  # a step of one machine with the same part of the batch
    buckets: list = field(default_factory=list, repr=False)  # of (complete, start, end)

    @property
    def efficiency(self):
        """Examples a second, as a share of those of n machines that needn't communicate"""
        return self.alone / self.seconds

    @property
    def share(self):
        """Of the step that waits for communication"""
        return self.exposed / self.seconds


def step_time(profile, cluster, accumulate=1):
    """-> StepTime. accumulate: batches of `profile` in a step; gradients travel after the last"""
    n, network = cluster.nodes, cluster.network
    slower = 1 + cluster.jitter / math.sqrt(accumulate * cluster.local_steps) * expected_maximum(n)
    alone = accumulate * (profile.forward + profile.backward) + profile.update
    if n == 1:
        return StepTime(alone * slower, alone * slower, 0.0, 0.0, 0.0, alone)
    if cluster.local_steps > 1:
        return _local_steps(profile, cluster, alone, slower)
    before = (accumulate * (profile.forward + profile.backward) - profile.backward) * slower
    backward = profile.backward * slower
    buckets = serve(ready_buckets(profile, cluster, slower), cluster)
    arrived = buckets[-1][2] if buckets else 0.0
    update = profile.update * slower / (n if cluster.shard_optimizer else 1)
    gathering = _gathering(profile, cluster)
    seconds = before + max(backward, arrived) + update + gathering
    compute = before + backward + update
    return StepTime(
        seconds, compute, seconds - compute,
        sum(end - start for _, start, end in buckets) + gathering,
        _sent(profile.n_bytes, cluster), alone,
        [tuple(before + time for time in bucket) for bucket in buckets])


def ready_buckets(profile, cluster, slower=1.0):
    """-> list of (seconds of the backward after which it is complete, its bytes)"""
    found, now, size = [], 0.0, 0
    for seconds, n_bytes in profile.stages:
        now += slower * seconds
        size += n_bytes
        if size >= cluster.bucket and cluster.overlap:
            found.append((now, size))
            size = 0
    if not cluster.overlap:  # all travel at the end, cut as evenly as whole buckets allow
        count = max(1, round(size / cluster.bucket))
        return [(now, size / count)] * count if size else []
    return found + [(now, size)] * bool(size)


def serve(ready, cluster):
    """Let one link serve buckets in order -> list of (complete, start, end)"""
    found, free = [], 0.0
    for complete, n_bytes in ready:
        start = max(complete, free)
        free = start + bucket_time(n_bytes, cluster)
        found.append((complete, start, free))
    return found


def bucket_time(n_bytes, cluster):
    """-> seconds of the sum of one bucket; of its reduce-scatter, if the optimizer is sharded"""
    time = cluster.compression.all_reduce(cluster.nodes, n_bytes, cluster.network,
                                          cluster.algorithm)
    return time / 2 if cluster.shard_optimizer else time


def _gathering(profile, cluster):
    """-> seconds in which the updated weights are gathered: in float32, as they are kept"""
    if not cluster.shard_optimizer:
        return 0.0
    return all_gather(cluster.nodes, profile.n_bytes, cluster.network, cluster.algorithm)


def _local_steps(profile, cluster, alone, slower):
    """H steps on each machine's own weights, then the mean of all machines' changes.

    The machines wait for it. The outer update is a handful of operations for each weight, and not
    counted.
    """
    H = cluster.local_steps
    time = cluster.compression.all_reduce(cluster.nodes, profile.n_bytes, cluster.network,
                                          cluster.algorithm) / H
    return StepTime(alone * slower + time, alone * slower, time, time,
                    cluster.compression.sent(cluster.nodes, profile.n_bytes) / H, alone)


def _sent(n_bytes, cluster):
    sent = cluster.compression.sent(cluster.nodes, n_bytes)
    if cluster.shard_optimizer:
        return sent / 2 + (cluster.nodes - 1) / cluster.nodes * n_bytes
    return sent


@cache
def expected_maximum(n, points=4001):
    """-> E[max] of n independent standard normal numbers: ∫ x d Φ(x)ⁿ; 0 for one

    1.42 for 8, 3.25 for 1,024: among many machines one is always slow.
    """
    x = np.linspace(-9, 9, points)
    below = np.array([0.5 * math.erfc(-each / math.sqrt(2)) for each in x]) ** n
    return float(((x[1:] + x[:-1]) / 2 * np.diff(below)).sum())


def factor_for(efficiency, profile, cluster):
    """-> the factor by which each node's batch must be larger to reach this efficiency

    The computing grows with the batch and the communication doesn't. inf where no batch is enough:
    a jitter that costs more, for example.
    """
    def is_enough(factor):
        return step_time(profile.batch_times(factor), cluster).efficiency >= efficiency

    low, high = 2.0**-30, 2.0**40
    if is_enough(low):
        return 0.0
    if not is_enough(high):
        return math.inf
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
