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

from google.rpc import code_pb2, status_pb2

from prism.adapters.grpc.calls import FIRST_MESSAGE_S, Call, Rejected, StreamCall, UnaryCall
from prism.adapters.grpc.transports.framing import (
    ACCEPTED_ENCODINGS,
    PREFIX_BYTES,
    Messages,
    check_encoding,
    frame,
    prefix_of,
    refused,
    rejected,
)
from prism.adapters.grpc.transports.peer_limits import CROWD, PeerLimits
from prism.adapters.grpc.transports.timeouts import NEVER, CoarseTimeouts
from prism.adapters.wire.methods import PATTERN
from prism.domain.turns import Pace
from prism.ports import BackendTimeout, Outcome

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

_MAX_TIMEOUT_DIGITS = 8

_MAX_RECEIVE_S = 30.0
"""Time for a request without a deadline to become complete."""

_COPIED_BYTES = 64 << 10

_COUNTED_BYTES = 4096
"""Smaller replies that are not read are limited by the number of calls alone."""

_MARGIN_S, _MARGIN_PER_CALL_S = 0.01, 0.00025

_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class GrpcOverAsgi:
    """ASGI application that serves calls by their path.

    Args:
        limits: limits on what callers send incompletely or do not read.
    """

    def __init__(
        self, calls: Mapping[str, Call], *, max_message_bytes: int, limits: PeerLimits
    ) -> None:
        self._calls = {path.encode(): call for path, call in calls.items()}
        self._max_message_bytes = max_message_bytes
        self._limits = limits
        self._timeouts = CoarseTimeouts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        limits = self._limits
        context = Context(scope)
        limits.open_calls += 1
        is_crowded = limits.open_calls > CROWD
        try:
            if is_crowded:
                limits.join_crowd(context.connection)
            # A path that is encoded is not decoded: it names no method.
            call = self._calls.get(scope["raw_path"])
            if call is None or not _is_call(scope, context):
                await self._refuse(scope, context, receive, send)
                return
            context.check_trailers()
            context.start_deadline(limits.open_calls)
            if context.encoding:
                check_encoding(context.encoding)
            if isinstance(call, UnaryCall):
                await self._unary(call, context, receive, send)
            else:
                if not limits.turns.has_time():
                    await limits.turns.wait(context.connection)
                await self._stream(call, context, receive, send)
        except Rejected as rejection:
            with suppress(_PeerGone):
                await self._reject(rejection.status, context, send)
        except _PeerGone:
            pass
        finally:
            limits.open_calls -= 1
            if is_crowded:
                limits.leave_crowd(context.connection)

    async def _refuse(self, scope: Scope, context: Context, receive: Receive, send: Send) -> None:
        """Answer a request that names no method, or is not gRPC.

        https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
        """
        if _is_call(scope, context):
            await _first_of(receive)
            path = scope["raw_path"].decode("latin-1")
            raise rejected(code_pb2.UNIMPLEMENTED, f"no such method: {path}")
        status = 405 if scope["method"] != "POST" else 415 if not context.is_grpc else 404
        start = {"type": "http.response.start", "status": status, "headers": []}
        await self._send(send, start, _END_OF_BODY)

    async def _reject(self, status: status_pb2.Status, context: Context, send: Send) -> None:
        if not context.started:
            headers = [_CONTENT_TYPE, *_trailers_of(status)]
            if status.code == code_pb2.UNIMPLEMENTED:
                headers.append((b"grpc-accept-encoding", ACCEPTED_ENCODINGS))
            events: tuple[Event, ...] = (
                {"type": "http.response.start", "status": 200, "headers": headers},
                _END_OF_BODY,
            )
        else:
            trailers = {"type": "http.response.trailers", "headers": _trailers_of(status)}
            events = (_END_OF_BODY, trailers)
        await self._send(send, *events)

    async def _unary(self, call: UnaryCall, context: Context, receive: Receive, send: Send) -> None:
        unread, connection = self._limits.unread, context.connection
        limits, turns = self._limits, self._limits.turns
        timeout_s = context.timeout_s
        if timeout_s is None:
            timeout_s = call.default_timeout_s
        counted = 0
        try:
            # The deadline counts from the headers on: a request that never becomes complete,
            # and one that waits for its caller to read, end as well.
            with self._timeouts.limit(_MAX_RECEIVE_S if timeout_s is None else timeout_s) as limit:
                payload = await self._receive_one(context, receive)
                if unread.used and not unread.has_room(connection):
                    await unread.wait_for_room(connection)
                # A call that is alone holds up nobody, and pays for no turn.
                if limits.open_calls > 1 and not turns.has_time():
                    await turns.wait(connection)
                # The call enforces the rest of its deadline itself.
                limit.deadline = NEVER
                reply = await call(payload, context)
                del payload
                if len(reply) > _COUNTED_BYTES:
                    self._count_reply(connection, len(reply))
                    counted = len(reply)
                limit.deadline = limit.loop.time() + self._limits.stall_s
                context.started = True
                await send(_START)
                if len(reply) > _COPIED_BYTES:
                    await send(_prefix(reply))
                    await send({"type": "http.response.body", "body": reply})
                else:
                    await send({"type": "http.response.body", "body": frame(reply)})
                await send(_OK)
        except TimeoutError:
            if context.started:
                self._limits.stalled += 1
                raise _PeerGone from None
            raise refused(
                BackendTimeout(
                    "the deadline passed before the request was complete, or while it waited "
                    "for earlier calls",
                    outcome=Outcome.NOT_APPLIED,
                )
            ) from None
        except OSError:
            # ASGI servers raise a subclass once the stream is reset.
            raise _PeerGone from None
        finally:
            if counted:
                unread.release(connection, counted)

    def _count_reply(self, connection: str, size: int) -> None:
        """Count a reply as unread; raise Rejected if too much is unread."""
        refusal = self._limits.unread.refusal_of(connection, size)
        if refusal is not None:
            raise refused(refusal)
        self._limits.unread.add(connection, size)

    async def _send(self, send: Send, *events: Event) -> None:
        """Send events; the ASGI server takes them as fast as the caller reads.

        Raises:
            _PeerGone: the caller has gone, or does not read.
        """
        try:
            with self._timeouts.limit(self._limits.stall_s):
                for event in events:
                    await send(event)
        except TimeoutError:
            self._limits.stalled += 1
            raise _PeerGone from None
        except OSError:
            # ASGI servers raise a subclass once the stream is reset.
            raise _PeerGone from None

    async def _receive_one(self, context: Context, receive: Receive) -> bytes:
        """Return the only message of a unary request."""
        event = await receive()
        body: bytes = event.get("body", b"")
        if not _is_one_message(body, self._max_message_bytes):
            return await self._assemble(context, receive, b"", event)
        # Usually the end of the request is an event of its own.
        end = await receive() if event.get("more_body") else {}
        if end.get("body") or end.get("more_body"):
            return await self._assemble(context, receive, body, end)
        if end.get("type") == "http.disconnect":
            raise _PeerGone
        return body[PREFIX_BYTES:]

    async def _assemble(
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
        with self._limits.partial(context.connection) as partial:
            while True:
                if event["type"] == "http.disconnect":
                    raise _PeerGone
                messages.feed(event.get("body", b""))
                if messages.next_is_heavy:
                    await self._limits.message_turns.take()
                while (message := messages.next()) is not None:
                    if found is not None:
                        raise rejected(code_pb2.INTERNAL, "a unary call takes exactly one message")
                    found = message
                if not event.get("more_body"):
                    break
                partial.set(messages.size)
                event = await receive()
        if found is None or messages.size:
            raise rejected(code_pb2.INTERNAL, "the call ended before its message did")
        return found

    async def _stream(
        self, call: StreamCall, context: Context, receive: Receive, send: Send
    ) -> None:
        connection, unread = context.connection, self._limits.unread
        try:
            async with (
                asyncio.timeout(context.timeout_s) as bound,
                aclosing(call(self._payloads(context, receive), context)) as replies,
            ):
                async for reply in replies:
                    size = len(reply)
                    self._count_reply(connection, size)
                    try:
                        if not context.started:
                            context.started = True
                            await self._send(send, _START)
                        await self._send(send, _body(reply, more=True))
                    finally:
                        unread.release(connection, size)
        except TimeoutError:
            if not bound.expired():
                raise
            raise rejected(
                code_pb2.DEADLINE_EXCEEDED, "the deadline of the stream has passed"
            ) from None
        begin = () if context.started else (_START,)
        await self._send(send, *begin, _END_OF_BODY, _OK)

    async def _payloads(self, context: Context, receive: Receive) -> AsyncIterator[bytes]:
        """Yield the messages of a stream.

        A stream may be idle for any time, but a message that has begun must end.
        """
        messages = Messages(context.encoding, self._max_message_bytes)
        pace = Pace(self._limits.turns)
        with self._limits.partial(context.connection) as partial:
            more = True
            while more:
                if messages.size:
                    partial.set(messages.size)
                    event = await self._receive_rest(receive)
                else:
                    event = await receive()
                messages.feed(event.get("body", b""))
                more = bool(event.get("more_body"))
                while True:
                    if messages.next_is_heavy:
                        await self._limits.message_turns.take()
                    if (message := messages.next()) is None:
                        break
                    yield message
                    if pace.must_wait(len(message)):
                        await self._limits.turns.wait(context.connection)
        if messages.size and event["type"] != "http.disconnect":
            raise rejected(code_pb2.INTERNAL, "the call ended in the middle of a message")

    async def _receive_rest(self, receive: Receive) -> Event:
        try:
            with self._timeouts.limit(_MAX_RECEIVE_S):
                return await receive()
        except TimeoutError:
            raise rejected(
                code_pb2.DEADLINE_EXCEEDED,
                f"nothing was received for {_MAX_RECEIVE_S:g} s in the middle of a message",
            ) from None


class _PeerGone(Exception):
    """The caller has gone or does not read: nothing can be sent to it."""


def _is_call(scope: Scope, context: Context) -> bool:
    """Return whether a request is a gRPC call."""
    return context.is_grpc and scope["method"] == "POST" and not scope["query_string"]


def _prefix(reply: bytes) -> Event:
    """Return the prefix of a large reply as an event, instead of a copy of the whole reply."""
    return {"type": "http.response.body", "body": prefix_of(reply), "more_body": True}


def _body(reply: bytes, *, more: bool) -> Event:
    return {"type": "http.response.body", "body": frame(reply), "more_body": more}


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
        "_deadline",
        "_headers",
        "_scope",
        "connection",
        "encoding",
        "is_grpc",
        "pattern",
        "started",
    )

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        client = scope.get("client")
        # All connections over a Unix socket have the same name.
        self.connection = f"{client[0]}:{client[1]}" if client else ""
        # The first value of a repeated header applies.
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        find = self._headers.get
        self.is_grpc = _is_grpc(find(b"content-type", b""))
        self.encoding = find(b"grpc-encoding", b"")
        pattern = find(_PATTERN)
        self.pattern = "" if pattern is None else pattern.decode("latin-1")
        self._deadline: float | None = None
        self.started = False

    def check_trailers(self) -> None:
        """Raise Rejected if the status of the call could not reach the caller."""
        if self._headers.get(b"te") != b"trailers":
            raise rejected(
                code_pb2.INTERNAL,
                "the header 'te: trailers' is missing: something on the way does not pass trailers",
            )

    def start_deadline(self, open_calls: int) -> None:
        """Start the caller's deadline, which passes here a little before it does there.

        A caller resets the stream at its deadline, and h2corn closes a connection with too
        many resets. A status that is sent earlier is not a reset. The margin grows with the
        number of calls that may end at once.
        """
        value = self._headers.get(b"grpc-timeout")
        if value is not None and (timeout_s := _timeout_of(value)) is not None:
            margin_s = min(timeout_s / 5, _MARGIN_S + _MARGIN_PER_CALL_S * open_calls)
            self._deadline = asyncio.get_running_loop().time() + timeout_s - margin_s

    @property
    def timeout_s(self) -> float | None:
        if self._deadline is None:
            return None
        return max(self._deadline - asyncio.get_running_loop().time(), 0.0)

    @property
    def authorization(self) -> bytes | None:
        return self._headers.get(b"authorization")

    @property
    def certificate(self) -> str:
        tls = self._scope.get("extensions", {}).get("tls")
        chain = None if tls is None else tls["client_cert_chain"]
        return chain[0] if chain else ""

    def metadata(self, name: str) -> str | None:
        value = self._headers.get(name.encode("latin-1"))
        return None if value is None else value.decode("latin-1")


def _is_grpc(content_type: bytes) -> bool:
    """Return whether this is gRPC itself, and not gRPC-Web."""
    rest = content_type.removeprefix(b"application/grpc")
    return rest != content_type and rest[:1] in (b"", b"+", b";")


def _timeout_of(value: bytes) -> float | None:
    """Return seconds; None: the value is malformed, and the default timeout applies."""
    digits, unit = value[:-1], value[-1:]
    if unit in _SECONDS and digits.isdigit() and len(digits) <= _MAX_TIMEOUT_DIGITS:
        return int(digits) * _SECONDS[unit]
    return None


def _trailers_of(status: status_pb2.Status) -> list[tuple[bytes, bytes]]:
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
