"""`prism.connect_sync`: operations that block, from many threads."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import prism
from prism.adapters.client.background_loop import background_loop
from prism.ports import BackendUnavailable, NotServing, Persisted, Put, VersionConflict


@pytest.fixture
def kv(shared_server: Any) -> Iterator[prism.BlockingClient]:
    with prism.connect_sync(shared_server.address, timeout=timedelta(seconds=30)) as kv:
        for key in kv.scan("blocking/", page_size=1000).keys:
            kv.delete(key)
        yield kv


def test_every_operation_blocks_until_its_answer(kv: prism.BlockingClient) -> None:
    version = kv.set("blocking/k", b"v", ttl=timedelta(hours=1))
    entry = kv.get("blocking/k")
    assert entry is not None
    assert (entry.value, entry.version) == (b"v", version)
    assert kv.exists("blocking/k")
    lifetime = kv.ttl("blocking/k")
    assert lifetime is not None
    assert lifetime.remaining is not None
    assert kv.persist("blocking/k") is Persisted.EXPIRY_REMOVED
    assert kv.expire("blocking/k", timedelta(hours=1))
    version = kv.compare_and_set("blocking/k", b"w", expected=version)
    with pytest.raises(VersionConflict):
        kv.compare_and_set("blocking/k", b"x", expected=None)
    kv.compare_and_delete("blocking/k", expected=version)
    assert kv.increment("blocking/n", 2).value == 2
    assert kv.apply([], [Put("blocking/a", b"1")])
    assert len(kv.set_many([Put("blocking/b", b"2")])) == 1
    assert kv.get_many(["blocking/b", "blocking/none"])[1] is None
    assert kv.scan("blocking/").keys == ["blocking/a", "blocking/b", "blocking/n"]
    assert kv.delete_many(["blocking/a", "blocking/none"]) == [True, False]
    assert kv.delete("blocking/b") is True
    assert kv.once.get("blocking/b") is None
    assert kv.profile.driver == kv.fetch_profile().driver == "memstore"


def test_threads_share_one_client(kv: prism.BlockingClient) -> None:
    with ThreadPoolExecutor(16) as threads:
        counts = list(threads.map(lambda _: kv.increment("blocking/count").value, range(800)))
    assert sorted(counts) == list(range(1, 801))


def test_watch_is_an_iterator_that_waits(kv: prism.BlockingClient) -> None:
    with kv.watch("blocking/") as events:
        writer = threading.Timer(0.05, kv.set, ("blocking/k", b"v"))
        writer.start()
        assert next(events).key == "blocking/k"
        writer.join()
        kv.delete("blocking/k")
        for event in events:
            assert event.change == "delete"
            break


async def test_program_may_have_an_event_loop_of_its_own(kv: prism.BlockingClient) -> None:
    kv.set("blocking/k", b"v")
    entries = await asyncio.gather(*(asyncio.to_thread(kv.get, "blocking/k") for _ in range(20)))
    assert all(entry is not None and entry.value == b"v" for entry in entries)


class Interrupted(BaseException):
    """Raised by a signal handler, as KeyboardInterrupt is."""


def test_interrupted_call_is_cancelled(start_server: Callable[..., Any], tmp_path: Path) -> None:
    released = tmp_path / "released"
    server = start_server("--driver", "slow", "--slow-released-by", str(released)).serving()

    def interrupt(*_: object) -> None:
        raise Interrupted

    def interrupt_when_in_flight() -> None:
        server.wait_for("in flight")
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with prism.connect_sync(server.address, timeout=timedelta(seconds=60)) as kv:
            interrupting = threading.Thread(target=interrupt_when_in_flight)
            interrupting.start()
            began_at = time.monotonic()
            with pytest.raises(Interrupted):
                kv.get("slow")
            interrupting.join()
            assert time.monotonic() - began_at < 50
            assert kv.get("quick") is None
    finally:
        signal.signal(signal.SIGUSR1, before)
        released.touch()


def test_errors_are_those_of_the_asynchronous_client(kv: prism.BlockingClient) -> None:
    with pytest.raises(BackendUnavailable, match="nothing listens there"):
        prism.connect_sync("127.0.0.1:1")
    kv.close()
    kv.close()
    with pytest.raises(NotServing, match="closed"):
        kv.get("blocking/k")


def test_call_in_the_thread_of_the_loop_is_refused(kv: prism.BlockingClient) -> None:
    async def call() -> None:
        with pytest.raises(RuntimeError, match="client's loop"):
            kv.get("blocking/k")

    background_loop().call(call())
