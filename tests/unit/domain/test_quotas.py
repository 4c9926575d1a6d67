"""Quotas: what is counted, for whom, and what remains after a change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from prism.domain.access import quotas
from prism.domain.access.audit import AuditEvent
from prism.domain.access.caller import Caller, current_caller
from prism.domain.access.control import AccessControl
from prism.domain.access.guarded_gateway import GuardedGateway
from prism.domain.access.identity import Identity
from prism.domain.access.policy import Action, Policy, Rule
from prism.domain.access.quotas import Quota
from prism.domain.token_bucket import TokenBucket
from prism.ports import Condition, Exhausted, NotServing, Presence, PrismError, Put
from prism.testing.suite.operations import EVERY_OPERATION, SampleOperation

ALL = Rule(name="", who=("*",), actions=frozenset(Action))


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that the test moves, by which all budgets are filled."""
    clock = Clock()
    monkeypatch.setattr(
        quotas, "TokenBucket", lambda rate, burst: TokenBucket(rate, burst, clock=clock)
    )
    return clock


@pytest.fixture(autouse=True)
def caller() -> Iterator[None]:
    token = current_caller.set(None)
    be("token:x")
    yield
    current_caller.reset(token)


def be(*names: str) -> None:
    current_caller.set(Caller(Identity(names), 0))


def policy_of(**limits: Any) -> Policy:
    return Policy((ALL,), (Quota(**{"name": "quota 1", "who": ("*",), **limits}),))


@pytest.fixture
async def gateway(build: Any) -> Any:
    assembly = build()
    await assembly.run()
    return assembly.gateway


async def passes(operation: Any) -> bool:
    """Whether an operation is within the quota."""
    try:
        await operation()
    except Exhausted as error:
        return error.reason != "QUOTA_EXCEEDED"
    return True


@EVERY_OPERATION
async def test_each_operation_counts_once(
    gateway: Any, clock: Clock, operation: SampleOperation
) -> None:
    guarded = GuardedGateway(gateway, AccessControl(policy_of(operations_per_second=1)))

    async def run() -> None:
        try:
            await operation.call(guarded, "k")
        except Exhausted:
            raise
        except PrismError:
            # The key is not there: it counts all the same.
            pass

    assert await passes(run)
    with pytest.raises(Exhausted, match=r"quota of operations a second .* try again in") as raised:
        await run()
    assert raised.value.retry_after is not None
    # A batch or transaction counts its items, and what follows waits for all of them.
    assert raised.value.retry_after >= timedelta(seconds=1)
    clock.now_s += raised.value.retry_after.total_seconds()
    assert await passes(run)


async def test_items_of_batches_and_transactions_count(gateway: Any, clock: Clock) -> None:
    guarded = GuardedGateway(gateway, AccessControl(policy_of(operations_per_second=4)))
    await guarded.set_many([Put(f"k{n}", b"") for n in range(8)])
    with pytest.raises(Exhausted) as raised:
        await guarded.get("k1")
    assert raised.value.retry_after == timedelta(seconds=1.25)
    clock.now_s += 2.5
    await guarded.apply([Condition("k1", Presence.PRESENT)], [Put("k1", b"")])
    assert await passes(lambda: guarded.get_many(["k1", "k2", "k3", "k4", "k5"]))
    assert not await passes(lambda: guarded.get("k1"))


async def test_bytes_count_in_requests_and_replies(gateway: Any, clock: Clock) -> None:
    await gateway.set("k", b"x" * 100)
    guarded = GuardedGateway(gateway, AccessControl(policy_of(bytes_per_second=10)))
    for operation, seconds in (
        # What is below zero by the bytes that it moved, less those of one second.
        (lambda: guarded.get("k"), 9.2),
        (lambda: guarded.set("key", b"x" * 20), 1.4),
        (lambda: guarded.get_many(["k", "k"]), 19.3),
        (lambda: guarded.scan("k", values=True), 9.8),
    ):
        assert await passes(operation)
        with pytest.raises(Exhausted, match="bytes a second") as raised:
            await guarded.exists("k")
        assert raised.value.retry_after is not None
        assert raised.value.retry_after.total_seconds() >= seconds
        clock.now_s += 1000


async def test_each_caller_has_a_budget_or_those_that_share_one(gateway: Any, clock: Clock) -> None:
    alone = {"operations_per_second": 1, "who": ("token:*",)}
    control = AccessControl(policy_of(**alone))
    guarded = GuardedGateway(gateway, control)
    for name in ("token:x", "token:y"):
        be(name)
        assert await passes(lambda: guarded.get("k"))
        assert not await passes(lambda: guarded.get("k"))
    # Another certificate brings no budget more; a caller without a quota is not limited.
    be("token:x", "cn:other")
    assert not await passes(lambda: guarded.get("k"))
    be("cn:other")
    for _ in range(5):
        assert await passes(lambda: guarded.get("k"))
    control.replace(policy_of(**alone, shared=True))
    be("token:x")
    assert await passes(lambda: guarded.get("k"))
    be("token:y")
    assert not await passes(lambda: guarded.get("k"))


async def test_watches_are_counted_until_they_end(gateway: Any) -> None:
    control = AccessControl(policy_of(watches=1))
    guarded = GuardedGateway(gateway, control)
    async with guarded.watch("k"):
        with pytest.raises(Exhausted, match=r"quota of watches .* close one of 1 watch"):
            async with guarded.watch("k"):
                pass
        # A change of the policy forgets no open watch.
        control.replace(policy_of(watches=2))
        async with guarded.watch("k"):
            assert not await passes(lambda: guarded.watch("k").__aenter__())
    async with guarded.watch("k"):
        pass


async def test_events_of_a_watch_are_paid_for(gateway: Any, clock: Clock) -> None:
    guarded = GuardedGateway(gateway, AccessControl(policy_of(bytes_per_second=10)))
    async with guarded.watch("k") as events:
        await gateway.set("k", b"x" * 100)
        await anext(events)
        assert not await passes(lambda: guarded.exists("k"))


async def test_connections_are_counted_for_each_caller() -> None:
    control = AccessControl(policy_of(connections=1))
    with control.connected():
        with pytest.raises(Exhausted, match="quota of connections"), control.connected():
            pass
        be("token:y")
        with control.connected():
            pass
    be("token:x")
    with control.connected():
        pass


async def test_the_same_quota_keeps_what_is_used(gateway: Any, clock: Clock) -> None:
    control = AccessControl(policy_of(operations_per_second=1))
    guarded = GuardedGateway(gateway, control)
    assert await passes(lambda: guarded.get("k"))
    control.replace(policy_of(operations_per_second=1))
    assert not await passes(lambda: guarded.get("k"))
    control.replace(policy_of(operations_per_second=2))
    assert await passes(lambda: guarded.get("k"))
    control.replace(Policy((ALL,)))
    for _ in range(5):
        assert await passes(lambda: guarded.get("k"))


async def test_operations_that_a_proxy_passes_on_count(gateway: Any, clock: Clock) -> None:
    control = AccessControl(policy_of(operations_per_second=1))
    guarded = GuardedGateway(gateway, control)
    assert guarded.check_unchanged("get", "k")
    with pytest.raises(Exhausted):
        guarded.check_unchanged("get", "k")
    control.replace(policy_of(bytes_per_second=1))
    # Whose bytes count goes through the gateway.
    assert not guarded.check_unchanged("get", "k")


async def test_refusals_are_recorded_and_a_server_that_drains_says_that(
    build: Any, clock: Clock
) -> None:
    assembly = build()
    await assembly.run()
    events: list[AuditEvent] = []
    guarded = GuardedGateway(
        assembly.gateway, AccessControl(policy_of(operations_per_second=1), events.append)
    )
    assert await passes(lambda: guarded.get("k"))
    assert not await passes(lambda: guarded.get("k"))
    assert [(each.what, each.outcome, each.identity) for each in events] == [
        ("operations a second", "QUOTA_EXCEEDED", ("token:x",))
    ]
    assembly.admission.close("draining")
    with pytest.raises(NotServing):
        await guarded.get("k")


def test_budgets_that_nobody_uses_are_forgotten(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(quotas, "_MAX_BUDGETS", 3)
    budgets = quotas.Budgets(lambda what: None)
    quota = Quota(name="", who=("*",), operations_per_second=2, watches=1)
    spent, watching = budgets.of("spent", quota), budgets.of("watching", quota)
    spent.begin(2)
    with watching.holding("watch"):
        for number in range(5):
            budgets.of(f"unused {number}", quota)
        assert budgets.of("spent", quota) is spent
        assert budgets.of("watching", quota) is watching
    clock.now_s += 1
    for number in range(5):
        budgets.of(f"unused {number}", quota)
    assert budgets.of("spent", quota) is not spent
