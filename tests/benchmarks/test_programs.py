"""Programs in C that the benchmark drives: what they read, and what is made of what they print."""

import os
import struct
import sys

import numpy as np
import pytest

from benchmarks import programs
from benchmarks.command import main
from benchmarks.harness import FULL, Timing
from benchmarks.peers import Arena, PeerError
from benchmarks.programs import LlamaCpp, LlmC, encoded, write_gguf
from benchmarks.results import Section
from benchmarks.sections import decoding, training
from benchmarks.sections.context import Context
from minillm.ops.quantized import dequantize, to_int4

pytestmark = pytest.mark.skipif(os.name != "posix", reason="scripts and terminals of POSIX")

TRAIN = """
import numpy as np
header = np.fromfile("gpt2_124M.bin", np.int32, 256)
maxT, V, L, NH, C, Vp = map(int, header[2:8])
assert header[0] == 20240326 and header[1] == 3 and Vp % 128 == 0 and Vp >= V
weights = Vp * C + maxT * C + L * (12 * C * C + 13 * C) + 2 * C
assert np.fromfile("gpt2_124M.bin", np.float32, offset=1024).size == weights
data = "dev/data/tinyshakespeare/tiny_shakespeare_val.bin"
assert np.fromfile(data, np.int32, 3).tolist()[:2] == [20240520, 1]
assert np.fromfile(data, np.uint16, offset=1024).max() < V
for step in range(9):
    if step % 2 == 0:
        print("val loss 5.3", flush=True)
    print(f"step {step}: train loss 4.5 (took 900.000000 ms)", flush=True)
"""


def script(folder, name, text):
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(LlmC, "shape", {"n_layer": 2, "n_embd": 8, "n_head": 2, "V": 300})
    monkeypatch.setattr(programs, "GPT2_124M", {"n_layer": 2, "n_embd": 8, "n_head": 2, "V": 300,
                                                "n_positions": 16})


def test_llm_c_reads_our_files_and_its_steps_are_timed(tmp_path):
    program = LlmC(script(tmp_path, "train_gpt2", TRAIN), threads=1)
    state = os.waitid(os.P_PID, program.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert state.si_code == os.CLD_STOPPED  # it waits for its first turn
    for _ in range(9):
        assert program.seconds(1) > 0
    with pytest.raises(PeerError, match="no step, but printed: $"):
        program.seconds(1)
    program.close()


def test_a_program_that_fails_is_one_line(tmp_path):
    program = LlmC(script(tmp_path, "train_gpt2", "print('Bad magic')"), threads=1)
    with pytest.raises(PeerError, match="Bad magic"):
        program.seconds(1)
    program.close()
    bench = LlamaCpp(script(tmp_path, "llama-bench", "import sys; sys.exit('no model')"), 1)
    with pytest.raises(PeerError, match="no model"):
        bench.seconds(n_new=3)


def test_llama_bench_that_takes_too_long_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "SECONDS", 0.05)
    bench = LlamaCpp(script(tmp_path, "llama-bench", "import time; time.sleep(9)"), 1)
    with pytest.raises(PeerError, match="llama-bench took more than 0.05 s"):
        bench.seconds(n_new=3)


def test_llama_bench_is_asked_for_one_thing(tmp_path):
    text = ("import json, sys; a = sys.argv; assert open(a[a.index('-m') + 1], 'rb').read(4) == "
            "b'GGUF'; print(json.dumps([{'avg_ns': 1e9 * int(a[a.index('-n') + 1]) + "
            "1e6 * int(a[a.index('-p') + 1])}]))")
    program = LlamaCpp(script(tmp_path, "llama-bench", text), threads=2)
    assert program.seconds(n_new=4) == 4 and program.seconds(n_prompt=1000) == 1


class Once(Arena):
    """An arena where minillm needs a second, and each program does its work once."""

    def measure(self, case, arguments, sides, effort=None, more=None):
        return {"minillm": Timing((1.0,)),
                **{label: Timing((run(1),)) for label, run in more.items()}}


def test_sections_have_rows_and_goals_for_the_programs(tmp_path, monkeypatch):
    monkeypatch.setitem(programs.GPT2_124M, "n_embd", 32)  # a group of q8_0 and q4_0
    monkeypatch.setattr(training, "models", lambda context: ["small"])
    monkeypatch.setattr(training, "TRAINING_SHAPES", {"small": {**LlmC.shape, "B": 1, "T": 4}})
    monkeypatch.setattr(training, "WANTED", {"small": 1.0})
    monkeypatch.setattr(LlmC, "shape", training.TRAINING_SHAPES["small"])
    script(tmp_path, "train_gpt2", TRAIN)
    script(tmp_path, "llama-bench", "print('[{\"avg_ns\": 2e9}]')")
    context = Context(Once(FULL), (1,), llm_c=str(tmp_path), llama_cpp=str(tmp_path))
    row, = training.train_steps(context).rows
    assert row.values["llm.c"] > 0 and "llm.c" in [goal.against for goal in row.goals]
    section = Section("decode", "Decoding", "tokens/s", True)
    decoding.add_llama_cpp(context, section, FULL)
    rates = {row.name: row.values for row in section.rows}
    assert len(rates) == 8
    assert rates["greedy, int4 and q4_0, tokens/s"] == {"minillm": 64, "llama.cpp": 32}


def test_gguf_is_what_its_documentation_says(tmp_path):
    weights = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
               "b": np.ones(5, np.float32)}
    write_gguf(tmp_path / "x.gguf", {"general.architecture": "gpt2", "n": 7, "eps": 0.5}, weights)
    data = (tmp_path / "x.gguf").read_bytes()
    assert data[:4] == b"GGUF" and struct.unpack_from("<IQQ", data, 4) == (3, 2, 3)
    begin = len(data) - 32 - 32  # each tensor in its 32 bytes
    assert begin % 32 == 0
    assert np.frombuffer(data, "<f4", 6, begin).tolist() == list(range(6))
    assert np.frombuffer(data, "<f4", 5, begin + 32).tolist() == [1] * 5
    at = data.index(b"a.weight") + len("a.weight")
    assert struct.unpack_from("<IQQIQ", data, at) == (2, 3, 2, 0, 0)


def test_matrices_are_encoded_as_ggml_decodes_them():
    W = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    W[1, :32] = 0
    q8 = encoded(W, "q8_0").reshape(-1, 34)
    d, q = np.ascontiguousarray(q8[:, :2]).view("<f2"), q8[:, 2:].view(np.int8)
    assert np.abs(d * q.astype(np.float32) - W.reshape(-1, 32)).max() < 0.02
    q4 = encoded(W, "q4_0").reshape(-1, 18)
    d, q = np.ascontiguousarray(q4[:, :2]).view("<f2"), q4[:, 2:]
    q = np.hstack([q & 15, q >> 4]) - np.float32(8)  # dequantize_row_q4_0 of ggml-quants.c
    np.testing.assert_allclose((d * q).reshape(W.shape), dequantize(*to_int4(W), 64), rtol=1e-3)
    assert encoded(W, "bf16").shape == (3, 128) and encoded(W, "f16").view("<f2").shape == (3, 64)


def test_only_matrices_that_are_multiplied_by_are_encoded(tmp_path):
    weights = {"position_embd.weight": np.ones((1, 32), np.float32),
               "token_embd.weight": np.ones((1, 32), np.float32), "norm": np.ones(32, np.float32)}
    write_gguf(tmp_path / "x.gguf", {}, weights, kind="q8_0")
    data = (tmp_path / "x.gguf").read_bytes()
    for name, kind in (("position_embd.weight", 0), ("token_embd.weight", 8), ("norm", 0)):
        at = data.index(name.encode()) + len(name)
        axes, = struct.unpack_from("<I", data, at)
        assert struct.unpack_from("<I", data, at + 4 + 8 * axes) == (kind,)
    assert len(data) % 32 == 0


def test_a_missing_program_is_named_at_once(tmp_path):
    for option, name in (("--llm-c", "train_gpt2"), ("--llama-cpp", "llama-bench")):
        with pytest.raises(ValueError, match=f"{option} is .* no program {name}"):
            main([option, str(tmp_path), "--quick", "--out", str(tmp_path / "out")])
