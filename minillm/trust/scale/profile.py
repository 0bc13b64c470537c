"""A training step on one machine: how long the forward takes, and each layer's backward."""

from dataclasses import dataclass, replace

from minillm.trust.cost.layers import FLOAT, layers

FLOPS_PER_PARAMETER_AND_TOKEN = 6  # 2 forward, 4 backward: chapter 28


@dataclass(frozen=True)
class StepProfile:
    """Seconds of a step's parts, and when which gradients are complete.

    forward: seconds
    stages: tuple of (seconds, bytes), in the order of the backward: after so many seconds more, so
        many more bytes of gradients are complete
    update: seconds of the optimizer, for all parameters
    """

    forward: float
    stages: tuple
    update: float = 0.0

    @property
    def backward(self):
        return sum(seconds for seconds, _ in self.stages)

    @property
    def n_bytes(self):
        """Of all gradients"""
        return sum(n_bytes for _, n_bytes in self.stages)

    @property
    def alone(self):
        """Seconds of a step without other machines"""
        return self.forward + self.backward + self.update

    def batch_times(self, factor):
        """-> StepProfile of a batch that is larger by `factor`: the update takes no longer"""
        return replace(self, forward=factor * self.forward, stages=tuple(
            (factor * seconds, n_bytes) for seconds, n_bytes in self.stages))


def profile_of_rate(cost, flops_per_second):
    """trust.cost.step.StepCost, its machine's rate -> StepProfile

    Layers come in the order of the forward, so their gradients in the reverse one. A table that the
    head shares with the embedding is complete when the embedding's backward is, which is last.
    """
    found = layers(cost.model, cost.workload)
    return StepProfile(cost.forward_flops / flops_per_second, tuple(
        (layer.backward / flops_per_second, FLOAT * layer.parameters) for layer in reversed(found)),
        cost.update_flops / flops_per_second)


def profile_of_times(cost, forward, backward, update):
    """StepCost, and the measured seconds of three parts -> StepProfile

    The seconds of the backward are shared out by the layers' operations.
    """
    profile = profile_of_rate(cost, 1.0)
    stages = tuple((backward * seconds / profile.backward, n_bytes)
                   for seconds, n_bytes in profile.stages)
    return StepProfile(forward, stages, update)


def profile_of_size(parameters, tokens, flops_per_second, blocks=32):
    """-> StepProfile of a model of which only the size is known: 6 N D, in blocks that are alike"""
    flops = FLOPS_PER_PARAMETER_AND_TOKEN * parameters * tokens
    stage = (flops * 2 / 3 / blocks / flops_per_second, FLOAT * parameters / blocks)
    return StepProfile(flops / 3 / flops_per_second, (stage,) * blocks)
