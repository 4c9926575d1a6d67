"""Group basic, continued: rules for every read and every write together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import pytest

from prism.ports import (
    Capability,
    Count,
    Delete,
    Entry,
    FullKeyValue,
    Lifetime,
    Page,
    Persisted,
    Profile,
    Put,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.calls import gather_or_cancel
from prism.testing.suite.group import Group, group, needs, skip_unless_declared
from prism.testing.suite.operations import reads_of, writes_of
from prism.testing.suite.timing import LONG

TURNS = 30

DeleteCall: TypeAlias = Callable[[FullKeyValue, str], Awaitable[object]]


async def _compare_and_delete(kv: FullKeyValue, key: str) -> None:
    entry = await kv.get(key)
    assert entry is not None
    await kv.compare_and_delete(key, expected=entry.version)


DELETES: Mapping[str, tuple[Capability | None, DeleteCall]] = {
    "delete": (None, lambda kv, key: kv.delete(key)),
    "compare_and_delete": (Capability.COMPARE_AND_SET, _compare_and_delete),
    "delete_many": (Capability.BATCH, lambda kv, key: kv.delete_many([key])),
    "apply": (Capability.TRANSACTIONS, lambda kv, key: kv.apply([], [Delete(key)])),
}

EVERY_DELETE = pytest.mark.parametrize("name", DELETES)


def delete_of(backend: Backend, name: str) -> DeleteCall:
    """Return the delete of this name; skip the test where it is not declared."""
    capability, delete = DELETES[name]
    if capability is not None:
        skip_unless_declared(backend, capability)
    return delete


@group()
class EveryOperation(Group):
    """Every read shows every write, and every answer has its type."""

    async def test_every_answer_has_its_type(self, backend: Backend, prefix: str) -> None:
        kv, declared, key = backend.kv, backend.profile.capabilities, f"{prefix}key"
        _check_type("set", await kv.set(key, b"1"), int)
        _check_entry("get", await kv.get(key))
        _check_type("exists", await kv.exists(key), bool)
        if Capability.BATCH in declared:
            for version in await kv.set_many([Put(key, b"1")]):
                _check_type("set_many", version, int)
            for entry in await kv.get_many([key]):
                _check_entry("get_many", entry)
        if Capability.COMPARE_AND_SET in declared:
            absent = f"{prefix}absent"
            version = await kv.compare_and_set(absent, b"1", expected=None)
            _check_type("compare_and_set", version, int)
            await kv.compare_and_delete(absent, expected=version)
        if Capability.TTL in declared:
            _check_type("expire", await kv.expire(key, LONG), bool)
            _check_type("ttl", await kv.ttl(key), Lifetime)
            _check_type("persist", await kv.persist(key), Persisted)
        if Capability.COUNTER in declared:
            count = await kv.increment(key)
            _check_type("increment", count, Count)
            _check_type("increment", count.value, int)
            _check_type("increment", count.version, int)
        if Capability.SCAN in declared:
            for under in (prefix, f"{prefix}nothing"):
                _check_page(await kv.scan(under, values=True), entries=True)
                _check_page(await kv.scan(under), entries=False)
        if Capability.BATCH in declared:
            for existed in await kv.delete_many([key, f"{prefix}absent"]):
                _check_type("delete_many", existed, bool)
        _check_type("delete", await kv.delete(key), bool)

    async def test_every_read_shows_every_write(self, backend: Backend, prefix: str) -> None:
        kv, profile = backend.kv, backend.profile
        deletes = [name for name, (needed, _) in DELETES.items() if _has(profile, needed)]
        writes = {**writes_of(profile)}
        for at, (name, write) in enumerate(writes.items()):
            for delete in deletes:
                # Read before, so that what a driver remembers is outdated by the write.
                key = f"{prefix}{name}/{delete}"
                await check_shown(kv, profile, key, None, f"nothing, before {name}")
                version = await write(kv, key, b"1")
                await check_shown(kv, profile, key, b"1", name)
                assert (await _entry(kv, key)).version == version
                if Capability.COUNTER in profile.capabilities:
                    await kv.increment(key, at)
                    await check_shown(kv, profile, key, b"%d" % (1 + at), "increment")
                await DELETES[delete][1](kv, key)
                await check_shown(kv, profile, key, None, delete)

    @needs(Capability.TTL)
    async def test_value_and_expiry_belong_together_in_every_read(
        self, backend: Backend, key: str
    ) -> None:
        kv = backend.kv
        writing = True
        reads = reads_of(backend.profile)

        async def write() -> None:
            nonlocal writing
            for _ in range(TURNS):
                await kv.set(key, b"with a ttl", ttl=LONG)
                await asyncio.sleep(0)
                await kv.set(key, b"without")
                await asyncio.sleep(0)
            writing = False

        async def read(name: str) -> None:
            while writing:
                entry = await reads[name](kv, key)
                if entry is not None:
                    expires = entry.expires_at_ms is not None
                    assert expires is (entry.value == b"with a ttl"), (
                        f"{name} answered {entry!r} between two writes: each writes value and "
                        "ttl at one moment"
                    )
                await asyncio.sleep(0)

        await gather_or_cancel(write(), *(read(name) for name in reads))

    @needs(Capability.TTL)
    @EVERY_DELETE
    async def test_a_new_value_has_no_ttl_after_any_kind_of_delete(
        self, backend: Backend, prefix: str, name: str
    ) -> None:
        kv, delete = backend.kv, delete_of(backend, name)
        writes = writes_of(backend.profile)
        for kind, write in writes.items():
            key = f"{prefix}{kind}"
            await kv.set(key, b"1", ttl=LONG)
            await delete(kv, key)
            await write(kv, key, b"2")
            assert await kv.ttl(key) == Lifetime(None), f"{kind} after {name}"
        if Capability.COUNTER in backend.profile.capabilities:
            await kv.set(f"{prefix}n", b"1", ttl=LONG)
            await delete(kv, f"{prefix}n")
            assert (await kv.increment(f"{prefix}n")).value == 1
            assert await kv.ttl(f"{prefix}n") == Lifetime(None), f"increment after {name}"

    @needs(Capability.TTL)
    async def test_a_persisted_key_can_be_given_a_ttl_again(
        self, kv: FullKeyValue, key: str
    ) -> None:
        await kv.set(key, b"value", ttl=LONG)
        for _ in range(2):
            assert await kv.persist(key) is Persisted.EXPIRY_REMOVED
            assert await kv.ttl(key) == Lifetime(None)
            assert await kv.expire(key, LONG) is True
            lifetime = await kv.ttl(key)
            assert lifetime is not None
            assert lifetime.remaining is not None
            assert (await _entry(kv, key)).expires_at_ms is not None


def _has(profile: Profile, capability: Capability | None) -> bool:
    return capability is None or capability in profile.capabilities


async def _entry(kv: FullKeyValue, key: str) -> Entry:
    entry = await kv.get(key)
    assert entry is not None
    return entry


async def check_shown(
    kv: FullKeyValue, profile: Profile, key: str, value: bytes | None, after: str
) -> None:
    """Check that every read shows this value of the key; None: that it is absent."""
    for name, read in reads_of(profile).items():
        entry = await read(kv, key)
        assert (entry and entry.value) == value, f"{name} after {after} answers {entry!r}"
    assert await kv.exists(key) is (value is not None), f"exists after {after}"
    if Capability.TTL in profile.capabilities:
        lifetime = await kv.ttl(key)
        assert lifetime == (None if value is None else Lifetime(None)), f"ttl after {after}"


def _check_type(operation: str, answer: object, expected: type) -> None:
    assert type(answer) is expected, (
        f"{operation} answered {answer!r}, of type {type(answer).__name__}: "
        f"the port says {expected.__name__}"
    )


def _check_entry(operation: str, entry: object) -> None:
    assert isinstance(entry, Entry), f"{operation} answered {entry!r}, not an Entry"
    _check_type(operation, entry.value, bytes)
    _check_type(operation, entry.version, int)


def _check_page(page: Page, *, entries: bool) -> None:
    _check_type("scan", page.next_token, str)
    for key in page.keys:
        _check_type("scan", key, str)
    if not entries:
        assert page.entries is None, f"a scan without values answered {page.entries!r}"
        return
    assert page.entries is not None, "a scan with values answered no entries"
    assert len(page.entries) == len(page.keys)
    for entry in page.entries:
        _check_entry("scan", entry)
