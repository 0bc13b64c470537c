"""The signals that stop a program: Ctrl-C (SIGINT), `kill` (SIGTERM), a lost terminal (SIGHUP)."""

import signal
import threading
from contextlib import contextmanager

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")
            if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """One of the signals arrived: `number`. The exit status for a shell is 128 + number."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def raise_stopped():
    """Let each signal raise Stopped while the body runs, so that clean-up code runs too."""
    def stop(number, frame):
        raise Stopped(number)

    with _handled_by(stop):
        yield


class StopFlag:
    """`number` of the signal that arrived, None before."""

    number = None


@contextmanager
def stop_flag():
    """Give a StopFlag that a signal sets, so that a training step always ends as a whole.

    A second signal raises Stopped at once. Only the main thread handles signals; in other threads
    nothing sets the flag.
    """
    flag = StopFlag()

    def stop(number, frame):
        if flag.number is not None:
            raise Stopped(number)
        flag.number = number

    with _handled_by(stop):
        yield flag


@contextmanager
def _handled_by(handler):
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in STOPPING}
    # `nohup` starts a program with SIGHUP ignored; leave it so.
    taken = [number for number, old in previous.items()
             if number == signal.SIGINT or old not in (signal.SIG_IGN, None)]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, previous[number] or signal.SIG_DFL)
