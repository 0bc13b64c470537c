"""The parts of a tokenizer.json: objects {"type": "NFC", …}, read into dataclasses and back.

A component is a dataclass whose fields have the names and types of those in the file. Everything in
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
    wanted = {field.name: field.type for field in fields_of(cls) if field.init}
    required = [field.name for field in fields_of(cls) if field.init and field.default is MISSING]
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
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {where}: {error}") from None


def component_to_json(component):
    """-> the dict for `component` in tokenizer.json; None for None."""
    if component is None:
        return None
    content = {"type": getattr(component, "type", type(component).__name__)}
    for field in fields_of(component):
        if not field.init:
            continue
        value = getattr(component, field.name)
        if field.name == getattr(component, "parts", None):
            value = [component_to_json(part) for part in value]
        content[field.name] = value
    return content
