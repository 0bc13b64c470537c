"""Weights in files: the safetensors format, through its own library, with every doubt an error.

A safetensors file is a table of names, dtypes and shapes, and then the bare numbers. There is no
code in it, so unlike a pickle it can be opened without trusting whoever made it.
"""

from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from minillm.files import atomic_write
from minillm.kernels.stored_weights import from_bfloat16


def read_safetensors(path):
    """-> {name: array}: floating-point tensors as float32, whatever they are stored as

    Raises FileNotFoundError, and ValueError for a file that is cut off or no safetensors at all.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} doesn't exist")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            stored = {name: file.get_slice(name).get_dtype() for name in file.keys()}
            arrays = {
                name: _to_float32(file.get_tensor(name))
                for name in stored
                if stored[name] != "BF16"
            }
        if len(arrays) < len(stored):
            arrays |= _read_bfloat16(path)
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from None
    return {name: arrays[name] for name in stored}


def write_safetensors(path, arrays, dtype="float32"):
    """Write {name: array} as "float32" or "float16", atomically. `transformers` reads the file.

    Raises ValueError for another dtype, and for a finite number that float16 can't hold.
    """
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float16):
        raise ValueError(f"dtype is {dtype}, wanted float32 or float16")
    converted = {name: _converted(name, array, dtype) for name, array in arrays.items()}
    data = safetensors.numpy.save(converted, metadata={"format": "pt"})  # what transformers wants
    with atomic_write(path) as file:
        file.write(data)


def _read_bfloat16(path):
    """The bfloat16 tensors of a file, as float32.

    NumPy has no bfloat16: the tensors are read as 16-bit integers.
    """
    return {
        name: from_bfloat16(np.frombuffer(entry["data"], "<u2")).reshape(entry["shape"])
        for name, entry in safetensors.deserialize(path.read_bytes())
        if entry["dtype"] == "BF16"
    }


def _to_float32(array):
    is_float = np.issubdtype(array.dtype, np.floating)
    return array.astype(np.float32, copy=False) if is_float else array


def _converted(name, array, dtype):
    with np.errstate(over="ignore"):
        converted = np.asarray(array, dtype, order="C")
    if dtype == np.float16 and np.isinf(converted).sum() > np.isinf(array).sum():
        raise ValueError(f"{name} holds numbers over 65504, which float16 can't: save as float32")
    return converted
