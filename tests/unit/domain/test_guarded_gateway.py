"""The gateway behind a policy: every operation is asked for, and nothing else changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from prism.domain.access.caller import Caller, current_caller
from prism.domain.access.control import AccessControl
from prism.domain.access.guarded_gateway import GuardedGateway
from prism.domain.access.identity import Identity
from prism.domain.access.policy import Action, Policy, Rule
from prism.ports import (
    AccessDenied,
    Condition,
    Delete,
    Entry,
    NotServing,
    Presence,
    PrismError,
    Put,
    Unauthenticated,
)
from prism.testing.suite.operations import EVERY_OPERATION, SampleOperation

TTL = timedelta(seconds=60)
KEYS = frozenset(action for action in Action if action.is_for_keys)

# What each operation needs; one of them taken away refuses it.
NEEDS = {
    "get": "read",
    "set": "write",
    "delete": "delete",
    "exists": "read",
    "expire": "write",
    "ttl": "read",
    "persist": "write",
    "compare_and_set": "read write",
    "compare_and_delete": "read delete",
    "get_many": "read",
    "set_many": "write",
    "delete_many": "delete",
    "scan": "scan",
    "increment": "read write",
    "apply": "write",
    "watch": "watch read",
}


def policy_of(actions: frozenset[Action], prefix: str = "", **fields: Any) -> Policy:
    return Policy((Rule(name="", who=("token:x",), actions=actions, prefixes=(prefix,), **fields),))


@pytest.fixture(autouse=True)
def caller() -> Iterator[None]:
    token = current_caller.set(Caller(Identity(("token:x",)), 1))
    yield
    current_caller.reset(token)


@EVERY_OPERATION
async def test_each_operation_needs_its_actions_and_no_others(
    build: Any, operation: SampleOperation
) -> None:
    assembly = build()
    await assembly.run()
    needed = frozenset(map(Action, NEEDS[operation.spec.name].split()))
    control = AccessControl(policy_of(needed))
    guarded = GuardedGateway(assembly.gateway, control)
    assert not is_refused(await outcome_of(operation, guarded))
    for missing in needed:
        control.replace(policy_of(KEYS - {missing}))
        assert is_refused(await outcome_of(operation, guarded)), missing
    control.replace(policy_of(KEYS, prefix="elsewhere/"))
    assert is_refused(await outcome_of(operation, guarded))
    assert assembly.admission.in_flight == 0


async def outcome_of(operation: SampleOperation, guarded: Any) -> object:
    try:
        return await operation.call(guarded, "k")
    except PrismError as error:
        return error


def is_refused(outcome: object) -> bool:
    return isinstance(outcome, AccessDenied)


async def test_items_of_a_batch_are_refused_alone(build: Any) -> None:
    assembly = build()
    await assembly.run()
    guarded = GuardedGateway(assembly.gateway, AccessControl(policy_of(KEYS, "mine/")))
    await assembly.gateway.set("other", b"secret")
    written = await guarded.set_many([Put("mine/1", b"1"), Put("other", b"x"), Put("mine/2", b"2")])
    assert [type(each) for each in written] == [int, AccessDenied, int]
    first, refused, absent = await guarded.get_many(["mine/1", "other", "mine/3"])
    assert isinstance(first, Entry)
    assert isinstance(refused, AccessDenied)
    assert absent is None
    assert [type(each) for each in await guarded.delete_many(["other", "mine/1"])] == [
        AccessDenied,
        bool,
    ]
    entry = await assembly.gateway.get("other")
    assert entry is not None
    assert entry.value == b"secret"


@pytest.mark.parametrize(
    ("conditions", "writes"),
    [
        ([], [Put("mine/1", b""), Put("other", b"")]),
        ([], [Put("mine/1", b""), Delete("other")]),
        ([Condition("other", Presence.PRESENT)], [Put("mine/1", b"")]),
    ],
    ids=["put", "delete", "condition"],
)
async def test_a_transaction_is_refused_as_a_whole(
    build: Any, conditions: list[Condition], writes: list[Any]
) -> None:
    assembly = build()
    await assembly.run()
    guarded = GuardedGateway(assembly.gateway, AccessControl(policy_of(KEYS, "mine/")))
    with pytest.raises(AccessDenied):
        await guarded.apply(conditions, writes)
    assert await assembly.gateway.get("mine/1") is None


async def test_the_values_of_a_scan_need_read(build: Any) -> None:
    assembly = build()
    await assembly.run()
    guarded = GuardedGateway(
        assembly.gateway, AccessControl(policy_of(frozenset({Action.SCAN}), "mine/"))
    )
    await guarded.scan("mine/")
    with pytest.raises(AccessDenied, match="scan and read"):
        await guarded.scan("mine/", values=True)


async def test_default_ttls_reach_every_write(build: Any) -> None:
    assembly = build()
    await assembly.run()
    guarded = GuardedGateway(
        assembly.gateway, AccessControl(policy_of(KEYS, default_ttl=TTL, max_ttl=2 * TTL))
    )
    await guarded.set("a", b"")
    await guarded.compare_and_set("b", b"", expected=None)
    await guarded.set_many([Put("c", b"")])
    await guarded.apply([], [Put("d", b"")])
    for key in "abcd":
        lifetime = await guarded.ttl(key)
        assert lifetime is not None
        assert lifetime.remaining is not None
    for refused in (guarded.persist, guarded.increment):
        with pytest.raises(AccessDenied, match="without a ttl"):
            await refused("a")
    with pytest.raises(AccessDenied):
        await guarded.expire("a", 3 * TTL)


async def test_a_watch_ends_before_it_shows_what_is_not_allowed_any_more(build: Any) -> None:
    assembly = build()
    await assembly.run()
    control = AccessControl(policy_of(KEYS))
    guarded = GuardedGateway(assembly.gateway, control)
    async with asyncio.timeout(30), guarded.watch("k") as events:
        await assembly.gateway.set("k1", b"1")
        assert (await anext(events)).key == "k1"
        control.replace(policy_of(KEYS, "k"))
        await assembly.gateway.set("k2", b"2")
        assert (await anext(events)).key == "k2"
        control.replace(policy_of(KEYS, "k2"))
        await assembly.gateway.set("k3", b"3")
        for _ in range(2):
            with pytest.raises(AccessDenied):
                await anext(events)
            await assembly.gateway.set("k4", b"4")


@EVERY_OPERATION
async def test_a_server_that_does_not_serve_says_so_first(
    build: Any, operation: SampleOperation
) -> None:
    assembly = build()
    await assembly.run()
    guarded = GuardedGateway(assembly.gateway, AccessControl(Policy()))
    assembly.admission.close("draining")
    outcome = await outcome_of(operation, guarded)
    assert isinstance(outcome, NotServing)


async def test_callers_without_credentials_learn_what_is_missing(build: Any) -> None:
    assembly = build()
    await assembly.run()
    guarded = GuardedGateway(assembly.gateway, AccessControl(policy_of(KEYS)))
    current_caller.set(None)
    with pytest.raises(Unauthenticated, match=r"callers without credentials read this key: send"):
        await guarded.get("k")
    with pytest.raises(Unauthenticated):
        guarded.describe()
