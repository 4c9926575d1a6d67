"""Real proxies that launch real patterns."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from prism.adapters.client import connect_admin
from prism.adapters.client.patterns import PatternsClient
from prism.domain.patterns.values import EventKind, PatternEvent, PatternStatus
from tests.integration.conftest import TIMEOUT_S, ProxyServer


class Proxy(ProxyServer):
    """Proxy with access to its patterns."""

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[PatternsClient]:
        """Connect to administer the patterns."""
        async with connect_admin(self.address) as admin:
            yield admin.patterns

    async def events(self, name: str = "") -> list[PatternEvent]:
        """Return the recorded events of one pattern or of all."""
        async with self.admin() as admin:
            return await admin.events(name)

    async def wait_event(self, name: str, kind: EventKind, times: int = 1) -> PatternEvent:
        """Wait for a number of events of one kind, and return the last."""
        seen = 0
        async with asyncio.timeout(TIMEOUT_S), self.admin() as admin:
            async for event in admin.follow(name):
                seen += event.kind is kind
                if seen == times:
                    return event
        raise AssertionError("the proxy ended the stream")

    async def status(self, name: str) -> PatternStatus:
        """Return the status of a pattern."""
        async with self.admin() as admin:
            return (await admin.get(name)).pattern.status

    async def wait_status(
        self, name: str, wanted: Callable[[PatternStatus], bool]
    ) -> PatternStatus:
        """Wait until the status of a pattern is a wanted one, and return it."""
        async with asyncio.timeout(TIMEOUT_S), self.admin() as admin:
            while not wanted(status := (await admin.get(name)).pattern.status):
                await asyncio.sleep(0.01)
            return status

    async def process_id(self, name: str) -> int:
        """Return the id of a pattern's process."""
        found = (await self.status(name)).process_id
        assert found is not None
        return found


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Start a proxy on free ports and wait until it serves; it must end with status 0."""
    started: list[Proxy] = []

    def start(*args: str, **env: str) -> Proxy:
        ports = ("--grpc-port", "0", "--metrics-port", "0")
        proxy = Proxy((*ports, *args), env, tmp_path)
        started.append(proxy)
        proxy.serving()
        return proxy

    yield start
    try:
        for proxy in started:
            proxy.stop()
    finally:
        for proxy in started:
            proxy.close()


def is_alive(process_id: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def is_gone(process_id: int) -> None:
    """Wait for the end of a process that is no child of this one."""
    async with asyncio.timeout(TIMEOUT_S):
        while is_alive(process_id):
            await asyncio.sleep(0.01)


def children_of(process_id: int) -> set[int]:
    """Return the running children of a process."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == process_id and is_alive(int(folder.name)):
            found.add(int(folder.name))
    return found - {os.getpid()}
