"""A node of a Cluster, behind a bounded pool of redis-py's connections."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import redis
from redis.asyncio.connection import AbstractConnection

from prism.adapters.redis.failures import NotSent, is_answer, is_lost
from prism.adapters.redis.operations import Reply
from prism.adapters.redis.scripts import Command


class Pool(Protocol):
    """Where connections come from and go back to."""

    async def get_connection(self) -> AbstractConnection:
        """A connection that is up, and on which nothing is outstanding."""
        ...

    async def release(self, connection: AbstractConnection) -> None:
        """Take it back, up or not."""
        ...


class Cancellation:
    """Of the task, from now on.

    redis-py asks who is the master, and what a cluster is made of, with
    `asyncio.wait_for`; that of Python 3.11 loses a cancellation which comes together
    with the answer.
    """

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._before = 0 if self._task is None else self._task.cancelling()

    def check(self) -> None:
        """Raise what was lost."""
        if self._task is not None and self._task.cancelling() > self._before:
            raise asyncio.CancelledError


class PooledServer:
    """Implements `Server`.

    redis-py raises when its pool is empty, and times every read and write apart;
    here a call waits for a connection, and one deadline holds for all of it.

    Attributes:
        in_use: connections on which something is outstanding.
    """

    def __init__(self, name: str, pool: Pool, *, connections: int, timeout_s: float) -> None:
        self._name = name
        self._pool = pool
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(connections)
        self.in_use = 0
        self._closed = False

    @property
    def name(self) -> str:
        return self._name

    def close(self) -> None:
        """Take no more commands; the pool is closed by its owner."""
        self._closed = True

    async def send(self, commands: Sequence[Command], *, repeatable: bool = False) -> list[Reply]:
        replies = await self._exchange(commands)
        if repeatable and is_lost(replies[-1]):
            replies = await self._exchange(commands)
        return replies

    async def _exchange(self, commands: Sequence[Command]) -> list[Reply]:
        replies: list[Reply] = []
        sent = False
        failure: Exception
        cancellation = Cancellation()
        try:
            async with asyncio.timeout(self._timeout_s), self._free:
                if self._closed:
                    raise redis.ConnectionError("closed")
                connection = await self._pool.get_connection()
                self.in_use += 1
                try:
                    cancellation.check()
                    packed = connection.pack_commands(commands)
                    sent = True
                    await connection.send_packed_command(packed, check_health=False)
                    while len(replies) < len(commands):
                        replies.append(await _reply(connection))
                finally:
                    self.in_use -= 1
                    if self._closed:
                        await connection.disconnect(nowait=True)
                    await self._pool.release(connection)
        except (redis.RedisError, TimeoutError, OSError) as error:
            failure = error
        else:
            return replies
        if not sent:
            return [NotSent.because(failure)] * len(commands)
        replies.append(failure)
        if is_answer(failure):
            # To one command: what became of the others is not known.
            failure = redis.ConnectionError("closed")
        return replies + [failure] * (len(commands) - len(replies))


async def _reply(connection: AbstractConnection) -> Reply:
    try:
        return await connection.read_response()
    except redis.ResponseError as refusal:
        return refusal
