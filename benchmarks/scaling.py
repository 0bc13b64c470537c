"""python -m benchmarks.scaling: one and two ranks on this machine, beside what the simulator says.

    python -m benchmarks.scaling                        prints a table in Markdown
    python -m benchmarks.scaling --out results.md

A step has two micro-batches. By turns, one step each:

    1 process, 2 threads     both micro-batches one after the other, each product on both cores
    1 rank of 1 thread       both, on one core; and, for weak scaling, one of them
    2 ranks of 1 thread      one each, over MPI; plain, and with the optimizer sharded
    2 silent ranks           one each, without sending anything: the machine's own slowing down

Strong scaling compares the two ranks with one rank that computes both micro-batches, weak scaling
with one rank that computes one. The simulator (minillm/trust/scale) gets what the silent ranks took,
and two numbers of the network: the latency and the bandwidth that explain how long exchanges of a
small and a large bucket take. It doesn't know the time of a step that communicates. The ranks copy
the messages themselves, so nothing overlaps here.
"""

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import available_cores, cpu_model
from minillm.files import atomic_write
from minillm.kernels import set_num_threads, tune_process
from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.models.gpt2_config import GPT2Config
from minillm.nn.loss import cross_entropy_loss
from minillm.training.clipping import clip_factor
from minillm.training.optimizers import AdamW
from minillm.training.parallel.launcher import launched
from minillm.training.parallel.one_process import OneProcess
from minillm.trust.cost.layers import Workload
from minillm.trust.cost.step import StepCost
from minillm.trust.scale.cluster import Cluster, step_time
from minillm.trust.scale.network import Network
from minillm.trust.scale.profile import profile_of_times

MODELS = {  # vocabulary, length, width, blocks, heads, sequences of a micro-batch
    "demo": (1024, 64, 128, 4, 4, 12),
    "larger": (2048, 128, 256, 6, 8, 8),
}
SMALL, LARGE = 1 << 14, 1 << 20  # numbers of the buckets that the network is measured with
MICRO_BATCHES = 2
TIMEOUT = 60.0  # seconds until a rank counts as dead
ASLEEP = 5e-4  # seconds between two looks


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each model (default: 20)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    options = parser.parse_args(arguments)
    if launched() is None:
        given = sys.argv[1:] if arguments is None else arguments
        return subprocess.run([_mpiexec(), "-n", "2", sys.executable, "-m", "benchmarks.scaling",
                               *given]).returncode
    return _measure(options)


def _mpiexec():
    """-> the launcher beside this Python, as the wheel of MPICH installs it, or the one on PATH"""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if found is None:
        raise SystemExit('mpiexec is missing: pip install "minillm[mpi]", or install an MPI')
    return found


def _measure(options):
    """What each of the two ranks does."""
    from minillm.training.parallel.joining import join

    ranks = join(launched(), TIMEOUT)
    if ranks.size != 2:
        raise SystemExit(f"{ranks.size} ranks were started, wanted 2")
    tune_process()
    network = _network(ranks)
    report = [f"{available_cores()} cores of {cpu_model()}; exchanges between the two ranks: latency "
              f"{1e6 * network.latency:.0f} µs, {network.bandwidth / 1e9:.2f} GB/s", ""]
    for name in options.models:
        report += _report(name, _Sides(ranks, name).measure(options.seconds), network)
    if ranks.rank == 0:
        print("\n".join(report))
        if options.out:
            with atomic_write(options.out, "w", encoding="utf-8") as file:
                file.write("\n".join(report) + "\n")
    ranks.finish()
    return 0


# ---- the network


def _network(ranks, repeats=60):
    """-> Network: of an exchange of pieces, their sum, and the collection of the sums

    An all-reduce of N bytes over two ranks takes 2 α + N / β: see network.py.
    """
    times = {size: _exchanges(ranks, size, repeats) for size in (SMALL, LARGE)}
    beta = 4 * (LARGE - SMALL) / (times[LARGE] - times[SMALL])
    return Network(max(0.0, (times[SMALL] - 4 * SMALL / beta) / 2), beta)


def _exchanges(ranks, size, repeats):
    counts, whole = [size // 2] * 2, np.zeros(size, np.float32)
    received, total = np.empty((2, size // 2), np.float32), np.empty(size // 2, np.float32)
    times = []
    for _ in range(repeats):
        _meet(ranks)
        started = time.perf_counter()
        ranks.wait(ranks.start_exchange(whole, counts, received))
        total[...] = received[0]
        total += received[1]
        ranks.wait(ranks.start_gather(total, counts, whole))
        times.append(time.perf_counter() - started)
    return _of_slower(ranks, times)


def _meet(ranks):
    """Return on both ranks at the same time. Who comes first sleeps, and leaves the cores alone."""
    request = ranks.comm.Ibarrier()
    while not request.Test():
        ranks.alive()
        time.sleep(ASLEEP)
    ranks.wait(ranks.comm.Ibarrier())


def _of_slower(ranks, times):
    """-> the median of the slower rank's times"""
    return float(np.median(ranks.all_gather_numbers(np.array(times)).max(axis=0)))


# ---- the steps


@dataclass
class _Step:
    """One way to take a step: a model, its optimizer, and the sum over micro-batches."""

    ranks: object
    cost: object
    threads: int = 1
    micro_batches: int = 1  # of this rank
    of_all: int = 1  # as the ranks count them

    def __post_init__(self):
        self.model = GPT2LMHeadModel(self.cost.config, seed=0)
        parameters = list(self.model.parameters())
        self.sum = self.ranks.gradients(parameters)
        self.optimizer = AdamW(self.sum.optimized([{"params": parameters}]), lr=1e-4)
        work, V = self.cost.workload, self.cost.config.vocab_size
        self.ids = np.random.default_rng(0).integers(V, size=(work.batch, work.length + 1))

    def __call__(self):
        """-> seconds of the gradients, of the whole step"""
        set_num_threads(self.threads)
        started = time.perf_counter()
        self.optimizer.zero_grad()
        for index in range(self.micro_batches):
            with self.sum.of(self.ranks.rank + index * self.ranks.size, self.of_all):
                loss = cross_entropy_loss(self.model, self.model(self.ids[:, :-1]).logits,
                                          self.ids[:, 1:], overwrite_logits=True)
                (loss / self.of_all).backward()
        self.ranks.in_order([loss.item()])
        computed = time.perf_counter()
        self.optimizer.step(grad_scale=clip_factor(self.sum.norm(), 1.0))
        self.sum.share_weights()
        return computed - started, time.perf_counter() - started


class _Sides:
    """All ways to take a step of one model, by turns."""

    ALONE = ("1 process, 2 threads", "1 rank", "1 rank, half")

    def __init__(self, ranks, name):
        V, T, d, L, H, B = MODELS[name]
        config = GPT2Config(vocab_size=V, n_positions=T, n_embd=d, n_layer=L, n_head=H,
                            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        self.ranks, self.cost = ranks, StepCost(config, workload=Workload(B, T))
        one, K = OneProcess(), MICRO_BATCHES
        self.steps = {
            "1 process, 2 threads": _Step(one, self.cost, 2, K, K),
            "1 rank": _Step(one, self.cost, 1, K, K),
            "1 rank, half": _Step(one, self.cost),
            "2 ranks": _Step(ranks, self.cost, of_all=K),
            "2 silent ranks": _Step(one, self.cost),
        }
        ranks.shard_optimizer = True
        self.steps["2 ranks, sharded"] = _Step(ranks, self.cost, of_all=K)
        ranks.shard_optimizer = False

    def measure(self, seconds):
        """-> cost, {side: (gradients, whole step) in seconds, the medians}, the silent jitter"""
        times = {side: [] for side in self.steps}
        started, rounds = time.perf_counter(), 0
        while rounds < 5 or self.ranks.largest(int(time.perf_counter() - started < seconds)):
            for side, step in self.steps.items():
                _meet(self.ranks)
                if side not in self.ALONE or self.ranks.rank == 0:
                    taken = step()
                else:
                    taken = 0.0, 0.0  # asleep until the next meeting
                if rounds >= 2:
                    times[side].append(taken)
            rounds += 1
        found = {side: self.ranks.all_gather_numbers(np.array(each)).max(axis=0)
                 for side, each in times.items()}  # (rounds, 2), of the slower rank
        silent = self.ranks.all_gather_numbers(np.array(times["2 silent ranks"]))
        return self.cost, {side: np.median(each, axis=0) for side, each in found.items()}, silent


# ---- the report


def _report(name, measured, network):
    """-> lines of Markdown"""
    cost, found, silent = measured
    predicted = predictions(cost, silent, network)
    rows = [
        f"### {name}: {cost.parameters:,} parameters, 2 × {cost.workload.batch} × "
        f"{cost.workload.length} tokens a step, {silent.shape[1]} rounds", "",
        "| a step | measured | predicted | error |", "| --- | --- | --- | --- |",
    ]
    for side, (_, seconds) in found.items():
        if side == "1 rank, half":
            side = "1 rank, one micro-batch"
        guess = predicted.get(side)
        rows.append(f"| {side} | {1e3 * seconds:.1f} ms | " + (
            "– | – |" if guess is None else
            f"{1e3 * guess:.1f} ms | {guess / seconds - 1:+.0%} |"))
    one, half = found["1 rank"][1], found["1 rank, half"][1]
    two, threads = found["2 ranks"][1], found["1 process, 2 threads"][1]
    return [*rows, "", f"Strong scaling: two ranks are {one / two:.2f} times as fast as one, an "
            f"efficiency of {one / two / 2:.0%}; two threads of one process are {one / threads:.2f} "
            f"times as fast. Weak scaling: {half / two:.0%}; the silent ranks alone have "
            f"{half / found['2 silent ranks'][1]:.0%}.", ""]


def predictions(cost, silent, network):
    """-> {side: seconds}

    silent: (ranks, rounds, 2), seconds of the gradients and of the whole step of ranks that compute
        at the same time, and send nothing
    """
    gradients, whole = np.median(silent.reshape(-1, 2), axis=0)
    profile = profile_of_times(cost, gradients / 3, gradients * 2 / 3, whole - gradients)
    slower = np.median(silent[..., 1].max(axis=0)) / whole  # how much later the slower one is
    bucket = min(4 << 20, profile.n_bytes // 4)  # training/parallel/buckets.py
    found = {}
    for side, sharded in (("2 ranks", False), ("2 ranks, sharded", True)):
        cluster = Cluster(2, network, "ring", bucket, overlap=False, shard_optimizer=sharded)
        step = step_time(profile, cluster)
        found[side] = slower * step.compute + step.exposed
    return found


if __name__ == "__main__":
    raise SystemExit(main())
