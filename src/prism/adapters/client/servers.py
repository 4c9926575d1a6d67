"""Several servers of one store: connections to all, and each operation goes to one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message

from prism.adapters.client.channel import TLS, Channel
from prism.adapters.client.endpoint import Addresses, Endpoint
from prism.adapters.client.forks import PerProcess
from prism.adapters.client.operation_stream import CLOSED
from prism.adapters.client.server import Server
from prism.adapters.wire.methods import Method, Reply
from prism.ports import (
    BackendUnavailable,
    Event,
    InvalidArgument,
    Keys,
    NotServing,
    Outcome,
    PrismError,
)
from prism.v1 import keyvalue_pb2 as pb

_KEPT_KEYS = 8192


class _Home:
    __slots__ = ("in_flight", "server", "spread")

    def __init__(self, server: Server, spread: int) -> None:
        self.server = server
        self.spread = spread
        self.in_flight = 0


class KeyHomes:
    """The server of each key that was used lately.

    Operations on one key go to one server while it serves, so they keep their order. The keys
    used before the last 8,192 others are forgotten, unless an operation on them is in flight.
    """

    def __init__(self) -> None:
        self._homes: dict[str, _Home] = {}
        self._spread = 0

    def get(self, key: str) -> Server | None:
        """Return the server of a key; None: it has none."""
        home = self._homes.get(key)
        if home is None or (home.spread != self._spread and not home.in_flight):
            return None
        return home.server

    def enter(self, key: str, server: Server) -> None:
        """Note that an operation on a key begins at a server."""
        home = self._homes.get(key)
        if home is None or home.server is not server:
            self._homes.pop(key, None)
            home = self._homes[key] = _Home(server, self._spread)
            if len(self._homes) > _KEPT_KEYS:
                self._forget_oldest()
        if not home.in_flight:
            home.spread = self._spread
        home.in_flight += 1

    def leave(self, key: str, server: Server) -> None:
        """Note that an operation on a key has ended at a server."""
        home = self._homes.get(key)
        if home is not None and home.server is server:
            home.in_flight -= 1

    def spread(self) -> None:
        """Give each key a server again once nothing on it is in flight: there is another one."""
        self._spread += 1

    def _forget_oldest(self) -> None:
        oldest = next(iter(self._homes))
        home = self._homes.pop(oldest)
        if home.in_flight > 0:
            self._homes[oldest] = home


_LOOK_UP_S = 30.0
"""How often the addresses of names are looked up again."""

_LOOK_UP_ABSENT_S, _LOOK_UP_AGAIN_S = 5.0, 1.0
"""The same while a server does not serve, and just after it went away."""

_NOT_CONNECTED = BackendUnavailable("not connected yet", outcome=Outcome.NOT_APPLIED)


class Servers(PerProcess):
    """The servers at some addresses, used like one channel.

    An operation on one key goes to the server of the key's last operation while that one serves,
    and any other to the server with the fewest operations in flight. A server that does not
    serve, leaves or is silent gets nothing until it answers again.

    Args:
        addresses: where they listen.
        open_channel: opens a channel to one of them; the second argument is called when one of
            its connections has ended, with the reason.
        timeout_s: timeout of each call, in seconds.

    Attributes:
        timeout_s: as given.
    """

    def __init__(
        self,
        addresses: Addresses,
        open_channel: Callable[[Endpoint, Callable[[str], None]], Channel],
        timeout_s: float,
    ) -> None:
        self.timeout_s = timeout_s
        self._addresses = addresses
        self._open_channel = open_channel
        self._tls: TLS | None = None
        self._token: str | None = None
        self._servers: dict[Endpoint, Server] = {}
        self._leaving: set[Server] = set()
        self._closed = False
        self._begin_in_process()

    def _begin(self) -> None:
        """Begin without tasks: at the start, and in a forked child."""
        self._homes = KeyHomes()
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking_up: asyncio.Task[None] | None = None
        self._look_up_timer: asyncio.TimerHandle | None = None
        self._looked_up_at = 0.0
        self._turn = 0

    @property
    def address(self) -> str:
        """The addresses, as they were given."""
        return self._addresses.text

    @property
    def is_closed(self) -> bool:
        """Whether it was closed for good."""
        return self._closed

    @property
    def absence(self) -> PrismError | None:
        """Why no server serves; None: one does, as far as is known."""
        absence = None
        for server in self._servers.values():
            absence = server.absence
            if absence is None:
                return None
        return absence

    @property
    def only_channel(self) -> Channel:
        """The channel of the only server; raises InvalidArgument if there are others."""
        if len(self._servers) != 1:
            raise InvalidArgument(
                f"{self.address} are {len(self._servers)} servers, and this is for one: "
                "connect to its address alone"
            )
        return next(iter(self._servers.values())).channel

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply:
        """Call a method of a server that serves; of each, if none is known to.

        Raises:
            PrismError: sent by the server, or no server answers.
        """
        await self._ensure_begun()
        if self.absence is None:
            server = self._least_busy()
            try:
                return await server.unary(path, request, reply_type, timeout=timeout)
            except (NotServing, BackendUnavailable) as error:
                server.note(error)
                if error.outcome is not Outcome.NOT_APPLIED or self._closed:
                    raise
        calls = [
            asyncio.ensure_future(server.unary(path, request, reply_type, timeout=timeout))
            for server in self._servers.values()
        ]
        failure: PrismError | None = None
        try:
            for call in asyncio.as_completed(calls):
                try:
                    return await call
                except PrismError as error:
                    failure = failure or error
        finally:
            for each in calls:
                each.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        raise failure or NotServing(CLOSED)

    async def operate(
        self, method: Method[Reply], request: Message, left_s: float | None = None
    ) -> Reply:
        """Send an operation to a server; see `Channel.operate`."""
        if self._begin_in_process() or not self._servers or self._closed:
            await self._ensure_begun()
        key = request.key if method.keys is Keys.ONE else None  # type: ignore[attr-defined]
        server = self._enter(key)
        try:
            return await server.operate(method, request, left_s)
        except PrismError as error:
            server.note(error)
            raise
        finally:
            self._leave(key, server)

    @asynccontextmanager
    async def watch(self, request: pb.WatchRequest) -> AsyncIterator[AsyncIterator[Event]]:
        """Watch at the server with the fewest watches; see `Channel.watch`."""
        await self._ensure_begun()
        server = min(self._best(), key=lambda each: each.watches)
        server.watches += 1
        try:
            try:
                watching = server.watch(request)
                events = await watching.__aenter__()
            except (NotServing, BackendUnavailable) as error:
                server.note(error)
                raise
            try:
                yield events
            finally:
                await watching.__aexit__(None, None, None)
        finally:
            server.watches -= 1
            self._drop_if_unused(server)

    async def wait(self, timeout_s: float) -> bool:
        """Wait until a server may serve; return whether none was known to.

        Args:
            timeout_s: longest duration, in seconds.
        """
        recoveries = [server.recovery for server in self._servers.values()]
        waiting = [recovery for recovery in recoveries if recovery is not None]
        if not waiting or len(waiting) < len(recoveries):
            return False
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return True

    def use_tls(self, tls: TLS) -> None:
        """Use these files, or this password, for every connection from now on.

        Raises:
            InvalidArgument: a file cannot be used; nothing is changed.
        """
        tls.context()
        self._tls = tls
        for server in self._servers.values():
            server.channel.use_tls(tls)

    def use_token(self, token: str | None) -> None:
        """Send this token with every call from now on; raises as `Channel.use_token`."""
        for server in self._servers.values():
            server.channel.use_token(token)
        self._token = token

    def note(self, error: PrismError) -> None:
        """Do nothing: the server that failed has noted the error."""

    async def close(self) -> None:
        """Close every connection; calls in flight fail. Safe more than once."""
        self._begin_in_process()
        self._closed = True
        if self._look_up_timer is not None:
            self._look_up_timer.cancel()
        tasks = [*self._tasks]
        if self._looking_up is not None:
            tasks.append(self._looking_up)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        servers = [*self._servers.values(), *self._leaving]
        await asyncio.gather(*(server.close() for server in servers))

    # Which server.

    def _best(self) -> list[Server]:
        """Return the servers that can take something now; all, if none can."""
        servers = self._servers.values()
        serving = [server for server in servers if server.absence is None]
        ready = [server for server in serving if server.channel.is_answering]
        return ready or serving or list(servers)

    def _least_busy(self) -> Server:
        best = self._best()
        # Of several that are equally busy, each in turn.
        self._turn += 1
        turn = self._turn % len(best)
        return min(best[turn:] + best[:turn], key=lambda each: each.in_flight)

    def _enter(self, key: str | None) -> Server:
        """Choose a server, and note that an operation begins there."""
        if key is None:
            server = self._least_busy()
        else:
            home = self._homes.get(key)
            if home is None or home.absence is not None or not home.channel.is_answering:
                home = self._least_busy()
            server = home
            self._homes.enter(key, server)
        server.in_flight += 1
        return server

    def _leave(self, key: str | None, server: Server) -> None:
        server.in_flight -= 1
        if key is not None:
            self._homes.leave(key, server)
        if server in self._leaving:
            self._drop_if_unused(server)

    # Which servers there are.

    async def _ensure_begun(self) -> None:
        """Look the addresses up if that was not done in this process; raises NotServing."""
        if self._closed:
            raise NotServing(CLOSED)
        self._begin_in_process()
        if self._look_up_timer is None:
            if self._looking_up is None:
                self._looking_up = asyncio.create_task(self._look_up())
                self._looking_up.add_done_callback(self._looked_up)
            looking_up = self._looking_up
            # Not awaited: `close` cancels the look-up, and not those who wait for it.
            await asyncio.wait((looking_up,))
            if looking_up.cancelled():
                raise NotServing(CLOSED)
            looking_up.result()

    async def _look_up(self) -> None:
        """Follow the addresses of names; raises BackendUnavailable if there are none at all."""
        found = await self._addresses.look_up()
        gone = [endpoint for endpoint in self._servers if endpoint not in found]
        for endpoint in gone:
            server = self._servers.pop(endpoint)
            self._leaving.add(server)
            self._drop_if_unused(server)
        for endpoint in found:
            server = self._servers.get(endpoint) or self._new_server(endpoint)
            if server.absence is None and not server.channel.is_connected:
                server.ask_again(_NOT_CONNECTED, at_once=True)

    def _new_server(self, endpoint: Endpoint) -> Server:
        def lost(reason: str) -> None:
            server.connection_lost(reason)

        channel = self._open_channel(endpoint, lost)
        server = self._servers[endpoint] = Server(channel, self._server_left)
        if self._tls is not None:
            server.channel.use_tls(self._tls)
        if self._token is not None:
            server.channel.use_token(self._token)
        return server

    def _looked_up(self, task: asyncio.Task[None]) -> None:
        self._looking_up = None
        loop = task.get_loop()
        self._looked_up_at = loop.time()
        failed = not task.cancelled() and task.exception() is not None
        if self._closed or (failed and not self._servers):
            return
        if self._look_up_timer is not None:
            self._look_up_timer.cancel()
        absent = any(server.absence is not None for server in self._servers.values())
        seconds = _LOOK_UP_ABSENT_S if absent else _LOOK_UP_S
        self._look_up_timer = loop.call_later(seconds, self._look_up_again)

    def _look_up_again(self) -> None:
        if self._looking_up is None and self._addresses.have_names and not self._closed:
            self._looking_up = asyncio.get_running_loop().create_task(self._look_up())
            self._looking_up.add_done_callback(self._looked_up)

    def _server_left(self, recovery: asyncio.Task[None]) -> None:
        """Spread the keys again once this server serves again."""
        loop = asyncio.get_running_loop()
        if self._addresses.have_names and self._look_up_timer is not None:
            self._look_up_timer.cancel()
            soon = max(0.0, self._looked_up_at + _LOOK_UP_AGAIN_S - loop.time())
            self._look_up_timer = loop.call_later(soon, self._look_up_again)
        recovery.add_done_callback(lambda _: self._homes.spread())

    def _drop_if_unused(self, server: Server) -> None:
        """Close a server that has left, once it has no operations and watches."""
        if server in self._leaving and not server.in_flight and not server.watches:
            self._leaving.discard(server)
            task = asyncio.get_running_loop().create_task(server.close())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def open_server(address: str, *, timeout: timedelta, **options: Any) -> Server | Servers:
    """Return the server at an address, or the servers; the first call connects.

    Args:
        options: arguments of `Channel`.

    Raises:
        InvalidArgument: an address has neither form, or a TLS file cannot be used.
    """
    addresses = Addresses.of(address)
    if not addresses.may_be_several:
        # The text may name this one address twice.
        (endpoint,) = addresses.endpoints
        return Server(Channel(address, timeout=timeout, endpoint=endpoint, **options))

    def open_channel(endpoint: Endpoint, on_lost: Callable[[str], None]) -> Channel:
        return Channel(
            str(endpoint), timeout=timeout, endpoint=endpoint, on_lost=on_lost, **options
        )

    # A mistake in the options is an error now, and not at the first call.
    open_channel(addresses.endpoints[0], lambda _: None)
    return Servers(addresses, open_channel, timeout.total_seconds())
