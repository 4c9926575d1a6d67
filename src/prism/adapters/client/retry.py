"""Retries of a client: only where nothing can happen twice, and only within the deadline."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from google.protobuf.message import Message

from prism.adapters.client.channel import Channel
from prism.adapters.client.pending_operations import TIMEOUT_MARGIN_S
from prism.adapters.wire.methods import METHODS, Method, Reply
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

# So many operations are repeated in a second, and so many at once: an outage brings a server no
# multiple of the usual calls.
_PER_SECOND, _AT_ONCE = 200, 4096

_OVERLOADED = "TOO_MANY_IN_FLIGHT"
_READS = frozenset(name for name, spec in OPERATIONS.items() if not spec.writes)

# Any key will do: the question is whether the server answers.
_EXISTS: Method[pb.ExistsResponse] = METHODS["exists"]
_PROBE = pb.ExistsRequest(key="prism")


class RetryingChannel:
    """Channel that repeats an operation that failed, as long as its timeout lasts.

    Repeated are operations that the server has not applied because it leaves, is not started, is
    overloaded or cannot be reached, and reads whose connection broke. A write whose outcome is
    unknown is never repeated.

    While the server is known not to serve, one small read at a time asks whether it does again,
    and operations wait for that. So none is on its way to a server that ends.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._budget = TokenBucket(_PER_SECOND, _AT_ONCE)
        self._recovery: asyncio.Task[None] | None = None
        self._absence: PrismError | None = None

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

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Watch; see `Channel.watch`."""
        return self._channel.watch(request)

    async def operate(self, method: Method[Reply], request: Message) -> Reply:
        """Send an operation, and repeat it while that is safe.

        Raises:
            PrismError: the last failure.
        """
        began_at = asyncio.get_running_loop().time()
        failure = self._absence
        if failure is None:
            try:
                return await self._channel.operate(method, request)
            except PrismError as error:
                if not self._may_repeat(error, method, request):
                    raise
                failure = error
                self._note(error)
        return await self._repeat(method, request, failure, began_at + self._channel.timeout_s)

    def close(self) -> None:
        """Wait for the server no longer."""
        if self._recovery is not None:
            self._recovery.cancel()

    async def _repeat(
        self, method: Method[Reply], request: Message, failure: PrismError, deadline: float
    ) -> Reply:
        loop = asyncio.get_running_loop()
        longest_s = _FIRST_PAUSE_S
        while True:
            recovery = self._recovery
            if recovery is not None:
                await asyncio.wait((recovery,), timeout=deadline - loop.time())
            else:
                # Callers that failed together do not return together.
                await asyncio.sleep(min(_jittered(longest_s), deadline - loop.time()))
                longest_s = min(2 * longest_s, _LONGEST_PAUSE_S)
            left_s = deadline - loop.time()
            if left_s <= 0 or self._channel.is_closed or not self._budget.take():
                raise _again(failure)
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
                self._note(error)

    def _may_repeat(self, error: PrismError, method: Method[Reply], request: Message) -> bool:
        if self._channel.is_closed:
            return False
        not_applied = error.outcome is Outcome.NOT_APPLIED
        if isinstance(error, NotServing):
            return not_applied
        if isinstance(error, Exhausted):
            return not_applied and error.reason == _OVERLOADED
        if isinstance(error, BackendUnavailable):
            return not_applied or _reads(method, request)
        return False

    def _note(self, error: PrismError) -> None:
        """Let operations wait for the server, if it serves none of them."""
        absent = isinstance(error, NotServing) or not self._channel.is_connected
        if absent and self._recovery is None:
            self._absence = error
            self._recovery = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        """Ask the server until it serves."""
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._channel.is_closed:
                await asyncio.sleep(_jittered(pause_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                try:
                    await self._channel.unary(_EXISTS.path, _PROBE, _EXISTS.reply_type)
                except (NotServing, BackendTimeout) as error:
                    self._absence = error
                except BackendUnavailable as error:
                    self._absence = error
                    if self._channel.is_connected:
                        # The server is there, and says so itself.
                        return
                except PrismError:
                    return
                else:
                    return
        finally:
            self._absence = self._recovery = None


def _reads(method: Method[Reply], request: Message) -> bool:
    """Return whether a request changes nothing, and so may be sent any number of times."""
    return method.operation_of(request) in _READS


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1)  # noqa: S311


def _again(failure: PrismError) -> PrismError:
    """Return an error like this one, which several callers may have waited for."""
    return type(failure)(failure.message, reason=failure.reason, outcome=failure.outcome)
