"""The layers of a model from the input to the output: which to freeze, and which to train slowly.

Low layers hold what is common to all texts, high ones what is special to a task. So fine-tuning
may leave the lowest alone, or give each layer a smaller learning rate than the one above it
(Howard and Ruder 2018, section 3.2).
"""

from minillm.checks import shown
from minillm.nn import AttentionPositions, Embedding, LearnedPositions, LoRA, Parameter

EMBEDDINGS, HEAD = "embeddings", "head"
_LOWEST = (Embedding, LearnedPositions, AttentionPositions)


def layer_order(model):
    """-> {name of a layer: list of its Parameters}, from the lowest layer to the highest

    "embeddings" is the lowest: the tables of tokens and positions, and what is in front of the
    first block. Each block follows: an item of a list, such as "transformer.h.0"; a decoder's
    blocks come after its encoder's. A norm between two stacks belongs to the block below it. The
    rest is the "head". Each Parameter appears once, so a tied head is among the embeddings.

    A model that is built in another way says so with a method `layer_order()`.
    """
    if hasattr(model, "layer_order"):
        return model.layer_order()
    places = {}  # id of a Parameter -> (Parameter, name of its layer)
    blocks = []

    def note(parameters, layer):
        for parameter in parameters:
            places.setdefault(id(parameter), (parameter, layer))

    def visit(module, prefix):
        for name, child in module.named_children():
            path = prefix + name
            if isinstance(child, Parameter):
                note([child], (len(blocks), "after"))
            elif isinstance(child, _LOWEST):
                note(child.parameters(), EMBEDDINGS)
            elif "." in name and not isinstance(child, LoRA):
                blocks.append(path)
                note(child.parameters(), path)
            else:
                visit(child, f"{path}.")

    visit(model, "")
    order = {name: [] for name in (EMBEDDINGS, *blocks, HEAD)}
    for parameter, layer in places.values():
        if isinstance(layer, tuple):  # not in a block: which ones are below?
            n_below = layer[0]
            if n_below == len(blocks):
                layer = HEAD
            else:
                layer = blocks[n_below - 1] if n_below else EMBEDDINGS
        order[layer].append(parameter)
    return order


def freeze_lowest(model, lowest):
    """Freeze the lowest layers of the model; return it.

    lowest: "embeddings", or the number of blocks to freeze besides the embeddings, as int or str
    Raises ValueError for anything else.
    """
    layers = list(layer_order(model).items())
    n_blocks = len(layers) - 2
    n = 0 if lowest == EMBEDDINGS else int(lowest) if str(lowest).isdecimal() else -1
    if not 0 <= n <= n_blocks:
        raise ValueError(f"freeze is {shown(lowest)}, wanted {EMBEDDINGS!r} or a number from 0 to "
                         f"{n_blocks}, the blocks of {type(model).__name__}")
    for _, parameters in layers[: 1 + n]:
        for parameter in parameters:
            parameter.trainable = False
            parameter.zero_grad()
    return model


def learning_rate_groups(model, decay=1.0):
    """-> groups for an optimizer, of the Parameters that learn: the head at the full learning rate,
    and each layer below it at `decay` times the rate of the layer above

        η_layer = η decay^(depth below the head)      (Howard and Ruder 2018; Bao et al. 2022, A.2)
    """
    groups = []
    for depth, parameters in enumerate(reversed(layer_order(model).values())):
        learning = [parameter for parameter in parameters if parameter.trainable]
        if learning:
            groups.append({"params": learning, "lr_scale": decay**depth})
    return groups[::-1]
