"""Proxy processes of level 3: the command line, the process, and a pool that reuses processes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from prism.adapters.client import connect_admin
from prism.bootstrap import discovery
from prism.bootstrap.options import Option, options_of, server_options
from prism.bootstrap.proxy.settings import ProxySettings
from prism.domain.settings import parse_settings, to_text
from prism.ports import DriverSpec, HealthStatus, InvalidArgument, PrismError, State
from prism.testing import parent_bound

log = logging.getLogger(__name__)

PATTERN = "tested"
"""Name of the only pattern of each proxy."""

_STOP_SECONDS = 30.0
_PROBE_TIMEOUT = timedelta(seconds=5)
_LINES_KEPT = 20


class ProxyCommand(NamedTuple):
    """Command of a proxy.

    Attributes:
        arguments: command line after `prism`.
        environment: complete environment of the process.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]


def installed_driver(driver: DriverSpec | str) -> DriverSpec:
    """Return the driver as another process finds it, by its entry point.

    Raises:
        InvalidArgument: no driver of this name is installed, or a different one.
        BrokenDriver: the driver cannot be loaded.
    """
    name = driver if isinstance(driver, str) else driver.name
    why = (
        "behind a proxy the driver runs in a process of its own, which finds it by its entry "
        f"point: install the package, with an entry point {name!r} in {discovery.GROUP!r}"
    )
    try:
        found = discovery.load(name)
    except discovery.UnknownDriver as error:
        raise InvalidArgument(f"{error.message}; {why}") from None
    if driver not in (name, found):
        raise InvalidArgument(f"a different driver is installed as {name!r}; {why}")
    return found


def proxy_command(
    spec: DriverSpec,
    settings: Mapping[str, str],
    server: ProxySettings,
    environment: Mapping[str, str],
) -> ProxyCommand:
    """Return the command of a proxy with one pattern, which has exactly these settings.

    Args:
        spec: driver of the pattern.
        settings: settings of the driver, as text by name.
        server: settings of the proxy.
        environment: environment to extend; its `PRISM_…` variables are dropped.

    Raises:
        InvalidArgument: a setting is wrong.
    """
    parse_settings(spec.settings, settings)
    given = list(_given_options(spec, settings, server))
    inherited = {name: text for name, text in environment.items() if not name.startswith("PRISM_")}
    # Variables, because every user of the machine can read a command line. A variable
    # cannot be empty, so empty settings become flags.
    variables = {option.variable: text for option, text in given if text}
    flags = [part for option, text in given if not text for part in (option.flag, text)]
    pattern = f"{PATTERN}={spec.name}"
    return ProxyCommand(
        ["proxy", "--pattern", pattern, "--config", os.devnull, *flags], inherited | variables
    )


def _given_options(
    spec: DriverSpec, settings: Mapping[str, str], server: ProxySettings
) -> Iterator[tuple[Option, str]]:
    for option in server_options(type(server)):
        value = getattr(server, option.field.name)
        if value is not None and not option.holds_path:
            yield option, to_text(value)
    for option in options_of(spec.settings, spec.name, PATTERN):
        if option.field.name in settings and not option.holds_path:
            yield option, settings[option.field.name]


class ProxyFailure(Exception):
    """A proxy did not start, or ended with an error; the message contains its last log lines."""


class ProxyProcess:
    """A running `prism proxy`, which also ends when this process ends.

    Args:
        command: command to run.
    """

    def __init__(self, command: ProxyCommand) -> None:
        self._process = subprocess.Popen(
            # -P: the folder of the script must not be searched for modules.
            (sys.executable, "-P", str(Path(parent_bound.__file__)), *command.arguments),
            env=command.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._last_lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._address: Future[str] = Future()
        self._address.set_running_or_notify_cancel()
        # A daemon thread, so that a proxy that hangs cannot keep this process alive.
        self._reader = threading.Thread(target=self._read_log, name="proxy log", daemon=True)
        self._reader.start()

    async def address(self) -> str:
        """Wait until the proxy serves and return its address.

        Raises:
            ProxyFailure: the proxy ended before it served.
        """
        return await asyncio.wrap_future(self._address)

    async def end(self) -> None:
        """Stop the proxy with SIGTERM; kill it if it takes too long.

        Raises:
            ProxyFailure: the exit status is an error.
        """
        assert self._process.stdin is not None
        if self._process.poll() is None:
            self._process.terminate()
        try:
            status = await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = await asyncio.to_thread(self._process.wait)
        finally:
            self._process.stdin.close()
        await asyncio.to_thread(self._reader.join, _STOP_SECONDS)
        # After a stop by command the signal may find only the interpreter, without our handler.
        if status not in (0, -signal.SIGTERM):
            raise ProxyFailure(self._with_last_lines(f"ended with status {status}"))

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._take_line(line.decode(errors="replace"))
        if not self._address.done():
            self._address.set_exception(ProxyFailure(self._with_last_lines("did not start")))

    def _take_line(self, line: str) -> None:
        self._last_lines.append(line)
        event = _parsed(line)
        # Logged, so that pytest shows the proxy's log with a test that fails.
        level = logging.DEBUG if event.get("level") == "info" else logging.WARNING
        log.log(level, "%s", line.rstrip())
        # The pattern logs the same event, with its name.
        if event.get("message") == "serving" and "pattern" not in event:
            self._address.set_result(str(event["grpc_address"]))

    def _with_last_lines(self, what: str) -> str:
        return f"the proxy {what}; its last log lines are:\n{''.join(self._last_lines)}"


class ProxyPool:
    """Lends proxies to one borrower at a time and reuses those that still serve.

    A proxy is expensive to start, and a test may drain or stop it. When the last borrower
    has returned its proxy, all idle ones are ended.

    Args:
        command: command of each proxy.
    """

    def __init__(self, command: ProxyCommand) -> None:
        self._command = command
        self._idle: list[ProxyProcess] = []
        self._borrowed = 0

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[str]:
        """Give the address of a proxy that serves and has no other borrower."""
        self._borrowed += 1
        try:
            proxy, address = await self._take()
            try:
                yield address
            finally:
                if await _serves(address):
                    self._idle.append(proxy)
                else:
                    await proxy.end()
        finally:
            self._borrowed -= 1
            while self._idle and not self._borrowed:
                await self._idle.pop().end()

    async def _take(self) -> tuple[ProxyProcess, str]:
        while self._idle:
            proxy = self._idle.pop()
            address = await proxy.address()
            if await _serves(address):
                return proxy, address
            await proxy.end()
        proxy = ProxyProcess(self._command)
        try:
            return proxy, await proxy.address()
        except BaseException:
            with suppress(ProxyFailure):
                await proxy.end()
            raise


def _parsed(line: str) -> dict[str, object]:
    """Return the log event; empty for lines of libraries and the interpreter."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def _serves(address: str) -> bool:
    try:
        async with connect_admin(address, timeout=_PROBE_TIMEOUT) as admin:
            health = await admin.lifecycle.health()
            return (
                await admin.lifecycle.state() is State.RUNNING
                and health.status is HealthStatus.HEALTHY
            )
    except PrismError:
        return False
