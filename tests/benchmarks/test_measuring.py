"""Competitors in separate processes, one section from end to end, and the profile of a step."""

import json

import numpy as np
import pytest

from benchmarks import command, results
from benchmarks.cases import step_operations
from benchmarks.harness import Effort
from benchmarks.peers import Arena, PeerError, Side
from benchmarks.sections import ladder
from benchmarks.step_profile import profile
from benchmarks.with_minillm import layer, train_step
from minillm.kernels.ladder import MATMUL_RUNGS

TINY = Effort("quick", min_rounds=2, max_rounds=2, seconds=0, sample_seconds=0)
TINY_MODEL = {"n_layer": 2, "n_embd": 16, "n_head": 2, "B": 2, "T": 8, "V": 11}


@pytest.fixture
def arena():
    said = []
    with Arena(TINY, said.append) as arena:
        arena.said = said
        yield arena


def test_two_processes_take_turns(arena):
    sides = [Side("minillm", "minillm"), Side("NumPy", "numpy")]
    found = arena.measure("matmul", {"M": 4, "N": 5, "K": 6, "transpose_B": True}, sides)
    assert set(found) == {"minillm", "NumPy"}
    assert all(len(t.samples) == 2 and min(t.samples) > 0 for t in found.values())
    pids = {peer.process.pid for peer in arena.peers.values()}
    assert len(pids) == 2
    arena.release()
    assert arena.peers == {}


def test_threads_and_settings_reach_the_process(arena):
    for threads in (1, 2):
        facts = arena.call(Side("minillm", "minillm", threads), "info")
        assert facts["threads"] == threads
    naive = Side("minillm", "minillm", 1, (("MINILLM_KERNELS", "naive"),))
    assert arena.call(naive, "info")["implementation"] == "naive"


def test_a_failure_leaves_a_side_out_and_says_why(arena):
    sides = [Side("minillm", "minillm"), Side("other", "numpy")]
    found = arena.measure("matmul_rung", {"rung": "no such rung", "n": 4}, sides)
    assert found == {}
    assert len(arena.said) >= 2 and "no such rung" in " ".join(arena.said)
    # After an error, the process still answers the next command.
    assert arena.measure("matmul", {"M": 2, "N": 2, "K": 2}, sides[:1])


def test_a_library_that_is_missing_is_left_out(arena):
    arena.missing["torch"] = "torch"
    assert arena.measure("matmul", {"M": 2, "N": 2, "K": 2}, [Side("PyTorch", "torch")]) == {}
    assert arena.call(Side("PyTorch", "torch"), "versions") is None


def test_a_process_that_cannot_start_says_why(arena):
    peer = arena.peer(Side("x", "library_that_is_not_there"))
    with pytest.raises(PeerError, match="ModuleNotFoundError"):
        peer.prepare("matmul", {})


def test_memory_counts_what_a_matmul_allocates(arena):
    side = Side("minillm", "minillm")
    n = 3000  # C has 36 MB
    small = {"M": 8, "N": 8, "K": 8}
    used = arena.memory("matmul", {"M": n, "N": n, "K": 8}, [side], warm_up=small)
    rise = used["minillm"]["peak"] - used["minillm"]["before"]
    assert 4 * n * n * 0.9 < rise < 4 * n * n * 2
    assert used["minillm"]["imported"] <= used["minillm"]["peak"]


def test_a_section_from_the_command_line_to_the_files(tmp_path, capsys):
    assert command.main(["--quick", "--only", "ladder", "--threads", "1", "--out",
                         str(tmp_path)]) == 0
    found = results.read(tmp_path)
    assert [section.key for section in found.sections] == ["limits", "ladder"]
    ladder = found.section("ladder")
    assert ladder.rows[0].name == "Python loops" and ladder.rows[0].values["GFLOP/s"] > 0
    assert (tmp_path / "ladder.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "results.json").read_text())["format"] == results.FORMAT
    assert "Python loops" in capsys.readouterr().out


def test_the_sections_of_the_ladder_name_rungs_that_exist():
    names = [name for name, _ in MATMUL_RUNGS]
    assert {*ladder.SIZES, *ladder.CONFLICT_RUNGS} <= set(names)
    assert names[0] == "Python loops" and names[-1] == "C: threads"


@pytest.mark.parametrize("wrong", [["--only", "nonsense"], ["--threads", "0"], ["--threads", "x"]])
def test_a_wrong_option_is_refused(tmp_path, wrong):
    with pytest.raises(SystemExit) as stop:
        command.main([*wrong, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and not (tmp_path / "out").exists()


# ---- the profile of a step


def test_the_parts_of_a_profile_add_up():
    found = profile(train_step(**TINY_MODEL), 2)
    assert sum(part["seconds"] for part in found["parts"]) == pytest.approx(found["seconds"])
    names = {part["name"] for part in found["parts"]}
    assert {"linear: matmul kernel", "linear_backward: matmul kernel", "layer_norm",
            "adam_all: adam kernel", "sums_of_squares: sum_of_squares kernel"} <= names


def test_a_profile_counts_the_operations_of_a_step():
    B, T, d, V, L = (TINY_MODEL[name] for name in ("B", "T", "n_embd", "V", "n_layer"))
    found = profile(train_step(**TINY_MODEL), 1)
    flops = {part["name"]: part["flops"] for part in found["parts"]}
    forward = 2 * B * T * (L * 12 * d * d + V * d)
    assert flops["linear: matmul kernel"] == forward
    assert flops["linear_backward: matmul kernel"] == 2 * forward
    products = sum(part["flops"] for part in found["parts"] if part["is_product"])
    assert products == step_operations(**TINY_MODEL)


@pytest.mark.parametrize("kind", ["linear", "layer_norm", "gelu", "embedding", "attention", "block",
                                  "cross_entropy"])
def test_layers_run(kind):
    layer(kind, B=2, T=4, d=8, V=5, n_head=2)()


def test_a_training_step_learns():
    step = train_step(**TINY_MODEL)
    losses = [step() for _ in range(30)]
    assert losses[-1] < losses[0] and np.isfinite(losses).all()
