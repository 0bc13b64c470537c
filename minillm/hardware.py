"""The machine that a program runs on: its processor, and its memory."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path


def cpu_model():
    """-> the name of the processor; None if the system doesn't tell"""
    if sys.platform == "darwin":
        return output_of("sysctl", "-n", "machdep.cpu.brand_string")
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


def total_memory():
    """-> bytes of this machine's memory; None if the system doesn't tell"""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def available_memory():
    """-> bytes that programs can still get, on Linux; elsewhere as `total_memory`"""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return total_memory()


def load():
    """-> the average number of running programs in the last minute; None if unknown"""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def output_of(*command):
    """-> what a command prints; None if it fails"""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
