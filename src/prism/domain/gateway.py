"""Gateway: validates an operation, admits it, checks the capability, and calls the driver.

The gateway implements the ports that it calls, so callers cannot tell it from a driver, and
its rules apply to every backend.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Never, cast

from prism.domain import batches, scans
from prism.domain.admission import Admission
from prism.domain.tallies import OperationTallies, operation_tallies
from prism.domain.transactions import check_transaction
from prism.domain.validation import (
    check_delta,
    check_key,
    check_prefix,
    check_ttl,
    check_value,
)
from prism.domain.watches import MAX_WATCHES, Watches
from prism.ports import (
    Capability,
    Condition,
    Count,
    Driver,
    Entry,
    Event,
    FullKeyValue,
    InvalidArgument,
    Lifetime,
    Limits,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Unsupported,
    Version,
    Write,
)


class Gateway:
    """Implementation of `FullKeyValue` around a driver.

    Args:
        driver: driver that is called.
        admission: admits operations; the lifecycle opens and closes it.
        limits: limits of this process; the smaller of these and the driver's applies.
        max_watches: maximum number of open watches.
        tallies: count the operations; None: new ones.
    """

    def __init__(
        self,
        driver: Driver[Never],
        admission: Admission,
        limits: Limits,
        *,
        max_watches: int = MAX_WATCHES,
        tallies: OperationTallies | None = None,
    ) -> None:
        self._driver = driver
        # A driver has only the methods of the capabilities that it declares; _require checks
        # the declaration before each call.
        self._ports = cast("FullKeyValue", driver)
        self._admission = admission
        self._tallies = tallies or operation_tallies()
        self._watches = Watches(admission, max_watches)
        self._own_limits = limits
        self._declared: Profile | None = None
        self._profile: Profile

    @property
    def profile(self) -> Profile:
        """Profile of the driver, with the limits of this process; complete once initialized."""
        declared = self._driver.profile
        if declared is not self._declared:
            self._profile = replace(declared, limits=_smaller(declared.limits, self._own_limits))
            self._declared = declared
        return self._profile

    @property
    def driver(self) -> Driver[Never]:
        """Driver behind the gateway."""
        return self._driver

    @property
    def admission(self) -> Admission:
        """Admission of this gateway; operation streams end when it closes."""
        return self._admission

    @property
    def tallies(self) -> OperationTallies:
        """Counts and durations of the admitted operations."""
        return self._tallies

    @property
    def watches(self) -> Watches:
        """Open watches."""
        return self._watches

    def describe(self) -> Profile:
        """Return the profile, for callers that rely on it being complete.

        Raises:
            NotServing: the driver has not been started yet.
        """
        self._admission.check_started()
        return self.profile

    async def get(self, key: str) -> Entry | None:
        check_key(key)
        with self._admission.admit(self._tallies["get"]):
            return await self._driver.get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        check_key(key)
        if ttl is not None:
            check_ttl(ttl)
        with self._admission.admit(self._tallies["set"]):
            self._check_write(value, ttl)
            return await self._driver.set(key, value, ttl=ttl)

    async def delete(self, key: str) -> bool:
        check_key(key)
        with self._admission.admit(self._tallies["delete"]):
            return await self._driver.delete(key)

    async def exists(self, key: str) -> bool:
        check_key(key)
        with self._admission.admit(self._tallies["exists"]):
            return await self._driver.exists(key)

    async def expire(self, key: str, ttl: timedelta) -> bool:
        check_key(key)
        check_ttl(ttl)
        with self._admission.admit(self._tallies["expire"]):
            self._require(Capability.TTL)
            return await self._ports.expire(key, ttl)

    async def ttl(self, key: str) -> Lifetime | None:
        check_key(key)
        with self._admission.admit(self._tallies["ttl"]):
            self._require(Capability.TTL)
            return await self._ports.ttl(key)

    async def persist(self, key: str) -> Persisted:
        check_key(key)
        with self._admission.admit(self._tallies["persist"]):
            self._require(Capability.TTL)
            return await self._ports.persist(key)

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        check_key(key)
        if ttl is not None:
            check_ttl(ttl)
        with self._admission.admit(self._tallies["compare_and_set"]):
            self._require(Capability.COMPARE_AND_SET)
            self._check_write(value, ttl)
            return await self._ports.compare_and_set(key, value, expected=expected, ttl=ttl)

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        check_key(key)
        with self._admission.admit(self._tallies["compare_and_delete"]):
            self._require(Capability.COMPARE_AND_SET)
            await self._ports.compare_and_delete(key, expected=expected)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        with self._admission.admit(self._tallies["get_many"]):
            self._require(Capability.BATCH)
            self._tallies["get_many"].items += len(keys)
            limits = self.profile.limits
            errors = batches.check_keys(keys, limits)
            outcomes = await batches.call_with_valid(self._ports.get_many, keys, errors)
            return batches.within_reply(outcomes, limits.max_batch_bytes)

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        with self._admission.admit(self._tallies["set_many"]):
            self._require(Capability.BATCH)
            self._tallies["set_many"].items += len(puts)
            errors = batches.check_puts(puts, self.profile)
            return await batches.call_with_valid(self._ports.set_many, puts, errors)

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        with self._admission.admit(self._tallies["delete_many"]):
            self._require(Capability.BATCH)
            self._tallies["delete_many"].items += len(keys)
            errors = batches.check_keys(keys, self.profile.limits)
            return await batches.call_with_valid(self._ports.delete_many, keys, errors)

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        check_prefix(prefix)
        if page_size < 0:
            raise InvalidArgument(f"the page size is {page_size}; it must be 0 or more")
        cursor = scans.unseal(page_token, prefix, values)
        with self._admission.admit(self._tallies["scan"]):
            self._require(Capability.SCAN)
            return await scans.read_page(
                self._ports,
                self.profile.limits,
                prefix=prefix,
                page_size=page_size,
                cursor=cursor,
                values=values,
            )

    async def increment(self, key: str, delta: int = 1) -> Count:
        check_key(key)
        check_delta(delta)
        with self._admission.admit(self._tallies["increment"]):
            self._require(Capability.COUNTER)
            return await self._ports.increment(key, delta)

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        with self._admission.admit(self._tallies["apply"]):
            self._require(Capability.TRANSACTIONS)
            self._tallies["apply"].items += len(conditions) + len(writes)
            check_transaction(conditions, writes, self.profile)
            if not conditions and not writes:
                return []
            return await self._ports.apply(conditions, writes)

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        check_prefix(prefix)
        with self._watches.admit() as reader:
            self._require(Capability.WATCH)
            async with reader.reading(self._ports.watch(prefix)) as events:
                yield events

    def _check_write(self, value: bytes, ttl: timedelta | None) -> None:
        check_value(value, self.profile.limits.max_value_bytes)
        if ttl is not None:
            self._require(Capability.TTL)

    def _require(self, capability: Capability) -> None:
        profile = self._driver.profile
        if capability not in profile.capabilities:
            hint = profile.hints.get(capability, "")
            raise Unsupported(
                f"the driver {profile.driver!r} does not offer {capability}"
                + (f" here: {hint}" if hint else "")
            )


def _smaller(one: Limits, other: Limits) -> Limits:
    return Limits(
        max_key_bytes=min(one.max_key_bytes, other.max_key_bytes),
        max_value_bytes=min(one.max_value_bytes, other.max_value_bytes),
        max_batch_items=min(one.max_batch_items, other.max_batch_items),
        max_batch_bytes=min(one.max_batch_bytes, other.max_batch_bytes),
        max_page_size=min(one.max_page_size, other.max_page_size),
    )
