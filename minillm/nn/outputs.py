"""Outputs with names: the base class of the results of a forward or of `generate`."""

from dataclasses import fields


class ModelOutput:
    """The base class of the dataclasses that a forward returns: named results, read in three ways.

    As in `transformers`, output.logits, output["logits"] and output[0] are the same value. A result
    that is None is absent: it is no key, and indices skip it. Iteration yields the keys, as in a
    dict; `to_tuple()` returns the values.
    """

    def keys(self):
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    def values(self):
        return [getattr(self, name) for name in self.keys()]

    def items(self):
        return list(zip(self.keys(), self.values()))

    def get(self, key, default=None):
        return getattr(self, key) if key in self else default

    def to_tuple(self):
        return tuple(self.values())

    def __getitem__(self, key):
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key):
        return key in self.keys()

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())
