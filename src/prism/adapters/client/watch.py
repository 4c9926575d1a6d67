"""Watch of a client: a stream that begins with Started, and always ends with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import grpc
from google.protobuf.message import DecodeError

from prism.adapters.client.errors import ErrorTranslator
from prism.adapters.client.operation_stream import CLOSED
from prism.adapters.wire.keyvalue_messages import event_of
from prism.adapters.wire.methods import path_of
from prism.ports import BackendTimeout, Event, Internal, NotServing, PrismError, WatchEnded
from prism.v1 import keyvalue_pb2 as pb

UnaryStreamMethod: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"
TranslateError = Callable[[grpc.aio.AioRpcError], PrismError]


@asynccontextmanager
async def open_watch(
    connection: AbstractAsyncContextManager[grpc.aio.Channel],
    request: pb.WatchRequest,
    *,
    metadata: tuple[tuple[str, str], ...],
    timeout_s: float,
    errors: ErrorTranslator,
) -> AsyncIterator[AsyncIterator[Event]]:
    """Yield the events of a watch that the server has started; leaving ends the watch.

    Args:
        connection: connection for this watch alone.
        timeout_s: longest time until the server confirms the start.

    Raises:
        PrismError: the server refused the watch, or did not start it in time.
    """
    async with connection as channel:
        # Without a deadline: a watch lasts until one side ends it.
        method: UnaryStreamMethod = channel.unary_stream(path_of("Watch"))
        call = method(request.SerializeToString(), metadata=metadata)
        messages = aiter(call)
        try:
            async with asyncio.timeout(timeout_s):
                first = await _next(messages, errors.of_call)
        except TimeoutError:
            raise BackendTimeout(
                f"the server did not begin the watch within {timeout_s:.3g} s"
            ) from None
        if first.WhichOneof("message") != "started":
            raise Internal("the server sent an event before it confirmed the watch")
        try:
            yield _Events(messages, errors.of_watch)
        finally:
            # Closing waits for calls; cancelling tells the server that nobody reads.
            call.cancel()


class _Events:
    """Events of a watch, after Started."""

    __slots__ = ("_messages", "_translate")

    def __init__(self, messages: AsyncIterator[bytes], translate: TranslateError) -> None:
        self._messages = messages
        self._translate = translate

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        message = await _next(self._messages, self._translate)
        event = event_of(message.event)
        if event is None:
            raise Internal(
                f"the server sent a watch event of a type unknown here: {message.event.type}"
            )
        return event


async def _next(messages: AsyncIterator[bytes], translate: TranslateError) -> pb.WatchResponse:
    try:
        return pb.WatchResponse.FromString(await anext(messages))
    except grpc.aio.AioRpcError as error:
        raise translate(error) from None
    except StopAsyncIteration:
        raise WatchEnded(
            "the server ended the watch: start a new watch and re-read the keys"
        ) from None
    except DecodeError:
        raise Internal("the server sent a watch message that cannot be decoded") from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Closing the connection cancels its calls, which their readers did not.
        raise NotServing(CLOSED) from None
