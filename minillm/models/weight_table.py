"""How the parameters of a model here are named and laid out in the files of others.

A table is a list of rules, read in both directions, for loading and for saving:

    WeightTable([
        rename("h.*.norm1.*", "h.*.ln_1.*"),                        # each * is one part of a name
        rename("h.*.ffn.expand.*", "h.*.up.*", transpose=True),     # files with W: (d_out, d_in)
        fuse("h.*.attention.qkv.*", ["h.*.q.*", "h.*.k.*", "h.*.v.*"], transpose=True),
        split(["h.*.gate.*", "h.*.up.*"], "h.*.gate_up.*"),
    ])

A parameter that no rule names is called the same in both.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from minillm.checks import shown


@dataclass(frozen=True)
class Rule:
    """The tensors `theirs` of a file, each transposed if `transpose`, make the same array side by
    side as the parameters `ours` side by side, both along `axis`.

    sizes: function of the configuration -> the length along `axis` of each of `theirs`; None: equal
    """

    ours: tuple
    theirs: tuple
    transpose: bool = False
    axis: int = -1  # the outputs of a Linear's weight (d_in, d_out), and of its bias (d_out,)
    sizes: object = None


def rename(ours, theirs, *, transpose=False):
    """One parameter is one tensor with another name, `transpose`: with its axes reversed."""
    return Rule((ours,), (theirs,), transpose)


def fuse(ours, theirs, *, transpose=False, axis=-1, sizes=None):
    """One parameter here is several tensors in the file, such as Q, K and V; `sizes` as in Rule."""
    return Rule((ours,), tuple(theirs), transpose, axis, sizes)


def split(ours, theirs, *, transpose=False, axis=-1):
    """Several parameters here are one tensor in the file."""
    return Rule(tuple(ours), (theirs,), transpose, axis)


@dataclass(frozen=True)
class Size:
    """Where a file itself tells a number of the configuration: the length of one axis of a tensor.

    tensor: its name in the file; with * for the number of a layer, all layers must agree
    value: function of the configuration -> the wanted length, if it isn't the field itself
    """

    field: str
    tensor: str
    axis: int
    value: object = None

    def of(self, config):
        return self.value(config) if self.value else getattr(config, self.field)

    def found(self, shapes):
        """-> list of (length, in words) in a file with tensors of these shapes"""
        return [(shape[self.axis] if self.axis < len(shape) else None, f"{name} of shape {shape}")
                for name, shape in shapes.items() if _match(self.tensor, name)]


@dataclass(frozen=True)
class Count:
    """The same for the number of layers: how many different * the file has a `tensor` for."""

    field: str
    tensor: str
    unit: str = ""  # what a message calls them; the tensor's name by default

    def of(self, config):
        return getattr(config, self.field)

    def found(self, shapes):
        n = len({match.group(1) for name in shapes if (match := _match(self.tensor, name))})
        return [(n, f"{n} {self.unit or self.tensor}{'s' if self.unit and n != 1 else ''}")]


@dataclass(frozen=True)
class WeightTable:
    """rules: how ours become theirs; sizes: the fields of the configuration that shapes depend on;
    ignored: patterns of tensors that carry nothing, such as a causal mask stored as a buffer;
    heads: how the names of tensors begin that not every checkpoint has, such as "classifier.": a
    model without that head leaves them out, and one whose head a file lacks begins with a new one.
    """

    rules: list
    sizes: list = field(default_factory=list)
    ignored: list = field(default_factory=list)
    heads: tuple = ()

    def groups(self, names):
        """-> list of (rule, ours, theirs): which parameters `names` are which tensors"""
        names, found = list(names), {}
        for name in names:
            rule, stars = self._rule_of(name)
            ours = tuple(_fill(pattern, stars) for pattern in rule.ours)
            found[ours] = (rule, ours, tuple(_fill(pattern, stars) for pattern in rule.theirs))
        return list(found.values())

    def shapes(self, ours, config=None):
        """{parameter: shape} -> {tensor in the file: shape}

        Raises ValueError if a fused parameter can't be cut into the parts that the rule wants.
        """
        theirs = {}
        for rule, parameters, tensors in self.groups(ours):
            shape = list(ours[parameters[0]])
            if len(parameters) > 1:
                shape[rule.axis] = sum(ours[name][rule.axis] for name in parameters)
            lengths = _lengths(rule, shape[rule.axis], config, parameters) if shape else []
            for tensor, length in zip(tensors, lengths or [None] * len(tensors)):
                part = [*shape]
                if length is not None:
                    part[rule.axis] = length
                theirs[tensor] = tuple(part[::-1] if rule.transpose else part)
        return theirs

    def load(self, shapes, read):
        """Yield (parameter, array) for the parameters in {name: shape}, float32 and contiguous.

        read: function of a name in the file -> array. The file's shapes are those of `shapes()`.
        """
        for rule, parameters, tensors in self.groups(shapes):
            parts = [read(tensor) for tensor in tensors]
            parts = [part.T for part in parts] if rule.transpose else parts
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=rule.axis)
            lengths = [shapes[name][rule.axis] for name in parameters] if whole.ndim else [None]
            for name, part in zip(parameters, _cut(whole, lengths, rule.axis)):
                yield name, np.ascontiguousarray(part, np.float32)

    def save(self, arrays, config=None):
        """{parameter: array} -> {tensor in the file: array}; views where nothing has to be moved"""
        theirs = {}
        for rule, parameters, tensors in self.groups(arrays):
            parts = [arrays[name] for name in parameters]
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=rule.axis)
            length = whole.shape[rule.axis] if whole.ndim else 1
            cut = _cut(whole, _lengths(rule, length, config, parameters), rule.axis)
            theirs.update(zip(tensors, [part.T if rule.transpose else part for part in cut]))
        return theirs

    def ignores(self, name):
        return any(_match(pattern, name) for pattern in self.ignored)

    def is_head(self, name):
        return name.startswith(tuple(self.heads))

    def _rule_of(self, name):
        """-> (the first rule for the parameter `name`, what its stars stand for)"""
        for rule in self.rules:
            for pattern in rule.ours:
                match = _match(pattern, name)
                if match:
                    return rule, match.groups()
        return Rule((name,), (name,)), ()


def mismatch(sizes, config, shapes):
    """Hold a configuration against the tensors of a file -> None, or (field, what is wrong)

    shapes: {tensor: shape}. Only names and shapes are compared, so a wrong configuration takes no
    memory. What is wrong reads "n_layer is 1000000, but {file} has 4 layers".
    """
    for size in sizes:
        wanted, found = size.of(config), size.found(shapes)
        if not found:
            return size.field, f"{size.field} is {wanted}, but {{file}} has no {size.tensor}"
        for length, where in found:
            if length != wanted:
                return size.field, f"{size.field} is {shown(wanted)}, but {{file}} has {where}"
    return None


def _match(pattern, name):
    """-> the match of a pattern with stars and a whole name, or None"""
    return _compiled(pattern).fullmatch(name)


@lru_cache
def _compiled(pattern):
    return re.compile(re.escape(pattern).replace(r"\*", r"(\w+)"))


def _fill(pattern, stars):
    """("h.*.ln_1.*", ("3", "bias")) -> "h.3.ln_1.bias" """
    for star in stars:
        pattern = pattern.replace("*", star, 1)
    return pattern


def _lengths(rule, length, config, parameters):
    """-> the length along the axis of each of the rule's tensors, which add up to `length`"""
    if rule.sizes is None:
        lengths = [length // len(rule.theirs)] * len(rule.theirs)
    else:
        lengths = list(rule.sizes(config))
    if sum(lengths) != length or len(lengths) != len(rule.theirs):
        raise ValueError(f"{parameters[0]} has {length} numbers along axis {rule.axis}, wanted the "
                         f"sum of {len(rule.theirs)} parts {lengths}")
    return lengths


def _cut(whole, lengths, axis):
    if len(lengths) == 1:
        return [whole]
    return np.split(whole, np.cumsum(lengths)[:-1], axis=axis)
