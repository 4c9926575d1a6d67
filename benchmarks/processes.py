"""Processes that do one thing each, pinned to one processor core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LINES_KEPT = 20
_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT = 3, 4


class CannotRun(Exception):
    """A measurement is impossible; the message says why in one sentence."""


class NotInstalled(CannotRun):
    """A program of a row that a complete run may leave out is missing."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Processor cores in use.

    Attributes:
        server: core of the servers that are measured.
        load: core of everything else: load generators, backends, observers.
    """

    server: int
    load: int

    @classmethod
    def available(cls) -> Cores:
        """Return the first two cores that this process may use.

        Raises:
            CannotRun: there is only one.
        """
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise CannotRun("two cores are needed: one for the server, one for the load")
        return cls(*cores[:2])


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """Command that starts a server.

    Attributes:
        name: name of the server in reports.
        arguments: arguments of this Python interpreter.
        settings: how the server is configured, for readers of the report.
        environment: variables to add to the environment.
    """

    name: str
    arguments: tuple[str, ...]
    settings: str
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StartedServer:
    """A server that serves.

    Attributes:
        pid: process id.
        address: gRPC address.
        redis_port: port for Redis clients; 0: there is none.
        seconds: time from the start of the process until it served.
    """

    pid: int
    address: str
    redis_port: int
    seconds: float


@contextmanager
def serving(command: ServerCommand, core: int) -> Iterator[StartedServer]:
    """Run a server on the core, and kill it afterwards.

    Raises:
        CannotRun: the server ended by itself; the message has its last log lines.
    """
    start_s = time.perf_counter()
    process = _pinned(
        [sys.executable, *command.arguments],
        core,
        stdout=subprocess.DEVNULL,
        environment=dict(command.environment),
    )
    log: deque[str] = deque(maxlen=_LINES_KEPT)
    lines = _log_lines(process, log)
    try:
        event = next(filter(None, map(_serving_event, lines)), None)
        if event is None:
            raise CannotRun(f"{command.name} ended before it served: {' '.join(log)}")
        seconds = time.perf_counter() - start_s
        redis_port = int((event.get("redis_address") or ":0").rpartition(":")[2])
        started = StartedServer(process.pid, event["grpc_address"], redis_port, seconds)
        # Keeps reading, because a full pipe would block the server.
        reader = threading.Thread(target=deque, args=(lines, 0))
        reader.start()
        try:
            yield started
            if process.poll() is not None:
                raise CannotRun(f"{command.name} ended during the measurement: {' '.join(log)}")
        finally:
            process.kill()
            reader.join()
    finally:
        process.kill()
        process.communicate()


def run(arguments: list[str], core: int) -> str:
    """Run a program on the core and return its output.

    Raises:
        CannotRun: its exit status is not 0; the message has the end of its error output.
    """
    with _pinned(arguments, core, stdout=subprocess.PIPE) as process:
        output, errors = process.communicate()
    if process.returncode:
        raise CannotRun(f"{' '.join(arguments)} failed: {errors.strip()[-500:]}")
    return output


def run_module(module: str, *arguments: str, core: int) -> float:
    """Run a module on the core and return the number that it prints last."""
    return float(run([sys.executable, "-m", module, *arguments], core).split()[-1])


def _pinned(
    arguments: list[str], core: int, *, stdout: int, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PRISM_")}
    process = subprocess.Popen(  # noqa: S603  (commands of this package only)
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, **(environment or {})},
    )
    # Before the process has threads, which inherit this. A preexec_fn would force a real
    # fork, with grpc in this process.
    os.sched_setaffinity(process.pid, {core})
    return process


def _log_lines(process: subprocess.Popen[str], log: deque[str]) -> Iterator[str]:
    """Yield the lines of the error output, and keep the last ones in the log."""
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line.strip())
        yield line


def _serving_event(line: str) -> dict[str, Any] | None:
    """Return the event if this line reports that the server (not a pattern of it) serves."""
    event: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
    return event if event.get("message") == "serving" and "pattern" not in event else None


class ForeignLoad:
    """Load on the cores by processes that are not part of the measurement.

    A ratio from a busy machine is not reliable. This process, its children that have ended,
    and the given processes count as part of the measurement.

    https://man7.org/linux/man-pages/man5/proc_stat.5.html

    Args:
        cores: cores to look at.
        pids: processes that are part of the measurement.
    """

    def __init__(self, cores: Cores, pids: Iterable[int]) -> None:
        self._cores = cores
        self._pids = list(pids)
        self._busy, self._total = _core_seconds(cores)
        self._own = _own_seconds(self._pids)

    def share(self) -> float:
        """Return the share of both cores, since the start, that others and the kernel used."""
        busy, total = _core_seconds(self._cores)
        foreign = (busy - self._busy) - (_own_seconds(self._pids) - self._own)
        return max(0.0, foreign / max(total - self._total, 1 / _TICKS))


def _core_seconds(cores: Cores) -> tuple[float, float]:
    """Return the busy and the total seconds of the cores since boot."""
    wanted = {f"cpu{core}" for core in (cores.server, cores.load)}
    busy = total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *columns = line.split()
        if name in wanted:
            # The last two columns are included in user time.
            ticks = list(map(int, columns[:8]))
            total += sum(ticks)
            busy += sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]
    return busy / _TICKS, total / _TICKS


def _own_seconds(pids: Iterable[int]) -> float:
    """Return the processor seconds of this process, its ended children, and these processes."""
    return sum(os.times()[:4]) + sum(map(processor_seconds, pids))


def processor_seconds(pid: int) -> float:
    """Return the processor seconds that all threads of a process have used."""
    # The name is in brackets and may contain anything, so the columns follow the last one.
    columns = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(columns[11]) + int(columns[12])) / _TICKS


def per_processor_second(pid: int, rate: Callable[[float], float]) -> Callable[[float], float]:
    """Turn a measurement per second into one per second of the process's processor time."""

    def measure(seconds: float) -> float:
        before = processor_seconds(pid)
        done = rate(seconds) * seconds
        return done / (processor_seconds(pid) - before)

    return measure
