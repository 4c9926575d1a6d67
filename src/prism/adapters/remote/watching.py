"""A watch over the wire: a stream that begins with Started, and ends only with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from prism.adapters.wire.keyvalue_messages import event_of
from prism.ports import BackendTimeout, Event, Internal, NotServing, PrismError, WatchEnded
from prism.v1 import keyvalue_pb2 as pb

Metadata = tuple[tuple[str, str], ...] | None


@asynccontextmanager
async def watching(
    connection: AbstractAsyncContextManager[grpc.aio.Channel],
    path: str,
    request: pb.WatchRequest,
    *,
    metadata: Metadata,
    timeout_s: float,
    never_stood: Callable[[grpc.aio.AioRpcError], PrismError],
    broke: Callable[[grpc.aio.AioRpcError], PrismError],
) -> AsyncIterator[AsyncIterator[Event]]:
    """A watch that stands when the context is entered.

    Args:
        connection: of its own.
        timeout_s: within which the server says that it stands.
        never_stood: what a call that failed before that raises.
        broke: what one raises that failed later.
    """
    async with connection as channel:
        method: Any = channel.unary_stream(path)
        # Without a deadline: it lasts until one side has had enough.
        call = method(request.SerializeToString(), metadata=metadata)
        messages = aiter(call)
        try:
            async with asyncio.timeout(timeout_s):
                first = await _next(messages, never_stood)
        except TimeoutError:
            raise BackendTimeout(
                f"the server did not begin the watch within {timeout_s:.3g} s"
            ) from None
        if first.WhichOneof("message") != "started":
            raise Internal("the server did not begin the watch by saying so")
        try:
            yield _Events(messages, broke)
        finally:
            # Closing waits for calls; the server learns at once that nobody reads.
            call.cancel()


class _Events:
    """What comes after Started."""

    __slots__ = ("_broke", "_messages")

    def __init__(
        self,
        messages: AsyncIterator[bytes],
        broke: Callable[[grpc.aio.AioRpcError], PrismError],
    ) -> None:
        self._messages = messages
        self._broke = broke

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        message = await _next(self._messages, self._broke)
        event = event_of(message.event)
        if event is None:
            raise Internal("the server reported something that this client does not know")
        return event


async def _next(
    messages: AsyncIterator[bytes], error_of: Callable[[grpc.aio.AioRpcError], PrismError]
) -> pb.WatchResponse:
    try:
        return pb.WatchResponse.FromString(await anext(messages))
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from None
    except StopAsyncIteration:
        raise WatchEnded("the server ended the watch: begin it again") from None
    except DecodeError:
        raise Internal("the server answered with something that is no event") from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Closing the connection cancels calls under way, which their readers did not.
        raise NotServing("not serving: the connection is closed") from None
