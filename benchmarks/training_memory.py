"""Memory and time of a training step in less memory: `python -m benchmarks.training_memory`.

GPT-2 124M takes steps (zero_grad, forward, backward, clip, AdamW) on 4 texts of 1,024 tokens, each
way in a process of its own. The peak is the resident set as the system counts it: interpreter and
libraries included.

    plain       everything is kept, and the logits are one matrix
    chunks      the loss is computed without that matrix (minillm/ops/linear_cross_entropy.py)
    recompute   blocks keep their inputs alone (minillm/nn/recompute.py)
    both        chunks and recompute
    torch, torch-checkpoint    PyTorch, plain and with torch.utils.checkpoint around each block
"""

import argparse
import json
import subprocess
import sys
import time

from benchmarks.cases import GPT2_124M
from benchmarks.machine import available_cores, cpu_model
from minillm.process_memory import peak_memory

WAYS = ("plain", "chunks", "recompute", "both", "torch", "torch-checkpoint")


def make_step(way, B, T):
    """-> a function that takes one step"""
    shape = {**GPT2_124M, "B": B, "T": T}
    shape.pop("n_positions")
    if way.startswith("torch"):
        from benchmarks.with_torch import train_step

        return train_step(checkpoint=way == "torch-checkpoint", **shape)
    from benchmarks.with_minillm import train_step
    from minillm.kernels import tune_process

    tune_process()
    return train_step(in_chunks=way in ("chunks", "both"), recompute=way in ("recompute", "both"),
                      **shape)


def measure(way, B, T, steps):
    """-> {"peak": bytes, "seconds": of the fastest step after the first, "loss": of the last}"""
    step, seconds = make_step(way, B, T), []
    for _ in range(steps):
        started = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - started)
    return {"peak": peak_memory(), "seconds": min(seconds[1:], default=seconds[0]),
            "loss": loss if isinstance(loss, float) else loss.item()}


def in_a_new_process(way, options):
    command = [sys.executable, "-m", "benchmarks.training_memory", "--one", way, "--batch",
               options.batch, "--length", options.length, "--steps", options.steps]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ways", default=",".join(WAYS), help="some of them, with commas between")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.batch, options.length, options.steps)))
        return
    print(f"{cpu_model()}, {available_cores()} cores; B={options.batch}, T={options.length}")
    for way in options.ways.split(","):
        found = in_a_new_process(way, options)
        print(f"{way:16} {found['peak'] / 1e9:6.2f} GB {found['seconds']:7.1f} s   "
              f"loss {found['loss']!r}", flush=True)


if __name__ == "__main__":
    main()
