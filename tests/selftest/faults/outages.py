"""Drivers with one defect that shows while their server is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Count,
    Entry,
    Event,
    Lifetime,
    Outcome,
    Page,
    PrismError,
    Version,
    WatchEnded,
)
from tests.selftest.faults.fault import Fault


class OutageFault(Fault):
    """Fault of a driver whose server can be paused and killed."""

    with_server: ClassVar[bool] = True


class ReadsOfATtlAnswerAbsent(OutageFault):
    """Takes a failed read for an absent key."""

    caught_by = "test_every_operation_fails_while_the_server_is_away"

    async def ttl(self, key: str) -> Lifetime | None:
        try:
            return await self.inner.ttl(key)
        except BackendUnavailable:
            return None


class BatchesAnswerAbsent(OutageFault):
    caught_by = "test_every_operation_fails_while_the_server_is_away"

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        try:
            return await self.inner.get_many(keys)
        except BackendTimeout:
            return [None for _ in keys]


class ScansAnswerEmpty(OutageFault):
    caught_by = "test_every_operation_fails_while_the_server_is_away"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        try:
            return await self.inner.scan(
                prefix, page_size=page_size, page_token=page_token, values=values
            )
        except BackendUnavailable:
            return Page((), () if values else None, "")


class APausedServerIsWaitedFor(OutageFault):
    """Has no deadline for one of its operations."""

    caught_by = "test_every_operation_fails_while_the_server_is_away"

    async def exists(self, key: str) -> bool:
        while True:
            try:
                return await self.inner.exists(key)
            except BackendTimeout:
                await asyncio.sleep(0)


class BrokenConnectionsSayNotApplied(OutageFault):
    caught_by = "test_every_failed_call_says_the_truth_over_several_crashes"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        try:
            return await self.inner.set(key, value, ttl=ttl)
        except BackendUnavailable as error:
            raise BackendUnavailable(error.message, outcome=Outcome.NOT_APPLIED) from None


class IncrementsAreSentAgain(OutageFault):
    """Repeats an increment whose reply was lost."""

    caught_by = "test_every_failed_call_says_the_truth_over_several_crashes"

    async def increment(self, key: str, delta: int = 1) -> Count:
        while True:
            try:
                return await self.inner.increment(key, delta)
            except BackendUnavailable:
                await asyncio.sleep(0.01)


class ScansEndEarlyInACrash(OutageFault):
    """Takes an error on a later page for the end."""

    caught_by = "test_every_failed_call_says_the_truth_over_several_crashes"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        try:
            return await self.inner.scan(
                prefix, page_size=page_size, page_token=page_token, values=values
            )
        except BackendUnavailable:
            if not page_token:
                raise
            return Page((), () if values else None, "")


class WatchesReconnectSilently(OutageFault):
    caught_by = "test_a_watch_ends_with_a_reason_when_the_server_crashes"

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        async def again(first: AsyncIterator[Event]) -> AsyncIterator[Event]:
            events = first
            while True:
                try:
                    async for event in events:
                        yield event
                except WatchEnded:
                    await asyncio.sleep(0.01)
                    events = _endless()

        async with self.inner.watch(prefix) as events:
            yield again(events)


async def _endless() -> AsyncIterator[Event]:
    await asyncio.Event().wait()
    yield Event  # type: ignore[misc]


class InitializeWaitsForTheServer(OutageFault):
    caught_by = "test_initialize_fails_within_its_bound_while_the_server_is_away"

    async def initialize(self, settings: Any) -> None:
        while True:
            try:
                await self.inner.initialize(settings)
            except BackendUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


class InitializeShowsThePassword(OutageFault):
    caught_by = "test_initialize_fails_within_its_bound_while_the_server_is_away"

    async def initialize(self, settings: Any) -> None:
        try:
            await self.inner.initialize(settings)
        except BackendUnavailable:
            password = urlsplit(settings.url).password
            raise BackendUnavailable(f"cannot log in with {password!r}") from None
