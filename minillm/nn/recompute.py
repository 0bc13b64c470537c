"""Recomputation: trade time for memory. (Chen, Xu, Zhang and Guestrin 2016, "Training Deep Nets
with Sublinear Memory Cost"; also known as gradient checkpointing.)

A forward keeps, for its backward, all that each layer computed: in a GPT-2 about sixteen numbers
for each number of the residual stream, in each of L blocks. A block that recomputes keeps its input
alone, one number of the sixteen. When its backward comes, it runs its forward once more, from this
input, and keeps everything for the moment:

    forward    x_1 = block_0(x_0), x_2 = block_1(x_1), …       keep x_0, x_1, …
    backward   of block i: run block_i(x_i) again, keep all; then its own backward

So everything exists for one block at a time, at the price of one more forward of the blocks: four
products in place of three. The second forward computes the same numbers, so the gradients are the
same, bit for bit. It draws the same dropout, because the state of each random generator is kept
beside x_i.
"""

from contextlib import contextmanager
from types import MethodType
from typing import NamedTuple

from minillm.nn.blocks import DecoderBlock, EncoderBlock
from minillm.nn.module import for_one_pass, generators, keeps_caches, no_grad
from minillm.nn.trace import active_traces, no_traces


class Kept(NamedTuple):
    """What a block that recomputes keeps of a forward."""

    inputs: tuple  # x, and a decoder's memory
    options: dict  # masks and positions
    states: list  # of the random generators, before the forward


def recompute_blocks(model, on=True):
    """Let every block of `model` recompute in its backward what its forward won't keep; or not.

    Inside a trace, which shows what a forward computes, a block keeps everything.
    """
    for block in model.modules():
        if isinstance(block, (EncoderBlock, DecoderBlock)):
            recompute(block, on)


def recompute(block, on=True):
    """Replace `forward` and `backward` of one block, a Module, by the two functions below."""
    for name, function in (("forward", _forward), ("backward", _backward)):
        if on:
            setattr(block, name, MethodType(function, block))
        else:
            vars(block).pop(name, None)


def recomputes(model):
    """-> whether a block of `model` recomputes"""
    return any("forward" in vars(module) for module in model.modules())


def _forward(block, *inputs, **options):
    forward = type(block).forward
    if active_traces() or not keeps_caches():
        y, kept = forward(block, *inputs, **options), None
    else:
        kept = Kept(inputs, options, _states(block))
        with no_grad():
            y = forward(block, *inputs, **options)
    block.remember(kept)
    return y


@for_one_pass
def _backward(block, dy):
    """dy: the gradient of the block's result -> what the block's own backward returns"""
    kept = block.recall()
    if kept is not None:
        with no_traces(), _in_states(block, kept.states):
            type(block).forward(block, *kept.inputs, **kept.options)  # now its layers keep all
    return type(block).backward(block, dy)


def _states(block):
    return [generator.bit_generator.state for generator in generators(block)]


@contextmanager
def _in_states(block, states):
    """A context in which the random generators start from `states`; afterwards they go on from
    where they were.
    """
    later = _states(block)
    for generator, state in zip(generators(block), states):
        generator.bit_generator.state = state
    try:
        yield
    finally:
        for generator, state in zip(generators(block), later):
            generator.bit_generator.state = state
