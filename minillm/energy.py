"""The energy that this machine uses, by the counters of its processor (RAPL), if readable.

Intel's and AMD's processors count the energy of each package, and of its memory, in microjoules.
Linux shows the counters in /sys/class/powercap. Often only root may read them, and a virtual
machine has none. They count everything that runs on the machine, not one program alone.

    with EnergyMeter() as meter:
        train()
    meter.joules      None if nothing could be measured
"""

import threading
import time
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
# A counter starts again at 0 after minutes to hours under load, so it is read more often than that.
SECONDS_BETWEEN_READINGS = 30


class EnergyMeter:
    """A context that measures `joules` (None without readable counters) and `seconds`."""

    def __init__(self, folder=POWERCAP):
        self.counters = _counters(Path(folder))
        self.joules = 0.0 if self.counters else None
        self.seconds = 0.0
        self._end = threading.Event()

    def __enter__(self):
        self._started = time.perf_counter()
        self._last = {}
        self.read()
        if self.counters:
            self._thread = threading.Thread(target=self._keep_reading, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error):
        self._end.set()
        if self.counters:
            self._thread.join()
        self.read()
        self.seconds = time.perf_counter() - self._started

    def read(self):
        """Add what the counters have counted since the last reading."""
        for counter, wraps_at in self.counters.items():
            now = _number(counter)
            if now is None:  # it can't be read any more: a sum of the others would be wrong
                self.counters, self.joules = {}, None
                return
            before = self._last.get(counter, now)
            self.joules += (now - before if now >= before else now - before + wraps_at) / 1e6
            self._last[counter] = now

    def _keep_reading(self):
        while not self._end.wait(SECONDS_BETWEEN_READINGS):
            self.read()

    @property
    def watts(self):
        """The mean power; None if nothing could be measured"""
        return self.joules / self.seconds if self.joules is not None and self.seconds else None


def _counters(folder):
    """-> {file of a counter: the microjoules at which it starts again}, of packages and memory

    A package's counter includes its cores and its graphics, but not its memory.
    """
    found = {}
    for zone in sorted(folder.glob("intel-rapl*:*")):
        try:
            name = (zone / "name").read_text().strip()
        except OSError:
            continue
        counter, wraps_at = zone / "energy_uj", _number(zone / "max_energy_range_uj")
        if (name.startswith("package") or name == "dram") and wraps_at:
            if _number(counter) is not None:
                found[counter] = wraps_at
    return found


def _number(path):
    """-> the integer in a file; None if it can't be read"""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
