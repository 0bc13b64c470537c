"""Programs in C and C++ that the benchmark drives if the user has them: llm.c and llama.cpp.

    minillm bench --llm-c ~/llm.c --llama-cpp ~/llama.cpp/build/bin

Nothing of them is part of minillm. What they read is written here, in their documented formats,
with random weights of GPT-2 124M: the checkpoint and the tokens of llm.c's train_gpt2.c, and GGUF
files (ggml's docs/gguf.md) for llama.cpp's llama-bench.
"""

import json
import os
import re
import signal
import struct
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.cases import GPT2_124M, TRAINING_SHAPES
from benchmarks.peers import PeerError
from benchmarks.worker import die_with_parent
from minillm.ops.quantized import from_bfloat16, to_bfloat16, to_int4

SECONDS = 600  # for one run of a program
KINDS = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}  # ggml's numbers for its types


def find(folder, name, option):
    """-> the program `name` in a folder, or the folder itself if it is the program

    Raises ValueError if there is none.
    """
    folder = Path(folder).expanduser()
    for path in (folder, folder / name, folder / "bin" / name, folder / "build" / "bin" / name):
        if path.is_file() and os.access(path, os.X_OK):
            return path.resolve()
    raise ValueError(f"{option} is {folder}, but no program {name} is there: build it first")


@cache
def million():
    return np.random.default_rng(0).standard_normal(2**20, np.float32) * np.float32(0.02)


def drawn(*shape):
    """-> random weights, float32; a million numbers, again and again, because drawing takes time"""
    return np.resize(million(), shape)


class LlmC:
    """llm.c's CPU program train_gpt2: training steps of GPT-2 124M with B = 4, T = 64.

    Its step has no clipping of gradients. Outside of `seconds` the program is stopped, like the
    workers of peers.py.
    """

    label, shape = "llm.c", TRAINING_SHAPES["GPT-2 124M"]

    def __init__(self, folder, threads):
        program = find(folder, "train_gpt2", "--llm-c")
        self.folder = tempfile.TemporaryDirectory()
        here = Path(self.folder.name)
        self.write_checkpoint(here / "gpt2_124M.bin")
        data = here / "dev" / "data" / "tinyshakespeare"
        data.mkdir(parents=True)
        for name in ("train", "val"):
            self.write_tokens(data / f"tiny_shakespeare_{name}.bin")
        # It prints to a terminal: to a pipe, C's printf writes only when 4 KB are full.
        terminal, its_end = os.openpty()
        self.output = open(terminal, encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            [program], cwd=here, stdin=subprocess.DEVNULL, stdout=its_end, stderr=its_end,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)}, preexec_fn=die_with_parent)
        os.close(its_end)
        self.process.send_signal(signal.SIGSTOP)  # until its first turn, which may be minutes away

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
        """Let the program do its next step -> seconds from the line that it prints before, or from
        now, to the step's line. Before some steps it does other work, and says so. The first step
        allocates memory, so it is the warm-up."""
        self.process.send_signal(signal.SIGCONT)
        before, last = time.perf_counter(), ""
        try:
            for line in self.output:
                now = time.perf_counter()
                if re.match(r"step \d+: train loss", line):
                    self.process.send_signal(signal.SIGSTOP)
                    return now - before
                before, last = now, line.strip() or last
        except OSError:
            pass  # the program has ended
        raise PeerError(f"{self.process.args[0]} did no step, but printed: {last}")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.output.close()
        self.folder.cleanup()


class LlamaCpp:
    """llama.cpp's llama-bench on a GGUF file of GPT-2 124M, its matrices in one of KINDS."""

    label = "llama.cpp"

    def __init__(self, folder, threads, kind="f32"):
        self.program = find(folder, "llama-bench", "--llama-cpp")
        self.threads = threads
        self.folder = tempfile.TemporaryDirectory()
        self.model = Path(self.folder.name) / "gpt2.gguf"
        write_gguf(self.model, **gpt2_in_gguf(), kind=kind)

    def seconds(self, n_prompt=0, n_new=0):
        """-> seconds to read a prompt of n_prompt tokens, or to generate n_new tokens, once"""
        test = ["-p", str(n_prompt), "-n", "0"] if n_prompt else ["-p", "0", "-n", str(n_new)]
        try:
            done = subprocess.run(
                [self.program, "-m", self.model, "-t", str(self.threads), "-r", "1", "-ngl", "0",
                 "-o", "json", *test],
                capture_output=True, text=True, timeout=SECONDS,
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads)})
        except subprocess.TimeoutExpired:
            raise PeerError(f"{self.program} took more than {SECONDS} s") from None
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


def encoded(W, kind):
    """float32 (rows, columns) -> uint8 (rows, bytes of a row), as ggml stores the kind

    q8_0    for 32 weights w a scale d = max |w| / 127 in float16, then w / d as int8
    q4_0    for 32 weights a scale in float16, then minillm's int4, which has the same order
    """
    if kind in ("f32", "f16", "bf16"):
        numbers = to_bfloat16(W) if kind == "bf16" else W.astype("<f4" if kind == "f32" else "<f2")
        return numbers.view(np.uint8)
    w = W.reshape(-1, 32)
    if kind == "q8_0":
        d = (np.abs(w).max(axis=1, keepdims=True) / 127).astype("<f2")
        q = np.rint(w / np.where(d == 0, 1, d)).clip(-127, 127).astype(np.int8)
    else:
        q, scale = to_int4(w)
        d = from_bfloat16(scale).astype("<f2")
    return np.hstack([d.view(np.uint8), q.view(np.uint8)]).reshape(len(W), -1)


def write_gguf(path, fields, tensors, kind="f32", alignment=32):
    """fields: {name: str, int or float};  tensors: {name: float32 array (rows, columns) or (n,)}
    kind: one of KINDS, for the matrices that are multiplied by: all but the positions

    The format, version 3, little-endian: the header; each field as name, type, value; each tensor's
    name, shape (the last axis first), kind and offset; then the aligned data.
    """
    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    types = {str: lambda value: struct.pack("<I", 8) + text(value),  # numbers: uint32, float32
             int: lambda value: struct.pack("<II", 4, value),
             float: lambda value: struct.pack("<If", 6, value)}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    head += b"".join(text(name) + types[type(value)](value) for name, value in fields.items())
    offset, data = 0, []
    for name, array in tensors.items():
        its_kind = kind if array.ndim == 2 and not name.startswith("position") else "f32"
        data.append(encoded(array, its_kind))
        head += text(name) + struct.pack("<I", array.ndim)
        head += struct.pack(f"<{array.ndim}Q", *reversed(array.shape))
        head += struct.pack("<IQ", KINDS[its_kind], offset)
        offset += -(-data[-1].nbytes // alignment) * alignment
    with open(path, "wb") as file:
        file.write(head + b"\0" * (-len(head) % alignment))
        for each in data:
            file.write(each.tobytes() + b"\0" * (-each.nbytes % alignment))
