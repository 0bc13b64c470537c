import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minillm.text.corpus import Document
from minillm.text.dataset import (
    HEADER,
    IGNORE,
    TokenDataset,
    random_batches,
    sequential_batches,
    write_documents,
    write_tokens,
)

tmp = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def dataset(tmp_path):
    """The ids 0 … 999."""
    write_tokens(tmp_path / "tokens.bin", np.arange(1000), 1000)
    return TokenDataset(tmp_path / "tokens.bin")


# ---- the file

@tmp
@given(st.lists(st.integers(0, 2**17)), st.sampled_from([2**17 + 1, 2**32]))
def test_what_is_written_is_read(tmp_path, ids, vocab_size):
    path = tmp_path / "tokens.bin"
    for ids, size, dtype in ((ids, vocab_size, "u4"), ([id % 50257 for id in ids], 50257, "u2")):
        write_tokens(path, ids, size, n_bytes=7)
        dataset = TokenDataset(path)
        assert dataset.ids.tolist() == ids and dataset.ids.dtype == np.dtype(dtype)
        assert (len(dataset), dataset.vocab_size, dataset.n_bytes) == (len(ids), size, 7)
        assert path.stat().st_size == HEADER.size + len(ids) * dataset.ids.itemsize


@pytest.mark.parametrize("size, dtype", [(2**16, "u2"), (2**16 + 1, "u4")])
def test_two_bytes_are_enough_for_65536_tokens(tmp_path, size, dtype):
    write_tokens(tmp_path / "t", [0, size - 1], size)
    dataset = TokenDataset(tmp_path / "t")
    assert dataset.ids.dtype == np.dtype(dtype) and dataset.ids.tolist() == [0, size - 1]
    with pytest.raises(ValueError):
        dataset.ids[0] = 1  # read-only


def test_documents_are_ended_by_end_of_text(tmp_path, tokenizer):
    texts = ["one", "", "zwei ö", "<|endoftext|>"]
    write_documents(tmp_path / "t", [Document("", text) for text in texts], tokenizer)
    dataset = TokenDataset(tmp_path / "t")
    assert tokenizer.decode(dataset.ids) == "".join(text + "<|endoftext|>" for text in texts)
    assert dataset.vocab_size == len(tokenizer)
    assert dataset.n_bytes == sum(len(text.encode()) for text in texts)
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="eos_token"):
        write_documents(tmp_path / "t", [], tokenizer)


@pytest.mark.parametrize("ids, vocab_size, error", [
    ([0, 10], 10, ValueError), ([-1], 10, ValueError), ([0.5], 10, TypeError),
    ([[1, 2]], 10, ValueError), ([1], 0, ValueError), ([1], 2**32 + 1, ValueError),
])
def test_what_is_not_ids_is_not_written(tmp_path, ids, vocab_size, error):
    write_tokens(tmp_path / "t", [1, 2], 3)
    before = (tmp_path / "t").read_bytes()
    with pytest.raises(error):
        write_tokens(tmp_path / "t", ids, vocab_size)
    assert (tmp_path / "t").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_a_damaged_file_is_an_error(tmp_path):
    path = tmp_path / "t"
    write_tokens(path, [1, 2, 3], 70_000)
    whole = path.read_bytes()
    TokenDataset(path)
    damages = {
        "not a token file": [b"", whole[:20], b"x" * 100, b"\n" + whole[1:]],
        "cut short": [whole[:HEADER.size], whole[:-1]],
        "header is corrupt": [whole[:8] + b"\x03" + whole[9:], whole[:16] + bytes(8) + whole[24:]],
        "corrupt": [whole + b"\x00", whole[:-1] + b"\xff"],
    }
    for message, contents in damages.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(ValueError, match=message) as caught:
                TokenDataset(path)
            assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        TokenDataset(tmp_path / "nowhere")


# ---- batches

@tmp
@given(st.integers(2, 300), st.integers(1, 7), st.integers(1, 40), st.booleans())
def test_one_pass_has_every_token_as_a_target_once(tmp_path, n, batch_size, block_size, repeat):
    write_tokens(tmp_path / "t", np.arange(n), 300)
    dataset = TokenDataset(tmp_path / "t")
    if n < block_size + 1:
        with pytest.raises(ValueError, match=f"has {n} tokens.*{block_size + 1}"):
            sequential_batches(dataset, batch_size, block_size)
        return
    batches = sequential_batches(dataset, batch_size, block_size, repeat=repeat)
    one_pass = [next(batches) for _ in range(len(batches))]
    real = []
    for inputs, targets in one_pass:
        assert inputs.dtype == targets.dtype == np.int64
        assert inputs.shape == targets.shape and inputs.shape[1] == block_size
        assert 1 <= len(inputs) <= batch_size
        assert (targets - inputs)[targets != IGNORE].tolist() == [1] * (targets != IGNORE).sum()
        real += targets[targets != IGNORE].tolist()
    assert real == list(range(1, n))
    if repeat:
        np.testing.assert_equal(next(batches), one_pass[0])
    else:
        with pytest.raises(StopIteration):
            next(batches)


@tmp
@given(st.integers(1, 5), st.integers(1, 999), st.integers(0, 2**32))
def test_random_batches_are_windows_of_the_file(dataset, batch_size, block_size, seed):
    inputs, targets = next(random_batches(dataset, batch_size, block_size, seed))
    assert inputs.shape == targets.shape == (batch_size, block_size)
    assert inputs.dtype == targets.dtype == np.int64
    assert (inputs == inputs[:, :1] + np.arange(block_size)).all()  # the ids are 0 … 999
    assert (targets == inputs + 1).all()


def test_random_batches_reach_the_first_and_the_last_token(tmp_path):
    write_tokens(tmp_path / "t", np.arange(10), 10)
    batches = random_batches(TokenDataset(tmp_path / "t"), 500, 4, np.random.default_rng(0))
    inputs, targets = next(batches)
    assert sorted(set(inputs[:, 0].tolist())) == [0, 1, 2, 3, 4, 5]
    assert targets.max() == 9


@tmp
@given(st.integers(0, 20), st.booleans())
def test_resumed_batches_are_those_that_would_have_come(dataset, before, random):
    def start(seed):
        if random:
            return random_batches(dataset, 3, 16, np.random.default_rng(seed))
        return sequential_batches(dataset, 3, 16, repeat=True)

    batches = start(1)
    for _ in range(before):
        next(batches)
    state = json.loads(json.dumps(batches.state_dict()))
    expected = [next(batches) for _ in range(30)]
    resumed = start(2)
    next(resumed)
    resumed.load_state_dict(state)
    np.testing.assert_equal([next(resumed) for _ in range(30)], expected)


def test_a_state_of_something_else_is_an_error(dataset):
    random, sequential = random_batches(dataset, 1, 8, 0), sequential_batches(dataset, 1, 8)
    for state in ({}, None, sequential.state_dict(), {"rng": {"bit_generator": "other"}}):
        with pytest.raises(ValueError, match="state"):
            random.load_state_dict(state)
    for state in ({}, None, random.state_dict(), {"position": 5000}, {"position": -1}):
        with pytest.raises(ValueError, match="state"):
            sequential.load_state_dict(state)


@pytest.mark.parametrize("batch_size, block_size, named", [
    (0, 8, "batch_size is 0"), (4, 0, "block_size is 0"), (4, 1000, "has 1000 tokens.*1001"),
])
def test_batches_that_cannot_be(dataset, batch_size, block_size, named):
    with pytest.raises(ValueError, match=named):
        random_batches(dataset, batch_size, block_size, 0)
    with pytest.raises(ValueError, match=named):
        sequential_batches(dataset, batch_size, block_size)


@pytest.mark.parametrize("vocab_size", [1000, 70_000])
def test_a_file_that_becomes_shorter_while_it_is_open_is_an_error(tmp_path, vocab_size):
    path = tmp_path / "t"
    write_tokens(path, np.arange(900), vocab_size)
    dataset = TokenDataset(path)
    batches = random_batches(dataset, 4, 300, 0), sequential_batches(dataset, 4, 30, repeat=True)
    for batch in batches:
        next(batch)
    os.truncate(path, HEADER.size + 7)
    for batch in batches:
        with pytest.raises(ValueError, match="t: cut short while it was in use: it ends at byte "):
            for _ in range(9):
                next(batch)
    assert dataset.read(0, 1).tolist() == [0]  # what is left can be read


def test_a_dataset_closes_its_file(tmp_path):
    write_tokens(tmp_path / "t", [1, 2], 3)
    open_files = len(os.listdir("/dev/fd"))
    datasets = [TokenDataset(tmp_path / "t") for _ in range(5)]
    assert len(os.listdir("/dev/fd")) == open_files + 5
    del datasets
    assert len(os.listdir("/dev/fd")) == open_files
