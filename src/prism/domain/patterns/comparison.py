"""Whether one process may take the place of another, found out by asking both."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from prism.domain.gateway import Gateway
from prism.ports import Capability, PreconditionFailed, PrismError, VersionConflict

SCRATCH_PREFIX = "prism-check/"
"""Of the keys that are written, and removed again, to try a new process."""

# Should they not be removed: this long they stay, where keys can expire.
_LITTER_TTL = timedelta(minutes=1)


async def compare(old: Gateway, new: Gateway, *, discard_data: bool) -> None:
    """Try the new one, and see that it can all that the old one can.

    Raises:
        PreconditionFailed: it cannot, or holds other data.
        PrismError: as it answered.
    """
    missing = old.profile.capabilities.keys() - new.profile.capabilities.keys()
    if missing:
        raise PreconditionFailed(
            f"the driver {new.profile.driver!r} does not offer {', '.join(sorted(missing))}, "
            f"and {old.profile.driver!r} does"
        )
    async with _scratch_key(new) as key:
        await _try(new, key)
        if not discard_data:
            await _see_the_same(old, new, key)


async def try_alone(new: Gateway) -> None:
    """Try the new one where there is none to compare it with.

    Raises:
        PreconditionFailed: it does not do what it should.
        PrismError: as it answered.
    """
    async with _scratch_key(new) as key:
        await _try(new, key)


@asynccontextmanager
async def _scratch_key(gateway: Gateway) -> AsyncIterator[str]:
    key = f"{SCRATCH_PREFIX}{uuid.uuid4().hex}"
    try:
        yield key
    finally:
        with suppress(PrismError):
            await gateway.delete(key)


async def _try(gateway: Gateway, key: str) -> None:
    can = gateway.profile.capabilities
    value = uuid.uuid4().bytes
    version = await gateway.set(key, value)
    entry = await gateway.get(key)
    if entry is None or entry.value != value:
        raise PreconditionFailed("a value that was set there is not what is read")
    if Capability.COMPARE_AND_SET in can:
        second = await gateway.compare_and_set(key, value + b"+", expected=version)
        try:
            await gateway.compare_and_set(key, value, expected=None)
        except VersionConflict:
            await gateway.compare_and_set(key, value, expected=second)
        else:
            raise PreconditionFailed("a key that exists there was set as an absent one")
    if not await gateway.delete(key) or await gateway.exists(key):
        raise PreconditionFailed("a key that was deleted there still exists")


async def _see_the_same(old: Gateway, new: Gateway, key: str) -> None:
    value = uuid.uuid4().bytes
    ttl = _LITTER_TTL if Capability.TTL in old.profile.capabilities else None
    await old.set(key, value, ttl=ttl)
    try:
        entry = await new.get(key)
    finally:
        await old.delete(key)
    if entry is None or entry.value != value:
        own = [each.profile.driver for each in (old, new) if each.profile.ephemeral]
        because = f": {own[0]} keeps its data in its own process" if own else ""
        raise PreconditionFailed(
            f"what is written to the old one cannot be read from the new one{because}; "
            "to lose what the old one holds, ask for it with --discard-data",
            reason="DATA_NOT_SHARED",
        )
