"""The watchdog: when a rank dies or stalls, all ranks end, with one line.

MPI doesn't notice a dead rank: the others wait for its message for ever. So each rank has a thread
that talks to rank 0 over TCP, beside MPI, a line of JSON at a time:

    {"beat": 17}            twice a second at least; the number grows while the main thread works
    {"failed": "…"}         this rank ends with an error, which rank 0 is to report
    {"end": "…"}            from rank 0: all end, because of this
    {"bye": true}           this rank is done, its connection may close

A killed process, or a lost machine whose system closes its connections, is noticed at once. A
stopped process, a lost network, or a main thread that hangs within a training step makes the beats
stop or their number stay, for `timeout` seconds at most. Between steps, when rank 0 writes files
and the others wait, only the beats count. Who was asleep itself (a suspended machine) starts to
count anew.

The line is written by whoever notices, and only once: by rank 0, or by rank 1 if rank 0 is gone, by
rank 2 if both are. `mpirun` then ends what is left, also a stopped process.
"""

import json
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from contextlib import contextmanager

GRACE = 5.0  # seconds that the main thread has to end in order
INTERVAL = 0.5  # seconds between two beats, at most


class RankLost(RuntimeError):
    """Another rank has ended the run; the line about it is written already."""


class Watchdog:
    """The thread of one rank. `beat()` says that the main thread works.

    peers: {rank: connected socket}: on rank 0 those of all others, elsewhere that of rank 0
    timeout: seconds
    """

    def __init__(self, rank, peers, timeout):
        self.rank, self.peers, self.timeout = rank, dict(peers), timeout
        self.beats = 0
        self.failure = None  # the line about it
        self._is_stepping = False
        self._is_over = threading.Event()
        self._once = threading.Lock()  # who gets it may write the line
        self._parent = os.getppid()
        self._heard = dict.fromkeys(self.peers, b"")  # the beginning of a line
        self._last = {peer: (0, time.monotonic()) for peer in self.peers}  # beats, when they grew
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")

    def start(self):
        self._thread.start()
        return self

    # ---- for the main thread

    def beat(self):
        """Say that this thread works; RankLost if another rank has ended the run."""
        self.beats += 1
        if self.failure is not None:
            raise RankLost(self.failure)

    @contextmanager
    def stepping(self):
        """A context in which this thread counts as stalled if it doesn't call `beat` in time."""
        self._is_stepping = True
        try:
            yield
        finally:
            self._is_stepping = False

    def fail(self, line):
        """Report that this rank ends with an error; every other one ends, too.

        -> whether this rank is to write the line
        """
        if self.rank == 0:
            is_first = self._claim(line)
            self._tell_all(line)
            return is_first
        self._send(0, {"failed": line})
        end = time.monotonic() + GRACE
        while self.failure is None and time.monotonic() < end:
            time.sleep(0.01)
        if self._claim(line):  # rank 0 doesn't answer
            write_line(f"rank {self.rank}: {line}")
        return False

    def end(self):
        """Stop watching: all ranks are done."""
        for peer in list(self.peers):
            self._send(peer, {"bye": True})
        self._is_over.set()

    # ---- the thread

    def _watch(self):
        selector = selectors.DefaultSelector()
        for peer, connection in self.peers.items():
            selector.register(connection, selectors.EVENT_READ, peer)
        interval = min(INTERVAL, self.timeout / 4)
        last_round = last_sent = time.monotonic()
        while not self._is_over.is_set() and self.failure is None:
            for key, _ in selector.select(interval):
                if not self._read(key.data, key.fileobj):
                    selector.unregister(key.fileobj)
            now = time.monotonic()
            if now - last_round > 4 * interval + 1:  # this process itself was stopped
                self._last = {peer: (beats, now) for peer, (beats, _) in self._last.items()}
            last_round = now
            if now - last_sent >= interval / 2:
                last_sent = now
                if not self._is_stepping:
                    self.beats += 1
                for peer in list(self.peers):
                    self._send(peer, {"beat": self.beats})
            self._look_for_stalls(now)
            if os.getppid() != self._parent:
                self._lost("the program that started the ranks is gone")

    def _read(self, peer, connection):
        """Hear what a peer says -> whether its connection is still open"""
        try:
            data = connection.recv(1 << 16)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            data = b""
        if not data:
            if self.peers.pop(peer, None) is not None:
                self._lost(f"rank {peer} has died")
            return False
        *lines, self._heard[peer] = (self._heard[peer] + data).split(b"\n")
        for line in lines:
            self._hear(peer, json.loads(line))
        return True

    def _hear(self, peer, message):
        if "beat" in message:
            if message["beat"] != self._last[peer][0]:
                self._last[peer] = message["beat"], time.monotonic()
        elif "bye" in message:
            self.peers.pop(peer, None)
            self._last.pop(peer, None)
        elif "failed" in message:
            self._lost(f"rank {peer}: {message['failed']}")
        elif "end" in message:
            with self._once:
                self.failure = self.failure or message["end"]
            self._end_soon()

    def _look_for_stalls(self, now):
        for peer, (_, since) in list(self._last.items()):
            if peer in self.peers and now - since > self.timeout:
                self._lost(f"rank {peer} has done nothing for {self.timeout:g} s")
                return

    def _lost(self, line):
        """Write the line, unless another rank does, and end all ranks."""
        if self._is_over.is_set() or self.failure is not None:
            return
        if self.rank > 1:  # rank 1 writes it, if it is there: then this process is ended
            time.sleep(min(2 * (self.rank - 1), 6))
        if self._claim(line):
            write_line(f"{line}; all ranks end")
            self._tell_all(line)
        self._end_soon()

    def _claim(self, line):
        """-> whether no line was written before"""
        with self._once:
            if self.failure is not None:
                return False
            self.failure = line
            return True

    def _tell_all(self, line):
        for peer in list(self.peers):
            self._send(peer, {"end": line})

    def _end_soon(self):
        """End the process if the main thread, which hears of it at its next beat, doesn't."""
        if not self._is_over.wait(GRACE):
            os._exit(2)

    def _send(self, peer, message):
        try:
            self.peers[peer].send(json.dumps(message).encode() + b"\n")
        except (OSError, KeyError):
            pass  # full or closed: the peer is stopped or dead, which the reading side notices


def write_line(line):
    """Write an error as the command line does, in one system call."""
    try:
        os.write(sys.__stderr__.fileno(), f"\nminillm: error: {line}\n".encode())
    except (OSError, ValueError, AttributeError):
        pass


def connect(ranks, timeout):
    """Connect rank 0 with each other rank -> Watchdog, started

    Rank 0 listens at a port of its own; who connects must know a secret that MPI has carried.
    Raises ConnectionError, in one line, if a rank can't reach rank 0.
    """
    hosts = ranks.all_gather(socket.gethostname())
    if ranks.rank == 0:
        here_alone = len(set(hosts)) == 1
        with socket.create_server(("127.0.0.1" if here_alone else "", 0)) as server:
            names = ["127.0.0.1"] if here_alone else _addresses()
            secret = secrets.token_bytes(16)
            ranks.broadcast((names, server.getsockname()[1], secret))
            peers = _accept(server, ranks.size - 1, secret, timeout)
    else:
        names, port, secret = ranks.broadcast(None)
        connection = _call(names, port, secret, ranks.rank, timeout)
        peers = {} if connection is None else {0: connection}
    reached = ranks.all_gather(len(peers))
    if sum(reached) != 2 * (ranks.size - 1):
        names = ", ".join(sorted(set(hosts)))
        raise ConnectionError(f"the ranks on {names} can't reach each other over TCP, wanted a "
                              "network without a firewall between them")
    for connection in peers.values():
        connection.setblocking(False)
    return Watchdog(ranks.rank, peers, timeout).start()


def _accept(server, n, secret, timeout):
    peers, end = {}, time.monotonic() + min(timeout, 30)
    while len(peers) < n and time.monotonic() < end:
        server.settimeout(max(end - time.monotonic(), 0.01))
        try:
            connection, _ = server.accept()
            connection.settimeout(5)
            hello = b""
            while len(hello) < len(secret) + 4 and (more := connection.recv(64)):
                hello += more
        except OSError:
            continue
        if secrets.compare_digest(hello[: len(secret)], secret):
            peers[int.from_bytes(hello[len(secret) :], "big")] = connection
        else:
            connection.close()
    return peers


def _call(names, port, secret, rank, timeout):
    for name in names:
        try:
            connection = socket.create_connection((name, port), min(timeout, 5))
            connection.sendall(secret + rank.to_bytes(4, "big"))
            return connection
        except OSError:
            continue
    return None


def _addresses():
    """-> names and addresses under which other machines may reach this one"""
    name = socket.gethostname()
    try:
        found = socket.gethostbyname_ex(name)[2]
    except OSError:
        found = []
    return [name, *[address for address in found if not address.startswith("127.")]]
