"""python -m benchmarks.costs: what `minillm cost` states, beside what is then measured.

    python -m benchmarks.costs                       every configuration that minillm ships
    python -m benchmarks.costs --only demo faq
    python -m benchmarks.costs --cpu-time            on a machine that does other work too

For each configuration, calibrations and measurements alternate, and the table shows the medians of
predicted / measured: the time of a training step and of a generated token; the peak of all arrays
(tracemalloc) and of the process; and whether all operations were counted right, to the last one.
--cpu-time uses one thread and counts the time that the process has a core: who else has it then
matters little.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np

from minillm.cli.training import DEMO
from minillm.files import atomic_write
from minillm.hardware import available_cores, cpu_model, load
from minillm.json_files import write_json
from minillm.kernels.work import count_products
from minillm.models.auto import AutoConfig, model_class
from minillm.models.gpt2_config import GPT2Config
from minillm.training.loop import Trainer
from minillm.training.run import Run, create_run
from minillm.training.settings import Settings
from minillm.training.task import LABELLED, task_class
from minillm.trust.cost import calibration, estimate
from minillm.trust.cost.calibration import _Stepper
from minillm.trust.cost.step import StepCost
from minillm.trust.cost.workloads import (
    LOOKED_AT,
    random_batches,
    sampled_batches,
    workload_of,
)

ARCHITECTURES = ("gpt2", "llama", "mistral", "qwen2", "bert")
GPT2 = "gpt2-124m"
NAMES = ("demo", "pydoc-tiny", *(f"train {name}" for name in ARCHITECTURES), *LABELLED, GPT2)
HEADINGS = ("configuration", "step", "token", "arrays", "process", "operations")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5, help="of a calibration and a measurement")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each of the two")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--out", type=Path, help="a folder for costs.json and costs.md")
    options = parser.parse_args(arguments)
    if options.cpu_time:
        if os.environ.get("OMP_NUM_THREADS") != "1":
            parser.error("--cpu-time needs OMP_NUM_THREADS=1")
        calibration.clock = time.process_time
    process = calibration.measure_process()["bytes"]
    found = {}
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = _compare(name, Path(folder), process, options)
        print(_row(name, found[name]), flush=True)
        if options.out:
            _save(options, found)
    return 0


def _compare(name, folder, process, options):
    """-> {what: [predicted, measured]} of one configuration"""
    if name in ("pydoc-tiny", GPT2):
        return _compare_config(name, options)
    run = create_run(folder / "run", _settings(name), task=name if name in LABELLED else None)
    plan = estimate.plan_of_run(run, estimate.bytes_of_data(run))
    found = {"operations": _operations(run)}
    steps, trainer = [], _trainer(run, folder / "measured")
    steps_of = calibration.sweep(trainer)
    for _ in range(options.rounds):
        steps.append((calibration.measure_run(run, seconds=options.seconds)["step"],
                      _median(steps_of, options.seconds) / calibration.SAMPLED))
    found["step"] = _ratio(steps)
    del trainer
    found["token"] = _tokens(plan, options) if plan.cost.generates else None
    found["arrays"] = [plan.largest.peak() + plan.data, _arrays(lambda: _some_steps(run, folder / "traced"))]
    found["process"] = [plan.largest.peak() + plan.data + process, _process(run.folder)]
    return found


def _settings(name):
    if name == "demo":
        return Settings(**DEMO)
    if name.startswith("train "):
        return Settings(model_type=name.split()[1])
    cls = task_class(name)
    return Settings(**{"model_type": cls.model_type, **cls.defaults})


def _compare_config(name, options):
    config = GPT2Config() if name == GPT2 else AutoConfig.from_pretrained(name)
    config = config.replace(attn_pdrop=0.0)
    plan = estimate.plan_of_config(config, "causal_lm", batch=2 if name == GPT2 else 16)
    work, batches = plan.workloads[0], random_batches(config, "causal_lm", plan.workloads[0])
    stepper = _Stepper(config, "causal_lm", batches)
    with count_products() as counted:
        stepper.step()
    found = {"operations": [plan.flops, sum(counted.values())]}
    rounds = 2 if name == GPT2 else options.rounds
    found["step"] = _ratio([(calibration.measure_training(
        config, "causal_lm", batches, seconds=options.seconds)["step"],
        _median(stepper.step, options.seconds)) for _ in range(rounds)])
    del stepper
    found["token"] = _tokens(plan, options)

    def step_twice():
        stepper = _Stepper(config, "causal_lm", batches)
        stepper.step()
        stepper.step()

    found["arrays"] = [StepCost(config, "causal_lm", work).memory().peak, _arrays(step_twice)]
    return {**found, "process": None}


def _ratio(pairs):
    """-> [predicted, measured]: those of the pair with the median of the ratios"""
    return sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]


def _median(function, seconds):
    return calibration._in_turns({"": function}, seconds)[""]


def _trainer(run, folder):
    folder.mkdir()
    settings = replace(run.settings, log_every=10**9)
    return Trainer(run.task(), run.new_model(), settings, folder)


def _some_steps(run, folder):
    trainer = _trainer(run, folder)
    take_steps(trainer)


def take_steps(trainer):
    """Take a step on each of some batches of the whole run."""
    trainer.batches = iter(sampled_batches(trainer.task, trainer.settings))
    for _ in range(LOOKED_AT):
        trainer.training_step()


def _operations(run):
    """-> [predicted, counted]: of all products in the first steps of a run"""
    task, model = run.task(), run.new_model()
    wanted = 0
    with count_products() as counted:
        for batch in sampled_batches(task, run.settings):
            work = workload_of(task, batch, run.config)
            wanted += StepCost(run.config, run.task_class.head, work).flops
            task.loss(model, batch).backward()
    return [wanted, sum(counted.values())]


def _tokens(plan, options):
    """-> [predicted, measured]: seconds of a token that `generate` writes"""
    n, new, source = estimate.generated_lengths(plan)
    model = model_class(plan.config.model_type, plan.head)(plan.config).eval()
    past = new // 2 if source else n + new // 2
    pairs = []
    for _ in range(options.rounds):
        predicted = calibration.measure_generating(plan.config, plan.head, n, past,
                                                   seconds=options.seconds)["token"]
        _, state = calibration._prefill(model, n, past + new // 2)
        while state.length < past - new // 4:
            model.step(np.ones(1, np.int64), state)
        times = []
        while state.length < min(past + new // 4, past + new // 2 - 1):
            started = calibration.clock()
            model.step(np.ones(1, np.int64), state)
            times.append(calibration.clock() - started)
        pairs.append((predicted, float(np.median(times))))
    return _ratio(pairs)


def _arrays(function):
    gc.collect()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _process(folder):
    """-> bytes: the peak of a process that trains for some steps, and evaluates"""
    code = ("import sys, tempfile; from pathlib import Path; from minillm.training.run import Run\n"
            "from benchmarks.costs import _trainer, take_steps\n"
            "from minillm.kernels import tune_process; tune_process()\n"
            "from minillm.process_memory import peak_memory\n"
            "with tempfile.TemporaryDirectory() as folder:\n"
            "    trainer = _trainer(Run(sys.argv[1]), Path(folder) / 'run')\n"
            "    take_steps(trainer)\n"
            "    trainer.evaluate()\n"
            "print(peak_memory())")
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True,
                          check=True)
    return int(done.stdout)


def _row(name, found):
    cells = [f"{found[what][0] / found[what][1]:.2f}" if found[what] else "–"
             for what in HEADINGS[1:-1]]
    wanted, counted = found["operations"]
    exact = "equal" if wanted == counted else f"{wanted / counted:.3f}"
    return f"| {name} | " + " | ".join([*cells, exact]) + " |"


def _save(options, found):
    options.out.mkdir(parents=True, exist_ok=True)
    facts = {"machine": f"{available_cores()} cores of {cpu_model()}", "load": load(),
             "cpu_time": options.cpu_time, "found": found}
    write_json(options.out / "costs.json", json.loads(json.dumps(facts)))
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}",
             *(_row(name, each) for name, each in found.items())]
    with atomic_write(options.out / "costs.md", "w", encoding="utf-8") as file:
        file.write("Predicted / measured, by `python -m benchmarks.costs"
                   f"{' --cpu-time' if options.cpu_time else ''}` on {facts['machine']}, load "
                   f"{facts['load']}:\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
