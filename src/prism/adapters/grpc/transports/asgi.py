"""Servicers as an ASGI application: framing, statuses and deadlines of gRPC over HTTP/2.

The ASGI server turns a reset stream into a cancelled task, and sends trailers (the
extension `http.response.trailers`).

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import quote_from_bytes

from google.rpc import code_pb2

from prism.adapters.grpc.calls import FIRST_MESSAGE_S, Call, Rejected, StreamCall, UnaryCall
from prism.adapters.grpc.context import PATTERN
from prism.adapters.grpc.transports.framing import (
    ACCEPTED_ENCODINGS,
    PREFIX_BYTES,
    Messages,
    check_encoding,
    frame,
    rejected,
)

Event = Mapping[str, Any]
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

_CONTENT_TYPE = (b"content-type", b"application/grpc")
_START: Event = {
    "type": "http.response.start",
    "status": 200,
    "headers": [_CONTENT_TYPE, (b"grpc-accept-encoding", ACCEPTED_ENCODINGS)],
    "trailers": True,
}
_END_OF_BODY: Event = {"type": "http.response.body", "body": b""}
_OK: Event = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}

_PATTERN = PATTERN.encode("ascii")

_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class GrpcOverAsgi:
    """An ASGI application that serves calls by their path."""

    def __init__(self, calls: Mapping[str, Call], *, max_message_bytes: int) -> None:
        self._calls = calls
        self._max_message_bytes = max_message_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        context = Context(scope)
        if not context.is_grpc:
            await send({"type": "http.response.start", "status": 415, "headers": []})
            await send(_END_OF_BODY)
            return
        call = self._calls.get(scope["path"])
        try:
            if call is None:
                await _first_of(receive)
                raise rejected(code_pb2.UNIMPLEMENTED, f"no such method: {scope['path']}")
            check_encoding(context.encoding)
            if isinstance(call, UnaryCall):
                await self._unary(call, context, receive, send)
            else:
                await self._stream(call, context, receive, send)
        except Rejected as refusal:
            if not context.started:
                headers = [_CONTENT_TYPE, *_trailers_of(refusal)]
                if refusal.status.code == code_pb2.UNIMPLEMENTED:
                    headers.append((b"grpc-accept-encoding", ACCEPTED_ENCODINGS))
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send(_END_OF_BODY)
            else:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                await send({"type": "http.response.trailers", "headers": _trailers_of(refusal)})

    async def _unary(self, call: UnaryCall, context: Context, receive: Receive, send: Send) -> None:
        event = await receive()
        body: bytes = event.get("body", b"")
        if _is_one_message(body, self._max_message_bytes):
            # Usually the end of the request is an event of its own.
            end = await receive() if event.get("more_body") else {}
            if not end.get("body") and not end.get("more_body"):
                payload = body[PREFIX_BYTES:]
            else:
                payload = await self._only_message(context, receive, body, end)
        else:
            payload = await self._only_message(context, receive, b"", event)
        reply = await call(payload, context)
        await send(_START)
        context.started = True
        await send({"type": "http.response.body", "body": frame(reply)})
        await send(_OK)

    async def _only_message(
        self, context: Context, receive: Receive, begun: bytes, event: Event
    ) -> bytes:
        """Return the message of a request that comes in several events.

        Args:
            begun: body received so far.
            event: latest event, not part of `begun`.
        """
        messages = Messages(context.encoding, self._max_message_bytes)
        messages.feed(begun)
        found: bytes | None = None
        while True:
            messages.feed(event.get("body", b""))
            while (message := messages.next()) is not None:
                if found is not None:
                    raise rejected(code_pb2.INTERNAL, "a unary call takes exactly one message")
                found = message
            if not event.get("more_body"):
                break
            event = await receive()
        if found is None or messages.incomplete:
            raise rejected(code_pb2.INTERNAL, "the call ended before its message did")
        return found

    async def _stream(
        self, call: StreamCall, context: Context, receive: Receive, send: Send
    ) -> None:
        async def payloads() -> AsyncIterator[bytes]:
            messages = Messages(context.encoding, self._max_message_bytes)
            more = True
            while more:
                event = await receive()
                messages.feed(event.get("body", b""))
                more = bool(event.get("more_body"))
                while (message := messages.next()) is not None:
                    yield message
            if messages.incomplete:
                raise rejected(code_pb2.INTERNAL, "the call ended in the middle of a message")

        try:
            async with (
                asyncio.timeout(context.timeout_s) as bound,
                aclosing(call(payloads(), context)) as replies,
            ):
                async for reply in replies:
                    if not context.started:
                        await send(_START)
                        context.started = True
                    body = {"type": "http.response.body", "body": frame(reply), "more_body": True}
                    await send(body)
        except TimeoutError:
            if not bound.expired():
                raise
            raise rejected(
                code_pb2.DEADLINE_EXCEEDED, "the deadline of the stream has passed"
            ) from None
        if not context.started:
            await send(_START)
            context.started = True
        await send(_END_OF_BODY)
        await send(_OK)


def _is_one_message(body: bytes, max_bytes: int) -> bool:
    """Return whether this is exactly one message, neither compressed nor too large."""
    size = len(body) - PREFIX_BYTES
    return (
        0 <= size <= max_bytes
        and body[0] == 0
        and int.from_bytes(body[1:PREFIX_BYTES], "big") == size
    )


async def _first_of(receive: Receive) -> None:
    """Wait until the caller has sent its first message; see `calls._first_of`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_MESSAGE_S):
            await receive()


class Context:
    """Context of one call, read from the headers of its request."""

    __slots__ = (
        "_headers",
        "connection",
        "encoding",
        "is_grpc",
        "pattern",
        "started",
        "timeout_s",
    )

    def __init__(self, scope: Scope) -> None:
        client = scope.get("client")
        # Connections over a Unix socket cannot be told apart.
        self.connection = f"{client[0]}:{client[1]}" if client else ""
        # The first value of a repeated header applies.
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        find = self._headers.get
        self.is_grpc = find(b"content-type", b"").startswith(b"application/grpc")
        self.encoding = find(b"grpc-encoding", b"")
        pattern, timeout = find(_PATTERN), find(b"grpc-timeout")
        self.pattern = "" if pattern is None else pattern.decode("latin-1")
        self.timeout_s = None if timeout is None else _timeout_of(timeout)
        self.started = False

    def metadata(self, name: str) -> str | None:
        value = self._headers.get(name.encode("latin-1"))
        return None if value is None else value.decode("latin-1")


def _timeout_of(value: bytes) -> float | None:
    digits, unit = value[:-1], value[-1:]
    if unit in _SECONDS and digits.isdigit():
        return int(digits) * _SECONDS[unit]
    return None


def _trailers_of(refusal: Rejected) -> list[tuple[bytes, bytes]]:
    status = refusal.status
    trailers = [(b"grpc-status", b"%d" % status.code)]
    if status.message:
        # Percent-encodes everything but printable ASCII, and the percent sign.
        text = quote_from_bytes(status.message.encode(), safe=_PRINTABLE)
        trailers.append((b"grpc-message", text.encode("ascii")))
    if status.details:
        details = b64encode(status.SerializeToString()).rstrip(b"=")
        trailers.append((b"grpc-status-details-bin", details))
    return trailers


_PRINTABLE = bytes(set(range(0x20, 0x7F)) - {ord("%")})
