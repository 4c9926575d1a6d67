"""Counts and observer of the wrapper around every call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import code_pb2, status_pb2

from prism.adapters.grpc.calls import Rejected, StreamCall, UnaryCall
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.request_log import RequestLog
from prism.ports import BackendTimeout, InvalidArgument


class Context:
    connection = "c"
    pattern = ""
    authorization = None
    certificate = ""
    timeout_s: float | None = None

    def metadata(self, name: str) -> str | None:
        return None


class Recorder:
    """Observer that records calls and their statuses."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int | None]] = []

    def begin(self, path: str, context: CallContext) -> object:
        return path

    def resume(self, handle: object) -> None:
        assert handle

    def follows(self, handle: object) -> bool:
        return True

    def end(self, handle: object, status: status_pb2.Status | None) -> None:
        self.seen.append((str(handle), status and status.code))


async def handle(request: StringValue, context: CallContext) -> StringValue:
    if request.value == "refuse":
        raise InvalidArgument("no")
    if request.value == "wait":
        await asyncio.Event().wait()
    if request.value == "cancelled within":
        raise asyncio.CancelledError
    if request.value == "own timeout":
        raise TimeoutError("the driver's own")
    return request


async def handle_each(
    requests: AsyncIterator[StringValue], context: CallContext
) -> AsyncGenerator[StringValue, None]:
    async for request in requests:
        yield await handle(request, context)


def unary(**more: Any) -> UnaryCall:
    return UnaryCall(
        path="/t.T/Do",
        request_type=StringValue,
        max_reply_bytes=100,
        **{"handler": handle, "default_timeout_s": None, **more},
    )


def payload(text: str) -> bytes:
    return StringValue(value=text).SerializeToString()


async def test_calls_are_counted_by_their_status() -> None:
    call = unary()
    assert await call(payload("a"), Context()) == payload("a")
    for text in ("refuse", "refuse", "x" * 101, "own timeout", "cancelled within"):
        with pytest.raises(Rejected):
            await call(payload(text), Context())
    waiting = asyncio.create_task(call(payload("wait"), Context()))
    await asyncio.sleep(0)
    assert (call.tally.started, call.tally.ended) == (7, 6)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (call.tally.started, call.tally.ended) == (7, 7)
    assert call.tally.failed == {
        code_pb2.INVALID_ARGUMENT: 2,
        code_pb2.RESOURCE_EXHAUSTED: 1,
        code_pb2.INTERNAL: 2,
        code_pb2.CANCELLED: 1,
    }


async def test_observer_sees_each_call_and_its_status() -> None:
    recorder = Recorder()
    call = unary(observer=recorder)
    await call(payload("a"), Context())
    with pytest.raises(Rejected):
        await call(payload("refuse"), Context())
    assert recorder.seen == [("/t.T/Do", None), ("/t.T/Do", code_pb2.INVALID_ARGUMENT)]


async def test_default_timeout_applies_if_the_caller_sets_no_deadline() -> None:
    with pytest.raises(Rejected) as rejected:
        await unary(default_timeout_s=0.01)(payload("wait"), Context())
    assert rejected.value.status.code == code_pb2.DEADLINE_EXCEEDED
    assert isinstance(rejected.value.__cause__, BackendTimeout)


async def test_stream_counts_as_one_call() -> None:
    recorder = Recorder()
    call = StreamCall(
        path="/t.T/Each",
        request_type=StringValue,
        handler=handle_each,
        max_reply_bytes=100,
        observer=recorder,
    )

    async def payloads() -> AsyncIterator[bytes]:
        for text in ("a", "b", "refuse"):
            yield payload(text)

    replies = call(payloads(), Context())
    assert [await anext(replies), await anext(replies)] == [payload("a"), payload("b")]
    with pytest.raises(Rejected):
        await anext(replies)
    assert (call.tally.started, call.tally.ended) == (1, 1)
    assert recorder.seen == [("/t.T/Each", code_pb2.INVALID_ARGUMENT)]


async def test_secret_in_an_error_is_hidden_from_the_caller() -> None:
    async def blab(request: StringValue, context: CallContext) -> StringValue:
        raise BackendTimeout("AUTH hunter2 took too long")

    log = RequestLog(redact=lambda text: text.replace("hunter2", "***"))
    with pytest.raises(Rejected) as raised:
        await unary(handler=blab, log=log)(payload("x"), Context())
    assert raised.value.status.message == "AUTH *** took too long"
