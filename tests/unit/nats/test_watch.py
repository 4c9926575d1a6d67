"""A watch ends with a reason whenever it may have missed events."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.expiry_marker import ExpiryMarker
from prism.adapters.nats.watch import watch
from prism.ports import WatchEnded


class FakeConnection:
    is_open = True
    last_error = ""

    def __init__(self) -> None:
        self.on_lost: list[Callable[[str], None]] = []

    async def subscribe(self, *_: object) -> object:
        return object()

    async def unsubscribe(self, _: object) -> None:
        return


class FakeBucket:
    """Bucket whose connection breaks between the answer to `refresh` and its reader."""

    event_prefix = "$PRISM.KV.bucket."

    def __init__(self) -> None:
        self.connection = FakeConnection()
        self.on_interruption: set[Callable[[str], None]] = set()

    async def refresh(self) -> None:
        self.connection.is_open = False
        self.connection.last_error = "unexpected EOF"


async def test_connection_that_breaks_while_the_watch_begins_ends_it() -> None:
    fake = FakeBucket()
    bucket = cast("Bucket", fake)
    async with watch(bucket, ExpiryMarker(bucket), "") as events:
        with pytest.raises(WatchEnded, match="unexpected EOF"):
            await anext(events)
    assert not fake.on_interruption
