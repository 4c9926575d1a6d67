"""Proxies for the third level: processes that start when they are needed, and leave nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from prism.adapters.client import connect_admin
from prism.ports import HealthStatus, PrismError, State
from prism.testing import parent_bound

log = logging.getLogger(__name__)

_END_WITHIN_S = 30.0
_ANSWERS_WITHIN = timedelta(seconds=5)
_LAST_LINES = 20


class ProxyFailure(Exception):
    """A proxy did not come up, or did not end well; says what it logged last."""


class ProxyProcess:
    """`prism proxy`, which ends with this process if nobody ends it before.

    Args:
        arguments: of the command line, after `prism`.
        environment: whole.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        # Its own package is no place to find modules in.
        command = (sys.executable, "-P", str(Path(parent_bound.__file__)), *arguments)
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._address: Future[str] = Future()
        self._address.set_running_or_notify_cancel()
        # A daemon, or a proxy that does not end would hold up the end of this process.
        self._reading = threading.Thread(target=self._read, name="proxy's log", daemon=True)
        self._reading.start()

    async def address(self) -> str:
        """Where it serves, as soon as it does; raises ProxyFailure when it ended before."""
        return await asyncio.wrap_future(self._address)

    async def end(self) -> None:
        """Stop it as an init system does; raises ProxyFailure when it does not take that well."""
        assert self._process.stdin is not None
        if self._process.poll() is None:
            self._process.terminate()
        try:
            status = await asyncio.to_thread(self._process.wait, _END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = await asyncio.to_thread(self._process.wait)
        finally:
            self._process.stdin.close()
        await asyncio.to_thread(self._reading.join, _END_WITHIN_S)
        # Of one that has stopped by itself, a signal may meet nothing but the interpreter.
        if status not in (0, -signal.SIGTERM):
            raise ProxyFailure(self._told(f"ended with status {status}"))

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._take(line.decode(errors="replace"))
        if not self._address.done():
            self._address.set_exception(ProxyFailure(self._told("did not come up")))

    def _take(self, line: str) -> None:
        self._last.append(line)
        event = _event_in(line)
        # pytest shows it with a test that fails, which may be told no more than to look here.
        level = logging.DEBUG if event.get("level") == "info" else logging.WARNING
        log.log(level, "%s", line.rstrip())
        # Its patterns say so too, by the same log.
        if event.get("message") == "serving" and "pattern" not in event:
            self._address.set_result(event["grpc_address"])

    def _told(self, what: str) -> str:
        return f"the proxy {what}; its last lines are:\n{''.join(self._last)}"


class Proxies:
    """Lends each proxy to one at a time, as long as nobody has drained or stopped it.

    They are expensive to start. None outlives the last that is lent: who opens one after
    another keeps one open beside them.

    Args:
        arguments: of the command line, after `prism`.
        environment: whole.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._environment = environment
        self._idle: list[ProxyProcess] = []
        self._lent = 0

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[str]:
        """The address of one that serves, and that nobody else commands."""
        self._lent += 1
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
            self._lent -= 1
            while self._idle and not self._lent:
                await self._idle.pop().end()

    async def _take(self) -> tuple[ProxyProcess, str]:
        while self._idle:
            proxy = self._idle.pop()
            address = await proxy.address()
            if await _serves(address):
                return proxy, address
            await proxy.end()
        proxy = ProxyProcess(self._arguments, self._environment)
        try:
            return proxy, await proxy.address()
        except BaseException:
            with suppress(ProxyFailure):
                await proxy.end()
            raise


def _event_in(line: str) -> dict[str, Any]:
    """Libraries and the interpreter write there too, in forms of their own."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def _serves(address: str) -> bool:
    try:
        async with connect_admin(address, timeout=_ANSWERS_WITHIN) as admin:
            health = await admin.lifecycle.health()
            return (
                await admin.lifecycle.state() is State.RUNNING
                and health.status is HealthStatus.HEALTHY
            )
    except PrismError:
        return False
