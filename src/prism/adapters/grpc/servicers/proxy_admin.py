"""ProxyAdminService: commands to the patterns of a proxy, behind the admin token."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace

from prism.adapters.grpc.admin_guard import Guard
from prism.adapters.grpc.context import CallContext
from prism.adapters.wire.keyvalue_messages import timedelta_of
from prism.adapters.wire.proxy_messages import (
    PatternDetails,
    PatternInfo,
    details_message,
    event_message,
    pattern_message,
)
from prism.domain.patterns.pattern import Pattern
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import PatternEvent, PatternSpec
from prism.ports import DRAIN_TIMEOUT, InvalidArgument, WatchEnded
from prism.v1 import proxy_pb2 as pb

MAX_UNREAD = 1000
"""Maximum number of events that wait for one reader."""


class ProxyAdminServicer:
    """The calls of `proto/prism/v1/proxy.proto`, which describes them.

    Args:
        validate: returns the specification to use; raises InvalidArgument for an invalid one.
    """

    def __init__(
        self,
        patterns: Supervisor,
        guard: Guard,
        validate: Callable[[PatternSpec], PatternSpec],
    ) -> None:
        self._patterns = patterns
        self._guard = guard
        self._validate = validate

    async def list_patterns(
        self, request: pb.ListPatternsRequest, context: CallContext
    ) -> pb.ListPatternsResponse:
        await self._guard.check(context)
        return pb.ListPatternsResponse(patterns=map(self._message, self._patterns))

    async def get_pattern(
        self, request: pb.GetPatternRequest, context: CallContext
    ) -> pb.GetPatternResponse:
        found = await self._find(request.name, context)
        instance = found.instance
        details = PatternDetails(
            self._info(found),
            self._patterns.journal.events(found.spec.name),
            [] if instance is None else list(instance.debug_events),
        )
        return details_message(details)

    async def restart_pattern(
        self, request: pb.RestartPatternRequest, context: CallContext
    ) -> pb.RestartPatternResponse:
        found = await self._find(request.name, context)
        await found.restart()
        return pb.RestartPatternResponse(pattern=self._message(found))

    async def drain_pattern(
        self, request: pb.DrainPatternRequest, context: CallContext
    ) -> pb.DrainPatternResponse:
        found = await self._find(request.name, context)
        given = request.HasField("timeout")
        report = await found.drain(timedelta_of(request.timeout) if given else DRAIN_TIMEOUT)
        return pb.DrainPatternResponse(completed=report.completed, aborted=report.aborted)

    async def replace_pattern(
        self, request: pb.ReplacePatternRequest, context: CallContext
    ) -> pb.ReplacePatternResponse:
        found = await self._find(request.name, context)
        old = found.spec
        if request.driver in ("", old.driver):
            spec = replace(old, settings={**old.settings, **request.settings})
        else:
            spec = PatternSpec(old.name, request.driver, dict(request.settings))
        await found.replace(self._validate(spec), discard_data=request.discard_data)
        return pb.ReplacePatternResponse(pattern=self._message(found))

    async def watch_patterns(
        self, requests: AsyncIterator[pb.WatchPatternsRequest], context: CallContext
    ) -> AsyncGenerator[pb.WatchPatternsResponse, None]:
        await self._guard.check(context)
        async for request in requests:
            if request.name:
                await self._find(request.name, context)
            # Subscribed before the recorded events are read, in one step: none is missed.
            unread = _UnreadEvents(request.name)
            unsubscribe = self._patterns.journal.subscribe(unread.add)
            try:
                for event in self._patterns.journal.events(request.name):
                    yield pb.WatchPatternsResponse(event=event_message(event))
                async for event in unread:
                    yield pb.WatchPatternsResponse(event=event_message(event))
            finally:
                unsubscribe()

    async def _find(self, name: str, context: CallContext) -> Pattern:
        """Check the token, and return the pattern."""
        await self._guard.check(context)
        if not name:
            raise InvalidArgument("name is empty: give the name of a pattern")
        return self._patterns.find(name)

    def _info(self, found: Pattern) -> PatternInfo:
        return PatternInfo(found.status, found.spec.name == self._patterns.default)

    def _message(self, found: Pattern) -> pb.Pattern:
        return pattern_message(self._info(found))


class _UnreadEvents:
    """Bounded queue of the events for one reader; a slow reader delays no pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._events: deque[PatternEvent] = deque()
        self._arrived = asyncio.Event()
        self._full = False

    def add(self, event: PatternEvent) -> None:
        if self._pattern not in ("", event.pattern):
            return
        if len(self._events) == MAX_UNREAD:
            self._full = True
        else:
            self._events.append(event)
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[PatternEvent]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._full:
                raise WatchEnded(
                    f"more than {MAX_UNREAD:,} events waited for the reader: "
                    "start a new watch, and read faster"
                )
            self._arrived.clear()
            await self._arrived.wait()
