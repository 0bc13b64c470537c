"""Checkpoints: what is read is what was written, or an error."""

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from small_runs import write_with_sums

from minillm.training import checkpoint as module
from minillm.training.checkpoint import (
    FILES,
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    restore_newest_checkpoint,
    save_checkpoint,
)

arrays = st.dictionaries(
    st.text("abc.0", min_size=1, max_size=8),
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4)),
    max_size=3,
)
numbers = st.one_of(st.none(), st.integers(0, 2**128), st.floats(allow_nan=False), st.text())
states = st.dictionaries(st.text("xyz", min_size=1), numbers, max_size=4)


def example(step=1):
    weights = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
    return Checkpoint(step, weights, {"m.0": weights["w"] + 1}, {"best_valid_loss": 0.1})


def assert_same_arrays(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name])


@given(arrays, arrays, states, st.integers(0, 10**8))
def test_what_is_read_is_what_was_written(tmp_path_factory, model, optimizer, state, step):
    folder = tmp_path_factory.mktemp("checkpoints")
    path = save_checkpoint(folder, Checkpoint(step, model, optimizer, state))
    read = load_checkpoint(path)
    assert read.step == step and read.state == state
    assert_same_arrays(read.model, model)
    assert_same_arrays(read.optimizer, optimizer)


@given(st.sampled_from(FILES), st.data())
def test_every_change_of_a_byte_is_found(tmp_path_factory, name, data):
    path = save_checkpoint(tmp_path_factory.mktemp("checkpoints"), example())
    content = bytearray((path / name).read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    (path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", [*FILES, "SHA256SUMS"])
def test_a_missing_file_is_found(tmp_path, name):
    older = save_checkpoint(tmp_path, example(9))
    newest = save_checkpoint(tmp_path, example(10))
    (newest / name).unlink()
    restored = []
    problems = restore_newest_checkpoint(tmp_path, restored.append)
    assert restored[0].step == 9 and older.is_dir()
    assert problems == [f"{newest / name} is missing"]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_ones_are_kept_in_the_order_of_numbers(tmp_path, keep):
    steps = [5, 50, 999_999, 1_000_000, 12_000_000]  # the last two are longer than six digits
    for step in steps:
        save_checkpoint(tmp_path, example(step), keep)
    assert [load_checkpoint(path).step for path in list_checkpoints(tmp_path)] == steps[-keep:]


def test_a_full_disk_leaves_the_older_checkpoint_and_no_rubbish(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, example(1), keep=1)
    written = []

    def fills_up(path, data):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path.write_bytes(data))

    monkeypatch.setattr(module, "_write_through", fills_up)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, example(2), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert load_checkpoint(tmp_path / "step-000001").step == 1


def test_nothing_to_go_on_from(tmp_path):
    (tmp_path / ".step-000001.abcd1234.minillm-partial").mkdir()
    (tmp_path / "step-x").mkdir()
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="no checkpoint"):
            restore_newest_checkpoint(folder, None)


@pytest.mark.parametrize("name, content", [
    ("state.json", b"{}"), ("state.json", b"[1]"), ("state.json", b'{"step": "2"}'),
    ("state.json", b"[" * 1000), ("state.json", b"\xff"), ("model.safetensors", b""),
    ("model.safetensors", b"\xff" * 64), ("optimizer.safetensors", b"nonsense"),
])
def test_any_damage_leads_to_the_older_one(tmp_path, name, content):
    save_checkpoint(tmp_path, example(9))
    newest = save_checkpoint(tmp_path, example(10))
    write_with_sums(newest, name, content)
    restored = []
    (problem,) = restore_newest_checkpoint(tmp_path, restored.append)
    assert [checkpoint.step for checkpoint in restored] == [9]
    assert str(newest / name) in problem and "\n" not in problem


def test_what_does_not_fit_or_cannot_be_read_leads_to_the_older_one(tmp_path):
    for step in (8, 9, 10):
        save_checkpoint(tmp_path, example(step))
    (tmp_path / "step-000010" / "state.json").unlink()
    (tmp_path / "step-000010" / "state.json").mkdir()
    restored = []

    def restore(checkpoint):
        if checkpoint.step == 9:
            raise ValueError("w has another shape")
        restored.append(checkpoint.step)

    first, second = restore_newest_checkpoint(tmp_path, restore)
    assert first == f"{tmp_path}/step-000010/state.json: Is a directory"
    assert second == f"{tmp_path}/step-000009: w has another shape"
    assert restored == [8]


def test_keep_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="keep is 0"):
        save_checkpoint(tmp_path, example(), keep=0)
