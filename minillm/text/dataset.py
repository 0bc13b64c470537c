"""Tokens on disk, and batches of them.

A token file is a header of 40 bytes and then the ids as uint16 (or uint32 for a vocabulary of more
than 65,536). Each batch reads its windows from the file, so a corpus may be larger than the memory;
the operating system caches what fits. Documents are joined by <|endoftext|>: a context may start in
one and end in the next, and the model learns where texts end.
"""

import os
import struct
import weakref
from pathlib import Path

import numpy as np

from minillm.checks import require_ids
from minillm.files import atomic_write, require_regular

# Little-endian: magic, bytes per id, size of the vocabulary, number of ids, bytes of text.
HEADER = struct.Struct("<8sQQQQ")
MAGIC = b"minillm1"
READ_AT_ONCE = 1 << 22  # ids per read, when checking all of them
IGNORE = -100  # the target that the cross-entropy ignores


def write_tokens(path, ids, vocab_size, *, n_bytes=0):
    """Write `ids` (T,), integers from 0 to vocab_size - 1, as a token file, atomically.

    n_bytes: the number of bytes of UTF-8 text that the ids encode, for bits per byte
    Raises TypeError for ids that aren't integers, ValueError for one out of range.
    """
    _write_chunks(path, [(ids, n_bytes)], vocab_size)


def write_documents(path, documents, tokenizer, separator="eos_token"):
    """Encode `documents` (with .text) and write them as a token file, `separator` after each.

    separator: the name of a special token: "eos_token", or BERT's "sep_token", which the
        tokenizer puts after a text anyway
    Holds one encoded document in memory. Raises ValueError if the tokenizer has no such token.
    """
    end = getattr(tokenizer, f"{separator}_id")
    if end is None:
        raise ValueError(f"the tokenizer has no {separator} to put between documents")
    options = {"add_special_tokens": False} if separator == "sep_token" else {}
    chunks = (
        ([*tokenizer.encode(document.text, **options), end],
         len(document.text.encode("utf-8", "surrogatepass")))
        for document in documents
    )
    _write_chunks(path, chunks, len(tokenizer))


def _write_chunks(path, chunks, vocab_size):
    if type(vocab_size) is not int or not 0 < vocab_size <= 1 << 32:
        raise ValueError(f"vocab_size is {vocab_size!r}, wanted an integer from 1 to 2**32")
    dtype = _dtype(vocab_size)
    n_ids = n_bytes = 0
    with atomic_write(path) as file:
        file.write(bytes(HEADER.size))
        for ids, size in chunks:
            ids = require_ids("ids", ids if len(ids) else np.zeros(0, dtype), vocab_size)
            if ids.ndim != 1:
                raise ValueError(f"ids has shape {ids.shape}, wanted (T,)")
            file.write(ids.astype(dtype).tobytes())
            n_ids += len(ids)
            n_bytes += size
        file.seek(0)
        file.write(HEADER.pack(MAGIC, dtype.itemsize, vocab_size, n_ids, n_bytes))


def _dtype(vocab_size):
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


class TokenDataset:
    """A token file, open for reading.

    vocab_size, n_bytes: from the header;  dtype: uint16 or uint32, as in the file
    len(dataset) is T; dataset.read(start, stop) and dataset.windows(starts, length) read from it.

    The file is read, not memory-mapped. If something truncates it, a short read raises an error;
    accessing a mapped page would kill the process without a message (SIGBUS).
    """

    def __init__(self, path):
        """Raises FileNotFoundError; ValueError if it isn't a token file, is cut short or corrupt"""
        self.path = Path(path)
        require_regular(path)
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        header = os.pread(self._file, HEADER.size, 0)
        if len(header) < HEADER.size or not header.startswith(MAGIC):
            raise ValueError(f"{path}: not a token file of minillm")
        _, itemsize, self.vocab_size, self._length, self.n_bytes = HEADER.unpack(header)
        if not 0 < self.vocab_size <= 1 << 32 or itemsize != _dtype(self.vocab_size).itemsize:
            raise ValueError(f"{path}: its header is corrupt")
        self.dtype = _dtype(self.vocab_size)
        size, wanted = os.fstat(self._file).st_size, HEADER.size + itemsize * len(self)
        if size != wanted:
            raise ValueError(f"{path}: {size} bytes long, but its header says {wanted}: "
                             f"{'cut short' if size < wanted else 'corrupt'}")
        for start in range(0, len(self), READ_AT_ONCE):
            largest = self.read(start, min(start + READ_AT_ONCE, len(self))).max()
            if largest >= self.vocab_size:
                raise ValueError(f"{path}: holds the id {largest}, but its vocabulary ends at "
                                 f"{self.vocab_size - 1}: corrupt")

    @property
    def ids(self):
        """All ids (T,), read from the file at each use."""
        return self.read(0, len(self))

    def read(self, start, stop):
        """-> ids start … stop - 1, where 0 <= start <= stop <= T, as a read-only array

        Raises ValueError if the file has been truncated since it was opened.
        """
        ids = np.empty(stop - start, self.dtype)
        self._read_into(ids, start)
        ids.flags.writeable = False
        return ids

    def windows(self, starts, length):
        """-> int64 (B, length): the `length` ids from each of the B `starts`"""
        rows = np.empty((len(starts), length), self.dtype)
        for row, start in zip(rows, starts):
            self._read_into(row, start)
        return rows.astype(np.int64)

    def _read_into(self, ids, start):
        """Fill the array `ids` with those of the file from number `start`."""
        offset = HEADER.size + ids.itemsize * start
        done = os.preadv(self._file, [ids], offset)
        while done < ids.nbytes:  # one call reads 2 GB at most
            more = os.preadv(self._file, [ids.view(np.uint8)[done:]], offset + done)
            if not more:
                raise ValueError(f"{self.path}: cut short while it was in use: it ends at byte "
                                 f"{offset + done}, wanted {ids.nbytes - done} more")
            done += more

    def __len__(self):
        return self._length

    def require_context(self, batch_size, block_size):
        for name, value in (("batch_size", batch_size), ("block_size", block_size)):
            if value < 1:
                raise ValueError(f"{name} is {value}, wanted at least 1")
        if len(self) < block_size + 1:
            raise ValueError(
                f"{self.path}: has {len(self)} tokens, but one context and its last target are "
                f"{block_size + 1}: use a longer text or a smaller block_size"
            )


def random_batches(dataset, batch_size, block_size, rng):
    """-> RandomBatches: an endless iterator over batches from random places of `dataset`"""
    return RandomBatches(dataset, batch_size, block_size, rng)


def sequential_batches(dataset, batch_size, block_size, *, repeat=False):
    """-> SequentialBatches: an iterator from the beginning to the end of `dataset`"""
    return SequentialBatches(dataset, batch_size, block_size, repeat=repeat)


class RandomBatches:
    """Endless batches (inputs, targets), int64 (B, T) each, that start at random tokens.

    targets[:, t] is the token that follows inputs[:, t]. Places are drawn uniformly, with
    replacement.
    rng: numpy Generator, or a seed for one. It is the whole state: batches continue bit for bit
        from `state_dict()`.
    Raises ValueError for a dataset shorter than one context and its last target.
    """

    def __init__(self, dataset, batch_size, block_size, rng):
        dataset.require_context(batch_size, block_size)
        self.dataset, self.batch_size, self.block_size = dataset, batch_size, block_size
        self.rng = np.random.default_rng(rng)

    def __iter__(self):
        return self

    def _starts(self):
        return self.rng.integers(len(self.dataset) - self.block_size, size=self.batch_size)

    def skip(self):
        """Pass over one batch without reading it."""
        self._starts()

    def __next__(self):
        starts = self._starts()
        window = self.dataset.windows(starts.tolist(), self.block_size + 1)
        return window[:, :-1].copy(), window[:, 1:].copy()

    def state_dict(self):
        """-> {"rng": …}, which JSON can represent"""
        return {"rng": self.rng.bit_generator.state}

    def load_state_dict(self, state):
        """Restore the result of `state_dict()`; ValueError if it doesn't fit."""
        try:
            self.rng.bit_generator.state = state["rng"]
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ValueError(f"state is not that of random batches ({error!r})") from None


class SequentialBatches:
    """Batches (inputs, targets), int64 (B, T) each, in the order of the file.

    Every token except the first is a target exactly once in a pass, as evaluation needs it. The
    last row of a pass is padded with input 0 and target IGNORE (-100, which the loss ignores), and
    the last batch has fewer rows if they don't divide evenly.
    repeat: start again at the end, forever. The state is the position, `state_dict()`.
    Raises ValueError for a dataset shorter than one context and its last target.
    """

    def __init__(self, dataset, batch_size, block_size, *, repeat=False):
        dataset.require_context(batch_size, block_size)
        self.dataset, self.batch_size, self.block_size = dataset, batch_size, block_size
        self.repeat = repeat
        self.position = 0  # of the next input token

    def __iter__(self):
        return self

    def __len__(self):
        """The number of batches in one pass."""
        return -(-(len(self.dataset) - 1) // (self.batch_size * self.block_size))

    def __next__(self):
        last = len(self.dataset) - 1  # the last token is a target only
        if self.position >= last:
            if not self.repeat:
                raise StopIteration
            self.position = 0
        end = min(self.position + self.batch_size * self.block_size, last)
        window = self.dataset.read(self.position, end + 1).astype(np.int64)
        self.position = end
        return self._rows(window[:-1], 0), self._rows(window[1:], IGNORE)

    def _rows(self, ids, filling):
        missing = -len(ids) % self.block_size
        return np.pad(ids, (0, missing), constant_values=filling).reshape(-1, self.block_size)

    def state_dict(self):
        """-> {"position": …}, which JSON can represent"""
        return {"position": self.position}

    def load_state_dict(self, state):
        """Restore the result of `state_dict()`; ValueError if it doesn't fit."""
        position = state.get("position") if isinstance(state, dict) else None
        if type(position) is not int or not 0 <= position < max(len(self.dataset), 1):
            raise ValueError(f"state has the position {position!r} in {len(self.dataset)} tokens")
        self.position = position
