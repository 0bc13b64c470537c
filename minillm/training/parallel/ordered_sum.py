"""The sum of the gradients of a step's micro-batches, in their order.

    G = ((g_0 + g_1) + g_2) + … + g_{K-1}

Floating-point addition isn't associative, so the order is part of the definition. Each g_i is
complete before it is added: a tied embedding adds its two uses within g_i. (Letting the backward of
micro-batch i add to the sum of those before it saves one set of arrays, but gives another order,
which only one process could compute: another rank doesn't have that sum yet.)

A parameter that got no gradient in some micro-batch counts as zero there; one that got none in the
whole step has none (.grad is None), and the optimizer leaves it alone.
"""

from contextlib import contextmanager

from minillm.training.clipping import grad_norm


class OrderedSum:
    """The sum in one process. With one micro-batch it does nothing, and takes no memory.

        for index in range(K):
            with gradients.of(index, K):
                (task.loss(model, batch) / K).backward()
        # every .grad is the sum now

    parameters: those that learn, in the order in which the norm adds them
    """

    def __init__(self, parameters):
        self.parameters = list(parameters)
        self._sum = {}  # parameter -> the sum so far
        self._free = {}  # parameter -> memory for its next gradient: that of the last step's sum

    @contextmanager
    def of(self, index, count):
        """A context for the forward and backward of micro-batch `index` of `count`."""
        if index == 0:
            self._sum, self._free = {}, self._sum
        for parameter in self.parameters:
            parameter.zero_grad()
        yield
        if count > 1:
            self._add(index)
        if index == count - 1:
            for parameter, total in self._sum.items():
                parameter.grad = total

    def _add(self, index):
        for parameter in self.parameters:
            g = parameter.grad
            total = self._sum.get(parameter)
            if total is not None:
                total += 0.0 if g is None else g
            elif g is not None:
                # g is the sum from now on; the next gradient gets other memory.
                parameter.write_next_to(self._free.pop(parameter, None))
                self._sum[parameter] = g
                if index > 0:  # zeros came before: 0 + g, in which -0 becomes 0
                    g += 0.0

    def norm(self):
        """-> the norm of the whole gradient"""
        return grad_norm(self.parameters)

    def optimized(self, groups):
        """-> the groups of parameters that this process's optimizer updates: all"""
        return groups

    def share_weights(self):
        """Called after the optimizer's step: nobody else needs the new weights."""

    def moments(self, optimizer):
        """-> {name: array}: the optimizer's moments of all parameters, for a checkpoint"""
        return {name: array for name, array in optimizer.state_dict().items()
                if name not in ("t", "lr")}

    def wants(self, name):
        """-> whether this process's optimizer keeps the moment of this name"""
        return True

    def restore(self, optimizer, t, lr, moments):
        """Give the optimizer its state; moments: {name: array}, at least those that it wants"""
        optimizer.load_state_dict({"t": t, "lr": lr, **moments})
