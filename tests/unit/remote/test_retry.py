"""What the client repeats, how often, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from prism.adapters.client import retry
from prism.adapters.client.channel import Channel
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.client.retry import RetryingChannel
from prism.adapters.client.server import Server
from prism.domain.token_bucket import TokenBucket
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Event,
    Exhausted,
    NotServing,
    Outcome,
    PrismError,
    VersionConflict,
)
from prism.v1 import keyvalue_pb2 as pb


class FakeChannel:
    """Channel that fails a given number of times, and then answers."""

    def __init__(self, *failures: PrismError, timeout_s: float = 5) -> None:
        self.failures = list(failures)
        self.timeout_s = timeout_s
        self.is_connected = True
        self.is_closed = False
        self.tried = 0
        self.probes = 0
        self.absences: list[PrismError] = []
        self.forever: PrismError | None = None

    async def unary(self, path: str, request: Any, reply_type: Any) -> Any:
        """Answer whether the server serves."""
        self.probes += 1
        if self.absences:
            raise self.absences.pop(0)
        return reply_type()

    @asynccontextmanager
    async def watch(self, request: Any) -> AsyncIterator[AsyncIterator[Event]]:
        self._fail()

        async def nothing() -> AsyncIterator[Event]:
            no_events: list[Event] = []
            for event in no_events:
                yield event

        yield nothing()

    async def operate(self, method: Any, request: Any, left_s: float | None = None) -> Any:
        self._fail()
        return {"get": pb.GetResponse, "set": pb.SetResponse}[method.field]()

    def _fail(self) -> None:
        self.tried += 1
        if self.forever is not None:
            raise self.forever
        if self.failures:
            raise self.failures.pop(0)


def client_of(channel: FakeChannel) -> KeyValueClient:
    return KeyValueClient(RetryingChannel(Server(cast("Channel", channel))))


def unavailable(outcome: Outcome) -> BackendUnavailable:
    return BackendUnavailable("it cannot be reached", outcome=outcome)


REPEATED = [
    NotServing("draining"),
    Exhausted("too many calls", reason="TOO_MANY_IN_FLIGHT"),
    unavailable(Outcome.NOT_APPLIED),
]
FINAL = [
    NotServing("aborted by a drain", outcome=Outcome.UNKNOWN),
    Exhausted("the memory is full"),
    Exhausted("too many", reason="TOO_MANY_IN_FLIGHT", outcome=Outcome.UNKNOWN),
    BackendTimeout("no answer in time", outcome=Outcome.NOT_APPLIED),
    VersionConflict("another version"),
    unavailable(Outcome.UNKNOWN),
]


@pytest.mark.parametrize("failure", REPEATED, ids=repr)
async def test_operations_that_were_not_applied_are_repeated(failure: PrismError) -> None:
    channel = FakeChannel(failure, failure)
    await client_of(channel).set("k", b"v")
    assert channel.tried == 3


@pytest.mark.parametrize("failure", FINAL, ids=repr)
async def test_writes_that_may_have_been_applied_are_never_repeated(failure: PrismError) -> None:
    channel = FakeChannel(failure)
    with pytest.raises(type(failure)):
        await client_of(channel).set("k", b"v")
    assert channel.tried == 1


async def test_reads_are_repeated_after_any_outcome() -> None:
    channel = FakeChannel(unavailable(Outcome.UNKNOWN))
    assert await client_of(channel).get("k") is None
    assert channel.tried == 2


async def test_last_failure_is_raised_when_the_timeout_is_over() -> None:
    channel = FakeChannel(timeout_s=0.5)
    channel.forever = Exhausted("too many calls", reason="TOO_MANY_IN_FLIGHT")
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with pytest.raises(Exhausted, match="too many"):
        await client_of(channel).set("k", b"v")
    assert loop.time() - began_at < 10
    assert channel.tried > 2


async def test_answer_that_does_not_come_is_unknown_and_says_why_it_was_repeated() -> None:
    channel = FakeChannel(NotServing("draining"), timeout_s=0.1)
    kv = client_of(channel)

    async def hang(*_: Any) -> None:
        channel.tried += 1
        if channel.tried == 1:
            raise channel.failures.pop()
        await asyncio.Event().wait()

    channel.operate = hang  # type: ignore[method-assign,assignment]
    with pytest.raises(BackendTimeout) as late:
        await kv.set("k", b"v")
    assert late.value.outcome is Outcome.UNKNOWN
    assert isinstance(late.value.__cause__, NotServing)


async def test_outage_gets_no_multiple_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "TokenBucket", lambda *_: TokenBucket(0, 10))
    channel = FakeChannel()
    channel.forever = Exhausted("too many calls", reason="TOO_MANY_IN_FLIGHT")
    kv = client_of(channel)
    results = await asyncio.gather(*(kv.set("k", b"v") for _ in range(100)), return_exceptions=True)
    assert all(isinstance(result, Exhausted) for result in results)
    assert channel.tried == 110


@pytest.mark.parametrize("connected", [True, False])
async def test_one_question_at_a_time_finds_out_that_the_server_serves_again(
    connected: bool,
) -> None:
    absent = NotServing("draining") if connected else unavailable(Outcome.NOT_APPLIED)
    channel = FakeChannel(absent)
    channel.is_connected = connected
    channel.absences = [absent] * 4
    kv = client_of(channel)
    await asyncio.gather(*(kv.set("k", b"v") for _ in range(100)))
    assert channel.probes == 5
    # Those that began meanwhile were sent once.
    assert channel.tried == 1 + 100


async def test_operation_that_waits_for_the_server_in_vain_says_why() -> None:
    channel = FakeChannel(NotServing("draining"), timeout_s=0.2)
    channel.absences = [NotServing("still draining")] * 100
    kv = client_of(channel)
    waiting = [asyncio.create_task(kv.set("k", b"v")) for _ in range(2)]
    for task in waiting:
        with pytest.raises(NotServing, match="draining") as failure:
            await task
        assert failure.value.outcome is Outcome.NOT_APPLIED
    assert channel.tried < 3


async def test_attempt_that_the_deadline_ends_hides_no_reason() -> None:
    late = BackendTimeout("no answer in time", outcome=Outcome.NOT_APPLIED)
    channel = FakeChannel(unavailable(Outcome.NOT_APPLIED), late)
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await client_of(channel).set("k", b"v")
    unknown = BackendTimeout("no answer in time", outcome=Outcome.UNKNOWN)
    channel = FakeChannel(unavailable(Outcome.NOT_APPLIED), unknown)
    with pytest.raises(BackendTimeout):
        await client_of(channel).set("k", b"v")


async def test_watch_that_no_server_begins_is_tried_again_until_its_timeout() -> None:
    channel = FakeChannel(NotServing("draining"), unavailable(Outcome.NOT_APPLIED))
    async with client_of(channel).watch("k") as events:
        assert [event async for event in events] == []
    assert channel.tried == 3
    channel = FakeChannel(timeout_s=0.2)
    channel.forever = NotServing("draining")
    with pytest.raises(NotServing):
        await client_of(channel).watch("k").__aenter__()
    assert channel.tried > 1


async def test_closed_client_repeats_nothing() -> None:
    channel = FakeChannel(NotServing("the connection is closed"))
    channel.is_closed = True
    with pytest.raises(NotServing):
        await client_of(channel).get("k")
    assert channel.tried == 1
