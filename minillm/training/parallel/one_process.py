"""What a run sees of the other ranks when there is none: OneProcess. And work that ranks share.

communicator.py has the same methods over MPI, so the training loop asks nowhere how many ranks
there are.
"""

from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps

from minillm.training.parallel.ordered_sum import OrderedSum


class OneProcess:
    """The only rank."""

    rank, size = 0, 1

    def share(self, grad_accum):
        """-> the micro-batches of a step that this rank computes, as a bool for each"""
        return [True] * grad_accum

    def gradients(self, parameters):
        """-> the sum of gradients over the micro-batches of a step: see OrderedSum"""
        return OrderedSum(parameters)

    def in_order(self, values):
        """values: what this rank computed for its share -> those of all ranks, in the order of the
        whole
        """
        return values

    def largest(self, number):
        """-> the largest of the numbers that the ranks call this with"""
        return number

    def from_first(self, function):
        """-> function(), called on rank 0 alone"""
        return function()

    def broadcast_into(self, array):
        """Replace the numbers in `array` by those of rank 0."""

    def stepping(self):
        """-> a context in which a rank that does nothing for too long counts as stalled"""
        return nullcontext()

    def failed(self, line):
        """Say that this rank ends with an error -> whether the caller is to write the line"""
        return True

    def finish(self):
        """Wait until all ranks are done."""


_current = ContextVar("ranks", default=OneProcess())


@contextmanager
def sharing(ranks):
    """A context in which `share_out` shares work out over the ranks. All of them must be in it."""
    token = _current.set(ranks)
    try:
        yield
    finally:
        _current.reset(token)


def share_out(function, items):
    """-> [function(item) for item in items], on every rank; each item is computed by one rank

    What function returns must be small and picklable. It must not depend on the items before.
    """
    ranks = _current.get()
    computed = [function(item) for number, item in enumerate(items)
                if number % ranks.size == ranks.rank]
    return ranks.in_order(computed)


def on_first(method):
    """Decorate a method of an object with `ranks` that only rank 0 is to run, because it writes
    files; on the others it returns None.
    """
    @wraps(method)
    def run(self, *arguments):
        return method(self, *arguments) if self.ranks.rank == 0 else None

    return run
