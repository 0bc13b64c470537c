"""The machine behind the results: chip, caches, compiler, libraries, load."""

import ast
import datetime
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from benchmarks.peers import CHECKOUT
from benchmarks.with_numpy import blas


def describe():
    """-> dict for results.json; unknown facts are None"""
    from minillm import kernels

    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": available_cores(),
        "caches": caches(),
        "memory_gb": memory_gb(),
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


def cpu_model():
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or None
    facts = dict(re.findall(r"^(model name|cpu family|model|CPU part)\s*: (.*)$", text, re.M))
    name = facts.get("model name") or platform.machine()
    if "cpu family" in facts:  # cloud machines often hide the name, but not these
        name += f" (family {facts['cpu family']}, model {facts['model']})"
    return name


def available_cores():
    """-> the number of cores that this process may use"""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


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


def memory_gb():
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError):
        return None


def load():
    """-> the average number of running programs in the last minute; above 0.5, others were busy"""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


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
    name = _output("git", "-C", str(CHECKOUT), "rev-parse", "--short", "HEAD")
    changed = _output("git", "-C", str(CHECKOUT), "status", "--porcelain", "-uno")
    return name and name + ("+" if changed else "")


def _output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
