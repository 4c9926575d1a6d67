"""A Cluster that changes which of its nodes has which keys, and one that loses a node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest
from redis.crc import key_slot

from prism.ports import (
    BackendUnavailable,
    Entry,
    FullKeyValue,
    Outcome,
    Page,
    PrismError,
    Put,
    ScanExpired,
)
from prism.testing.suite.timing import wait_until
from tests.integration.redis.conftest import Open
from tests.servers.redis_topologies import ClusterNode, RedisCluster

pytestmark = pytest.mark.slow

SLOT = key_slot(b"prism:{tag}")


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    """A cluster of the test's own: afterwards it is another."""
    with RedisCluster() as cluster:
        yield cluster


def _id_of(node: ClusterNode) -> str:
    name: bytes = node.ask("CLUSTER", "MYID")
    return name.decode()


class Move:
    """Of one slot, as an administrator does it."""

    def __init__(self, cluster: RedisCluster, slot: int, *, to: ClusterNode | None = None) -> None:
        owns = [_owns(node, slot) for node in cluster.nodes]
        self._slot = slot
        self.giver = cluster.nodes[owns.index(True)]
        self.taker = to or cluster.nodes[owns.index(False)]
        self._nodes = cluster.nodes

    def begin(self) -> None:
        self.taker.ask("CLUSTER", "SETSLOT", self._slot, "IMPORTING", _id_of(self.giver))
        self.giver.ask("CLUSTER", "SETSLOT", self._slot, "MIGRATING", _id_of(self.taker))

    def carry(self, *keys: str) -> None:
        self.giver.ask(*("MIGRATE", "127.0.0.1", self.taker.port, "", 0, 5000, "KEYS"), *keys)

    def end(self) -> None:
        for node in (self.taker, self.giver, *self._nodes):
            node.ask("CLUSTER", "SETSLOT", self._slot, "NODE", _id_of(self.taker))


def _owns(node: ClusterNode, slot: int) -> bool:
    mine = node.ask("CLUSTER", "MYID")
    for first, last, (_, _, owner, *_), *_ in node.ask("CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return bool(owner == mine)
    return False


async def test_a_key_is_found_wherever_its_slot_is(cluster: RedisCluster, open_redis: Open) -> None:
    move = Move(cluster, SLOT)
    keys = [f"{{tag}}{number}" for number in range(10)]
    async with open_redis(cluster.url) as backend:
        kv = backend.kv
        await kv.set_many([Put(key, b"old") for key in keys])
        move.begin()
        move.carry("prism:{tag}0", "prism:{tag}1")
        # Some are here and some are there.
        outcomes = await kv.get_many(keys)
        assert [isinstance(outcome, Entry) for outcome in outcomes] == [True] * 10
        entry = await kv.get(keys[0])
        assert entry is not None
        await kv.compare_and_set(keys[0], b"new", expected=entry.version)
        assert (await kv.increment("{tag}number")).value == 1
        versions = await kv.set_many([Put(key, value) for value in (b"1", b"2") for key in keys])
        assert [version for version in versions if isinstance(version, PrismError)] == []
        move.carry(*(f"prism:{key}" for key in keys))
        move.end()
        outcomes = await kv.get_many(keys)
        assert {outcome.value for outcome in outcomes if isinstance(outcome, Entry)} == {b"2"}
        assert await kv.delete_many(keys) == [True] * 10


async def test_a_scan_does_not_go_on_across_a_move(cluster: RedisCluster, open_redis: Open) -> None:
    move = Move(cluster, SLOT)
    async with open_redis(cluster.url) as backend:
        kv = backend.kv
        await asyncio.gather(*(kv.set(f"{number}", b"value") for number in range(100)))
        page = await kv.scan(page_size=5)
        move.begin()
        move.end()
        with pytest.raises(ScanExpired):
            await _scan(kv, page)

        async def scanned() -> bool:
            # Until the news has reached every node they do not agree.
            with suppress(ScanExpired):
                return len(await _scan(kv, await kv.scan(page_size=50))) == 100
            return False

        await wait_until(scanned, "a scan from the start returns every key")


async def test_a_scan_includes_a_node_that_was_added(
    cluster: RedisCluster, open_redis: Open
) -> None:
    async with open_redis(cluster.url) as backend:
        kv = backend.kv
        keys = {f"{{tag}}{number}" for number in range(20)}
        await kv.set_many([Put(key, b"value") for key in keys])
        added = cluster.grow()
        move = Move(cluster, SLOT, to=added)
        move.begin()
        move.carry(*(f"prism:{key}" for key in keys))
        move.end()

        async def scanned() -> bool:
            with suppress(ScanExpired):
                # Never some of them only.
                assert await _scan(kv, await kv.scan(page_size=50)) == keys
                return True
            return False

        await wait_until(scanned, "a scan from the start returns every key")
        assert added.ask("DBSIZE") == len(keys)


async def test_a_node_that_dies_and_returns(cluster: RedisCluster, open_redis: Open) -> None:
    gone = next(node for node in cluster.nodes if _owns(node, SLOT))
    elsewhere = next(
        f"{number}" for number in range(100) if not _owns(gone, key_slot(b"prism:%d" % number))
    )
    async with open_redis(cluster.url) as backend:
        kv = backend.kv
        await kv.set("{tag}", b"value")
        await gone.kill()
        with pytest.raises(BackendUnavailable) as failure:
            await kv.set("{tag}", b"other")
        assert failure.value.outcome is Outcome.NOT_APPLIED
        outcomes = await kv.set_many([Put(elsewhere, b"1"), Put("{tag}", b"1")])
        assert isinstance(outcomes[1], BackendUnavailable)
        await gone.start()

        async def back() -> bool:
            try:
                return await kv.get("{tag}") is not None
            except BackendUnavailable:
                return False

        await wait_until(back, "the node serves again")
        await kv.set("{tag}", b"other")


async def _scan(kv: FullKeyValue, page: Page) -> set[str]:
    """The keys of this page and of those after it."""
    seen = set(page.keys)
    while page.next_token:
        page = await kv.scan(page_size=50, page_token=page.next_token)
        seen.update(page.keys)
    return seen
