"""Gradients in fewer bytes: how many are sent, and what is known of the loss that it costs.

Computing the compressed numbers takes time as well, which isn't counted here.
"""

from dataclasses import dataclass

from minillm.trust.scale.network import all_gather, all_reduce

FLOAT, INDEX = 4, 4  # bytes
GROUP = 1024  # numbers that share a scale in int8


@dataclass(frozen=True)
class Compression:
    """share: bytes sent for each byte of a float32 gradient;  known: what papers report

    is_sparse: each node has other places, so what it sends can't be added on the way
    """

    name: str
    share: float
    known: str
    is_sparse: bool = False

    def all_reduce(self, nodes, n_bytes, network, algorithm="best"):
        """-> seconds until all nodes have the sum

        Sparse gradients are gathered: every node receives those of all others, n - 1 times as much
        as its own. Beyond some number of nodes that is more than the whole gradient, which is then
        sent instead.
        """
        dense = all_reduce(nodes, n_bytes, network, algorithm)
        if self.is_sparse:
            sparse = all_gather(nodes, nodes * self.share * n_bytes, network, algorithm)
            return min(sparse, dense)
        return all_reduce(nodes, self.share * n_bytes, network, algorithm)

    def sent(self, nodes, n_bytes):
        """-> bytes that a node sends, at least"""
        dense = 2 * (nodes - 1) / nodes * n_bytes
        if self.is_sparse:
            return min((nodes - 1) * self.share * n_bytes, dense)
        return self.share * dense


NONE = Compression("none", 1.0, "the gradient as it is, in float32")
BFLOAT16 = Compression(
    "bfloat16", 0.5, "no loss of quality reported with sums in float32 (Kalamkar et al. 2019)")
INT8 = Compression(
    "int8", (1 + FLOAT / GROUP) / FLOAT,
    "unbiased with random rounding, whose variance adds to the gradient's (QSGD, Alistarh et al. "
    "2017); no loss reported for image models and a small language model")


def top_k(share):
    """-> Compression that sends the largest of each node's gradients, each with its place

    share: how many of the numbers;  a number and its place take 8 bytes for 4
    """
    if not 0 < share <= 1:
        raise ValueError(f"compress is topk:{share:g}, wanted a share over 0, at most 1")
    return Compression(
        f"topk:{share:g}", share * (FLOAT + INDEX) / FLOAT,
        "0.1 % suffices if what isn't sent is kept for later steps, with a warm-up, corrected "
        "momentum and clipping (Lin et al. 2018); with Adam less is known", is_sparse=True)


def read_compression(name):
    """"none", "bfloat16", "int8" or "topk:0.01" -> Compression. ValueError lists them."""
    known = {each.name: each for each in (NONE, BFLOAT16, INT8)}
    if name in known:
        return known[name]
    kind, _, share = name.partition(":")
    try:
        return top_k(float(share if kind == "topk" else ""))
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
    raise ValueError(f"compress is {name!r}, wanted none, bfloat16, int8 or topk:SHARE such as "
                     "topk:0.01")
