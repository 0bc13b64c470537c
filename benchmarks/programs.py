"""Programs in C and C++ that the benchmark drives if the user has them: llm.c and llama.cpp.

    minillm bench --llm-c ~/llm.c --llama-cpp ~/llama.cpp/build/bin

Nothing of them is part of minillm. What they read is written here, in their documented formats,
with random weights of GPT-2 124M: the checkpoint and the tokens of llm.c's train_gpt2.c, and a GGUF file
(ggml's docs/gguf.md) for llama.cpp's llama-bench.
"""

import json
import os
import re
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.cases import GPT2_124M, TRAINING_SHAPES
from benchmarks.peers import PeerError

SECONDS = 600  # for one run of a program


def find(folder, name, option):
    """-> the program `name` in a folder, or the folder itself if it is the program

    Raises ValueError if there is none.
    """
    folder = Path(folder).expanduser()
    for path in (folder, folder / name, folder / "bin" / name, folder / "build" / "bin" / name):
        if path.is_file() and os.access(path, os.X_OK):
            return path.resolve()
    raise ValueError(f"{option} is {folder}, but no program {name} is there: build it first")


def drawn(*shape):
    """-> random weights, float32; a million numbers, again and again, because drawing takes time"""
    numbers = np.random.default_rng(0).standard_normal(2**20, np.float32)
    return np.resize(numbers * np.float32(0.02), shape)


class LlmC:
    """llm.c's CPU program train_gpt2: training steps of GPT-2 124M with B = 4, T = 64.

    It prints the time of each step. Its step has no clipping of gradients.
    """

    label, shape = "llm.c", TRAINING_SHAPES["GPT-2 124M"]

    def __init__(self, folder, threads, steps=3):
        self.program = find(folder, "train_gpt2", "--llm-c")
        self.threads, self.steps = threads, steps
        self.folder = tempfile.TemporaryDirectory()
        here = Path(self.folder.name)
        self.write_checkpoint(here / "gpt2_124M.bin")
        data = here / "dev" / "data" / "tinyshakespeare"
        data.mkdir(parents=True)
        for name in ("train", "val"):
            self.write_tokens(data / f"tiny_shakespeare_{name}.bin")

    def write_checkpoint(self, path):
        """A header of 256 int32, then all weights as float32; matrices are (outputs, inputs)."""
        L, C, V = (self.shape[name] for name in ("n_layer", "n_embd", "V"))
        T, padded = GPT2_124M["n_positions"], -(-V // 128) * 128
        header = np.zeros(256, np.int32)
        header[:8] = 20240326, 3, T, V, L, self.shape["n_head"], C, padded
        ones, zeros = (lambda *shape: np.ones(shape, np.float32),
                       lambda *shape: np.zeros(shape, np.float32))
        with open(path, "wb") as file:
            file.write(header.tobytes())
            for weights in (drawn(padded, C), drawn(T, C), ones(L, C), zeros(L, C),
                            drawn(L, 3 * C, C), zeros(L, 3 * C), drawn(L, C, C), zeros(L, C),
                            ones(L, C), zeros(L, C), drawn(L, 4 * C, C), zeros(L, 4 * C),
                            drawn(L, C, 4 * C), zeros(L, C), ones(C), zeros(C)):
                file.write(weights.tobytes())

    def write_tokens(self, path, n=2**14):
        """A header of 256 int32, then the tokens as uint16"""
        header = np.zeros(256, np.int32)
        header[:3] = 20240520, 1, n
        tokens = np.random.default_rng(1).integers(self.shape["V"], size=n).astype(np.uint16)
        path.write_bytes(header.tobytes() + tokens.tobytes())

    def seconds(self, calls=1):
        """Run the program until it has done its steps -> seconds of a step: the fastest but the
        first, which allocates memory"""
        times, lines = [], []
        for line in self._lines():
            lines.append(line)
            if found := re.match(r"step \d+: train loss .* \(took ([\d.]+) ms\)", line):
                times.append(float(found[1]) / 1e3)
                if len(times) > self.steps:
                    break
        if len(times) <= 1:
            raise PeerError(f"{self.program} printed no times, but: {lines[-1:]}")
        return min(times[1:])

    def _lines(self):
        """Yield the lines that the program prints. Through a terminal: to a pipe, C's printf writes
        only when 4 KB are full."""
        terminal, its_end = os.openpty()
        process = subprocess.Popen(
            [self.program], cwd=self.folder.name, stdin=subprocess.DEVNULL, stdout=its_end,
            stderr=its_end, env={**os.environ, "OMP_NUM_THREADS": str(self.threads)})
        os.close(its_end)
        try:
            with open(terminal, encoding="utf-8", errors="replace") as stream:
                yield from map(str.strip, stream)
        except OSError:
            pass  # the program has ended
        finally:
            process.kill()
            process.wait()

    def close(self):
        self.folder.cleanup()


class LlamaCpp:
    """llama.cpp's llama-bench on a GGUF file of GPT-2 124M with float32 weights."""

    label = "llama.cpp"

    def __init__(self, folder, threads):
        self.program = find(folder, "llama-bench", "--llama-cpp")
        self.threads = threads
        self.folder = tempfile.TemporaryDirectory()
        self.model = Path(self.folder.name) / "gpt2.gguf"
        write_gguf(self.model, **gpt2_in_gguf())

    def seconds(self, n_prompt=0, n_new=0):
        """-> seconds to read a prompt of n_prompt tokens, or to generate n_new tokens, once"""
        test = ["-p", str(n_prompt), "-n", "0"] if n_prompt else ["-p", "0", "-n", str(n_new)]
        done = subprocess.run(
            [self.program, "-m", self.model, "-t", str(self.threads), "-r", "1", "-ngl", "0",
             "-o", "json", "-ctk", "f32", "-ctv", "f32", *test],
            capture_output=True, text=True, timeout=SECONDS,
            env={**os.environ, "OMP_NUM_THREADS": str(self.threads)})
        try:
            return json.loads(done.stdout)[0]["avg_ns"] / 1e9
        except (ValueError, LookupError):
            last = done.stderr.strip().splitlines()[-1:]
            raise PeerError(f"{self.program} gave no result: {last}") from None

    def close(self):
        self.folder.cleanup()


def gpt2_in_gguf():
    """-> the fields and tensors of GPT-2 124M in llama.cpp's names, with random weights"""
    L, d, V, T = (GPT2_124M[name] for name in ("n_layer", "n_embd", "V", "n_positions"))
    fields = {"general.architecture": "gpt2", "general.name": "random", "gpt2.context_length": T,
              "gpt2.embedding_length": d, "gpt2.feed_forward_length": 4 * d,
              "gpt2.block_count": L, "gpt2.attention.head_count": GPT2_124M["n_head"],
              "gpt2.attention.layer_norm_epsilon": 1e-5, "gpt2.vocab_size": V,
              "general.file_type": 0, "tokenizer.ggml.model": "no_vocab"}

    def norm(name):
        return {f"{name}.weight": np.ones(d, np.float32), f"{name}.bias": np.zeros(d, np.float32)}

    def linear(name, n_out, n_in):
        return {f"{name}.weight": drawn(n_out, n_in), f"{name}.bias": np.zeros(n_out, np.float32)}

    tensors = {"token_embd.weight": drawn(V, d), "position_embd.weight": drawn(T, d),
               **norm("output_norm")}
    for layer in range(L):
        block = f"blk.{layer}"
        tensors |= {**norm(f"{block}.attn_norm"), **linear(f"{block}.attn_qkv", 3 * d, d),
                    **linear(f"{block}.attn_output", d, d), **norm(f"{block}.ffn_norm"),
                    **linear(f"{block}.ffn_up", 4 * d, d),
                    **linear(f"{block}.ffn_down", d, 4 * d)}
    return {"fields": fields, "tensors": tensors}


def write_gguf(path, fields, tensors, alignment=32):
    """fields: {name: str, int or float};  tensors: {name: float32 array (rows, columns) or (n,)}

    The format, version 3, little-endian: the header; each field as name, type, value; each tensor's
    name, shape (the last axis first), type 0 (float32) and offset; then the aligned data.
    """
    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    kinds = {str: lambda value: struct.pack("<I", 8) + text(value),  # numbers: uint32, float32
             int: lambda value: struct.pack("<II", 4, value),
             float: lambda value: struct.pack("<If", 6, value)}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    head += b"".join(text(name) + kinds[type(value)](value) for name, value in fields.items())
    offset = 0
    for name, array in tensors.items():
        head += text(name) + struct.pack("<I", array.ndim)
        head += struct.pack(f"<{array.ndim}Q", *reversed(array.shape))
        head += struct.pack("<IQ", 0, offset)
        offset += -(-array.nbytes // alignment) * alignment
    with open(path, "wb") as file:
        file.write(head + b"\0" * (-len(head) % alignment))
        for array in tensors.values():
            file.write(array.astype("<f4").tobytes() + b"\0" * (-array.nbytes % alignment))
