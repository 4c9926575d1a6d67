"""One server of a client, and whether it serves according to its answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message

from prism.adapters.client.channel import Channel
from prism.adapters.client.forks import PerProcess
from prism.adapters.wire.methods import METHODS, Method, Reply
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Event,
    NotServing,
    Outcome,
    PrismError,
)
from prism.v1 import keyvalue_pb2 as pb

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5

# Any key will do: the question is whether the server answers.
_EXISTS: Method[pb.ExistsResponse] = METHODS["exists"]
_PROBE = pb.ExistsRequest(key="prism")


class Server(PerProcess):
    """A channel to one server, and probes of the server while it does not serve.

    While the server is known not to serve, one small read at a time asks whether it serves again,
    so that no operation is on its way to a server that ends.

    Args:
        on_absent: called when it stops serving, with a task that ends when it serves again.

    Attributes:
        channel: its channel.
        in_flight: number of operations without an answer that a group of servers sent to it.
        watches: number of watches that a group of servers has on it.
    """

    def __init__(
        self, channel: Channel, on_absent: Callable[[asyncio.Task[None]], None] | None = None
    ) -> None:
        self.channel = channel
        self._on_absent = on_absent
        self._begin_in_process()

    def _begin(self) -> None:
        """Begin without knowledge: at the start, and in a forked child."""
        self._absence: PrismError | None = None
        self._recovery: asyncio.Task[None] | None = None
        self.in_flight = 0
        self.watches = 0

    @property
    def timeout_s(self) -> float:
        """Timeout of each call, in seconds."""
        return self.channel.timeout_s

    @property
    def is_closed(self) -> bool:
        """Whether it was closed for good."""
        return self.channel.is_closed

    @property
    def absence(self) -> PrismError | None:
        """Why the server serves nothing; None: it serves, as far as is known."""
        self._begin_in_process()
        return self._absence

    @property
    def recovery(self) -> asyncio.Task[None] | None:
        """Ends when the server serves again; None: it serves, as far as is known."""
        return None if self.absence is None else self._recovery

    @property
    def only_channel(self) -> Channel:
        """Its channel."""
        return self.channel

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply:
        """Call a method; see `Channel.unary`."""
        return await self.channel.unary(path, request, reply_type, timeout=timeout)

    def operate(
        self, method: Method[Reply], request: Message, left_s: float | None = None
    ) -> Coroutine[Any, Any, Reply]:
        """Send an operation; see `Channel.operate`. A caller takes its error to `note`."""
        return self.channel.operate(method, request, left_s)

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Watch; see `Channel.watch`."""
        return self.channel.watch(request)

    async def wait(self, timeout_s: float) -> bool:
        """Wait until the server may serve; return whether it was known not to.

        Args:
            timeout_s: longest duration, in seconds.
        """
        recovery = self.recovery
        if recovery is None:
            return False
        await asyncio.wait((recovery,), timeout=timeout_s)
        return True

    def note(self, error: PrismError) -> None:
        """Note the error of a call: it may say that the server does not serve."""
        if isinstance(error, NotServing) or (
            isinstance(error, BackendUnavailable) and not self.channel.is_connected
        ):
            self.ask_again(error)

    def connection_lost(self, reason: str) -> None:
        """Take the end of a connection: open another one before the next call needs it."""
        if not self.channel.is_connected:
            self.ask_again(BackendUnavailable(reason, outcome=Outcome.NOT_APPLIED), at_once=True)

    def ask_again(self, absence: PrismError, *, at_once: bool = False) -> None:
        """Ask the server until it serves, which it does not for this reason."""
        if self.absence is None and not self.channel.is_closed:
            self._absence = absence
            pause_s = 0.0 if at_once else _FIRST_PAUSE_S
            self._recovery = asyncio.get_running_loop().create_task(self._recover(pause_s))
            if self._on_absent is not None:
                self._on_absent(self._recovery)

    async def close(self) -> None:
        """Stop the probes, and close the channel. Safe more than once."""
        recovery = self.recovery
        if recovery is not None:
            recovery.cancel()
            await asyncio.wait((recovery,))
        await self.channel.close()

    async def _recover(self, pause_s: float) -> None:
        try:
            while not self.channel.is_closed:
                await asyncio.sleep(jittered(pause_s))
                pause_s = min(2 * pause_s or _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
                try:
                    await self.channel.unary(_EXISTS.path, _PROBE, _EXISTS.reply_type)
                except (NotServing, BackendTimeout) as error:
                    self._absence = error
                except BackendUnavailable as error:
                    self._absence = error
                    if self.channel.is_connected:
                        # The server is there, and says so itself.
                        return
                except PrismError:
                    return
                else:
                    return
        finally:
            self._absence = self._recovery = None


def jittered(seconds: float) -> float:
    """Return a duration of up to these seconds, so that many callers do not act together."""
    return seconds * random.uniform(0.5, 1)  # noqa: S311
