"""What an operator asks and tells a proxy, over a channel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

from google.protobuf.message import Message

from prism.adapters.remote.channel import Channel
from prism.adapters.remote.client import CALL_TIMEOUT
from prism.adapters.remote.methods import Reply
from prism.adapters.remote.propagation import propagation
from prism.adapters.remote.tls import TLS
from prism.adapters.wire.keyvalue_messages import duration_of
from prism.adapters.wire.proxy_messages import Shown, Told, event_of, pattern_of, told_of
from prism.domain.patterns.values import PatternEvent
from prism.ports import DRAIN_TIMEOUT, DrainReport
from prism.v1 import proxy_pb2 as pb

_SERVICE = "/prism.v1.ProxyAdminService/"
# What an answer may take beyond the time that the command itself may.
_ANSWER = timedelta(seconds=5)
# Draining and stopping one process, and starting another.
_LONGEST_COMMAND = timedelta(minutes=2)


class ProxyAdmin:
    """`ProxyAdminService`; each method raises PrismError, as the proxy said."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def patterns(self) -> list[Shown]:
        """All of them, in the order in which they are configured."""
        reply = await self._call("ListPatterns", pb.ListPatternsRequest(), pb.ListPatternsResponse)
        return [pattern_of(each) for each in reply.patterns]

    async def pattern(self, name: str) -> Told:
        """One, with what has happened to it."""
        request = pb.GetPatternRequest(name=name)
        return told_of(await self._call("GetPattern", request, pb.GetPatternResponse))

    async def restart(self, name: str) -> Shown:
        """Stop its process and launch another; returns when that serves."""
        request = pb.RestartPatternRequest(name=name)
        reply = await self._call(
            "RestartPattern", request, pb.RestartPatternResponse, _LONGEST_COMMAND
        )
        return pattern_of(reply.pattern)

    async def drain(self, name: str, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        """Refuse new work and finish what is in flight."""
        request = pb.DrainPatternRequest(name=name, timeout=duration_of(timeout))
        reply = await self._call(
            "DrainPattern", request, pb.DrainPatternResponse, timeout + _ANSWER
        )
        return DrainReport(completed=reply.completed, aborted=reply.aborted)

    async def replace(
        self, name: str, driver: str, settings: Mapping[str, str], *, discard_data: bool
    ) -> Shown:
        """Switch over to another process; returns when the old one has ended.

        Args:
            driver: empty: the same.
            settings: of the driver; where that stays the same, what is to change.
            discard_data: go on although the new one cannot read what the old one holds.
        """
        request = pb.ReplacePatternRequest(
            name=name, driver=driver, settings=settings, discard_data=discard_data
        )
        reply = await self._call(
            "ReplacePattern", request, pb.ReplacePatternResponse, _LONGEST_COMMAND
        )
        return pattern_of(reply.pattern)

    async def events(self, name: str = "") -> list[PatternEvent]:
        """What is remembered, oldest first; of one pattern, or of all."""
        names = [name] if name else [each.status.name for each in await self.patterns()]
        found = [event for each in names for event in (await self.pattern(each)).events]
        return sorted(found, key=lambda event: event.sequence)

    async def follow(self, name: str = "") -> AsyncGenerator[PatternEvent, None]:
        """What is remembered, and then what happens, until the caller has enough."""
        request = pb.WatchPatternsRequest(name=name)
        replies = self._channel.stream(
            f"{_SERVICE}WatchPatterns", request, pb.WatchPatternsResponse
        )
        async with aclosing(replies):
            async for reply in replies:
                event = event_of(reply.event)
                if event is not None:
                    yield event

    async def _call(
        self,
        method: str,
        request: Message,
        reply_type: type[Reply],
        timeout: timedelta | None = None,
    ) -> Reply:
        return await self._channel.unary(_SERVICE + method, request, reply_type, timeout=timeout)


@asynccontextmanager
async def connect_proxy(
    address: str,
    *,
    timeout: timedelta = CALL_TIMEOUT,
    tls: TLS | None = None,
    admin_token: str | None = None,
) -> AsyncIterator[ProxyAdmin]:
    """Connect to administer a proxy, for as long as the context lasts; else as `connect`."""
    channel = Channel(
        address,
        timeout=timeout,
        tls=tls,
        admin_token=admin_token,
        trace_context=propagation(),
    )
    try:
        yield ProxyAdmin(channel)
    finally:
        await channel.close()
