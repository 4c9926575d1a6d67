"""Processes that do one thing each, pinned to a core of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

_LINES_KEPT = 20


class CannotRun(Exception):
    """There is nothing to measure, or with nothing; one sentence says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Servers run on one, whatever loads them on another."""

    server: int
    load: int

    @classmethod
    def available(cls) -> Cores:
        """The first two that this process may use."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise CannotRun("two cores are needed, for the server and for its load")
        return cls(*cores[:2])


@dataclass(frozen=True, slots=True)
class Variant:
    """A server that can be started.

    Attributes:
        arguments: of the Python that runs this.
        settings: what a reader should know of how it is built.
        environment: names and values, beside what is there.
    """

    name: str
    arguments: tuple[str, ...]
    settings: str
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """A server that serves at the address, so many seconds after its process began."""

    pid: int
    address: str
    seconds: float


@contextmanager
def serving(variant: Variant, core: int) -> Iterator[Started]:
    """A server, killed afterwards: what it holds is nobody's."""
    start_s = time.perf_counter()
    process = _pinned(
        [sys.executable, *variant.arguments],
        core,
        stdout=subprocess.DEVNULL,
        environment=dict(variant.environment),
    )
    log: deque[str] = deque(maxlen=_LINES_KEPT)
    told = _lines_of(process, log)
    try:
        address = next(filter(None, map(_address, told)), None)
        if address is None:
            raise CannotRun(f"{variant.name} ended before it served: {' '.join(log)}")
        started = Started(process.pid, address, time.perf_counter() - start_s)
        # Somebody has to read on, for a full pipe would stop the server.
        reading = threading.Thread(target=deque, args=(told, 0))
        reading.start()
        try:
            yield started
            if process.poll() is not None:
                raise CannotRun(f"{variant.name} ended while it was measured: {' '.join(log)}")
        finally:
            process.kill()
            reading.join()
    finally:
        process.kill()
        process.communicate()


def run(arguments: list[str], core: int) -> str:
    """What a program prints on stdout; raises CannotRun with its last words."""
    with _pinned(arguments, core, stdout=subprocess.PIPE) as process:
        printed, told = process.communicate()
    if process.returncode:
        raise CannotRun(f"{' '.join(arguments)} failed: {told.strip()[-500:]}")
    return printed


def run_module(module: str, *arguments: str, core: int) -> float:
    """The rate that a module of ours prints as its last word."""
    return float(run([sys.executable, "-m", module, *arguments], core).split()[-1])


def _pinned(
    arguments: list[str], core: int, *, stdout: int, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PRISM_")}
    process = subprocess.Popen(  # noqa: S603  (ours, every one)
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, **(environment or {})},
    )
    # Before it has threads, which inherit this. A preexec_fn would mean a real fork,
    # with grpc in this process.
    os.sched_setaffinity(process.pid, {core})
    return process


def _lines_of(process: subprocess.Popen[str], log: deque[str]) -> Iterator[str]:
    """What it says on stderr, of which the log keeps the end."""
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line.strip())
        yield line


def _address(line: str) -> str | None:
    """Where it serves, if this is the line that says so, and not that of a pattern of it."""
    event = json.loads(line) if line.startswith("{") else {}
    if event.get("message") == "serving" and "pattern" not in event:
        return str(event["grpc_address"])
    return None
