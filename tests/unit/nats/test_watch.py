"""A watch ends with a reason whenever it may have missed events."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.encoding import encode_key
from prism.adapters.nats.expiry_marker import ExpiryMarker
from prism.adapters.nats.watch import EventBuffer, watch
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


def put_of(value: bytes, sequence: int) -> Msg:
    """Return the message that the server republishes for a key with this value."""
    headers = {"Nats-Sequence": str(sequence), "Nats-Time-Stamp": "2026-01-01T00:00:00Z"}
    subject = FakeBucket.event_prefix + encode_key("key")
    return Msg(cast("Client", None), subject=subject, data=value, headers=headers)


def event_buffer(
    monkeypatch: pytest.MonkeyPatch, *, max_events: int = 1000, max_bytes: int = 1000
) -> EventBuffer:
    monkeypatch.setattr("prism.adapters.nats.watch._MAX_EVENTS", max_events)
    monkeypatch.setattr("prism.adapters.nats.watch._MAX_BYTES", max_bytes)
    return EventBuffer(len(FakeBucket.event_prefix), lambda *_: None)


@pytest.mark.parametrize("limit", [{"max_events": 3}, {"max_bytes": 30}])
async def test_watch_that_is_read_too_slowly_ends_after_the_events_it_kept(
    monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]
) -> None:
    events = event_buffer(monkeypatch, **limit)
    values = [b"%d" % number * 10 for number in range(5)]
    for sequence, value in enumerate(values):
        await events.receive(put_of(value, sequence))
    # With the fourth, the limit is exceeded.
    assert [(await anext(events)).value for _ in range(4)] == values[:4]
    with pytest.raises(WatchEnded, match="read too slowly"):
        await anext(events)


async def test_events_that_were_read_do_not_count_towards_the_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = event_buffer(monkeypatch, max_events=2, max_bytes=30)
    for sequence in range(20):
        await events.receive(put_of(b"x" * 10, sequence))
        assert (await anext(events)).value == b"x" * 10
