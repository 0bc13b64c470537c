"""The machine behind the results: chip, caches, compiler, libraries, load."""

import ast
import datetime
import os
import platform
import re
from importlib import metadata
from pathlib import Path

from benchmarks.peers import CHECKOUT
from benchmarks.with_numpy import blas
from minillm.hardware import available_cores, cpu_model, load, output_of, total_memory


def describe():
    """-> dict for results.json; unknown facts are None"""
    from minillm import kernels

    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": available_cores(),
        "caches": caches(),
        "memory_gb": total_memory() and round(total_memory() / 1e9, 1),
        "system": platform.platform(),
        "load": load(),
        "python": platform.python_version(),
        "kernels": kernels.info(),
        "c_flags": c_flags(),
        "blas": blas(),
        "environment": {name: value for name, value in os.environ.items()
                        if name.startswith(("MINILLM_", "OMP_", "OPENBLAS_", "MKL_", "GOMP_", "KMP_"))},
        "packages": {name: version(name) for name in
                     ("minillm", "numpy", "cffi", "torch", "transformers", "tokenizers")},
        "commit": commit(),
    }


def caches():
    """-> {"L1 data": "32K", "L2": "1024K", …} of the first core (Linux)"""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip()
                                 for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}" + (" data" if kind == "Data" else "")] = size
    return found


def c_flags():
    """-> {"C_FLAGS": […], "OPENMP": […], "INSTRUCTION_SETS": {…}} as in setup.py, and MINILLM_CFLAGS"""
    flags = {}
    for statement in ast.parse((CHECKOUT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign):
            name = statement.targets[0].id
            if name in ("C_FLAGS", "OPENMP", "INSTRUCTION_SETS"):
                flags[name] = ast.literal_eval(statement.value)
    if os.environ.get("MINILLM_CFLAGS"):
        flags["MINILLM_CFLAGS"] = os.environ["MINILLM_CFLAGS"]
    return flags


def supported_core_types():
    """-> the OPENBLAS_CORETYPE values to try on this chip: one for each kind of kernel"""
    try:
        text = Path("/proc/cpuinfo").read_text()
        flags = set(re.search(r"^flags\s*: (.*)$", text, re.M)[1].split())
    except (OSError, TypeError):
        return []
    wanted = {"Haswell": {"avx2", "fma"}, "SkylakeX": {"avx512f", "avx512bw", "avx512vl"}}
    return [name for name, needs in wanted.items() if needs <= flags]


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit():
    """-> the checked-out commit, followed by "+" if files have changed"""
    name = output_of("git", "-C", str(CHECKOUT), "rev-parse", "--short", "HEAD")
    changed = output_of("git", "-C", str(CHECKOUT), "status", "--porcelain", "-uno")
    return name and name + ("+" if changed else "")
