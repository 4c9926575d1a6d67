"""An expired key is marked once the server has certainly reached its expiry, and after errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from prism.adapters.nats import expiry_marker
from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.encoding import KeyRecord
from prism.adapters.nats.expiry_marker import ExpiryMarker
from prism.ports import BackendUnavailable


class FakeConnection:
    is_open = True

    def __init__(self) -> None:
        self.on_lost: list[Callable[[str], None]] = []


class FakeClock:
    """Clock of the server that runs with the event loop's, and its bound on the error."""

    def __init__(self, error_s: float) -> None:
        self.error_s = error_s

    def now_ms(self) -> int:
        return int(time.monotonic() * 1000)


class FakeBucket:
    """Bucket that refuses the first attempts to mark a key, and notes when each came."""

    def __init__(self, *, refusals: int = 0, error_s: float = 0.0) -> None:
        self.connection = FakeConnection()
        self.clock = FakeClock(error_s)
        self.attempts: list[float] = []
        self.marked = asyncio.Event()
        self._refusals = refusals

    async def remove_expired(self, key: str, *, expected: int) -> None:
        self.attempts.append(time.monotonic())
        if len(self.attempts) <= self._refusals:
            raise BackendUnavailable("no leader")
        self.marked.set()


@pytest.fixture(autouse=True)
def no_earlier_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_nothing(*_: object) -> AsyncIterator[tuple[str, KeyRecord]]:
        records: list[tuple[str, KeyRecord]] = []
        for each in records:
            yield each

    monkeypatch.setattr(expiry_marker, "read_records", read_nothing)


async def mark(fake: FakeBucket, expires_at_ms: int) -> None:
    marker = ExpiryMarker(cast("Bucket", fake))
    with marker.watching(""):
        marker.note("key", 1, expires_at_ms)
        async with asyncio.timeout(30):
            await fake.marked.wait()


async def test_key_is_not_marked_before_the_clock_of_the_server_has_certainly_passed() -> None:
    fake = FakeBucket(error_s=1.5)
    began = time.monotonic()
    # The estimate says that it expired 1.3 s ago, and may be wrong by 1.5 s.
    await mark(fake, fake.clock.now_ms() - 1300)
    assert fake.attempts[0] - began >= 0.2


async def test_key_that_cannot_be_marked_is_tried_again_after_a_pause() -> None:
    fake = FakeBucket(refusals=2)
    await mark(fake, fake.clock.now_ms() - 10)
    first, second, third = fake.attempts
    assert min(second - first, third - second) >= 0.2
