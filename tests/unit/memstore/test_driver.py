import asyncio
import subprocess
import sys
from datetime import timedelta

import pytest

from prism.adapters.memstore import DRIVER, Memstore, MemstoreSettings
from prism.ports import (
    INT64_MAX,
    INT64_MIN,
    Capability,
    Entry,
    Exhausted,
    HealthStatus,
    Lifetime,
    NotServing,
    PreconditionFailed,
    Put,
    VersionConflict,
)
from prism.testing.suite.operations import EVERY_OPERATION, SampleOperation


@EVERY_OPERATION
async def test_a_closed_driver_refuses_every_operation(
    operation: SampleOperation,
) -> None:
    memstore = Memstore()
    with pytest.raises(NotServing):
        await operation.call(memstore, "k")
    await memstore.initialize(MemstoreSettings())
    await memstore.start()
    await memstore.set("k", b"", ttl=timedelta(seconds=1))
    await memstore.stop()
    await memstore.stop()
    with pytest.raises(NotServing):
        await operation.call(memstore, "k")
    assert (await memstore.health()).status is HealthStatus.UNHEALTHY


def test_a_constructor_needs_no_event_loop() -> None:
    assert DRIVER.factory().profile.driver == DRIVER.name == "memstore"


def test_every_capability_is_declared() -> None:
    assert set(DRIVER.capabilities) == set(Capability)


async def test_stop_leaves_nothing_scheduled(memstore: Memstore) -> None:
    await memstore.set("k", b"", ttl=timedelta(seconds=1))
    timer = memstore._sweeper._timer
    assert timer is not None
    await memstore.stop()
    assert timer.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_version_is_never_repeated(memstore: Memstore) -> None:
    first = await memstore.set("k", b"A")
    await memstore.set("k", b"B")
    await memstore.set("k", b"A")
    with pytest.raises(VersionConflict):
        await memstore.compare_and_set("k", b"C", expected=first)
    assert 0 < first < 2**64


async def test_outcomes_of_a_batch_are_in_request_order(memstore: Memstore) -> None:
    one, two, three = await memstore.set_many([Put("a", b"1"), Put("b", b"2"), Put("a", b"3")])
    assert await memstore.get_many(["b", "none", "a", "b"]) == [
        (b"2", two, None),
        None,
        (b"3", three, None),
        (b"2", two, None),
    ]
    assert one not in (two, three)
    assert await memstore.delete_many(["a", "none", "b", "a"]) == [True, False, True, False]


async def test_values_that_do_not_fit_the_reply_fail_alone(memstore: Memstore) -> None:
    for key in "abcde":
        await memstore.set(key, bytes(1 << 20))
    await memstore.set("f", b"small")
    outcomes = await memstore.get_many(list("abcdef"))
    assert [type(outcome) for outcome in outcomes] == [Entry] * 3 + [Exhausted] * 2 + [Entry]


def test_importing_the_driver_imports_no_large_library() -> None:
    code = (
        "import sys; import prism.adapters.memstore;"
        "print([m for m in ('grpc', 'google.protobuf', 'typer', 'prism.domain')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


async def test_an_increment_counts_from_zero_and_keeps_the_ttl(memstore: Memstore) -> None:
    assert (await memstore.increment("n", -2)).value == -2
    await memstore.expire("n", timedelta(seconds=9))
    count = await memstore.increment("n", 12)
    entry = await memstore.get("n")
    assert entry is not None
    assert (entry.value, entry.version) == (b"10", count.version)
    assert await memstore.ttl("n") == Lifetime(timedelta(seconds=9))


@pytest.mark.parametrize("stored", [b"", b"01", b"%d" % (INT64_MAX + 1)])
async def test_a_value_that_is_not_a_canonical_int64_stays(
    memstore: Memstore, stored: bytes
) -> None:
    version = await memstore.set("n", stored)
    with pytest.raises(PreconditionFailed, match="canonical"):
        await memstore.increment("n")
    assert await memstore.get("n") == (stored, version, None)


async def test_a_value_stays_when_the_sum_leaves_int64(memstore: Memstore) -> None:
    version = await memstore.set("n", b"%d" % INT64_MIN)
    with pytest.raises(PreconditionFailed, match="does not fit"):
        await memstore.increment("n", -1)
    assert await memstore.get("n") == (b"%d" % INT64_MIN, version, None)
