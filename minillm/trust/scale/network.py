"""What a message, and an all-reduce of n nodes, takes on a network.

A message of m bytes takes α + m / β: the latency α whatever its size, then β bytes a second (the
model of Hockney 1994). Every node sends and receives at full speed at the same time, and the switch
between them is never full. N is the bytes of the array, and the formulas are those of Thakur,
Rabenseifner and Gropp 2005, "Optimization of collective communication operations in MPICH", without
the time of the additions.
"""

import math
import re
from dataclasses import dataclass

BITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
LATENCY = 20e-6  # between two machines by TCP in one hall; InfiniBand has 1 to 2 µs


@dataclass(frozen=True)
class Network:
    """latency: α in seconds;  bandwidth: β in bytes a second"""

    latency: float
    bandwidth: float

    def message(self, n_bytes):
        """-> seconds"""
        return self.latency + n_bytes / self.bandwidth


def read_network(text, latency=LATENCY):
    """"10Gbit" or "10Gbit/5us" -> Network. ValueError says what was wanted."""
    rate, slash, delay = text.partition("/")
    match = re.fullmatch(r"([\d.]+)\s*([kMGT]?)bit", rate.strip())
    late = re.fullmatch(r"([\d.eE+-]+)\s*([munµ]?s)", delay.strip()) if slash else None
    try:
        bandwidth = float(match[1]) * BITS[match[2]] / 8
        latency = float(late[1]) * SECONDS[late[2]] if slash else latency
    except (TypeError, ValueError):
        bandwidth = 0.0
    if not (0 < bandwidth < math.inf and 0 <= latency < math.inf):
        raise ValueError(f"network is {text!r}, wanted bits a second and, after a slash, the "
                         "latency: 10Gbit or 100Gbit/5us")
    return Network(latency, bandwidth)


# ---- all-reduce: seconds until all nodes have the sum of n arrays of N bytes


def ring(nodes, n_bytes, network):
    """2 (n - 1) messages of N / n, to the neighbor:      2 (n - 1) α + 2 (n - 1)/n · N / β"""
    return 2 * (nodes - 1) * network.message(n_bytes / nodes)


def tree(nodes, n_bytes, network):
    """Sums up a binary tree, and the result down again:  2 ⌈log₂ n⌉ (α + N / β)"""
    return 2 * math.ceil(math.log2(nodes)) * network.message(n_bytes)


def halving(nodes, n_bytes, network):
    """Halves with a far node, quarters with a nearer one, …, and back (Rabenseifner 2004):

        2 log₂ n · α + 2 (n - 1)/n · N / β

    Where n is no power of two, the nodes that are too many hand their array over before, and get
    the sum after: two messages of N more.
    """
    rounds = int(math.log2(nodes))
    power = 2**rounds
    time = 2 * (rounds * network.latency + (power - 1) / power * n_bytes / network.bandwidth)
    return time if power == nodes else time + 2 * network.message(n_bytes)


ALGORITHMS = {"ring": ring, "tree": tree, "halving": halving}


def all_reduce(nodes, n_bytes, network, algorithm="best"):
    """-> seconds; "best" takes the fastest for this size, as libraries do"""
    if nodes == 1:
        return 0.0
    if algorithm == "best":
        return min(each(nodes, n_bytes, network) for each in ALGORITHMS.values())
    return ALGORITHMS[algorithm](nodes, n_bytes, network)


def all_gather(nodes, n_bytes, network, algorithm="best"):
    """-> seconds until all nodes have all of N bytes, of which each had N / n

    It is the second half of an all-reduce, and a reduce-scatter is the first.
    """
    return all_reduce(nodes, n_bytes, network, algorithm) / 2
