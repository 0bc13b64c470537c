"""Reading JSON files from others: every error is one line that names the file.

`read_json` turns a file into a dict, or refuses it (too large, nested too deep, not JSON). `fields`
checks the types of all fields that the caller uses, in one place; after that the caller can trust
the values. `write_json` writes a file; `plain` turns results, such as arrays, into what it takes.

    content = read_json(folder / "config.json")
    fields(path, content, {"n_layer": int, "n_inner": int | None, "architectures": list[str]})
"""

import json
import sys
import types
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

from minillm.checks import shown
from minillm.files import atomic_write

MAX_BYTES = 128 * 2**20  # four times the largest tokenizer.json in use
MAX_DEPTH = 64  # deeper than any real file, and far below Python's recursion limit
KINDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false",
         list: "a list", dict: "an object", type(None): "null"}


def read_json(path, max_bytes=MAX_BYTES):
    """-> the dict in the JSON file `path`

    Raises FileNotFoundError if it doesn't exist, and ValueError if it isn't a regular file, is
    larger than `max_bytes`, or isn't one JSON object (see `parse_json`).
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} doesn't exist")
    if not path.is_file():  # reading a FIFO or a device may never end
        raise ValueError(f"{path} is not a regular file")
    size = path.stat().st_size
    if size > max_bytes:
        raise ValueError(f"{path} has {size:,} bytes, wanted at most {max_bytes:,}")
    return parse_json(path, path.read_bytes())


def parse_json(where, text):
    """-> the dict in `text` (str, or bytes of UTF-8)

    where: the name of the text, with which error messages start

    A byte-order mark is dropped. NaN and Infinity parse, as in Python; `fields` then refuses them
    for every kind of field. Raises ValueError for invalid UTF-8 or JSON, a repeated name in an
    object, nesting deeper than MAX_DEPTH, and anything but an object at the top level.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        content = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_without_duplicates)
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{where} is nested more than {MAX_DEPTH} deep") from None
    except _Duplicate as error:
        raise ValueError(f"{where}: {shown(error.args[0])} appears twice in one object") from None
    except ValueError:  # int() refuses more than 4,300 digits
        raise ValueError(f"{where} holds an integer of thousands of digits") from None
    if not isinstance(content, dict):
        raise ValueError(f"{where} holds {_kind_of(content)}, wanted a JSON object")
    _require_depth(where, content)
    return content


def write_json(path, content, *, private=False, **options):
    """Write `content` as indented JSON, atomically. `options` are those of `json.dumps`.

    private: only the user may read and write the file
    """
    text = json.dumps(content, **{"indent": 2, **options})
    with atomic_write(path, "w", private=private) as file:
        file.write(text + "\n")


def plain(value):
    """-> the value in JSON's terms: what a function returns, ready for `write_json`

    Arrays become lists, NamedTuples and dataclasses objects, names that aren't strings strings
    ((0, 3) becomes "0.3"), NaN and infinity null.
    """
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclass_fields(value)}
    if isinstance(value, dict):
        return {_name(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())  # an array, or a number of NumPy's
    if isinstance(value, float):
        return value if abs(value) <= sys.float_info.max else None
    if value is None or isinstance(value, (str, int)):
        return value
    raise TypeError(f"{shown(value)} has no form in JSON")


def _name(name):
    return ".".join(map(str, name)) if isinstance(name, tuple) else str(name)


def fields(path, content, wanted, required=(), where=""):
    """Check the fields of a foreign object -> {name: value} of those in `wanted` that exist

    wanted: {name: kind}. A kind is str, int, float (finite; integers are accepted), bool, list,
        dict, None, a union (int | None), list[kind], dict[str, kind] or Literal["a", "b"]
    required: names that must exist
    where: the place of `content` in its file, such as "model" or "added_tokens[3]"

    Raises ValueError for the first wrong field: "PATH: n_layer is 'two', wanted an integer".
    """
    if not isinstance(content, dict):
        place = f"{path}: {where}" if where else str(path)
        raise ValueError(f"{place} is {shown(content)}, wanted an object")
    begin = f"{where}." if where else ""
    for name in required:
        if name not in content:
            raise ValueError(f"{path} has no field {begin}{name}")
    found = {name: content[name] for name in wanted if name in content}
    for name, value in found.items():
        wrong = _mismatch(value, wanted[name], begin + name)
        if wrong:
            raise ValueError(f"{path}: {wrong}")
    return found


def _mismatch(value, kind, name):
    """-> None if `value` is of `kind`, else "NAME is VALUE, wanted KIND" for the wrong part"""
    origin = get_origin(kind)
    if origin in (list, dict) and isinstance(value, origin):
        item = get_args(kind)[-1]
        parts = value.values() if origin is dict else value
        if item in (int, str) and all(type(part) is item for part in parts):
            return None  # the usual case, a vocabulary or a shape, without a name for each part
        names = map(shown, value) if origin is dict else range(len(value))
        wrong = (_mismatch(part, item, f"{name}[{key}]") for key, part in zip(names, parts))
        return next(filter(None, wrong), None)
    if origin in (Union, types.UnionType):
        if type(value) in (int, str, bool) and type(value) in get_args(kind):
            return None  # the usual case, without a line about the other kinds
        wrong = [_mismatch(value, option, name) for option in get_args(kind)]
        if None in wrong:
            return None
        # A list with a wrong item: name the item instead of refusing the list.
        inside = [line for line in wrong if not line.startswith(f"{name} is ")]
        return inside[0] if inside else f"{name} is {shown(value)}, wanted {_name_of(kind)}"
    return None if _is(value, kind) else f"{name} is {shown(value)}, wanted {_name_of(kind)}"


def _is(value, kind):
    """-> whether `value` is of a `kind` without parts. True is not an integer, NaN not a number."""
    if kind in (int, str, bool):
        return type(value) is kind
    if get_origin(kind) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(kind))
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if kind in (None, type(None)):
        return value is None
    return type(value) is (get_origin(kind) or kind)


def _name_of(kind):
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(_name_of, get_args(kind)))
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if kind is None:
        return "null"
    return KINDS[get_origin(kind) or kind]


def _kind_of(value):
    return KINDS[type(value)]


class _Duplicate(Exception):
    """A repeated name in one object."""


def _without_duplicates(pairs):
    """json calls this for each object. Refuse repeated names: readers differ in which they use."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = set()
        for name, _ in pairs:
            if name in names:
                raise _Duplicate(name)
            names.add(name)
    return content


def _require_depth(where, content):
    """ValueError if lists and objects in `content` are nested more than MAX_DEPTH deep."""
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [part for whole in level
                 for part in (whole.values() if isinstance(whole, dict) else whole)
                 if isinstance(part, (dict, list))]
        if not level:
            return
    raise ValueError(f"{where} is nested more than {MAX_DEPTH} deep")
