"""A competitor in a separate process, which peers.py starts.

Two libraries with two thread pools in one process disturb each other: idle threads keep spinning
for a while in the hope of more work, and take the core from the one that is being measured. Some
settings (OPENBLAS_CORETYPE, the number of threads) also count only when a process starts. So each
competitor is a process that reads one JSON command a line from its standard input:

    {"prepare": "matmul", "arguments": {...}}   ->  {"ok": true}
    {"time": calls}                             ->  {"seconds": of one call}
    {"memory": calls}                           ->  {"imported", "before", "peak": bytes}
    {"call": "matmul", "arguments": {...}}      ->  {"result": whatever with_LIBRARY.matmul returns}

with_LIBRARY.<name>(**arguments) makes the inputs and returns the function to time, or a pair of
functions: the first one is called, untimed, before every call of the second.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import time

from minillm.process_memory import peak_memory, reset_peak, resident_memory


def main(name):
    """Serve with_<name>.py until standard input ends."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep the libraries' output out of the answers
    if name == "minillm":
        from minillm.kernels import tune_process

        tune_process()
    library = importlib.import_module(f"benchmarks.with_{name}")
    imported = resident_memory()
    before, run = None, None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if "prepare" in command:
                before = run = None
                gc.collect()
                made = getattr(library, command["prepare"])(**command["arguments"])
                before, run = made if isinstance(made, tuple) else (None, made)
                answer = {"ok": True}
            elif "time" in command:
                answer = {"seconds": _time(before, run, command["time"])}
            elif "memory" in command:
                answer = {"imported": imported, **_memory(run, command["memory"])}
            else:
                result = getattr(library, command["call"])(**command["arguments"])
                answer = {"result": result}
        except Exception as error:  # report anything that a library raises in one line
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _time(before, run, calls):
    """Seconds for one call: the mean of `calls`, after one to wake the threads if they are many."""
    if calls > 1:
        if before is not None:
            before()
        run()
    total = 0.0
    if before is None:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - start) / calls
    for _ in range(calls):
        before()
        start = time.perf_counter()
        run()
        total += time.perf_counter() - start
    return total / calls


def _memory(run, calls):
    """-> the memory in use before the calls, and its peak during them"""
    gc.collect()
    reset_peak()
    before = resident_memory()
    for _ in range(calls):
        run()
    return {"before": before, "peak": peak_memory()}


def die_with_parent():
    """Linux: end with the parent. A worker is stopped most of the time, and would stay behind."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
