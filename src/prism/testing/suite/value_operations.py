"""Every operation that writes or returns a value, each called in the same way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from prism.ports import Capability, Entry, FullKeyValue, PrismError, Profile, Put, Version

Write: TypeAlias = Callable[[FullKeyValue, str, bytes], Awaitable[Version]]
Read: TypeAlias = Callable[[FullKeyValue, str], Awaitable[Entry | None]]


async def _set(kv: FullKeyValue, key: str, value: bytes) -> Version:
    return await kv.set(key, value)


async def _compare_and_set(kv: FullKeyValue, key: str, value: bytes) -> Version:
    entry = await kv.get(key)
    expected = None if entry is None else entry.version
    return await kv.compare_and_set(key, value, expected=expected)


async def _set_many(kv: FullKeyValue, key: str, value: bytes) -> Version:
    (outcome,) = await kv.set_many([Put(key, value)])
    if isinstance(outcome, PrismError):
        raise outcome
    return outcome


async def _apply(kv: FullKeyValue, key: str, value: bytes) -> Version:
    (version,) = await kv.apply([], [Put(key, value)])
    return Version(version)


async def _get(kv: FullKeyValue, key: str) -> Entry | None:
    return await kv.get(key)


async def _get_many(kv: FullKeyValue, key: str) -> Entry | None:
    (outcome,) = await kv.get_many([key])
    if isinstance(outcome, PrismError):
        raise outcome
    return outcome


async def _scan(kv: FullKeyValue, key: str) -> Entry | None:
    found, token = None, ""
    while True:
        page = await kv.scan(key, values=True, page_token=token)
        found = dict(zip(page.keys, page.entries or (), strict=True)).get(key, found)
        token = page.next_token
        if not token:
            return found


_WRITES: Mapping[str, tuple[Capability | None, Write]] = {
    "set": (None, _set),
    "compare_and_set": (Capability.COMPARE_AND_SET, _compare_and_set),
    "set_many": (Capability.BATCH, _set_many),
    "apply": (Capability.TRANSACTIONS, _apply),
}

_READS: Mapping[str, tuple[Capability | None, Read]] = {
    "get": (None, _get),
    "get_many": (Capability.BATCH, _get_many),
    "scan": (Capability.SCAN, _scan),
}


def writes_of(profile: Profile) -> dict[str, Write]:
    """Return the declared operations that write a given value, by name."""
    return {
        name: write
        for name, (capability, write) in _WRITES.items()
        if capability is None or capability in profile.capabilities
    }


def reads_of(profile: Profile) -> dict[str, Read]:
    """Return the declared operations that return an entry, by name."""
    return {
        name: read
        for name, (capability, read) in _READS.items()
        if capability is None or capability in profile.capabilities
    }
