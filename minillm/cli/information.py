"""`minillm info`: the kernels that run here, and the machine."""

import platform

from minillm import __version__, kernels
from minillm.cli.terminal import table


def info(options):
    rows = [("minillm", __version__), ("python", platform.python_version()),
            ("machine", f"{platform.system()} {platform.machine()}")]
    for name, value in kernels.info().items():
        if isinstance(value, list):
            value = ", ".join(value)
        rows.append((name, {True: "yes", False: "no"}.get(value, value)
                     if isinstance(value, bool) else value))
    table(None, rows)
