"""Where the parts of a model are: its blocks, their heads, the residual stream, by their names.

    anatomy = Anatomy(model)                      # a GPT2LMHeadModel
    anatomy.blocks[0].attention                   "transformer.h.0.attention"
    with trace(model, [block.residual for block in anatomy.blocks]) as t: …

The names are those that a trace takes (minillm/nn/trace.py). Nothing here knows an architecture: a
model is a tree of modules, and its blocks are the EncoderBlocks and DecoderBlocks in it.
"""

import re
from dataclasses import dataclass

import numpy as np

from minillm.figures import COLORS, heat_map, new_figure
from minillm.nn import DecoderBlock, EncoderBlock


@dataclass(frozen=True)
class Block:
    """One block, and the names of what a trace sees in it.

    name, stack: "transformer.h.3", "transformer.h"; index: its number in that stack
    module: the EncoderBlock or DecoderBlock
    """

    name: str
    stack: str
    index: int
    module: object

    @property
    def attention(self):
        """The self-attention; its output is what attention adds to the residual stream."""
        return f"{self.name}.attention"

    @property
    def weights(self):
        """The attention weights, (B, H, T, T)"""
        return f"{self.name}.attention.weights"

    @property
    def heads(self):
        """The heads' results before W_O: (B, H, T, D)"""
        return f"{self.name}.attention.heads"

    def head(self, h):
        """The result of head h alone: (B, T, D)"""
        return f"{self.name}.attention.head_{h}"

    @property
    def cross_attention(self):
        """The attention to an encoder's output; None in a block without one"""
        crosses = getattr(self.module, "residual_cross", None) is not None
        return f"{self.name}.cross_attention" if crosses else None

    @property
    def attentions(self):
        """-> list: `attention` and, if there is one, `cross_attention`"""
        return [name for name in (self.attention, self.cross_attention) if name is not None]

    @property
    def feed_forward(self):
        """The feed-forward network; its output is what it adds to the residual stream."""
        return f"{self.name}.feed_forward"

    @property
    def sublayers(self):
        """The names of all that the block adds to the residual stream."""
        return [*self.attentions, self.feed_forward]

    def input(self, values):
        """values: a trace with `residual` and `sublayers` of a pre-norm block

        -> the residual stream before the block, (B, T, d_model):  y = x + Σ f(…)  solved for x.
        It doesn't matter whether the sub-layers run one after another or side by side.
        """
        return values[self.residual] - sum(values[name] for name in self.sublayers)

    @property
    def residual_between(self):
        """The residual stream between attention and the feed-forward network: (B, T, d_model)"""
        return f"{self.name}.residual1"

    @property
    def residual(self):
        """The residual stream after the block: (B, T, d_model)"""
        return self.name

    @property
    def is_pre_norm(self):
        return self.module.residual1.is_pre_norm

    @property
    def n_heads(self):
        return self.module.attention.n_heads

    @property
    def head_dim(self):
        return self.module.attention.head_dim


class Anatomy:
    """The blocks of a model.

    stack: the name of one list of blocks, such as "model.decoder.layers"; None: the only one, or an
        encoder-decoder's last one, its decoder

    Raises ValueError for a model without blocks, and for an unknown stack.
    """

    def __init__(self, model, stack=None):
        self.model = model
        stacks = stacks_of(model)
        if not stacks:
            raise ValueError(f"model is a {type(model).__name__}, which has no blocks")
        if stack is None:
            stack = list(stacks)[-1]
        if stack not in stacks:
            raise ValueError(f"stack is {stack!r}, wanted one of {', '.join(stacks)}")
        self.stack, self.blocks = stack, stacks[stack]

    def __len__(self):
        return len(self.blocks)

    @property
    def stream_names(self):
        """What a trace has to record for `streams`"""
        return [*self.blocks[0].sublayers, *(block.residual for block in self.blocks)]

    @property
    def stream_labels(self):
        """What each of `streams` is called: "embedding" (in a pre-norm model), "block 0", …"""
        labels = [f"block {block.index}" for block in self.blocks]
        return ["embedding", *labels] if self.blocks[0].is_pre_norm else labels

    def streams(self, values):
        """values: a trace with `stream_names` -> list of (B, T, d_model): the residual stream after
        each block, and in a pre-norm model first the one in front of them
        """
        before = [self.blocks[0].input(values)] if self.blocks[0].is_pre_norm else []
        return before + [values[block.residual] for block in self.blocks]

    def label(self, name):
        """-> a short name of a value that a trace sees: "block 3", "3.feed_forward", "3.head 1",
        "3.cross head 1"
        """
        short = name.removeprefix(f"{self.stack}.")
        index, _, part = short.partition(".")
        if not part:
            return f"block {index}"
        part = re.sub(r"^attention\.head_", "head ", part)
        return f"{index}." + re.sub(r"^cross_attention\.head_", "cross head ", part)

    def by_head(self, values):
        """values: {(layer, head): number} or {name of a head: number} -> float64 (L, H), NaN where
        there is none
        """
        table = np.full((len(self), max(block.n_heads for block in self.blocks)), np.nan)
        places = {block.head(h): (block.index, h) for block, h in self.heads()}
        for head, value in values.items():
            table[places.get(head, head)] = value
        return table

    def heads(self):
        """Yield (block, h) for each head, from the lowest block to the highest."""
        for block in self.blocks:
            for h in range(block.n_heads):
                yield block, h


def stacks_of(model):
    """-> {name of a list of blocks: [Block, …]}, in the order of the model's parts"""
    stacks = {}
    for name, module in model.named_modules():
        if isinstance(module, (EncoderBlock, DecoderBlock)):
            stack, _, index = name.rpartition(".")
            stacks.setdefault(stack, []).append(Block(name, stack, int(index), module))
    return stacks


def plot_heads(table, title=None, label=None, signed=False, limits=None):
    """-> matplotlib Figure: a number for each head, as from `Anatomy.by_head`

    table: (L, H);  signed: whether 0 is in the middle of the colors;  limits: of the colors
    """
    L, H = table.shape
    figure, axes = new_figure(1.8 + 0.5 * H, 0.9 + 0.35 * L)
    top = max(float(np.nanmax(np.abs(table), initial=0)), 1e-9)
    heat_map(axes, table, rows=[f"layer {layer}" for layer in range(L)],
             columns=[f"head {h}" for h in range(H)], numbers=".2f" if H <= 12 else False,
             signed=signed or None, limits=(-top, top) if signed else limits, title=title,
             label=label)
    return figure


def plot_anatomy(model):
    """-> matplotlib Figure: the parameters of each block, those of attention and the others"""
    blocks = [block for stack in stacks_of(model).values() for block in stack]
    figure, axes = new_figure(6, 0.9 + 0.22 * len(blocks))
    left = np.zeros(len(blocks))
    for name, color in (("attention", COLORS[1]), ("cross_attention", COLORS[5]),
                        ("feed_forward", COLORS[4])):
        sizes = np.array([sum(p.size for p in getattr(block.module, name).parameters())
                          if hasattr(block.module, name) else 0 for block in blocks])
        if sizes.any():
            axes.barh(range(len(blocks)), sizes, left=left, color=color, label=name)
            left = left + sizes
    axes.set_yticks(range(len(blocks)), [block.name for block in blocks])
    axes.invert_yaxis()
    axes.set_xlabel("parameters")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return figure
