"""The safetensors format, compared with its own library, and damaged files."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.models.safetensors_file import (
    SafetensorsFile,
    WeightFiles,
    read_safetensors,
    write_safetensors,
)

TINY = Path(__file__).parents[1] / "fixtures" / "gpt2_tiny"

arrays_to_store = st.dictionaries(
    st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__"),
    st.tuples(st.lists(st.integers(0, 4), max_size=3), st.integers(0, 2**32 - 1)),
    max_size=5,
)


@given(arrays_to_store)
def test_the_library_safetensors_reads_what_we_write_and_we_what_it_writes(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("safetensors") / "x.safetensors"
    arrays = {name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
              for name, (shape, seed) in made.items()}
    write_safetensors(path, arrays)
    assert_same_arrays(safetensors.numpy.load_file(path), arrays)
    assert_same_arrays(read_safetensors(path), arrays)
    safetensors.numpy.save_file(arrays, path)
    assert_same_arrays(read_safetensors(path), arrays)


def assert_same_arrays(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].shape == array.shape
        np.testing.assert_array_equal(actual[name], array)


def test_strided_and_float64_arrays_are_written_row_after_row(tmp_path):
    array = np.arange(12.0).reshape(3, 4)
    write_safetensors(tmp_path / "x", {"a": array.T, "b": array[:, ::2]}, "float16")
    read = read_safetensors(tmp_path / "x")
    np.testing.assert_array_equal(read["a"], array.T)
    np.testing.assert_array_equal(read["b"], array[:, ::2])


# ---- dtypes


def write_raw(path, entries, data, pad=b""):
    """A file with any header and any bytes."""
    text = json.dumps(entries).encode() + pad
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def one_tensor(path, dtype, shape, data):
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}
    return write_raw(path, {"w": entry}, data)


@pytest.mark.parametrize("dtype, torch_name", [
    ("BF16", "bfloat16"), ("F16", "float16"), ("F64", "float64"), ("F8_E4M3", "float8_e4m3fn"),
    ("F8_E5M2", "float8_e5m2"),
])
def test_every_float_as_torch_reads_it(tmp_path, dtype, torch_name):
    torch = pytest.importorskip("torch")
    bits = np.arange(256, dtype=np.uint8) if "8_" in dtype else np.arange(65536, dtype=np.uint16)
    tensor = torch.from_numpy(bits)
    if dtype == "F64":
        tensor = torch.from_numpy(np.random.default_rng(0).standard_normal(999))
    else:
        tensor = tensor.view(getattr(torch, torch_name))
    import safetensors.torch

    safetensors.torch.save_file({"w": tensor}, tmp_path / "w.safetensors")
    read = read_safetensors(tmp_path / "w.safetensors")["w"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, tensor.float().numpy())


def test_float8_by_hand(tmp_path):
    path = one_tensor(tmp_path / "x", "F8_E4M3", [5], bytes([0x38, 0xB8, 0x01, 0x7E, 0x7F]))
    np.testing.assert_array_equal(
        read_safetensors(path)["w"], np.float32([1, -1, 2**-9, 448, np.nan]))
    path = one_tensor(tmp_path / "x", "F8_E5M2", [4], bytes([0x3C, 0x01, 0x7B, 0xFC]))
    np.testing.assert_array_equal(
        read_safetensors(path)["w"], np.float32([1, 2**-16, 57344, -np.inf]))


def test_dtypes_that_cannot_be_read(tmp_path):
    path = one_tensor(tmp_path / "x", "F4", [2], b"\0")
    assert SafetensorsFile(path).tensors["w"].shape == (2,)  # the model may not need this tensor
    with pytest.raises(ValueError, match="x: 'w' has dtype F4, wanted one of F64, F32"):
        read_safetensors(path)
    path = one_tensor(tmp_path / "x", "F64", [1], np.array([1e300]).tobytes())
    with pytest.raises(ValueError, match="'w' holds numbers over 3.4e38"):
        read_safetensors(path)


# ---- damage


@given(st.data())
@settings(max_examples=40)
def test_a_file_that_is_cut_off_anywhere_is_an_error_of_one_line(tmp_path_factory, data):
    whole = (TINY / "model.safetensors").read_bytes()
    path = tmp_path_factory.mktemp("cut") / "model.safetensors"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match="cut off|damaged") as caught:
        read_safetensors(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@given(st.data())
@settings(max_examples=100)
def test_a_damaged_header_never_gives_anything_but_arrays_or_an_error(tmp_path_factory, data):
    content = bytearray((TINY / "model.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 2000))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "model.safetensors"
    path.write_bytes(content)
    try:
        arrays = read_safetensors(path)
    except ValueError as error:
        assert str(error).isprintable() and len(str(error)) < 300 + len(str(path))
    else:
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


@pytest.mark.parametrize("entry, match", [
    (3, r"header\['w'\] is 3, wanted an object"),
    ({}, r"has no field header\['w'\].dtype"),
    ({"dtype": 32}, r"has no field header\['w'\].shape"),
    ({"dtype": 32, "shape": [2], "data_offsets": [0, 8]}, "dtype is 32, wanted a string"),
    ({"dtype": "F32", "shape": [True], "data_offsets": [0, 8]}, r"shape\[0\] is True"),
    ({"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}, r"has shape \[-2\]"),
    ({"dtype": "F32", "shape": [0, 10**30], "data_offsets": [0, 0]}, r"has shape \[0, 1000"),
    ({"dtype": "F32", "shape": [1] * 40, "data_offsets": [0, 4]}, "wanted at most 32 sizes"),
    ({"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}, "has data_offsets"),
    ({"dtype": "F32", "shape": [2], "data_offsets": [0]}, "has data_offsets"),
    ({"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}, r"has 8 bytes, wanted shape \(3,\)"),
    ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "holes or overlaps"),
    ({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "has .* bytes, wanted"),
    ({"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}, "is cut off"),
])
def test_headers_that_lie(tmp_path, entry, match):
    path = write_raw(tmp_path / "x", {"w": entry}, b"\0" * 8)
    with pytest.raises(ValueError, match=match) as caught:
        read_safetensors(path)
    assert "\n" not in str(caught.value)


def test_other_damage(tmp_path):
    overlap = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    with pytest.raises(ValueError, match="holes or overlaps"):
        read_safetensors(write_raw(tmp_path / "x", {"a": overlap, "b": overlap}, b"\0" * 4))
    (tmp_path / "x").write_bytes((1000).to_bytes(8, "little") + b'{"a": ' + b"[" * 994)
    with pytest.raises(ValueError, match="its header is nested more than 64 deep"):
        read_safetensors(tmp_path / "x")
    (tmp_path / "x").write_bytes((2**60).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="cut off, or not a safetensors file"):
        read_safetensors(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match="doesn't exist"):
        read_safetensors(tmp_path / "y")
    with pytest.raises(ValueError, match="not a regular file"):
        read_safetensors(tmp_path)


# ---- parts


@pytest.fixture
def parts(tmp_path):
    """A checkpoint of two parts with an index, and the arrays in it."""
    arrays = {"a": np.float32([1, 2]), "b": np.float32([3]), "c": np.float32([4])}
    write_safetensors(tmp_path / "1.safetensors", {name: arrays[name] for name in "ab"})
    write_safetensors(tmp_path / "2.safetensors", {"c": arrays["c"]})
    write_index(tmp_path, {"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"})
    return tmp_path, arrays


def write_index(folder, weight_map):
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 16}, "weight_map": weight_map}))


def test_parts_are_one_checkpoint(parts):
    folder, arrays = parts
    files = WeightFiles(folder)
    assert_same_arrays({name: files.read(name) for name in files.tensors}, arrays)


@pytest.mark.parametrize("weight_map, error, match", [
    ("1.safetensors", ValueError, "index.json: weight_map is '1.safetensors', wanted an object"),
    ({"a": 1}, ValueError, r"index.json: weight_map\['a'\] is 1, wanted a string"),
    ({"a": "3.safetensors"}, FileNotFoundError, "lacks '3.safetensors', which model.safetenso"),
    ({"a": "../1.safetensors"}, FileNotFoundError, "lacks '../1.safetensors'"),
    ({"a": "1.safetensors"}, ValueError, r"weight_map\['b'\] is None, but the tensor is in 1."),
    ({"a": "1.safetensors", "b": "1.safetensors", "c": "1.safetensors"}, ValueError,
     r"weight_map\['c'\] is '1.safetensors', which has no such tensor"),
])
def test_an_index_that_lies(parts, weight_map, error, match):
    folder, _ = parts
    write_index(folder, weight_map)
    with pytest.raises(error, match=match):
        WeightFiles(folder)


def test_variants(parts):
    folder, _ = parts
    write_safetensors(folder / "model.fp16.safetensors", {"x": np.float32([1])}, "float16")
    assert list(WeightFiles(folder, "fp16").tensors) == ["x"]
    with pytest.raises(FileNotFoundError, match="has no model.fp8.safetensors"):
        WeightFiles(folder, "fp8")
