"""python -m benchmarks.tasks: train every task, and write one table with pictures.

    python -m benchmarks.tasks                       all of them, with their defaults: about half an hour
    python -m benchmarks.tasks --only faq topics
    python -m benchmarks.tasks --quick               tiny models: a trial
    python -m benchmarks.tasks --out DIR             (default: benchmarks/results/DATE-tasks)

Each task is trained by its own `minillm train-task`, and the experiments by `minillm experiment`,
one after another, each in a new process. DIR then holds tasks.md (the table), and for each its
results.json and pictures. The models are in runs/ under the current directory. A second call with
the same DIR skips what is finished.
"""

import argparse
import datetime
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import available_cores, commit, cpu_model
from minillm.files import atomic_write
from minillm.json_files import read_json, write_json
from minillm.training.task import LABELLED

RESULTS = Path(__file__).parent / "results"
EXPERIMENTS = ("length", "family")

QUICK = ("--examples", "200", "--steps", "20", "--n-layer", "1", "--eval-every", "10",
         "--checkpoint-every", "10")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*(name for name in LABELLED), *EXPERIMENTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    out = options.out or RESULTS / f"{datetime.date.today()}-tasks"
    out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        if (out / name / "facts.json").is_file():
            print(f"{name}: finished already", flush=True)
            continue
        train(name, out / name, options.quick)
        write_table(out, names)
    print((out / "tasks.md").read_text(encoding="utf-8"))
    return 0


def train(name, folder, quick=False):
    """Run one task or experiment, and keep its results and pictures in `folder`."""
    run = Path("runs", "tasks", name)
    shutil.rmtree(run, ignore_errors=True)
    run.parent.mkdir(parents=True, exist_ok=True)
    if name in EXPERIMENTS:
        command = ["experiment", name, *(["--quick"] if quick else [])]
    else:
        command = ["train-task", name, *(QUICK if quick else [])]
    print(f"=== minillm {' '.join(command)}", flush=True)
    started, cpu = time.monotonic(), _cpu_seconds()
    subprocess.run([sys.executable, "-m", "minillm", *command, "--out", str(run)], check=True)
    seconds, cpu = time.monotonic() - started, _cpu_seconds() - cpu
    folder.mkdir(parents=True, exist_ok=True)
    for file in [run / "results.json", *sorted(run.glob("*.png")), *sorted(run.glob("*.svg"))]:
        shutil.copy(file, folder / file.name)
    write_json(folder / "facts.json", {
        "command": ["minillm", *command], "seconds": round(seconds), "cpu_seconds": round(cpu),
        "date": str(datetime.date.today()), "python": platform.python_version(), "commit": commit(),
        "machine": f"{available_cores()} cores of {cpu_model()}",
    })


def _cpu_seconds():
    """-> the time that all finished child processes have spent on cores"""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_table(out, names):
    """Write tasks.md from the results in `out`."""
    lines = [f"# Every task, trained on {datetime.date.today()}", ""]
    facts = [read_json(out / name / "facts.json") for name in names
             if (out / name / "facts.json").is_file()]
    lines += [f"On {facts[0]['machine']}. Made by `python -m benchmarks.tasks`. All examples are "
              "generated; the test examples hold words and patterns that training lacks, the "
              "validation examples don't. In parentheses: the 95 % interval. Minutes are those of one "
              "core, from the generator to the pictures; two cores take a little more than half.", "",
              "| task | metric | test | baselines | validation | parameters | core minutes |",
              "| --- | --- | --- | --- | --- | --- | --- |"]
    for name in names:
        folder = out / name
        if name in LABELLED and (folder / "facts.json").is_file():
            lines += task_rows(name, read_json(folder / "results.json"),
                               read_json(folder / "facts.json"))
    lines += ["", "## Pictures", ""]
    for name in names:
        pictures = sorted([*(out / name).glob("*.png"), *(out / name).glob("*.svg")])
        if pictures:
            lines += [f"### {name}", "", *(f"![{name}: {picture.stem}]({name}/{picture.name})"
                                           for picture in pictures), ""]
    with atomic_write(out / "tasks.md", "w") as file:
        file.write("\n".join(lines).rstrip() + "\n")


def task_rows(name, results, facts):
    """-> lines of the table: one for each metric"""
    lines = []
    for number, (metric, score) in enumerate(results["metrics"].items()):
        baselines = ", ".join(f"{baseline} {values[metric]['value']:.3f}"
                              for baseline, values in results["baselines"].items()
                              if metric in values)
        valid = results["validation"].get(metric)
        first = (f"`{name}`", f"{results['n_parameters']:,}", f"{facts['cpu_seconds'] / 60:.1f}")
        task, size, minutes = first if number == 0 else ("", "", "")
        lines.append(f"| {task} | {metric} | {score['value']:.3f} ({score['low']:.3f} – "
                     f"{score['high']:.3f}) | {baselines or '–'} | "
                     f"{valid['value'] if valid else float('nan'):.3f} | {size} | {minutes} |")
    return lines


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
