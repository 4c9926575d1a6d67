"""What carries calls to a server, as seen by whoever makes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

from google.protobuf.message import Message

from prism.adapters.remote.methods import Method, Reply
from prism.ports import Event, NotServing
from prism.v1 import keyvalue_pb2 as pb

CLOSED = "not serving: the connection is closed"


class Calls(Protocol):
    """Something that carries calls to a server."""

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply:
        """Call a method; raises PrismError, and nothing else."""
        ...

    async def operate(self, method: Method[Reply], request: Message) -> Reply:
        """Call a method that operation streams have too; raises as `unary` does."""
        ...

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Watch; entering, leaving and reading are as the port says."""
        ...


class Closed:
    """Calls before there is a channel, and after."""

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply:
        raise NotServing(CLOSED)

    async def operate(self, method: Method[Reply], request: Message) -> Reply:
        raise NotServing(CLOSED)

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        raise NotServing(CLOSED)
