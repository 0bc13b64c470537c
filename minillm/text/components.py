"""The parts of a tokenizer.json: objects {"type": "NFC", …}, read into dataclasses and back.

A component is a dataclass whose fields are those of the file, with the types that they must have
there. What the file says is either obeyed or refused: a type or a field without a dataclass here
raises ValueError with one line that names it. Components put together, {"type": "Sequence"}, hold
tuples of components.
"""

from dataclasses import MISSING
from dataclasses import fields as fields_of

from minillm.checks import shown
from minillm.json_files import fields


def read_component(path, content, where, kinds):
    """-> the component that `content`, from the file `path`, describes

    where: the place in the file, such as "normalizer" or "pre_tokenizer.pretokenizers[1]"
    kinds: {type: dataclass}; a dataclass with the attribute `parts` holds components of these
        kinds in the field of that name
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
    """-> the dict that tokenizer.json has for `component`; None for None."""
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
