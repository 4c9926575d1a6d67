"""Checks whether a new process can replace the one that serves, by operations on both."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import timedelta

from prism.domain.gateway import Gateway
from prism.ports import Capability, PreconditionFailed, PrismError, VersionConflict

SCRATCH_PREFIX = "prism-check/"
"""Prefix of the keys that the checks write and delete."""

# Expires a scratch key that could not be deleted, where the backend can expire keys.
_SCRATCH_TTL = timedelta(minutes=1)


def check_capabilities(old: Gateway, new: Gateway) -> None:
    """Check that the new driver has every capability of the old one.

    Raises:
        PreconditionFailed: some are missing.
    """
    missing = old.profile.capabilities.keys() - new.profile.capabilities.keys()
    if missing:
        raise PreconditionFailed(
            f"the driver {new.profile.driver!r} does not offer {', '.join(sorted(missing))}, "
            f"and {old.profile.driver!r} does"
        )


async def check_operations(new: Gateway) -> None:
    """Check that the new process reads back and deletes what it wrote.

    Raises:
        PreconditionFailed: an operation has a wrong result.
        PrismError: an operation failed.
    """
    key = _scratch_key()
    try:
        await _check_operations_on(new, key)
    finally:
        with suppress(PrismError):
            await new.delete(key)


async def check_shared_data(old: Gateway, new: Gateway) -> None:
    """Check that the new process reads what the old one wrote.

    Raises:
        PreconditionFailed: their data are separate.
        PrismError: an operation failed.
    """
    key, value = _scratch_key(), uuid.uuid4().bytes
    ttl = _SCRATCH_TTL if Capability.TTL in old.profile.capabilities else None
    await old.set(key, value, ttl=ttl)
    try:
        entry = await new.get(key)
    finally:
        await old.delete(key)
    if entry is None or entry.value != value:
        own = [each.profile.driver for each in (old, new) if each.profile.ephemeral]
        because = f": {own[0]} keeps its data in its own process" if own else ""
        raise PreconditionFailed(
            f"the new process cannot read what the old one wrote{because}; "
            "to replace it anyway, and lose the old data, give --discard-data",
            reason="DATA_NOT_SHARED",
        )


def _scratch_key() -> str:
    return f"{SCRATCH_PREFIX}{uuid.uuid4().hex}"


async def _check_operations_on(new: Gateway, key: str) -> None:
    value = uuid.uuid4().bytes
    version = await new.set(key, value)
    entry = await new.get(key)
    if entry is None or entry.value != value:
        raise PreconditionFailed("the new process does not read the value that it wrote")
    if Capability.COMPARE_AND_SET in new.profile.capabilities:
        second = await new.compare_and_set(key, value + b"+", expected=version)
        try:
            await new.compare_and_set(key, value, expected=None)
        except VersionConflict:
            await new.compare_and_set(key, value, expected=second)
        else:
            raise PreconditionFailed(
                "the new process set an existing key on the condition that it is absent"
            )
    if not await new.delete(key) or await new.exists(key):
        raise PreconditionFailed("a key that the new process deleted still exists")
