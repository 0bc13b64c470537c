"""Serving 1, 4 and 16 clients at once: `python -m benchmarks.serving`, beside transformers.

    minillm serve            over HTTP, streaming, as a client sees it
    transformers             `generate`, one request after the other, in a process without HTTP
    transformers, batched    its continuous batching (paged attention), likewise without HTTP

The same weights, prompts of random tokens, greedy, the same number of new tokens; equal numbers of
threads. A round of one side is: all clients ask at the same moment, and each waits for its text.
The sides take turns; whose turn it isn't is stopped. Prints a table, and writes
benchmarks/results/DATE-serving.md with --write.
"""

import argparse
import datetime
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.cases import GPT2_124M
from minillm.files import atomic_write
from minillm.hardware import available_cores, cpu_model
from minillm.json_files import read_json, write_json
from minillm.models.auto import AutoModelForCausalLM
from minillm.models.gpt2 import GPT2LMHeadModel
from minillm.models.gpt2_config import GPT2Config
from minillm.text.auto import AutoTokenizer

CLIENTS = (1, 4, 16)
SIDES = ("minillm serve", "transformers", "transformers, batched")


# -------------------------------------------------------------------- the models


def make_models(folder):
    """Write the models into folders -> {name: folder}; without an end-of-text token"""
    packaged = AutoModelForCausalLM.from_pretrained("pydoc-tiny")
    config = GPT2Config(vocab_size=GPT2_124M["V"], n_positions=GPT2_124M["n_positions"],
                        n_embd=GPT2_124M["n_embd"], n_layer=GPT2_124M["n_layer"],
                        n_head=GPT2_124M["n_head"])
    made = {"pydoc-tiny": packaged, "GPT-2 124M": GPT2LMHeadModel(config)}
    for name, model in made.items():
        path = Path(folder) / name.replace(" ", "-")
        made[name] = path
        if path.exists():
            continue
        model.save_pretrained(path)
        AutoTokenizer.from_pretrained("pydoc-tiny").save_pretrained(path)
        _fill_vocabulary(path, model.config.vocab_size)
        for file in ("config.json", "generation_config.json"):
            content = read_json(path / file)
            content["eos_token_id"] = content["bos_token_id"] = None
            write_json(path / file, {**content, "torch_dtype": "float32", "dtype": "float32"}
                       if file == "config.json" else content)
    return made


def _fill_vocabulary(path, size):
    """Give ids without a token a made-up one, so that every token is a piece of text."""
    content = read_json(path / "vocab.json")
    for id in range(len(content), size):
        content[f"w{id}"] = id
    write_json(path / "vocab.json", content, indent=None)
    (path / "tokenizer.json").unlink(missing_ok=True)


def prompts(n, length, vocab_size, seed):
    return np.random.default_rng(seed).integers(vocab_size, size=(n, length)).tolist()


# -------------------------------------------------------------------- the sides


class Minillm:
    """minillm serve in its own process, asked over HTTP."""

    def __init__(self, folder, threads):
        self.name = folder.name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "minillm", "serve", "--model", str(folder), "--port", "0",
             "--timeout", "600"], stderr=subprocess.PIPE, text=True, env=_environment(threads))
        self.port = int(self.process.stderr.readline().split(":")[2].split("/")[0])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def round(self, ids, n_new):
        """-> list of (seconds to the first piece of text, to the last), one of each client

        All clients are one thread without an HTTP library: they leave the cores to the server.
        """
        found, received, start = [None] * len(ids), [b""] * len(ids), time.perf_counter()
        with selectors.DefaultSelector() as waiting:
            for i, prompt in enumerate(ids):
                client = socket.create_connection(("127.0.0.1", self.port), timeout=600)
                client.sendall(self._request(prompt, n_new))
                waiting.register(client, selectors.EVENT_READ, i)
            while waiting.get_map():
                for key, _ in waiting.select(600):
                    i, piece = key.data, key.fileobj.recv(2**16)
                    received[i] += piece
                    now = time.perf_counter() - start
                    if found[i] is None and b"data: {" in received[i]:
                        found[i] = now
                    if not piece or received[i].endswith(b"\r\n0\r\n\r\n"):
                        waiting.unregister(key.fileobj)
                        key.fileobj.close()
                        found[i] = found[i], now
        for answer in received:
            n = re.findall(rb'"completion_tokens":(\d+)', answer)
            if n != [b"%d" % n_new]:
                raise AssertionError(f"{n} tokens came, wanted {n_new}: {answer[:200]}")
        return found

    def _request(self, prompt, n_new):
        body = json.dumps({"model": self.name, "prompt": prompt, "max_tokens": n_new,
                           "temperature": 0, "stream": True,
                           "stream_options": {"include_usage": True}})
        return (f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
                ).encode()

    def close(self):
        self.process.kill()
        self.process.wait()


class Transformers:
    """A process of this file with --peer, which reads rounds from stdin."""

    def __init__(self, folder, threads, batched):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving", "--peer", str(folder),
             *(["--batched"] if batched else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=_environment(threads), cwd=Path(__file__).parents[1])

    def round(self, ids, n_new):
        self.process.stdin.write(json.dumps({"ids": ids, "n_new": n_new}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the process of transformers has ended")
        return json.loads(line)

    def close(self):
        self.process.kill()
        self.process.wait()


def _environment(threads):
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore"}


def peer(folder, batched):
    """The process of transformers: one round a line."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    answer = _batched(model) if batched else _one_by_one(model)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def _one_by_one(model):
    import torch

    class FirstToken:
        """A streamer that notes when the first new token comes"""

        def __init__(self):
            self.times = []

        def put(self, value):
            self.times.append(time.perf_counter())

        def end(self):
            pass

    def answer(ids, n_new):
        start, found = time.perf_counter(), []
        for prompt in ids:
            streamer, given = FirstToken(), torch.tensor([prompt])
            model.generate(given, attention_mask=torch.ones_like(given), do_sample=False,
                           max_new_tokens=n_new, eos_token_id=None, pad_token_id=0,
                           streamer=streamer)
            found.append((streamer.times[1] - start, time.perf_counter() - start))
        return found
    return answer


def _batched(model):
    import transformers

    options = transformers.GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0)
    manager = model.init_continuous_batching(
        generation_config=options,
        continuous_batching_config=transformers.ContinuousBatchingConfig(
            num_blocks=64, max_batch_tokens=512))
    manager.start()

    def answer(ids, n_new):
        start, first, last = time.perf_counter(), {}, {}
        names = [manager.add_request(prompt, max_new_tokens=n_new, streaming=True)
                 for prompt in ids]
        while len(last) < len(names):
            output = manager.get_result(timeout=1)
            if output is None:
                continue
            if output.error:
                raise RuntimeError(output.error)
            now = time.perf_counter() - start
            if output.generated_tokens:
                first.setdefault(output.request_id, now)
            if len(output.generated_tokens) >= n_new:
                last[output.request_id] = now
        return [(first[name], last[name]) for name in names]
    return answer


# -------------------------------------------------------------------- the measurement


def measure(folder, vocab_size, *, n_new, length, rounds, threads, sides, clients=CLIENTS):
    """-> {(clients, side): list of rounds, each a list of (first, last)}"""
    make = {SIDES[0]: lambda: Minillm(folder, threads),
            SIDES[1]: lambda: Transformers(folder, threads, False),
            SIDES[2]: lambda: Transformers(folder, threads, True)}
    running, found = {}, {}
    try:
        for side in sides:
            running[side] = make[side]()
            running[side].round(prompts(2, length, vocab_size, 99), 2)  # warm up
            running[side].process.send_signal(signal.SIGSTOP)
        for number in range(rounds):
            for n in clients:
                ids = prompts(n, length, vocab_size, number)
                for side in [*sides[number % len(sides):], *sides[: number % len(sides)]]:
                    process = running[side].process
                    process.send_signal(signal.SIGCONT)
                    found.setdefault((n, side), []).append(running[side].round(ids, n_new))
                    process.send_signal(signal.SIGSTOP)
    finally:
        for each in running.values():
            each.close()
    return found


def summary(found, n_new):
    """-> list of rows: clients, side, tokens/s (median of the rounds), first token and whole text
    at p50, and at p95, in ms"""
    rows = []
    for (clients, side), rounds in sorted(found.items(), key=lambda item: (
            item[0][0], SIDES.index(item[0][1]))):
        rates = [clients * n_new / max(last for _, last in each) for each in rounds]
        times = np.array([pair for each in rounds for pair in each]) * 1e3
        p50, p95 = np.percentile(times, [50, 95], axis=0)
        rows.append((clients, side, float(np.median(rates)), *p50, *p95))
    return rows


def table(name, rows):
    lines = [f"| {name}: clients | | tokens/s | first token p50 | p95 | whole text p50 | p95 |",
             "| ---: | --- | ---: | ---: | ---: | ---: | ---: |"]
    for clients, side, rate, first, whole, first95, whole95 in rows:
        lines.append(f"| {clients} | {side} | {rate:,.0f} | {first:,.0f} ms | {first95:,.0f} ms | "
                     f"{whole:,.0f} ms | {whole95:,.0f} ms |")
    return "\n".join(lines)


def main():
    options = parser().parse_args()
    if options.peer:
        return peer(options.peer, options.batched)
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in make_models(options.folder or folder).items():
            if options.only and name not in options.only:
                continue
            vocab_size = read_json(path / "config.json")["vocab_size"]
            started = time.perf_counter()
            found = measure(path, vocab_size, n_new=options.tokens, length=options.prompt,
                            rounds=options.rounds, threads=options.threads, sides=options.sides,
                            clients=options.clients)
            tables.append(table(name, summary(found, options.tokens)))
            print(f"{tables[-1]}\n{time.perf_counter() - started:.0f} s\n", flush=True)
    if options.write:
        write(tables, options)


def write(tables, options):
    path = Path(__file__).parent / "results" / f"{datetime.date.today()}-serving.md"
    lines = ["# Serving 1, 4 and 16 clients at once", "",
             f"`python -m benchmarks.serving`: prompts of {options.prompt} random tokens, "
             f"{options.tokens} new ones, greedy, float32, {options.threads} thread(s), "
             f"{options.rounds} rounds by turns; {cpu_model()}, {available_cores()} cores. "
             "minillm is asked over HTTP with streaming; transformers without HTTP.", ""]
    with atomic_write(path, "w") as file:
        file.write("\n".join(lines) + "\n" + "\n\n".join(tables) + "\n")
    print(path)


def parser():
    made = argparse.ArgumentParser(prog="python -m benchmarks.serving",
                                   description=__doc__.splitlines()[0])
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--tokens", type=int, default=32, help="new tokens of each text")
    made.add_argument("--prompt", type=int, default=32, help="tokens of each prompt")
    made.add_argument("--threads", type=int, default=available_cores())
    made.add_argument("--clients", nargs="+", type=int, default=list(CLIENTS))
    made.add_argument("--only", nargs="+", metavar="MODEL", help="pydoc-tiny, 'GPT-2 124M'")
    made.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    made.add_argument("--folder", help="keep the models here")
    made.add_argument("--write", action="store_true", help="write results/DATE-serving.md")
    made.add_argument("--peer", help=argparse.SUPPRESS)
    made.add_argument("--batched", action="store_true", help=argparse.SUPPRESS)
    return made


if __name__ == "__main__":
    sys.exit(main())
