import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from prism.adapters.memstore import DRIVER, Memstore, MemstoreSettings
from prism.ports import (
    Capability,
    Entry,
    Exhausted,
    FullKeyValue,
    HealthStatus,
    NotServing,
    Put,
    Version,
    VersionConflict,
)

OPERATIONS: list[Callable[[FullKeyValue], Coroutine[Any, Any, object]]] = [
    lambda kv: kv.get("k"),
    lambda kv: kv.set("k", b""),
    lambda kv: kv.set("k", b"", ttl=timedelta(seconds=1)),
    lambda kv: kv.delete("k"),
    lambda kv: kv.exists("k"),
    lambda kv: kv.expire("k", timedelta(seconds=1)),
    lambda kv: kv.ttl("k"),
    lambda kv: kv.persist("k"),
    lambda kv: kv.compare_and_set("k", b"", expected=None),
    lambda kv: kv.compare_and_delete("k", expected=Version(1)),
    lambda kv: kv.get_many(["k"]),
    lambda kv: kv.set_many([Put("k", b"")]),
    lambda kv: kv.delete_many(["k"]),
    lambda kv: kv.scan(),
    lambda kv: kv.increment("k"),
]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_driver_that_is_not_open_refuses_everything(
    operation: Callable[[FullKeyValue], Coroutine[Any, Any, object]],
) -> None:
    memstore = Memstore()
    with pytest.raises(NotServing):
        await operation(memstore)
    await memstore.initialize(MemstoreSettings())
    await memstore.start()
    await memstore.set("k", b"", ttl=timedelta(seconds=1))
    await memstore.stop()
    await memstore.stop()
    with pytest.raises(NotServing):
        await operation(memstore)
    assert (await memstore.health()).status is HealthStatus.UNHEALTHY


def test_a_constructor_needs_no_event_loop() -> None:
    assert DRIVER.factory().profile.driver == DRIVER.name == "memstore"


def test_everything_is_declared() -> None:
    assert set(DRIVER.capabilities) == set(Capability)


async def test_stop_leaves_nothing_scheduled(memstore: Memstore) -> None:
    await memstore.set("k", b"", ttl=timedelta(seconds=1))
    timer = memstore._sweeper._timer
    assert timer is not None
    await memstore.stop()
    assert timer.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_version_never_comes_back(memstore: Memstore) -> None:
    first = await memstore.set("k", b"A")
    await memstore.set("k", b"B")
    await memstore.set("k", b"A")
    with pytest.raises(VersionConflict):
        await memstore.compare_and_set("k", b"C", expected=first)
    assert 0 < first < 2**64


async def test_batches_answer_in_the_order_of_the_request(memstore: Memstore) -> None:
    one, two, three = await memstore.set_many([Put("a", b"1"), Put("b", b"2"), Put("a", b"3")])
    assert await memstore.get_many(["b", "none", "a", "b"]) == [
        (b"2", two, None),
        None,
        (b"3", three, None),
        (b"2", two, None),
    ]
    assert one not in (two, three)
    assert await memstore.delete_many(["a", "none", "b", "a"]) == [True, False, True, False]


async def test_what_does_not_fit_the_reply_fails_alone(memstore: Memstore) -> None:
    for key in "abcde":
        await memstore.set(key, bytes(1 << 20))
    await memstore.set("f", b"small")
    outcomes = await memstore.get_many(list("abcdef"))
    assert [type(outcome) for outcome in outcomes] == [Entry] * 3 + [Exhausted] * 2 + [Entry]


def test_importing_the_driver_loads_nothing_heavy() -> None:
    code = (
        "import sys; import prism.adapters.memstore;"
        "print([m for m in ('grpc', 'google.protobuf', 'typer', 'prism.domain')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
