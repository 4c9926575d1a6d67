"""Patterns of a proxy, over a channel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import timedelta

from google.protobuf.message import Message

from prism.adapters.client.channel import Channel
from prism.adapters.client.lifecycle import REPLY_MARGIN
from prism.adapters.wire.keyvalue_messages import duration_of
from prism.adapters.wire.methods import Reply
from prism.adapters.wire.proxy_messages import (
    PatternDetails,
    PatternInfo,
    details_of,
    event_of,
    pattern_of,
)
from prism.domain.patterns.values import PatternEvent
from prism.ports import DRAIN_TIMEOUT, DrainReport, Unsupported
from prism.v1 import proxy_pb2 as pb

_SERVICE = "/prism.v1.ProxyAdminService/"
# Draining and stopping one process, and starting another.
_LONGEST_COMMAND = timedelta(minutes=2)


class PatternsClient:
    """Administers the patterns of a proxy; each method raises PrismError sent by the proxy."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def all(self) -> list[PatternInfo]:
        """Return all patterns, in the order of the configuration."""
        reply = await self._call("ListPatterns", pb.ListPatternsRequest(), pb.ListPatternsResponse)
        return [pattern_of(each) for each in reply.patterns]

    async def get(self, name: str) -> PatternDetails:
        """Return one pattern with its latest events."""
        request = pb.GetPatternRequest(name=name)
        return details_of(await self._call("GetPattern", request, pb.GetPatternResponse))

    async def restart(self, name: str) -> PatternInfo:
        """Stop the pattern's process and launch another; returns when the new one serves."""
        request = pb.RestartPatternRequest(name=name)
        reply = await self._call(
            "RestartPattern", request, pb.RestartPatternResponse, _LONGEST_COMMAND
        )
        return pattern_of(reply.pattern)

    async def drain(self, name: str, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        """Refuse new calls of the pattern and wait for those in flight."""
        request = pb.DrainPatternRequest(name=name, timeout=duration_of(timeout))
        reply = await self._call(
            "DrainPattern", request, pb.DrainPatternResponse, timeout + REPLY_MARGIN
        )
        return DrainReport(completed=reply.completed, aborted=reply.aborted)

    async def replace(
        self, name: str, driver: str, settings: Mapping[str, str], *, discard_data: bool
    ) -> PatternInfo:
        """Switch the pattern to another process; returns when the old one has ended.

        Args:
            driver: name of the new driver; empty: the same driver.
            settings: settings of the new driver; for the same driver, those to change.
            discard_data: whether to go on if the new process cannot read the old one's data.
        """
        request = pb.ReplacePatternRequest(
            name=name, driver=driver, settings=settings, discard_data=discard_data
        )
        reply = await self._call(
            "ReplacePattern", request, pb.ReplacePatternResponse, _LONGEST_COMMAND
        )
        return pattern_of(reply.pattern)

    async def events(self, name: str = "") -> list[PatternEvent]:
        """Return the remembered events of one pattern or of all, oldest first."""
        names = [name] if name else [each.status.name for each in await self.all()]
        found = [event for each in names for event in (await self.get(each)).events]
        return sorted(found, key=lambda event: event.sequence)

    async def follow(self, name: str = "") -> AsyncGenerator[PatternEvent, None]:
        """Yield the remembered events, and then new ones, until the caller closes it."""
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
        path = _SERVICE + method
        try:
            return await self._channel.unary(path, request, reply_type, timeout=timeout)
        except Unsupported:
            # A proxy has every method of this service, and no capability that could be absent.
            raise Unsupported("this server is not a proxy: it has no patterns") from None
