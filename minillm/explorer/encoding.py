"""Answers as JSON. An array travels bit for bit, as its bytes: {"shape", "dtype", "data"}."""

import base64
import json
import math

import numpy as np

# The kinds of arrays that JavaScript has, by NumPy's names.
_TRAVELS = {"float32", "float64", "int32", "uint8", "uint16"}


def encode(value):
    """-> value with arrays as objects, tuples as lists, named tuples as objects, nan as None"""
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(name): encode(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(each) for each in value]
    return value


def _encode_array(x):
    if x.dtype.kind not in "fiub":
        return encode(x.tolist())
    x = _travelling(x)
    return {"shape": list(x.shape), "dtype": x.dtype.name,
            "data": base64.b64encode(x.tobytes()).decode("ascii")}


def _travelling(x):
    if x.dtype.name in _TRAVELS:
        return x.astype(x.dtype.newbyteorder("<"), copy=False)
    if x.dtype.kind == "b":
        return x.astype(np.uint8)
    if x.dtype.kind == "f":
        return x.astype(np.float32 if x.dtype.itemsize < 4 else np.float64)
    fits = not x.size or (x.min() >= -(2**31) and x.max() < 2**31)
    return x.astype(np.int32 if fits else np.float64)


def decode(value):
    """The inverse of `encode`, for programs that talk to the server: objects of arrays -> arrays"""
    if isinstance(value, dict):
        if value.keys() == {"shape", "dtype", "data"}:
            data = np.frombuffer(base64.b64decode(value["data"]), value["dtype"])
            return data.reshape(value["shape"])
        return {name: decode(each) for name, each in value.items()}
    return [decode(each) for each in value] if isinstance(value, list) else value


def to_json(value):
    """-> str, JSON in one line"""
    return json.dumps(encode(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
