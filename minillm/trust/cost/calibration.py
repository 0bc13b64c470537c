"""How fast this machine is, measured in a few seconds at a model's own shapes, and remembered.

The layers of a stack are alike, so the time of a step is that of everything around the layers, and
L times that of one:

    t(L) = t(1) + (L - 1) · (t(3) - t(1)) / 2

So it is enough to run models of one and of three layers, of the wanted width, on batches of the
wanted shape. They take their steps in turns, so that what else the machine does meets both.

The rates of single kernels tell how much of the time is arithmetic: a step can't be faster than its
operations at the peak rate, nor than its bytes at the memory's rate (Williams, Waterman and
Patterson 2009, "Roofline").
"""

import copy
import datetime
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from minillm import kernels
from minillm.energy import EnergyMeter
from minillm.files import expand
from minillm.hardware import available_cores, cpu_model, load
from minillm.json_files import read_json, write_json
from minillm.kernels.work import work
from minillm.models.auto import model_class
from minillm.nn.module import inference
from minillm.ops.attention import AttentionBias, streaming_attention
from minillm.ops.matmul import matmul
from minillm.training.architecture import adapt
from minillm.training.clipping import clip_factor, grad_norm
from minillm.training.loop import Trainer
from minillm.training.muon import make_optimizer, optimizer_groups
from minillm.training.settings import Settings
from minillm.trust.cost.workloads import sampled_batches

SHALLOW, DEEPER = 1, 3  # layers
SECONDS = 3.0  # of measuring; the warm-up comes before
LEAST_ROUNDS, MOST_ROUNDS = 5, 200
SAMPLED = 4  # batches of a run
BURST = 8  # tokens, generated one after another
clock = time.perf_counter  # the benchmark has a mode in which it counts this process's time alone


def measure_training(config, head, batches, *, seconds=SECONDS, **optimizer):
    """-> {"step": …, "forward": …, "watts": …}: seconds of a whole model's step and
    forward in evaluation, by models of few layers; watts is None where they can't be measured

    batches(model) -> a function that returns a new batch's Loss each time that it is called
    optimizer: Settings that say which one it is (default: AdamW)
    """
    steppers = {n: _Stepper(_shallow(config, n), head, batches, **optimizer)
                for n in _depths(config)}
    with EnergyMeter() as meter:
        found = _in_turns({
            (n, what): function for n, stepper in steppers.items()
            for what, function in (("step", stepper.step), ("forward", stepper.forward))
        }, seconds)
    whole = {what: _extrapolated({n: t for (n, which), t in found.items() if which == what},
                                 n_layers(config)) for what in ("step", "forward")}
    return {**whole, "watts": meter.watts}


def measure_generating(config, head, prompt, past, *, seconds=SECONDS / 2):
    """-> {"prompt": …, "token": …}: seconds to read `prompt` tokens, and one more after `past`"""
    functions = {}
    for n in _depths(config):
        model = model_class(config.model_type, head)(_shallow(config, n)).eval()
        functions[n, "prompt"] = lambda model=model: _prefill(model, prompt, prompt + 1)
        functions[n, "token"] = _token_reader(model, past)
    found = _in_turns(functions, seconds)
    burst = _burst(model)
    found.update({key: t / burst for key, t in found.items() if key[1] == "token"})
    return {what: _extrapolated({n: t for (n, which), t in found.items() if which == what},
                                n_layers(config)) for what in ("prompt", "token")}


def measure_run(run, *, seconds=SECONDS):
    """-> {"step": …, "evaluation": …, "checkpoint": …, "watts": …}: seconds, by models of few
    layers on the run's own batches; everything that the loop does is in them, also its files

    run: a training.run.Run, whose folder isn't written to
    """
    task, settings = run.task(), run.settings
    # Frozen layers are the lowest of all: only the whole model has them.
    depths = _depths(run.config) if settings.freeze is None else (n_layers(run.config),)
    with tempfile.TemporaryDirectory() as folder:
        trainers = {n: _trainer(run, task, n, Path(folder) / str(n)) for n in depths}
        with EnergyMeter() as meter:
            found = _in_turns({(n, "step"): sweep(trainer)
                               for n, trainer in trainers.items()}, seconds)
        found = {key: t / SAMPLED for key, t in found.items()}
        for what, method in (("evaluation", "evaluate"), ("checkpoint", "save")):
            found.update(_in_turns({(n, what): getattr(trainer, method)
                                    for n, trainer in trainers.items()}, 0, least=1, warm_ups=1))
    whole = {what: _extrapolated({n: t for (n, which), t in found.items() if which == what},
                                 n_layers(run.config))
             for what in ("step", "evaluation", "checkpoint")}
    return {**whole, "watts": meter.watts}


def sweep(trainer):
    """-> a function that takes a step on each of SAMPLED batches from all of the run"""
    sample = sampled_batches(trainer.task, trainer.settings, SAMPLED * trainer.settings.grad_accum)
    own = trainer.batches, trainer.settings

    def steps():
        trainer.batches = itertools.cycle(sample)  # which are cut already
        trainer.settings = replace(trainer.settings, length_warmup=0, batch_warmup=0)
        for _ in range(SAMPLED):
            trainer.training_step()
        trainer.batches, trainer.settings = own

    return steps if trainer.settings.is_private is False else _own_steps(trainer)


def _own_steps(trainer):
    """Private batches are drawn by the step itself."""
    def steps():
        for _ in range(SAMPLED):
            trainer.training_step()

    return steps


def _trainer(run, task, n, folder):
    """-> a Trainer of a model of n layers, which writes to another folder than the run's"""
    folder.mkdir()
    settings = replace(run.settings, log_every=10**9)
    model = model_class(run.config.model_type, run.task_class.head)(_shallow(run.config, n)).train()
    return Trainer(task, adapt(model, settings, run.task_class.head), settings, folder)


def measure_process():
    """-> {"bytes": …}: what a process that trains has in memory before the first array"""
    code = ("import sys, minillm.training.run, minillm.tasks.base, minillm.cli.training\n"
            "from minillm.training.plots import plot_loss\n"
            "plot_loss([{'step': 1, 'loss': 1.0}, {'step': 2, 'loss': 0.5}], sys.argv[1])\n"
            "from minillm.process_memory import peak_memory; print(peak_memory())")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", code, str(Path(folder) / "loss.png")],
                              capture_output=True, text=True, timeout=120, check=True)
    return {"bytes": int(done.stdout)}


def measure_rates(width, d_ff, tokens, heads, length):
    """-> {"matmul", "attention": GFLOP/s at a model's shapes, "peak": the machine's; "memory": GB/s}

    peak and memory need the C kernels; without them they are None.
    """
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal(shape, np.float32) for shape in ((tokens, width), (width, d_ff)))
    batch = max(1, tokens // length)
    Q, K, V = rng.standard_normal((3, batch, heads, length, width // heads), np.float32)
    causal = AttentionBias(True)
    found = {"matmul": _rate(lambda: matmul(A, B)),
             "attention": _rate(lambda: streaming_attention(Q, K, V, bias=causal)),
             "peak": None, "memory": None}
    if kernels.current() == "c":
        from minillm.kernels import machine

        found["peak"] = machine.fma_peak()
        found["memory"] = machine.read_bandwidth(seconds=0.3, megabytes=128)
    return {name: value and round(value, 2) for name, value in found.items()}


def _rate(function, seconds=0.2):
    """-> GFLOP/s of the products in `function`, the median of its calls"""
    flops = []
    with kernels.observe(lambda name, took, arguments, options, result: flops.append(
            work(name, arguments, options, result).flops)):
        function()
    found = _in_turns({"": function}, seconds)
    return sum(flops) / found[""] / 1e9


# ---- models of few layers


class _Stepper:
    """A model that takes the steps of training/loop.py."""

    def __init__(self, config, head, batches, **optimizer):
        self.model = model_class(config.model_type, head)(config).train()
        settings = Settings(lr=1e-6, **optimizer)
        self.optimizer = make_optimizer(optimizer_groups(self.model, settings), settings)
        self.loss = batches(self.model)

    def step(self):
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        norm = grad_norm(self.optimizer.parameters)
        self.optimizer.step(grad_scale=clip_factor(norm, 1.0))

    def forward(self):
        with inference(self.model):
            self.loss()


def n_layers(config):
    return config.num_hidden_layers


def _depths(config):
    L = n_layers(config)
    return (L,) if L <= DEEPER else (SHALLOW, DEEPER)


def _shallow(config, n):
    types = getattr(config, "layer_types", None)
    return config.replace(num_hidden_layers=n, **({"layer_types": types[:n]} if types else {}))


def _extrapolated(times, L):
    """{layers: seconds} -> seconds of L layers"""
    if L in times:
        return times[L]
    each = max(0.0, times[DEEPER] - times[SHALLOW]) / (DEEPER - SHALLOW)
    return times[SHALLOW] + (L - SHALLOW) * each


def _in_turns(functions, seconds, least=LEAST_ROUNDS, warm_ups=2):
    """{key: function} -> {key: the median seconds of its calls}, called in turns"""
    for function in functions.values():  # a warm-up: wake the threads, touch the memory
        for _ in range(warm_ups):
            function()
    times = {key: [] for key in functions}
    end = time.perf_counter() + seconds
    while len(next(iter(times.values()))) < MOST_ROUNDS:
        for key, function in functions.items():
            started = clock()
            function()
            times[key].append(clock() - started)
        if time.perf_counter() > end and len(next(iter(times.values()))) >= least:
            break
    return {key: float(np.median(each)) for key, each in times.items()}


def _prefill(model, prompt, length):
    """Read a prompt; an encoder-decoder reads a source, and the first token of the target."""
    ids = np.ones((1, prompt), np.int64)
    if getattr(model.config, "is_encoder_decoder", False):
        return model.prefill(ids, max_length=length, decoder_input_ids=ids[:, :1])
    return model.prefill(ids, max_length=length)


def _burst(model):
    """-> how many tokens to generate one after another, in a model that has room for them"""
    return BURST if model.max_positions is None else max(1, min(BURST, model.max_positions - 1))


def _token_reader(model, past):
    """-> a function that reads a few tokens, one after another, around `past` others

    One token between other work would find its weights in slower caches.
    """
    n = _burst(model)
    start = max(1, min(past - n // 2, (model.max_positions or past + n) - n))
    seq2seq = getattr(model.config, "is_encoder_decoder", False)
    _, first = _prefill(model, past if seq2seq else start, start + n)
    while first.length < start:
        model.step(np.ones(1, np.int64), first)

    def read():
        state = copy.deepcopy(first)
        for _ in range(n):
            model.step(np.ones(1, np.int64), state)

    return read


# ---- what is remembered


def calibration_file():
    """-> Path of what was measured on this machine"""
    folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expand(Path(folder) / "minillm" / "calibration.json")


def remembered(key, measure, again=False):
    """-> the result of `measure()`, a dict, with its "date" and "load"; from the file, if there

    key: what was measured, a dict; the machine, its cores and the kernels are added
    again: measure in any case
    """
    path = calibration_file()
    machine = f"{cpu_model()}, {available_cores()} cores, {kernels.get_num_threads()} threads, " \
              f"{kernels.current()}"
    digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:16]
    content = _read(path)
    if not again and digest in content.get(machine, {}):
        return content[machine][digest]
    now = datetime.datetime.now().astimezone().isoformat(timespec="minutes")
    found = {**measure(), "date": now, "load": load()}
    content.setdefault(machine, {})[digest] = found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)
    except OSError:  # it is measured again next time
        pass
    return found


def _read(path):
    """-> the content of the file; empty if it is missing or damaged: it can be measured again"""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
