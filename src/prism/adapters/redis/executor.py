"""How commands are sent: what each topology implements, and nothing else knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from redis.asyncio.connection import AbstractConnection

from prism.adapters.redis.operations import Reply
from prism.adapters.redis.scripts import Command


class Request(NamedTuple):
    """Commands on one key, which go to its server together."""

    key: bytes
    commands: tuple[Command, ...]


class Server(Protocol):
    """One server that takes commands."""

    @property
    def name(self) -> str:
        """Its address, without credentials."""
        ...

    async def send(self, commands: Sequence[Command], *, repeatable: bool) -> list[Reply]:
        """The reply to each command, all sent in one write.

        A failure is a reply too: an exception, `NotSent` for a command that has
        not left this process. A lost connection is the reply of all that it left
        unanswered.

        Args:
            repeatable: send once more, on another connection, when one is lost.
        """
        ...


class Executor(Protocol):
    """The servers behind one address. Every failure is a reply, as in `Server.send`."""

    @property
    def connections(self) -> int:
        """Those in use now; where callers share them, those that are open."""
        ...

    async def open(self) -> None:
        """Find the servers; raises what redis-py does."""
        ...

    async def close(self) -> None:
        """Close every connection, and answer what is in flight with a failure."""
        ...

    async def send(self, request: Request, *, repeatable: bool) -> list[Reply]:
        """The replies of the server that has the key."""
        ...

    async def send_many(
        self, requests: Sequence[Request], *, loads: Sequence[Command], repeatable: bool
    ) -> list[list[Reply]]:
        """The replies to each request, which take effect in order where they share a key.

        One write per server, and the servers at once.

        Args:
            loads: sent before, to each of the servers.
        """
        ...

    async def servers(self) -> Sequence[Server]:
        """Every server that holds keys of its own; raises what redis-py does."""
        ...

    def suspect(self) -> None:
        """What is known of the servers is out of date: look again before the next use."""
        ...

    async def dedicated(self) -> AbstractConnection:
        """A connection of the caller's own, beside the others, to be disconnected by it."""
        ...
