"""A small HTTP/1 server for health, readiness, metrics and the page.

Parsing is h11's. The server answers HTTP/1.0 as well, since simple health checks speak it,
and gives every peer little time and little memory: this port must answer when others fail.

https://www.rfc-editor.org/rfc/rfc9112
https://h11.readthedocs.io
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple

import h11

from prism.adapters.sockets import BACKLOG, listen_tcp
from prism.domain.token_bucket import TokenBucket

log = logging.getLogger(__name__)

_REQUEST_S = 5.0
"""Time for the head of a request, and again for its answer to be taken."""

_IDLE_S = 30.0
"""Time between two requests on one connection."""

_MAX_HEAD_BYTES = 16 << 10
_READ_BYTES = 16 << 10


class HttpRequest(NamedTuple):
    """One request.

    Attributes:
        method: `GET`.
        path: without the query.
        query: text after the `?`.
        accept: the header of that name.
        authorization: the header of that name; None: there is none.
        peer: address of the other side.
    """

    method: str
    path: str
    query: str
    accept: str
    authorization: str | None = None
    peer: str = ""


class HttpResponse(NamedTuple):
    """The answer to a request."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class HttpServer:
    """Serves until stopped; nothing is opened before `start`.

    Args:
        handler: answers each request.
        port: 0 picks a free one.
        remedy: what to do when the port is taken.
        max_connections: one more closes the connection that has waited longest for a request,
            or else for its peer to read an answer; if there is none, only a request for one of
            the paths in `always` is answered, and others with 503. Twice as many is the limit.
        always: paths whose answers wait for nothing.

    Attributes:
        refused: number of connections that were closed or refused for the bound.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        host: str,
        port: int,
        remedy: str,
        max_connections: int,
        always: Container[str] = (),
    ) -> None:
        self._handler = handler
        self._always = always
        self._host = host
        self._port = port
        self._remedy = remedy
        self._max_connections = max_connections
        self._connections: set[asyncio.Task[None]] = set()
        # Connections that wait for a request, and for a peer to read; the longest first.
        self._idle: dict[_Connection, asyncio.Task[None]] = {}
        self._unread: dict[_Connection, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self._defects = TokenBucket(per_second=0.1, burst=3)
        self.refused = 0

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    async def start(self) -> str:
        """Listen and serve; return the address, with the port really taken.

        Raises:
            PreconditionFailed: the port is taken, or cannot be listened on.
        """
        listener = listen_tcp(self._host, self._port, remedy=self._remedy)
        port = listener.getsockname()[1]
        # Of many connections that come at once, the system drops those that do not fit into the
        # backlog, and their clients try again only after a second.
        self._server = await asyncio.start_server(
            self._connect, sock=listener, limit=_READ_BYTES, backlog=BACKLOG
        )
        return f"[{self._host}]:{port}" if ":" in self._host else f"{self._host}:{port}"

    async def stop(self) -> None:
        """Close the port and every connection; safe when it never started."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        has_room = len(self._connections) < self._max_connections or self._make_room()
        self._connections.add(task)
        try:
            if has_room:
                await self._serve(_Connection(reader, writer), task)
            elif len(self._connections) <= 2 * self._max_connections:
                await self._serve_once(_Connection(reader, writer), task)
            else:
                self.refused += 1
                writer.write(_TOO_MANY)
        except (OSError, TimeoutError, h11.ProtocolError):
            # The peer is gone, too slow, or does not speak HTTP.
            pass
        except asyncio.CancelledError:
            # It makes room, or the server stops: asyncio would log a cancelled task as an error.
            pass
        finally:
            self._connections.discard(task)
            await _close(writer)

    def _make_room(self) -> bool:
        """Close the connection that has waited longest; return whether there is one."""
        waiting = self._idle or self._unread
        for connection, task in waiting.items():
            del waiting[connection]
            self.refused += 1
            return task.cancel()
        return False

    async def _serve(self, connection: _Connection, task: asyncio.Task[None]) -> None:
        wait_s = _REQUEST_S
        while (request := await self._receive(connection, task, wait_s)) is not None:
            await self._send(connection, task, request, await self._answer(request))
            if not connection.begin_next():
                return
            # Many requests that came together would hold up those of other connections.
            await asyncio.sleep(0)
            wait_s = _IDLE_S

    async def _serve_once(self, connection: _Connection, task: asyncio.Task[None]) -> None:
        """Answer one request while every other connection is busy, if it need not wait."""
        request = await self._receive(connection, task, _REQUEST_S)
        if request is None:
            return
        if request.path in self._always:
            response = await self._answer(request)
        else:
            self.refused += 1
            response = _TOO_MANY_REQUESTS
        await self._send(connection, task, request, response)

    async def _receive(
        self, connection: _Connection, task: asyncio.Task[None], wait_s: float
    ) -> HttpRequest | None:
        self._idle[connection] = task
        try:
            return await connection.receive(wait_s)
        except h11.RemoteProtocolError as error:
            await connection.refuse(error.error_status_hint)
            return None
        finally:
            self._idle.pop(connection, None)

    async def _send(
        self,
        connection: _Connection,
        task: asyncio.Task[None],
        request: HttpRequest,
        response: HttpResponse,
    ) -> None:
        self._unread[connection] = task
        try:
            await connection.send(response, head=request.method == "HEAD")
        finally:
            self._unread.pop(connection, None)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            return await self._handler(request)
        except Exception:
            if self._defects.take():
                log.exception("cannot answer %s; this is a defect", request.path)
            return HttpResponse(500, "application/json", _INTERNAL_ERROR)


_INTERNAL_ERROR = b'{"error":"internal error; see the server\'s log"}'

_TOO_MANY_TEXT = b"too many connections\n"

_TOO_MANY_REQUESTS = HttpResponse(
    503, "text/plain", _TOO_MANY_TEXT, ((b"retry-after", b"1"), (b"connection", b"close"))
)

_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 1\r\n"
    b"content-length: 21\r\nconnection: close\r\n\r\n" + _TOO_MANY_TEXT
)


class _Connection:
    """One connection: h11's state, and the bytes in and out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)

    async def receive(self, wait_s: float) -> HttpRequest | None:
        """Return the next request; None: the peer has closed, or sent nothing in time.

        Raises:
            TimeoutError: the request has begun and does not end.
            h11.RemoteProtocolError: this is not HTTP.
        """
        # An idle peer may wait, but not from the first byte of a request on.
        if not self._http.trailing_data[0]:
            try:
                async with asyncio.timeout(wait_s):
                    if not await self._read():
                        return None
            except TimeoutError:
                return None
        async with asyncio.timeout(_REQUEST_S):
            while (event := self._http.next_event()) is h11.NEED_DATA:
                await self._read()
        if not isinstance(event, h11.Request):
            return None
        if event.http_version not in (b"1.0", b"1.1"):
            raise h11.RemoteProtocolError("not HTTP/1", error_status_hint=505)
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
            # A proxy on the way may see another end of this request (RFC 9112, section 6.3).
            raise h11.RemoteProtocolError("two lengths", error_status_hint=400)
        return _request_of(event, self._writer)

    async def send(self, response: HttpResponse, *, head: bool) -> None:
        """Send the response, without its body if the request was HEAD.

        Raises:
            TimeoutError: the peer does not read it.
        """
        headers = [
            (b"content-type", response.content_type.encode()),
            (b"content-length", b"%d" % len(response.body)),
            (b"cache-control", b"no-store"),
            *response.headers,
        ]
        send = self._http.send
        pieces = [
            send(
                h11.Response(
                    status_code=response.status,
                    headers=headers,
                    reason=HTTPStatus(response.status).phrase,
                )
            )
        ]
        if not head:
            pieces.append(send(h11.Data(data=response.body)))
        pieces.append(send(h11.EndOfMessage()))
        self._writer.write(b"".join(piece for piece in pieces if piece))
        async with asyncio.timeout(_REQUEST_S):
            await self._writer.drain()

    async def refuse(self, status: int) -> None:
        """Answer what is not HTTP, if an answer is possible."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = b"this port speaks HTTP/1.1: the request is not valid\n"
            close = ((b"connection", b"close"),)
            await self.send(HttpResponse(status, "text/plain", body, close), head=False)

    def begin_next(self) -> bool:
        """Prepare for another request; False: the connection is to be closed."""
        # The body of a request is not worth reading: nothing here takes one.
        if not isinstance(self._http.next_event(), h11.EndOfMessage):
            return False
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _read(self) -> bool:
        data = await self._reader.read(_READ_BYTES)
        self._http.receive_data(data)
        return bool(data)


def _request_of(event: h11.Request, writer: asyncio.StreamWriter) -> HttpRequest:
    path, _, query = event.target.partition(b"?")
    accepted = b",".join(value for name, value in event.headers if name == b"accept")
    return HttpRequest(
        event.method.decode("ascii"),
        path.decode("latin-1"),
        query.decode("latin-1"),
        accepted.decode("latin-1"),
        _header(event, b"authorization"),
        (writer.get_extra_info("peername") or ("",))[0],
    )


def _header(event: h11.Request, name: bytes) -> str | None:
    """Return the first value of a header; None: there is none."""
    for each, value in event.headers:
        if each == name:
            return bytes(value).decode("latin-1")
    return None


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(1):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        # The peer does not take what was written.
        with suppress(OSError):
            writer.transport.abort()
