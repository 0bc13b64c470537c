"""The command `minillm bench` (also: python -m benchmarks)."""

import argparse
import datetime
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks import machine, plots, results, tables
from benchmarks.harness import FULL, QUICK
from benchmarks.peers import Arena
from benchmarks.programs import find
from benchmarks.sections.all import SECTIONS
from benchmarks.sections.context import Context, default_threads
from minillm.files import atomic_write

DESCRIPTION = """\
Measure minillm beside the limits of this machine, NumPy, PyTorch and Hugging Face.

  minillm bench --quick                        under a minute
  minillm bench                                everything: a quarter of an hour on two cores
  minillm bench --only matmul train            some sections
  minillm bench --only train decode --llm-c ~/llm.c --llama-cpp ~/llama.cpp/build
  minillm bench compare A.json B.json          how many times faster B is than A

Prints tables, and writes results.json and plots (PNG) into a new folder in runs/bench.
What the tables mean stands in benchmarks/README.md.
"""


def main(arguments=None):
    """-> exit status. Raises ValueError and OSError for errors that the user can fix."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["compare"]:
        return compare(arguments[1:])
    options = parser().parse_args(arguments)
    out = Path(options.out or f"runs/bench/{datetime.datetime.now():%Y-%m-%d-%H%M%S}")
    out.mkdir(parents=True, exist_ok=True)
    console = make_console()
    threads = tuple(sorted(set(options.threads))) if options.threads else default_threads()
    programs = {"llm_c": options.llm_c, "llama_cpp": options.llama_cpp}
    for folder, name, option in ((options.llm_c, "train_gpt2", "--llm-c"),
                                 (options.llama_cpp, "llama-bench", "--llama-cpp")):
        if folder:
            find(folder, name, option)  # now, not in an hour
    found = run(options.only, QUICK if options.quick else FULL, console, threads, programs)
    if tables.summarize_goals(found):
        console.print(tables.goals_table(found))
    save(found, out)
    console.print(f"Results and plots are in {out}")
    return 0


def run(only, effort, console, threads, programs=None):
    """Measure the sections in `only` (None: all), and print each when it is done -> Results

    programs: {"llm_c": folder, "llama_cpp": folder} of those that the user has
    """
    description = machine.describe()
    for line in tables.machine_lines(description):
        console.print(line, style="dim")
    found = results.Results(description, effort.name)
    with Arena(effort, say=lambda text: console.print(text, style="yellow")) as arena:
        context = Context(arena, threads, **(programs or {}))
        for key, measure in SECTIONS.items():
            if only and key not in only and key != "limits":
                continue
            start = time.perf_counter()
            with console.status(f"measuring: {key}"):
                section = measure(context)
            found.sections.append(section)
            console.print(f"{section.title}, {section.unit}", style="bold")
            if section.rows:
                console.print(tables.section_table(section))
            for note in section.notes:
                console.print(f"  {note}", style="dim")
            console.print(f"  {time.perf_counter() - start:.0f} s\n", style="dim")
    description["load at the end"] = machine.load()
    return found


def save(found, out):
    """Write results.json, and the plots of all sections that have one."""
    with atomic_write(out / "results.json", "w") as file:
        file.write(results.to_json(found) + "\n")
    plots.save_all(found, out)


def compare(arguments):
    options = argparse.ArgumentParser(
        prog="minillm bench compare",
        description="Two results of minillm bench: how many times better the second one is.",
    )
    options.add_argument("first", help="a results.json, or the folder with it")
    options.add_argument("second")
    files = options.parse_args(arguments)
    before, after = results.read(files.first), results.read(files.second)
    console = make_console()
    for line in different_machines(before.machine, after.machine):
        console.print(line, style="yellow")
    console.print(tables.compare(before, after))
    return 0


def different_machines(first, second):
    """-> lines that name the differences between the machines of two results"""
    return [f"{name} differs: {first.get(name)!r} and {second.get(name)!r}"
            for name in ("cpu", "cores", "packages", "blas") if first.get(name) != second.get(name)]


def make_console():
    """A console for wide tables: a file or a pipe has no width."""
    return Console() if sys.stdout.isatty() else Console(width=140)


def parser():
    made = argparse.ArgumentParser(
        prog="minillm bench", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    made.add_argument("--only", nargs="+", metavar="SECTION", choices=SECTIONS,
                      help=f"any of: {', '.join(SECTIONS)}")
    made.add_argument("--threads", nargs="+", type=positive, metavar="N",
                      help="numbers of threads, for all competitors (default: 1, and 2 where there "
                           "are two cores); what is measured with one number only, like the "
                           "training steps, is measured with the largest")
    made.add_argument("--llm-c", metavar="DIR",
                      help="the folder with llm.c's train_gpt2, to compare training steps with")
    made.add_argument("--llama-cpp", metavar="DIR",
                      help="the folder with llama.cpp's llama-bench, to compare decoding with")
    made.add_argument("--out", metavar="DIR", help="where results and plots go")
    return made


def positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads")
    return int(text)
