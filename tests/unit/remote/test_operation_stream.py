"""Operation stream of the client, on a fake stream of HTTP/2."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, cast

import pytest
from google.rpc import code_pb2

from prism.adapters.client.errors import ErrorTranslator
from prism.adapters.client.grpc_call import Call, CallFailed
from prism.adapters.client.operation_stream import OperationStream, StreamsUnsupported
from prism.adapters.client.pending_operations import TIMEOUT_MARGIN_S
from prism.adapters.grpc.element_limits import MAX_STREAM_ELEMENTS, ElementLimits
from prism.adapters.wire.methods import METHODS
from prism.adapters.wire.status import status_of
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Internal,
    NotServing,
    Outcome,
    PrismError,
    VersionConflict,
)
from prism.v1 import keyvalue_pb2 as pb

BROKEN = CallFailed(code_pb2.UNAVAILABLE, "the connection was reset")
MOVED = CallFailed(code_pb2.UNAVAILABLE, "the server is leaving", unseen=True, moved=True)


class Stream:
    """Fake stream of HTTP/2: keeps what is sent, and is as full as the test wants.

    Attributes:
        may_write: whether what is sent leaves at once.
    """

    def __init__(self, call: Call) -> None:
        self.written: list[pb.OperateRequest] = []
        self.waiting: deque[bytes] = deque()
        self.ended = False
        self._call = call
        self._may_write = True

    @property
    def may_write(self) -> bool:
        return self._may_write

    @may_write.setter
    def may_write(self, whether: bool) -> None:
        self._may_write = whether
        if whether and self.waiting:
            self.waiting.clear()
            self._call.on_writable()

    def send(self, data: bytes, *, last: bool = False) -> None:
        self.ended = last
        if data:
            assert data[1:5] == (len(data) - 5).to_bytes(4, "big")
            self.written.append(pb.OperateRequest.FromString(data[5:]))
        if not self._may_write:
            self.waiting.append(data)

    def make_room(self, size: int) -> None: ...

    def cancel(self) -> None:
        self.ended = True

    @property
    def operations(self) -> list[pb.Operation]:
        return [each for message in self.written for each in message.operations]

    def answer(self, *outcomes: pb.OperationOutcome) -> None:
        self._call.message_arrived(pb.OperateResponse(outcomes=outcomes).SerializeToString())

    def receive(self, message: bytes) -> None:
        self._call.message_arrived(message)

    def finish(self, failed: CallFailed) -> None:
        self._call._end(failed)


class Setting:
    """An operation stream, and the streams of HTTP/2 that it has opened.

    Attributes:
        connected: set while there is a connection.
        refusal: failure of the next calls that begin; None: they begin.
    """

    def __init__(self, timeout_s: float = 30) -> None:
        self.calls: list[Stream] = []
        self.prepare: Callable[[Stream], None] = lambda call: None
        self.connected = asyncio.Event()
        self.connected.set()
        self.refusal: CallFailed | None = None
        self.stream = OperationStream(
            self._begin, ErrorTranslator("127.0.0.1:1").of_operations, timeout_s
        )

    async def _begin(self, call: Call) -> None:
        await self.connected.wait()
        if self.refusal is not None:
            raise self.refusal
        stream = Stream(call)
        self.calls.append(stream)
        self.prepare(stream)
        call._stream = cast("Any", stream)

    def get(self, key: str = "k") -> asyncio.Task[pb.GetResponse]:
        request = pb.GetRequest(key=key).SerializeToString()
        return asyncio.create_task(self.call("get", request))

    async def call(self, name: str, request: bytes) -> Any:
        operation, reply = self.stream.begin(METHODS[name], request)
        try:
            return await reply
        except asyncio.CancelledError:
            self.stream.give_up(operation)
            raise


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    made = Setting()
    yield made
    await made.stream.close()
    await settle()
    assert len(asyncio.all_tasks()) == 1


async def settle() -> None:
    """Run the loop until only waiting tasks are left."""
    for _ in range(20):
        await asyncio.sleep(0)


def found(identity: int, value: bytes) -> pb.OperationOutcome:
    return pb.OperationOutcome(id=identity, get=pb.GetResponse(entry=pb.Entry(value=value)))


async def test_operations_of_one_turn_of_the_loop_share_a_message(setting: Setting) -> None:
    tasks = [setting.get(f"k{n}") for n in range(50)]
    await settle()
    [call] = setting.calls
    assert len(call.written) == 1
    assert [each.get.key for each in call.operations] == [f"k{n}" for n in range(50)]
    assert {each.timeout_ms for each in call.operations} == {30_000}
    call.answer(*(found(each.id, each.get.key.encode()) for each in reversed(call.operations)))
    replies = await asyncio.gather(*tasks)
    assert [reply.entry.value for reply in replies] == [b"k%d" % n for n in range(50)]


async def test_operations_started_during_a_write_share_the_next_message(setting: Setting) -> None:
    setting.prepare = lambda call: setattr(call, "may_write", False)
    tasks = [setting.get("first")]
    await settle()
    for n in range(3):
        tasks.append(setting.get(f"k{n}"))
        await settle()
    [call] = setting.calls
    assert len(call.written) == 1
    call.may_write = True
    await settle()
    assert [len(message.operations) for message in call.written] == [1, 3]
    call.answer(*(found(each.id, b"") for each in call.operations))
    await asyncio.gather(*tasks)


async def test_error_of_the_server_is_raised(setting: Setting) -> None:
    task = setting.get()
    await settle()
    status = status_of(VersionConflict("it has another version"))
    setting.calls[0].answer(pb.OperationOutcome(id=setting.calls[0].operations[0].id, error=status))
    with pytest.raises(VersionConflict, match="another version"):
        await task


async def test_large_requests_are_split_into_messages(setting: Setting) -> None:
    request = pb.SetRequest(key="k", value=b"x" * 100_000).SerializeToString()
    tasks = [asyncio.create_task(setting.call("set", request)) for _ in range(12)]
    await settle()
    [call] = setting.calls
    assert len(call.operations) == 12
    assert len(call.written) == 3
    assert all(message.ByteSize() <= 512 << 10 for message in call.written)
    call.answer(*(pb.OperationOutcome(id=each.id, set={}) for each in call.operations))
    await asyncio.gather(*tasks)


async def test_many_short_keys_are_split_into_messages_that_a_server_accepts(
    setting: Setting,
) -> None:
    request = pb.BatchGetRequest(keys=["k"] * 1000).SerializeToString()
    tasks = [asyncio.create_task(setting.call("batch_get", request)) for _ in range(100)]
    await settle()
    [call] = setting.calls
    assert len(call.operations) == 100
    limits = ElementLimits(pb.OperateRequest, MAX_STREAM_ELEMENTS)
    for message in call.written:
        limits.check(message.SerializeToString())
    call.answer(*(pb.OperationOutcome(id=each.id, batch_get={}) for each in call.operations))
    await asyncio.gather(*tasks)


async def test_half_of_many_operations_is_sent_before_the_rest_begins(setting: Setting) -> None:
    first = setting.get("first")
    await settle()
    [call] = setting.calls
    tasks = [setting.get(f"k{n}") for n in range(64)]
    await settle()
    assert [len(message.operations) for message in call.written] == [1, 32, 32]
    call.answer(*(found(each.id, b"") for each in call.operations))
    await asyncio.gather(first, *tasks)


async def test_operations_of_a_stream_that_no_server_began_go_through_another_one(
    setting: Setting,
) -> None:
    tasks = [setting.get(f"k{n}") for n in range(5)]
    await settle()
    later = setting.get("later")
    setting.calls[0].finish(MOVED)
    await settle()
    _, call = setting.calls
    assert [each.get.key for each in call.operations] == [*(f"k{n}" for n in range(5)), "later"]
    call.answer(*(found(each.id, each.get.key.encode()) for each in call.operations))
    replies = await asyncio.gather(*tasks, later)
    assert replies[4].entry.value == b"k4"


async def test_operations_that_every_server_refuses_to_begin_are_not_applied(
    setting: Setting,
) -> None:
    setting.refusal = MOVED
    with pytest.raises(BackendUnavailable, match="leaving") as refused:
        await setting.get()
    assert refused.value.outcome is Outcome.NOT_APPLIED


async def test_cancelled_operation_is_reported_to_the_server_and_affects_no_other(
    setting: Setting,
) -> None:
    one, other = setting.get("one"), setting.get("other")
    await settle()
    [call] = setting.calls
    first, second = call.operations
    one.cancel()
    await settle()
    assert list(call.written[-1].cancel_ids) == [first.id]
    call.answer(found(first.id, b"late"), found(second.id, b"other"))
    assert (await other).entry.value == b"other"
    assert one.cancelled()


async def test_operation_cancelled_before_it_was_written_is_never_sent(setting: Setting) -> None:
    setting.connected.clear()
    one, other = setting.get("one"), setting.get("other")
    await settle()
    one.cancel()
    await settle()
    setting.connected.set()
    await settle()
    [call] = setting.calls
    [message] = call.written
    assert [each.get.key for each in message.operations] == ["other"]
    assert not message.cancel_ids
    call.answer(found(message.operations[0].id, b""))
    await other


async def test_broken_stream_leaves_written_operations_unknown_and_others_not_applied(
    setting: Setting,
) -> None:
    setting.prepare = lambda call: setattr(call, "may_write", False)
    written = setting.get("written")
    await settle()
    unwritten = setting.get("unwritten")
    await settle()
    setting.calls[0].finish(BROKEN)
    failures = await asyncio.gather(written, unwritten, return_exceptions=True)
    assert [type(failure) for failure in failures] == [BackendUnavailable] * 2
    outcomes = [failure.outcome for failure in failures if isinstance(failure, PrismError)]
    assert outcomes == [Outcome.UNKNOWN, Outcome.NOT_APPLIED]


async def test_without_a_connection_operations_are_not_applied(setting: Setting) -> None:
    setting.connected.clear()
    task = setting.get()
    await settle()
    setting.refusal = CallFailed(code_pb2.UNAVAILABLE, "nothing listens there", unseen=True)
    setting.connected.set()
    with pytest.raises(BackendUnavailable) as failure:
        await task
    assert failure.value.outcome is Outcome.NOT_APPLIED


async def test_stream_reopens_for_the_next_operation_and_repeats_none(setting: Setting) -> None:
    lost = setting.get("lost")
    await settle()
    setting.calls[0].finish(BROKEN)
    with pytest.raises(BackendUnavailable):
        await lost
    await settle()
    assert len(setting.calls) == 1
    task = setting.get("next")
    await settle()
    _, call = setting.calls
    assert [each.get.key for each in call.operations] == ["next"]
    call.answer(found(call.operations[0].id, b""))
    await task


async def test_answer_from_an_earlier_stream_is_ignored(setting: Setting) -> None:
    lost = setting.get("lost")
    await settle()
    stale = setting.calls[0].operations[0].id
    setting.calls[0].finish(BROKEN)
    with pytest.raises(BackendUnavailable):
        await lost
    task = setting.get("next")
    await settle()
    call = setting.calls[1]
    call.answer(found(stale, b"stale"))
    call.answer(found(call.operations[0].id, b"next"))
    assert (await task).entry.value == b"next"


async def test_status_of_the_stream_applies_to_unanswered_operations(setting: Setting) -> None:
    tasks = [setting.get("a"), setting.get("b")]
    await settle()
    status = status_of(NotServing("draining")).SerializeToString()
    setting.calls[0].finish(CallFailed(code_pb2.UNAVAILABLE, "draining", details=status))
    for task in tasks:
        with pytest.raises(NotServing) as refusal:
            await task
        assert refusal.value.outcome is Outcome.NOT_APPLIED


async def test_server_without_streams_has_not_seen_the_operation(setting: Setting) -> None:
    tasks = [setting.get("a"), setting.get("b")]
    await settle()
    setting.calls[0].finish(CallFailed(code_pb2.UNIMPLEMENTED, "no such method"))
    for task in tasks:
        with pytest.raises(StreamsUnsupported):
            await task


async def test_unimplemented_after_an_answer_does_not_repeat_operations(setting: Setting) -> None:
    tasks = [setting.get("a"), setting.get("b")]
    await settle()
    [call] = setting.calls
    call.answer(found(call.operations[0].id, b""))
    await tasks[0]
    call.finish(CallFailed(code_pb2.UNIMPLEMENTED, "changed its mind"))
    with pytest.raises(BackendUnavailable):
        await tasks[1]


async def test_operation_without_an_answer_fails_at_the_deadline() -> None:
    setting = Setting(timeout_s=0.02)
    written = setting.get("written")
    await settle()
    [call] = setting.calls
    call.may_write = False
    blocking = setting.get("blocking")
    await settle()
    unwritten = setting.get("unwritten")
    failures = await asyncio.gather(written, blocking, unwritten, return_exceptions=True)
    assert [type(failure) for failure in failures] == [BackendTimeout] * 3
    outcomes = [failure.outcome for failure in failures if isinstance(failure, PrismError)]
    assert outcomes == [Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.NOT_APPLIED]
    call.may_write = True
    await settle()
    ids = [each.id for each in call.operations]
    assert [each for message in call.written for each in message.cancel_ids] == ids
    await setting.stream.close()


async def test_no_operation_fails_before_its_own_deadline() -> None:
    setting = Setting(timeout_s=0.02)
    loop = asyncio.get_running_loop()
    earlier = setting.get("earlier")
    await asyncio.sleep(0.02)
    begun = loop.time()
    with pytest.raises(BackendTimeout):
        await setting.get("later")
    # Timers may be early by the resolution of the clock.
    assert loop.time() - begun >= 0.019 + TIMEOUT_MARGIN_S
    with pytest.raises(BackendTimeout):
        await earlier
    await setting.stream.close()


async def test_closing_fails_pending_operations(setting: Setting) -> None:
    setting.prepare = lambda call: setattr(call, "may_write", False)
    written = setting.get("written")
    await settle()
    unwritten = setting.get("unwritten")
    await settle()
    await setting.stream.close()
    failures = await asyncio.gather(written, unwritten, return_exceptions=True)
    assert [type(failure) for failure in failures] == [BackendUnavailable] * 2
    outcomes = [failure.outcome for failure in failures if isinstance(failure, PrismError)]
    assert outcomes == [Outcome.UNKNOWN, Outcome.NOT_APPLIED]
    with pytest.raises(NotServing):
        await setting.get()


async def test_answer_of_another_operation_fails_the_one_that_waits(setting: Setting) -> None:
    task = setting.get()
    await settle()
    [call] = setting.calls
    call.answer(pb.OperationOutcome(id=call.operations[0].id, set={}))
    with pytest.raises(Internal, match="answered get with set"):
        await task


async def test_undecodable_message_ends_the_stream(setting: Setting) -> None:
    task = setting.get()
    await settle()
    setting.calls[0].receive(b"\xff")
    with pytest.raises(BackendUnavailable) as failure:
        await task
    assert failure.value.outcome is Outcome.UNKNOWN


def test_timeout_of_an_operation_is_never_zero() -> None:
    async def first_timeout(delta: timedelta) -> int:
        setting = Setting(timeout_s=delta.total_seconds())
        task = setting.get()
        await settle()
        await setting.stream.close()
        with pytest.raises(PrismError):
            await task
        return setting.calls[0].operations[0].timeout_ms

    assert asyncio.run(first_timeout(timedelta(microseconds=1))) == 1
