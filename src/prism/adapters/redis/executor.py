"""Runs operations on an executor, which sends their commands to the server of the key.

There is an executor for each topology: here for a single server, addressed directly or as
the master that sentinels name; in `cluster` for a Cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

import redis
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedConnection
from redis.exceptions import NoScriptError

from prism.adapters.redis import operations
from prism.adapters.redis.access import (
    Access,
    SentinelTlsConnection,
    TlsConnection,
    connection_options,
)
from prism.adapters.redis.connection import CancellationCheck, close_nowait, connect
from prism.adapters.redis.errors import translate
from prism.adapters.redis.operations import Command, Operation, Reply, TornRead
from prism.adapters.redis.request_queue import MultiplexedServer
from prism.adapters.redis.sentinel import Sentinel, make_sentinel
from prism.adapters.redis.settings import Address, RedisSettings, Topology
from prism.kit import ReplyBudget, does_not_fit
from prism.ports import Entry, PrismError

Result = TypeVar("Result")


class Server(Protocol):
    """One Redis server."""

    @property
    def name(self) -> str:
        """Address without credentials."""
        ...

    async def send(self, commands: Sequence[Command], *, retryable: bool) -> list[Reply]:
        """Send commands in one write, and return the reply to each.

        A failure is a reply too: an exception, `NotSentError` for a command that was not
        written. A lost connection is the reply to every command that it left unanswered.

        Args:
            commands: at least one command.
            retryable: whether to send once more, over a new connection, after the
                connection is lost.
        """
        ...


class Executor(Protocol):
    """The servers behind one address. Failures are replies, as in `Server.send`."""

    @property
    def connection_count(self) -> int:
        """Number of open connections if callers share them, else of those in use."""
        ...

    async def open(self) -> None:
        """Find the servers; raises what redis-py raises."""
        ...

    async def close(self) -> None:
        """Close every connection, and fail the unanswered commands."""
        ...

    async def send(
        self, key: bytes, commands: tuple[Command, ...], *, retryable: bool
    ) -> list[Reply]:
        """Send commands to the server that has the key, and return the reply to each."""
        ...

    async def send_many(self, batch: Sequence[Operation[object]]) -> list[list[Reply]]:
        """Return the replies to each operation; operations on one key take effect in order.

        Each server gets one write, which also loads the scripts, and all servers are
        written to at once. The batch is retryable if no operation in it writes.
        """
        ...

    def check_together(self, keys: Sequence[bytes]) -> None:
        """Raise InvalidArgument unless one script can work on all these keys."""
        ...

    async def servers(self) -> Sequence[Server]:
        """Return every server that has keys of its own; raises what redis-py raises."""
        ...

    def invalidate_topology(self) -> None:
        """Look up the servers again before the next use."""
        ...

    async def open_connection(self) -> AbstractConnection:
        """Open a connection that only the caller uses and closes; raises what redis-py raises."""
        ...

    def reload(self, settings: RedisSettings, address: Address) -> None:
        """Use other secrets for further connections; raises as `Access.reload`."""
        ...


class OperationRunner:
    """Runs operations on an executor, and turns replies into results or errors.

    Args:
        backend: name of the backend in error texts, without credentials.
    """

    def __init__(self, executor: Executor, backend: str) -> None:
        self._executor = executor
        self._backend = backend

    async def run(self, operation: Operation[Result]) -> Result:
        """Return the result; raises `PrismError`."""
        replies = await self._executor.send(
            operation.key, operation.commands, retryable=not operation.writes
        )
        for reply in replies:
            if isinstance(reply, NoScriptError):
                # The server lost its scripts in a restart, and so applied nothing.
                return await self._run_with_scripts(operation)
        return self._result(operation, replies)

    async def _run_with_scripts(self, operation: Operation[Result]) -> Result:
        loads = operations.load_commands(operation.commands)
        replies = await self._executor.send(
            operation.key, loads + operation.commands, retryable=not operation.writes
        )
        return self._result(operation, replies[len(loads) :])

    async def run_many(self, batch: Sequence[Operation[Result]]) -> list[Result | PrismError]:
        """Return one result or error for each operation, in order."""
        if not batch:
            return []
        outcomes: list[Result | PrismError] = []
        for operation, replies in zip(batch, await self._executor.send_many(batch), strict=True):
            try:
                outcomes.append(self._result(operation, replies))
            except PrismError as error:
                outcomes.append(error)
        return outcomes

    async def get(self, key: bytes) -> Entry | None:
        """Return the entry of a key; its expiry belongs to its value."""
        found = await self.run(operations.get(key))
        if isinstance(found, TornRead):
            return await self.run(operations.get_atomic(key))
        return found

    async def get_many(
        self, keys: Sequence[bytes], *, byte_budget: int, max_value_bytes: int
    ) -> list[Entry | PrismError | None]:
        """Return one entry, error or None for each key.

        Args:
            byte_budget: maximum bytes of values to fetch; an entry beyond it is
                `Exhausted`.
            max_value_bytes: limit on values written by Prism. If values of this size all
                fit the budget, the sizes are not asked for first.
        """
        outcomes: list[Entry | PrismError | None] = [None] * len(keys)
        wanted = list(range(len(keys)))
        if len(keys) * max_value_bytes > byte_budget:
            wanted = []
            budget = ReplyBudget(byte_budget)
            sizes = await self.run_many([operations.size(key) for key in keys])
            for index, size in enumerate(sizes):
                if isinstance(size, PrismError):
                    outcomes[index] = size
                elif budget.take(size):
                    wanted.append(index)
                else:
                    outcomes[index] = does_not_fit()
        found = await self.run_many([operations.get(keys[index]) for index in wanted])
        for index, outcome in zip(wanted, found, strict=True):
            if isinstance(outcome, TornRead):
                (outcome,) = await self.run_many([operations.get_atomic(keys[index])])
            outcomes[index] = outcome
        return outcomes

    def _result(self, operation: Operation[Result], replies: Sequence[Reply]) -> Result:
        for reply in replies:
            if isinstance(reply, Exception):
                raise translate(reply, self._backend)
        return operation.decode(replies)


class SingleServerExecutor:
    """`Executor` for one server, or for the master that sentinels name."""

    def __init__(self, settings: RedisSettings, address: Address) -> None:
        self._access = access = Access(settings, address)
        options = connection_options(settings, access)
        tls: dict[str, Any] = {} if access.tls is None else {"tls": access.tls}
        self._sentinel: Sentinel | None = None
        self._pool: ConnectionPool
        if address.topology is Topology.SENTINEL:
            self._sentinel = make_sentinel(access, address)
            self._pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
                address.service,
                self._sentinel,
                connection_class=SentinelTlsConnection if tls else SentinelManagedConnection,
                db=address.db,
                **options,
                **tls,
            )
        else:
            host, port = address.hosts[0]
            kind = TlsConnection if tls else Connection
            self._pool = ConnectionPool(kind, host=host, port=port, db=address.db, **options, **tls)
        self._server = MultiplexedServer(
            address.service or str(address),
            self._pool.make_connection,
            in_flight=settings.in_flight,
            timeout_s=settings.timeout.total_seconds(),
        )

    @property
    def connection_count(self) -> int:
        return self._server.connection_count

    async def open(self) -> None:
        await self._server.open()

    async def close(self) -> None:
        await self._server.close()
        with suppress(redis.RedisError, OSError):
            await self._pool.aclose()
        if self._sentinel is not None:
            with suppress(redis.RedisError, OSError):
                await self._sentinel.aclose()

    async def send(
        self, key: bytes, commands: tuple[Command, ...], *, retryable: bool
    ) -> list[Reply]:
        return await self._server.send(commands, retryable=retryable)

    async def send_many(self, batch: Sequence[Operation[object]]) -> list[list[Reply]]:
        retryable = not any(operation.writes for operation in batch)
        return await send_batch(self._server, batch, retryable=retryable)

    def check_together(self, keys: Sequence[bytes]) -> None:
        """Do nothing: the server has every key."""

    async def servers(self) -> Sequence[Server]:
        return [self._server]

    def invalidate_topology(self) -> None:
        """Do nothing: every new connection looks up the server."""

    async def open_connection(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        cancellation = CancellationCheck()
        try:
            await connect(connection)
            cancellation.check()
        except BaseException:
            close_nowait(connection)
            raise
        return connection

    def reload(self, settings: RedisSettings, address: Address) -> None:
        self._access.reload(settings, address)


async def send_batch(
    server: Server, batch: Sequence[Operation[object]], *, retryable: bool
) -> list[list[Reply]]:
    """Load the scripts of a batch and send it, in one write; return each operation's replies."""
    commands = list(chain.from_iterable(operation.commands for operation in batch))
    loads = operations.load_commands(commands)
    replies = iter((await server.send([*loads, *commands], retryable=retryable))[len(loads) :])
    return [list(islice(replies, len(operation.commands))) for operation in batch]
