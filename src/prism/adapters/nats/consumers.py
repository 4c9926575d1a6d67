"""Consumers of the stream, through which scans read: a bounded number of them at once."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from nats.aio.msg import Msg

from prism.adapters.nats import errors
from prism.adapters.nats.byte_budget import ByteBudget
from prism.adapters.nats.connection import Connection
from prism.ports import Outcome

NO_MESSAGES = "404"
_NO_CONSUMER = "503"
_STATUS = "Status"

_MAX_IN_USE = 32
_MAX_KEPT = 32
# Together they leave room for the gateways beside this one: a server allows a stream about
# a thousand consumers.

_SERVER_KEEPS_S = 30
"""The server deletes a consumer that is not used for this long."""
_KEEP_S = 20.0


class Position(NamedTuple):
    """Next delivery of a consumer.

    Attributes:
        subjects: filter of the keys.
        headers_only: whether it delivers messages without their values.
        sequence: first sequence that it has not delivered.
    """

    subjects: str
    headers_only: bool
    sequence: int


class Consumer:
    """Consumer at a position; the server may have deleted it.

    Attributes:
        position: what it delivers next; the caller sets it after a pull.
        name: name at the server; empty: it does not exist yet.
        is_finished: whether the caller does not need it any more.
    """

    def __init__(
        self, connection: Connection, stream: str, budget: ByteBudget, position: Position, name: str
    ) -> None:
        self.position = position
        self.name = name
        self.is_finished = False
        self._connection = connection
        self._stream = stream
        self._budget = budget

    async def create(self) -> None:
        """Create it at the server; raises as `Connection.api` does."""
        name = uuid.uuid4().hex
        config = {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.position.sequence,
            "ack_policy": "none",
            "filter_subject": self.position.subjects,
            "headers_only": self.position.headers_only,
            "inactive_threshold": _SERVER_KEEPS_S * 1_000_000_000,
            "mem_storage": True,
            "num_replicas": 1,
        }
        await self._connection.api(
            f"CONSUMER.CREATE.{self._stream}.{name}",
            {"stream_name": self._stream, "config": config},
        )
        self.name = name

    async def pull(self, size: int, max_bytes: int, expected_bytes: int) -> list[Msg] | None:
        """Return `size` messages, or fewer and a status; None: no server has the consumer.

        Args:
            max_bytes: bound on the bytes of the messages together.
            expected_bytes: share of the budget that this takes.
        """
        if not self.name:
            return None
        left = size

        def is_last(message: Msg) -> bool:
            nonlocal left
            left -= 1
            return left == 0 or status_of(message) is not None

        payload = json.dumps({"batch": size, "no_wait": True, "max_bytes": max_bytes}).encode()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self.name}"
        request = partial(self._connection.pull, subject, payload, is_last)
        messages = await self._budget.run(expected_bytes, request)
        return None if status_of(messages[-1]) == _NO_CONSUMER else messages

    def delete(self) -> None:
        """Delete it at the server, without waiting."""
        if self.name:
            self._connection.send_unanswered(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self.name}")


class ConsumerPool:
    """Consumers of one connection: some in use, and some kept for the next page of a scan.

    To create a consumer, the server counts all keys after its start, which would make a scan of
    many pages quadratic. A consumer that is not kept costs only that.
    """

    def __init__(self, connection: Connection, stream: str, budget: ByteBudget) -> None:
        self._connection = connection
        self._stream = stream
        self._budget = budget
        self._in_use = asyncio.Semaphore(_MAX_IN_USE)
        self._kept: dict[Position, tuple[Consumer, float]] = {}

    @asynccontextmanager
    async def borrow(self, position: Position) -> AsyncIterator[Consumer]:
        """Provide a consumer at the position, and keep it afterwards unless it is finished.

        Raises:
            BackendTimeout: too many others were in use for too long.
        """
        connection = self._connection
        try:
            async with asyncio.timeout(connection.timeout_s):
                await self._in_use.acquire()
        except TimeoutError:
            raise errors.waited_too_long(
                connection.address, connection.timeout_s, Outcome.NOT_APPLIED
            ) from None
        consumer = self._take(position)
        try:
            yield consumer
        except BaseException:
            # What it has delivered is not known.
            consumer.is_finished = True
            raise
        finally:
            self._in_use.release()
            if consumer.is_finished:
                consumer.delete()
            else:
                self._keep(consumer)

    def _take(self, position: Position) -> Consumer:
        consumer, since = self._kept.pop(position, (None, 0.0))
        if consumer is not None and time.monotonic() - since < _KEEP_S:
            return consumer
        return Consumer(self._connection, self._stream, self._budget, position, "")

    def _keep(self, consumer: Consumer) -> None:
        replaced = self._kept.pop(consumer.position, None)
        if replaced is None and len(self._kept) >= _MAX_KEPT:
            replaced = self._kept.pop(next(iter(self._kept)))
        if replaced is not None:
            replaced[0].delete()
        self._kept[consumer.position] = (consumer, time.monotonic())


def status_of(message: Msg) -> str | None:
    """Return the status in a message of the server itself; None in all other messages."""
    return (message.headers or {}).get(_STATUS)
