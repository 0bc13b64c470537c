"""The file format of weights, safetensors: read and written, with every doubt an error.

    8 bytes        length n of the header, little-endian
    n bytes        JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …},
                   and perhaps "__metadata__": {text: text}
    the rest       the arrays, row by row, at these offsets

There is no code in it, so unlike a pickle it can be opened without trusting whoever made it. The
package `safetensors` reads the same files, but not bfloat16 into NumPy, which has no such type.
"""

import json
import math
from pathlib import Path

import numpy as np

from minillm.files import atomic_write

# bfloat16 is the upper half of a float32: read as 16-bit integers, it is widened by a shift.
STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
          "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
NAMES = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16"}
HEADER_LIMIT = 100_000_000  # bytes; larger ones are refused by the format's own library too


def read_safetensors(path):
    """-> {name: array}: floating-point tensors as float32, whatever they are stored as

    Raises FileNotFoundError, and ValueError for a file that is cut off or no safetensors at all.
    """
    path = Path(path)
    with open(path, "rb") as file:
        header, data_size = _read_header(path, file)
        start = file.tell()
        arrays = {}
        for name, entry in header.items():
            dtype, shape, offset = _checked_entry(path, name, entry, data_size)
            file.seek(start + offset)
            array = np.fromfile(file, dtype, count=math.prod(shape)).reshape(shape)
            arrays[name] = _to_float32(array, entry["dtype"])
    return arrays


def write_safetensors(path, arrays, dtype="float32"):
    """Write {name: array} as "float32" or "float16", atomically. `transformers` reads the file.

    Raises ValueError for another dtype, and for a finite number that float16 can't hold.
    """
    dtype = np.dtype(dtype)
    if dtype not in NAMES:
        raise ValueError(f"dtype is {dtype}, wanted float32 or float16")
    header, offset = {"__metadata__": {"format": "pt"}}, 0  # "pt" is what transformers looks for
    for name, array in arrays.items():
        size = array.size * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, array in arrays.items():
            file.write(_converted(name, array, dtype).data)


def _read_header(path, file):
    """-> the entries by name, and how many bytes of data follow the header"""
    file_size = path.stat().st_size
    length = int.from_bytes(file.read(8), "little")
    if file_size < 8 or length > min(file_size - 8, HEADER_LIMIT):
        raise ValueError(f"{path} is cut off or not a safetensors file: {file_size} bytes, but its "
                         f"header claims {length}")
    try:
        header = json.loads(file.read(length).decode("utf-8"))
    except ValueError:
        raise ValueError(f"{path} is damaged: its header is not JSON") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path} is damaged: its header is not a JSON object")
    header.pop("__metadata__", None)
    return header, file_size - 8 - length


def _checked_entry(path, name, entry, data_size):
    """-> dtype, shape and offset of a tensor, once they are known to make sense"""
    try:
        stored, shape = entry["dtype"], tuple(entry["shape"])
        start, end = entry["data_offsets"]
        integers = all(type(number) is int and number >= 0 for number in (*shape, start, end))
    except (TypeError, KeyError, ValueError):
        integers = False
    if not integers:
        raise ValueError(f"{path} is damaged: the entry of {name} in its header makes no sense")
    if stored not in STORED:
        raise ValueError(f"{path}: {name} is stored as {stored}, wanted one of {', '.join(STORED)}")
    dtype = np.dtype(STORED[stored])
    if end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{path} is damaged: {name} has {end - start} bytes for shape {shape} "
                         f"of {stored}")
    if end > data_size:
        raise ValueError(f"{path} is cut off: {name} ends at byte {end} of the data, of which "
                         f"there are {data_size}")
    return dtype, shape, start


def _to_float32(array, stored):
    if stored == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(np.float32, copy=False)
    return array


def _converted(name, array, dtype):
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype.newbyteorder("<"))
    if dtype == np.float16 and np.isinf(converted).sum() > np.isinf(array).sum():
        raise ValueError(f"{name} holds numbers over 65504, which float16 can't: save as float32")
    return converted
