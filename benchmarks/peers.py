"""Competitors: their libraries and settings, and the communication with their processes."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import alternate

CHECKOUT = Path(__file__).resolve().parent.parent
# Instead of `python -m benchmarks.worker`: append the checkout to the search path (and remove the
# current directory from its beginning), so that an installed minillm takes precedence.
START = ("import sys; checkout, library = sys.argv[1:]; sys.path[:1] = []; "
         "sys.path.append(checkout); from benchmarks.worker import main; main(library)")

# library -> the module that it needs, and how to install it
NEEDS = {
    "minillm": ("minillm", "minillm"),
    "numpy": ("numpy", "numpy"),
    "torch": ("torch", "torch --index-url https://download.pytorch.org/whl/cpu"),
    "hugging_face": ("transformers", "torch transformers"),
}


@dataclass(frozen=True)
class Side:
    """One competitor: a library (with_<library>.py), threads, and settings of its environment.

    `options` are arguments of the case for this side only, such as {"compiled": True}.
    """

    label: str
    library: str
    threads: int = 1
    environment: tuple = ()  # of (name, value)
    options: tuple = ()  # of (name, value)

    @property
    def process(self):
        """The identity of its process: each side of a competition needs its own."""
        return (self.library, self.threads, self.environment, self.options)


class PeerError(Exception):
    """A competitor can't do the work; the message says why."""


class Peer:
    """A worker process (worker.py). Between commands it is stopped: SIGSTOP halts all its threads
    at once, so that none of them spins on a core that another process needs."""

    def __init__(self, library, threads, environment=()):
        count = str(threads)
        variables = {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count,
                     "MKL_NUM_THREADS": count, "VECLIB_MAXIMUM_THREADS": count,
                     "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": count,
                     "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
                     "PYTHONWARNINGS": "ignore"}
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, str(CHECKOUT), library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            env={**os.environ, **variables, **dict(environment)},
        )

    def ask(self, **command):
        """Send one command -> its answer, a dict. Raises PeerError."""
        try:
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            self.process.wait()
            self.errors.seek(0)
            last_lines = self.errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise PeerError(f"the process ended ({self.process.returncode}): {last_lines}")
        self.process.send_signal(signal.SIGSTOP)
        answer = json.loads(answer)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def prepare(self, case, arguments):
        self.ask(prepare=case, arguments=arguments)

    def time(self, calls):
        return self.ask(time=calls)["seconds"]

    def close(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            try:
                stream.close()
            except BrokenPipeError:
                pass


class Arena:
    """All processes of a run, each started on first use, and messages for the user."""

    def __init__(self, effort, say=print):
        self.effort = effort
        self.say = say
        self.peers = {}
        self.missing = {}
        for library, (package, how) in NEEDS.items():
            if importlib.util.find_spec(package) is None:
                self.missing[library] = how
                say(f"{package} isn't installed: its columns are left out (pip install {how})")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.release()

    def release(self):
        """End all processes, which frees their memory."""
        for peer in self.peers.values():
            peer.close()
        self.peers = {}

    def peer(self, side):
        if side.process not in self.peers:
            self.peers[side.process] = Peer(side.library, side.threads, side.environment)
        return self.peers[side.process]

    def has(self, library):
        return library not in self.missing

    def measure(self, case, arguments, sides, effort=None, more=None):
        """Time with_<library>.<case>(**arguments) on all `sides` by turns -> {label: Timing}

        more: {label: function(calls) -> seconds of a call}, what isn't a library (programs.py)
        A side whose library is missing, or which fails, isn't among the results.
        """
        runs = {}
        for side in sides:
            if not self.has(side.library):
                continue
            try:
                peer = self.peer(side)
                peer.prepare(case, {**arguments, **dict(side.options)})
                peer.time(1)  # warm up; errors appear here
                runs[side.label] = peer.time
            except PeerError as error:
                self.failed(side, case, error)
        for label, run in (more or {}).items():
            try:
                run(1)
                runs[label] = run
            except PeerError as error:
                self.say(f"{case}: {label} is left out: {error}")
        return alternate(runs, effort or self.effort)

    def memory(self, case, arguments, sides, calls=1, warm_up=None):
        """-> {label: {"imported", "before", "peak": bytes}}, each in a new process

        imported: with the library loaded;  before: with the case made, before `calls` calls of it;
        peak: the most during them. warm_up: arguments of a small case to run first, so that what a
        library allocates once isn't counted.
        """
        results = {}
        for side in sides:
            if not self.has(side.library):
                continue
            peer = Peer(side.library, side.threads, side.environment)
            try:
                if warm_up is not None:
                    peer.prepare(case, {**warm_up, **dict(side.options)})
                    peer.time(1)
                peer.prepare(case, {**arguments, **dict(side.options)})
                results[side.label] = peer.ask(memory=calls)
            except PeerError as error:
                self.failed(side, case, error)
            finally:
                peer.close()
        return results

    def call(self, side, function, **arguments):
        """-> the result of with_<library>.<function>(**arguments) in the side's process, or None"""
        if not self.has(side.library):
            return None
        try:
            return self.peer(side).ask(call=function, arguments=arguments)["result"]
        except PeerError as error:
            self.failed(side, function, error)
            return None

    def failed(self, side, case, error):
        self.say(f"{case}: {side.label} is left out: {error}")
        dead = self.peers.get(side.process)
        if dead is not None and dead.process.poll() is not None:
            dead.close()
            del self.peers[side.process]
