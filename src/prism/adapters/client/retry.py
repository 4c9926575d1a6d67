"""Retries of a client: only where nothing can happen twice, and only within the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from time import monotonic

from google.protobuf.message import Message

from prism.adapters.client.pending_operations import TIMEOUT_MARGIN_S
from prism.adapters.client.server import Server, jittered
from prism.adapters.client.servers import Servers
from prism.adapters.wire.methods import Method, Reply
from prism.domain.token_bucket import TokenBucket
from prism.ports import (
    OPERATIONS,
    BackendTimeout,
    BackendUnavailable,
    Event,
    Exhausted,
    NotServing,
    Outcome,
    PrismError,
)
from prism.v1 import keyvalue_pb2 as pb

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5

# Limits on repeated operations, per second and at once: an outage must not multiply the calls to a
# server.
_PER_SECOND, _AT_ONCE = 200, 4096

_OVERLOADED = "TOO_MANY_IN_FLIGHT"
_READS = frozenset(name for name, spec in OPERATIONS.items() if not spec.writes)


class RetryingChannel:
    """Channel that repeats an operation that failed, as long as its timeout lasts.

    It repeats operations that the server has not applied, because it leaves, is not started, is
    overloaded or cannot be reached, and reads whose connection broke. It never repeats a write
    whose outcome is unknown. It begins a watch again, and does not continue it.

    While no server is known to serve, operations wait for one.
    """

    def __init__(self, channel: Server | Servers) -> None:
        self._channel = channel
        self._budget = TokenBucket(_PER_SECOND, _AT_ONCE)

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply:
        """Call a method once; see `Channel.unary`."""
        return await self._channel.unary(path, request, reply_type, timeout=timeout)

    @asynccontextmanager
    async def watch(self, request: pb.WatchRequest) -> AsyncIterator[AsyncIterator[Event]]:
        """Watch, and begin again until the timeout is over; see `Channel.watch`."""
        deadline = monotonic() + self._channel.timeout_s
        pauses = _Pauses(self._channel, deadline)
        while True:
            watching = self._channel.watch(request)
            try:
                events = await watching.__aenter__()
            except (NotServing, BackendUnavailable):
                if self._channel.is_closed or not await pauses.wait() or not self._budget.take():
                    raise
                continue
            break
        try:
            yield events
        finally:
            await watching.__aexit__(None, None, None)

    async def operate(self, method: Method[Reply], request: Message) -> Reply:
        """Send an operation, and repeat it while that is safe.

        Raises:
            PrismError: the last failure.
        """
        began_at = monotonic()
        failure = self._channel.absence
        if failure is None:
            try:
                return await self._channel.operate(method, request)
            except PrismError as error:
                if not self._may_repeat(error, method, request):
                    raise
                failure = error
        return await self._repeat(method, request, failure, began_at + self._channel.timeout_s)

    async def _repeat(
        self, method: Method[Reply], request: Message, failure: PrismError, deadline: float
    ) -> Reply:
        pauses = _Pauses(self._channel, deadline)
        while True:
            in_time = await pauses.wait()
            if not in_time or self._channel.is_closed or not self._budget.take():
                raise _again(failure)
            left_s = deadline - monotonic()
            try:
                async with asyncio.timeout(left_s + TIMEOUT_MARGIN_S):
                    return await self._channel.operate(method, request, left_s)
            except TimeoutError:
                raise BackendTimeout(
                    f"no answer within the deadline of {self._channel.timeout_s:.3g} s"
                ) from failure
            except BackendTimeout as error:
                if error.outcome is Outcome.UNKNOWN and not _reads(method, request):
                    raise
                # The time is over; what went wrong before says more.
                raise _again(failure) from None
            except PrismError as error:
                if not self._may_repeat(error, method, request):
                    raise
                failure = error

    def _may_repeat(self, error: PrismError, method: Method[Reply], request: Message) -> bool:
        """Note an error, and return whether the operation may be sent again after it."""
        self._channel.note(error)
        if self._channel.is_closed:
            return False
        not_applied = error.outcome is Outcome.NOT_APPLIED
        if isinstance(error, NotServing):
            return not_applied or _reads(method, request)
        if isinstance(error, Exhausted):
            return not_applied and error.reason == _OVERLOADED
        if isinstance(error, BackendUnavailable):
            return not_applied or _reads(method, request)
        return False


class _Pauses:
    """Pauses between the attempts of one call, until its deadline."""

    def __init__(self, channel: Server | Servers, deadline: float) -> None:
        self._channel = channel
        self._deadline = deadline
        self._longest_s = _FIRST_PAUSE_S

    async def wait(self) -> bool:
        """Wait until a server may take the call; return whether that was before the deadline."""
        if not await self._channel.wait(self._deadline - monotonic()):
            # Callers that failed together do not return together.
            pause_s = min(jittered(self._longest_s), self._deadline - monotonic())
            await asyncio.sleep(pause_s)
            self._longest_s = min(2 * self._longest_s, _LONGEST_PAUSE_S)
        return monotonic() < self._deadline


def _reads(method: Method[Reply], request: Message) -> bool:
    """Return whether a request changes nothing, and so may be sent any number of times."""
    return method.operation_of(request) in _READS


def _again(failure: PrismError) -> PrismError:
    """Return an error like this one, which several callers may have waited for."""
    return type(failure)(failure.message, reason=failure.reason, outcome=failure.outcome)
