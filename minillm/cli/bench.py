"""`minillm bench`: find and run the benchmark in the folder benchmarks/ of a checkout.

The benchmark isn't part of the installed package: it measures the source tree around it, and uses
PyTorch and other packages that minillm doesn't need.
"""

import importlib
import sys
from pathlib import Path

import minillm


def bench(options):
    """Run `minillm bench` with options.arguments, the rest of the command line -> exit status

    Raises FileNotFoundError outside a checkout, ValueError and OSError for bad input.
    """
    checkout = find_checkout()
    if str(checkout) not in sys.path:
        sys.path.append(str(checkout))
    return importlib.import_module("benchmarks.command").main(options.arguments)


def find_checkout():
    """-> Path of the checkout: where minillm was imported from, or the current directory"""
    for folder in (Path(minillm.__file__).resolve().parent.parent, Path.cwd()):
        if (folder / "benchmarks" / "command.py").is_file() and (folder / "csrc").is_dir():
            return folder
    raise FileNotFoundError(
        "the benchmark is in minillm's source tree, not in the installed package: run minillm "
        "bench in the folder that contains benchmarks/"
    )
