"""Signals that ask a program to stop: Ctrl-C (SIGINT), `kill` (SIGTERM), a closed terminal (SIGHUP)."""

import signal
import threading
from contextlib import contextmanager

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")
            if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """One of these signals came. `number` says which; a shell expects the exit status 128 + number."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def raise_stopped():
    """Inside, each of the signals raises Stopped, so that what was begun is cleaned up on the way."""
    def stop(number, frame):
        raise Stopped(number)

    with _handled_by(stop):
        yield


class StopFlag:
    """Which signal came: `number`, None at first."""

    number = None


@contextmanager
def stop_flag():
    """Give a StopFlag that a signal sets, so that a step of training is never cut off half way.

    A second signal raises Stopped at once. Only the main thread can handle signals; elsewhere the
    flag just stays down.
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
    # `nohup` starts a program with SIGHUP ignored: that is a request, too.
    taken = [number for number, old in previous.items()
             if number == signal.SIGINT or old not in (signal.SIG_IGN, None)]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, previous[number] or signal.SIG_DFL)
