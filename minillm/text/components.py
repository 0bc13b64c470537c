"""The parts of a tokenizer.json: objects {"type": "NFC", …}, read into dataclasses and back.

A component is a dataclass whose fields have the names and types of those in the file (or another
name in their `metadata`). Everything in
the file is obeyed or refused: an unknown type or field raises ValueError with one line that names
it. A {"type": "Sequence"} holds a tuple of components.
"""

from dataclasses import MISSING
from dataclasses import fields as fields_of

from minillm.checks import shown
from minillm.json_files import fields


def read_component(path, content, where, kinds):
    """-> the component that `content`, from the file `path`, describes

    where: the place in the file, such as "normalizer" or "pre_tokenizer.pretokenizers[1]"
    kinds: {type: dataclass}; the attribute `parts` of a dataclass names a field that holds
        components of these kinds
    """
    kind = fields(path, content, {"type": str}, ("type",), where)["type"]
    if kind not in kinds:
        known = ", ".join(sorted(kinds))
        raise ValueError(f"{path}: {where} is of type {shown(kind)}, which minillm does not have; "
                         f"it has {known}")
    cls = kinds[kind]
    own = {_name(field): field for field in fields_of(cls) if field.init}
    wanted = {name: field.type for name, field in own.items()}
    required = [name for name, field in own.items() if field.default is MISSING]
    values = fields(path, content, wanted, required, where)
    for name in content:
        if name != "type" and name not in wanted:
            raise ValueError(f"{path}: {where}.{shown(name)[1:-1]} is not known for {kind}")
    parts = getattr(cls, "parts", None)
    if parts:
        values[parts] = tuple(
            read_component(path, part, f"{where}.{parts}[{index}]", kinds)
            for index, part in enumerate(values[parts])
        )
    try:
        return cls(**{own[name].name: value for name, value in values.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {where}: {error}") from None


def component_to_json(component):
    """-> the dict for `component` in tokenizer.json; None for None, and for a type None."""
    kind = None if component is None else getattr(component, "type", type(component).__name__)
    if kind is None:
        return None
    content = {"type": kind}
    for field in fields_of(component):
        if not field.init:
            continue
        value = getattr(component, field.name)
        if field.name == getattr(component, "parts", None):
            value = [component_to_json(part) for part in value]
        content[_name(field)] = value
    return content


def _name(field):
    """-> the name of a dataclass's field in the file"""
    return field.metadata.get("name", field.name)
