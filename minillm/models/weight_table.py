"""Weight tables: how a model's parameters are named and laid out in Hugging Face's files.

A table is a list of rules, used in both directions, to load and to save:

    WeightTable([
        rename("h.*.norm1.*", "h.*.ln_1.*"),                        # each * is one part of a name
        rename("h.*.ffn.expand.*", "h.*.up.*", transpose=True),     # files with W: (d_out, d_in)
        fuse("h.*.attention.qkv.*", ["h.*.q.*", "h.*.k.*", "h.*.v.*"], transpose=True),
        split(["h.*.gate.*", "h.*.up.*"], "h.*.gate_up.*"),
    ])

A parameter that no rule matches has the same name in both.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from minillm.checks import shown


@dataclass(frozen=True)
class Rule:
    """The tensors `theirs` in a file hold the same numbers as the parameters `ours`: concatenated
    along `axis`, both are the same array. With `transpose`, reverse the axes of `theirs` first.

    sizes: function of the configuration -> the length of each of `theirs` along `axis`; None: equal
    """

    ours: tuple
    theirs: tuple
    transpose: bool = False
    axis: int = -1  # the outputs of a Linear's weight (d_in, d_out), and of its bias (d_out,)
    sizes: object = None


def rename(ours, theirs, *, transpose=False):
    """One parameter is one tensor with another name; `transpose`: with its axes reversed."""
    return Rule((ours,), (theirs,), transpose)


def fuse(ours, theirs, *, transpose=False, axis=-1, sizes=None):
    """One parameter here is several tensors in the file, such as Q, K and V; `sizes` as in Rule."""
    return Rule((ours,), tuple(theirs), transpose, axis, sizes)


def split(ours, theirs, *, transpose=False, axis=-1):
    """Several parameters here are one tensor in the file."""
    return Rule(tuple(ours), (theirs,), transpose, axis)


@dataclass(frozen=True)
class Size:
    """A field of the configuration that a file must agree with: the length of a tensor's axis.

    tensor: its name in the file; with * for the number of a layer, all layers must agree
    value: function of the configuration -> the wanted length, if it isn't the field itself
    exists: function of the configuration -> whether it has the tensor; by default it has
    """

    field: str
    tensor: str
    axis: int
    value: object = None
    exists: object = None

    def of(self, config):
        return self.value(config) if self.value else getattr(config, self.field)

    def found(self, shapes):
        """-> list of (length, its description), from the shapes {tensor: shape} of a file"""
        return [(shape[self.axis] if self.axis < len(shape) else None, f"{name} of shape {shape}")
                for name, shape in shapes.items() if _match(self.tensor, name)]


@dataclass(frozen=True)
class Count:
    """The same for the number of layers: the number of different * that match `tensor`."""

    field: str
    tensor: str
    unit: str = ""  # the word for them in a message; default: the tensor's name
    exists = None

    def of(self, config):
        return getattr(config, self.field)

    def found(self, shapes):
        n = len({match.group(1) for name in shapes if (match := _match(self.tensor, name))})
        return [(n, f"{n} {self.unit or self.tensor}{'s' if self.unit and n != 1 else ''}")]


@dataclass(frozen=True)
class WeightTable:
    """All that is known about the weights of one architecture in files.

    rules: from parameters to tensors;  sizes: the fields of the configuration that shapes imply
    ignored: patterns of tensors to skip, such as a causal mask that is stored as a buffer
    heads: prefixes of the tensors of optional heads, such as "classifier.". A model without that
        head skips them; a model with it starts with new weights if the file lacks them.
    other_names: {end of a tensor's name: the end that it has in this table}, for names that some
        files have; a file may have a tensor twice, under both names
    optional: parameters, with the same name in files, that keep their initial value if a file lacks
        them
    """

    rules: list
    sizes: list = field(default_factory=list)
    ignored: list = field(default_factory=list)
    heads: tuple = ()
    other_names: dict = field(default_factory=dict)
    optional: tuple = ()

    def groups(self, names):
        """-> list of (rule, ours, theirs): the parameters `names`, and the tensors they are in"""
        names, found = list(names), {}
        for name in names:
            rule, stars = self._rule_of(name)
            ours = tuple(_fill(pattern, stars) for pattern in rule.ours)
            found[ours] = (rule, ours, tuple(_fill(pattern, stars) for pattern in rule.theirs))
        return list(found.values())

    def shapes(self, ours, config=None):
        """{parameter: shape} -> {tensor in the file: shape}

        Raises ValueError if a fused parameter can't be split as the rule says.
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
        """Yield (parameter, array), float32 and contiguous, for the parameters in {name: shape}.

        read: function: name of a tensor -> array, with the shape that `shapes()` returns
        """
        for rule, parameters, tensors in self.groups(shapes):
            parts = [read(tensor) for tensor in tensors]
            parts = [part.T for part in parts] if rule.transpose else parts
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=rule.axis)
            lengths = [shapes[name][rule.axis] for name in parameters] if whole.ndim else [None]
            for name, part in zip(parameters, _cut(whole, lengths, rule.axis)):
                yield name, np.ascontiguousarray(part, np.float32)

    def save(self, arrays, config=None):
        """{parameter: array} -> {tensor in the file: array}; views where possible"""
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

    def usual_name(self, name):
        """-> the name that a tensor `name` of a file has in this table"""
        for other, usual in self.other_names.items():
            if name.endswith(other):
                return name.removesuffix(other) + usual
        return name

    def is_other_name(self, name):
        return self.usual_name(name) != name

    def is_optional(self, name):
        return name in self.optional

    def is_head(self, name):
        return name.startswith(tuple(self.heads))

    def _rule_of(self, name):
        """-> (the first rule that matches the parameter `name`, the values of its stars)"""
        for rule in self.rules:
            for pattern in rule.ours:
                match = _match(pattern, name)
                if match:
                    return rule, match.groups()
        return Rule((name,), (name,)), ()


def mismatch(sizes, config, shapes):
    """Compare a configuration with the tensors of a file -> None, or (field, message)

    shapes: {tensor: shape}. Comparing only names and shapes takes no memory, even for a wrong
    configuration. A message reads "n_layer is 1000000, but {file} has 4 layers".
    """
    for size in sizes:
        if size.exists is not None and not size.exists(config):
            continue
        wanted, found = size.of(config), size.found(shapes)
        if not found:
            return size.field, f"{size.field} is {wanted}, but {{file}} has no {size.tensor}"
        for length, where in found:
            if length != wanted:
                return size.field, f"{size.field} is {shown(wanted)}, but {{file}} has {where}"
    return None


def _match(pattern, name):
    """-> the match of a pattern with stars and a full name, or None"""
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
    """-> the length of each of the rule's tensors along its axis; they add up to `length`"""
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
