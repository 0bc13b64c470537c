"""Weights in files: the safetensors format.

    8 bytes     N, the length of the header, little-endian
    N bytes     JSON: {name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
    the rest    the numbers, row after row, at these offsets

Unlike a pickle, it contains no code, so you can open a file without trusting its author. The header
comes first: wrong names, dtypes and shapes are found before any number is read.
(https://github.com/huggingface/safetensors)
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minillm.checks import shown
from minillm.files import atomic_write
from minillm.json_files import fields, parse_json, read_json
from minillm.ops.quantized import from_bfloat16

MAX_HEADER = 100_000_000  # bytes; the limit of the format's own library
# dtype in the file -> NumPy's dtype. Floats that NumPy lacks are read as their bits.
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1"}
OTHERS = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4",
          "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8"}
WRITTEN_AS = {np.dtype("f4"): "F32", np.dtype("f2"): "F16"}


class Tensor(NamedTuple):
    """An entry of the header."""

    dtype: str
    shape: tuple
    begin: int  # in bytes, from the start of the file
    end: int


class SafetensorsFile:
    """An open safetensors file: `tensors`, {name: Tensor}, and `read(name)`.

    Raises FileNotFoundError, and ValueError, in one line, for a file that is cut off, damaged, or
    not a safetensors file.
    """

    def __init__(self, path):
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(f"{path} doesn't exist")
        if not self.path.is_file():
            raise ValueError(f"{path} is not a regular file")
        self.tensors = self._read_header()

    def read(self, name):
        """-> array: floating-point tensors as float32, others in their own dtype

        Raises ValueError for numbers that float32 can't hold, and for unknown dtypes.
        """
        dtype, shape, begin, end = self.tensors[name]
        kind = (FLOATS | OTHERS).get(dtype)
        if kind is None:
            raise ValueError(f"{self.path}: {shown(name)} has dtype {dtype}, wanted one of "
                             f"{', '.join(FLOATS)}")
        with open(self.path, "rb") as file:
            file.seek(begin)
            array = np.empty(shape, kind)
            n_bytes = file.readinto(array.reshape(-1).view(np.uint8)) if array.size else 0
        if n_bytes != end - begin:
            raise ValueError(f"{self.path} was cut off while it was read")
        return _to_float32(array, dtype, f"{self.path}: {shown(name)}")

    def _read_header(self):
        size = self.path.stat().st_size
        with open(self.path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8 or length > MAX_HEADER:
                raise ValueError(f"{self.path} is cut off, or not a safetensors file")
            header = parse_json(f"{self.path} is damaged: its header", file.read(length))
        header.pop("__metadata__", None)
        tensors = {name: self._tensor(name, entry, 8 + length) for name, entry in header.items()}
        self._require_every_byte(tensors, 8 + length, size)
        return tensors

    def _tensor(self, name, entry, start):
        """-> Tensor for one entry of the header, whose offsets are relative to `start`"""
        wanted = {"dtype": str, "shape": list[int], "data_offsets": list[int]}
        fields(self.path, entry, wanted, wanted, where=f"header[{shown(name)}]")
        dtype, shape, offsets = (entry[field] for field in wanted)
        if len(shape) > 32 or not all(0 <= length < 2**48 for length in shape):
            raise ValueError(f"{self.path}: {shown(name)} has shape {shown(shape)}, wanted at most "
                             "32 sizes from 0 to 2^48")
        if len(offsets) != 2 or not 0 <= offsets[0] <= offsets[1]:
            raise ValueError(f"{self.path}: {shown(name)} has data_offsets {shown(offsets)}, "
                             "wanted its first byte and the one after its last")
        n_bytes = offsets[1] - offsets[0]
        kind = (FLOATS | OTHERS).get(dtype)
        if kind and n_bytes != math.prod(shape) * np.dtype(kind).itemsize:
            raise ValueError(f"{self.path}: {shown(name)} has {n_bytes} bytes, wanted shape "
                             f"{shown(tuple(shape))} of {dtype}")
        return Tensor(shown(dtype)[1:-1], tuple(shape), start + offsets[0], start + offsets[1])

    def _require_every_byte(self, tensors, start, size):
        """Require each byte after the header to belong to exactly one tensor."""
        for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.begin, tensor.end)):
            if tensor.begin != start:
                raise ValueError(f"{self.path} is damaged: its data has holes or overlaps")
            start = tensor.end
        if start != size:
            fault = "cut off" if start > size else "damaged"
            raise ValueError(f"{self.path} is {fault}: it has {size:,} bytes, wanted {start:,}")


class WeightFiles:
    """The weights in a checkpoint's folder: one safetensors file, or the parts listed in an index.

    path: model.safetensors or model.safetensors.index.json, for messages
    tensors: {name: Tensor}, of all parts; `read(name)` as in SafetensorsFile

    Raises FileNotFoundError if there are no weights, ValueError if there is only a pickle, or if
    the parts contradict their index.
    """

    def __init__(self, folder, variant=None):
        folder, stem = Path(folder), "model" + (f".{variant}" if variant else "")
        whole = folder / f"{stem}.safetensors"
        index = folder / f"model.safetensors.index{f'.{variant}' if variant else ''}.json"
        if whole.is_file():
            self.path, files = whole, [SafetensorsFile(whole)]
        elif index.is_file():
            self.path, files = index, _read_parts(index)
        else:
            raise _no_weights(folder, whole)
        self._file_of = {name: file for file in files for name in file.tensors}
        self.tensors = {name: file.tensors[name] for name, file in self._file_of.items()}

    def read(self, name):
        return self._file_of[name].read(name)


def _read_parts(index):
    """-> the SafetensorsFiles of a model.safetensors.index.json, which maps tensors to files"""
    content = fields(index, read_json(index), {"weight_map": dict[str, str]}, ["weight_map"])
    places, files = content["weight_map"], {}
    for part in sorted(set(places.values())):
        if Path(part).name != part or not _is_file(index.parent / part):
            raise FileNotFoundError(f"{index.parent} lacks {shown(part)}, which {index.name} lists")
        files[part] = SafetensorsFile(index.parent / part)
        for name in files[part].tensors:
            if places.get(name) != part:
                raise ValueError(f"{index}: weight_map[{shown(name)}] is "
                                 f"{shown(places.get(name))}, but the tensor is in {part}")
    for name, part in places.items():
        if name not in files[part].tensors:
            raise ValueError(f"{index}: weight_map[{shown(name)}] is {shown(part)}, which has no "
                             "such tensor")
    return list(files.values())


def _is_file(path):
    try:
        return path.is_file()
    except OSError:  # the name is longer than the system allows
        return False


def _no_weights(folder, whole):
    """-> the error for a folder without a safetensors file"""
    pickles = sorted(folder.glob("pytorch_model*.bin"))
    if not pickles:
        return FileNotFoundError(f"{folder} has no {whole.name}")
    convert = (f"safetensors.torch.save_file({{name: tensor.clone() for name, tensor in torch.load("
               f"{str(pickles[0])!r}, weights_only=True).items()}}, {str(whole)!r})")
    return ValueError(f"{folder} has its weights only as {pickles[0].name}, a pickle, which can "
                      f"run any code when you open it; convert it once: {convert}")


def read_safetensors(path):
    """-> {name: array}: floating-point tensors as float32, whatever dtype the file has

    Raises the errors of SafetensorsFile.
    """
    file = SafetensorsFile(path)
    return {name: file.read(name) for name in file.tensors}


def write_safetensors(path, arrays, dtype="float32"):
    """Write {name: array} as "float32" or "float16", atomically. `transformers` can read the file.

    Raises ValueError for another dtype, and for a finite number that float16 can't hold.
    """
    dtype = np.dtype(dtype)
    if dtype not in WRITTEN_AS:
        raise ValueError(f"dtype is {dtype}, wanted float32 or float16")
    header, end = {"__metadata__": {"format": "pt"}}, 0  # `transformers` requires "pt"
    for name, array in arrays.items():
        begin, end = end, end + array.size * dtype.itemsize
        header[name] = {"dtype": WRITTEN_AS[dtype], "shape": array.shape,
                        "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # align the numbers to 8 bytes
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, array in arrays.items():
            file.write(_converted(name, array, dtype).data)


def _to_float32(array, dtype, name):
    """Convert any floating-point dtype to float32; return other arrays unchanged."""
    if dtype == "BF16":
        return from_bfloat16(array)
    if dtype == "F8_E4M3":
        return _float8_e4m3()[array]
    if dtype == "F8_E5M2":  # the upper half of a float16
        return (array.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    if dtype not in FLOATS:
        return array
    with np.errstate(over="ignore"):
        converted = array.astype(np.float32, copy=False)
    if dtype == "F64" and np.isinf(converted).sum() > np.isinf(array).sum():
        raise ValueError(f"{name} holds numbers over 3.4e38, which float32 can't")
    return converted


def _float8_e4m3():
    """-> float32 (256,): the value of each byte as a float8 with 4 exponent and 3 mantissa bits

    (-1)^s 2^(e - 7) (1 + m / 8), and for e = 0 the subnormal (-1)^s 2^-6 m / 8. There is no
    infinity; e = 15 with m = 7 is NaN. (Micikevicius et al. 2022, "FP8 Formats for Deep Learning")
    """
    byte = np.arange(256)
    sign, exponent, mantissa = byte >> 7, (byte >> 3) & 15, byte & 7
    fraction = np.where(exponent == 0, mantissa / 8, 1 + mantissa / 8)
    value = (-1.0) ** sign * 2.0 ** (np.maximum(exponent, 1) - 7) * fraction
    value[(exponent == 15) & (mantissa == 7)] = np.nan
    return value.astype(np.float32)


def _converted(name, array, dtype):
    with np.errstate(over="ignore"):
        converted = np.asarray(array, dtype.newbyteorder("<"), order="C")
    if dtype == np.float16 and np.isinf(converted).sum() > np.isinf(array).sum():
        raise ValueError(f"{name} holds numbers over 65504, which float16 can't: save as float32")
    return converted
