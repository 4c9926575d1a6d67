"""How busy the cores were with what is not ours: a ratio from a busy machine is a guess.

https://man7.org/linux/man-pages/man5/proc_stat.5.html
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.processes import Cores

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT = 3, 4


class Others:
    """Watches from when it is made; what it starts and waits for is ours, and so are the pids."""

    def __init__(self, cores: Cores, pids: Iterable[int]) -> None:
        self._cores = cores
        self._pids = list(pids)
        self._busy, self._total = _cores_s(cores)
        self._own = _own_s(self._pids)

    def share(self) -> float:
        """Of the time of both cores since then, what others used and the kernel's own work."""
        busy, total = _cores_s(self._cores)
        elsewhere = (busy - self._busy) - (_own_s(self._pids) - self._own)
        return max(0.0, elsewhere / max(total - self._total, 1 / _TICKS))


def _cores_s(cores: Cores) -> tuple[float, float]:
    """Seconds that the cores were busy, and that they were there at all."""
    wanted = {f"cpu{core}" for core in (cores.server, cores.load)}
    busy = total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *columns = line.split()
        if name in wanted:
            # The last two are counted as user time already.
            ticks = list(map(int, columns[:8]))
            total += sum(ticks)
            busy += sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]
    return busy / _TICKS, total / _TICKS


def _own_s(pids: Iterable[int]) -> float:
    """Seconds of this process, of those it has waited for, and of these."""
    return sum(os.times()[:4]) + sum(map(processor_s, pids))


def per_processor_second(pid: int, rate: Callable[[float], float]) -> Callable[[float], float]:
    """From what a process gets done in a second to what it does in one of its own time."""

    def measure(seconds: float) -> float:
        before_s = processor_s(pid)
        done = rate(seconds) * seconds
        return done / (processor_s(pid) - before_s)

    return measure


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has taken, all its threads together."""
    # After the name, which is in brackets and may hold anything.
    columns = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(columns[11]) + int(columns[12])) / _TICKS
