"""A Cluster whose slots move between nodes, and one that loses a node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest
from redis.crc import key_slot

from prism.ports import (
    BackendUnavailable,
    Condition,
    Entry,
    FullKeyValue,
    InvalidArgument,
    Outcome,
    Page,
    Presence,
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
    """Cluster of this test alone, because it moves slots and kills nodes."""
    with RedisCluster() as cluster:
        yield cluster


def _id_of(node: ClusterNode) -> str:
    name: bytes = node.ask("CLUSTER", "MYID")
    return name.decode()


class SlotMigration:
    """Moves one slot to another node, step by step, as an administrator does."""

    def __init__(self, cluster: RedisCluster, slot: int, *, to: ClusterNode | None = None) -> None:
        owns = [_owns(node, slot) for node in cluster.nodes]
        self._slot = slot
        self.source = cluster.nodes[owns.index(True)]
        self.target = to or cluster.nodes[owns.index(False)]
        self._nodes = cluster.nodes

    def begin(self) -> None:
        self.target.ask("CLUSTER", "SETSLOT", self._slot, "IMPORTING", _id_of(self.source))
        self.source.ask("CLUSTER", "SETSLOT", self._slot, "MIGRATING", _id_of(self.target))

    def migrate_keys(self, *keys: str) -> None:
        self.source.ask(*("MIGRATE", "127.0.0.1", self.target.port, "", 0, 5000, "KEYS"), *keys)

    def finish(self) -> None:
        for node in (self.target, self.source, *self._nodes):
            node.ask("CLUSTER", "SETSLOT", self._slot, "NODE", _id_of(self.target))


def _owns(node: ClusterNode, slot: int) -> bool:
    mine = node.ask("CLUSTER", "MYID")
    for first, last, (_, _, owner, *_), *_ in node.ask("CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return bool(owner == mine)
    return False


async def test_key_is_found_while_its_slot_moves(cluster: RedisCluster, open_redis: Open) -> None:
    migration = SlotMigration(cluster, SLOT)
    keys = [f"{{tag}}{number}" for number in range(10)]
    async with open_redis(cluster.url) as backend:
        kv = backend.kv
        await kv.set_many([Put(key, b"old") for key in keys])
        migration.begin()
        migration.migrate_keys("prism:{tag}0", "prism:{tag}1")
        # Two of the keys are on the new node, eight on the old one.
        outcomes = await kv.get_many(keys)
        assert [isinstance(outcome, Entry) for outcome in outcomes] == [True] * 10
        entry = await kv.get(keys[0])
        assert entry is not None
        await kv.compare_and_set(keys[0], b"new", expected=entry.version)
        assert (await kv.increment("{tag}number")).value == 1
        versions = await kv.set_many([Put(key, value) for value in (b"1", b"2") for key in keys])
        assert [version for version in versions if isinstance(version, PrismError)] == []
        migration.migrate_keys(*(f"prism:{key}" for key in keys))
        migration.finish()
        outcomes = await kv.get_many(keys)
        assert {outcome.value for outcome in outcomes if isinstance(outcome, Entry)} == {b"2"}
        assert await kv.delete_many(keys) == [True] * 10


async def test_a_transaction_needs_keys_of_one_slot(
    cluster: RedisCluster, open_redis: Open
) -> None:
    migration = SlotMigration(cluster, SLOT)
    keys = [f"{{tag}}{number}" for number in range(4)]
    async with open_redis(cluster.url) as backend:
        kv = backend.kv
        with pytest.raises(InvalidArgument, match="in 2 hash slots of the Redis Cluster") as other:
            await kv.apply([Condition("elsewhere", Presence.ABSENT)], [Put(keys[0], b"1")])
        assert other.value.reason == "CROSS_SLOT"
        assert other.value.outcome is Outcome.NOT_APPLIED
        await kv.apply([], [Put(key, b"old") for key in keys])
        migration.begin()
        migration.migrate_keys(f"prism:{keys[0]}")
        # While its keys are on two nodes, neither can write all of them.
        with pytest.raises(BackendUnavailable, match="is moving the key") as moving:
            await kv.apply([], [Put(key, b"new") for key in keys])
        assert moving.value.outcome is Outcome.NOT_APPLIED
        migration.migrate_keys(*(f"prism:{key}" for key in keys))
        migration.finish()
        found = [entry.value for entry in await kv.get_many(keys) if isinstance(entry, Entry)]
        assert found == [b"old"] * 4
        await kv.apply([Condition(keys[3], Presence.PRESENT)], [Put(key, b"new") for key in keys])


async def test_scan_expires_when_a_slot_moves(cluster: RedisCluster, open_redis: Open) -> None:
    migration = SlotMigration(cluster, SLOT)
    async with open_redis(cluster.url) as backend:
        kv = backend.kv
        await asyncio.gather(*(kv.set(f"{number}", b"value") for number in range(100)))
        page = await kv.scan(page_size=5)
        migration.begin()
        migration.finish()
        with pytest.raises(ScanExpired):
            await _scan(kv, page)

        async def scanned() -> bool:
            # The nodes do not agree until each has heard of the move.
            with suppress(ScanExpired):
                return len(await _scan(kv, await kv.scan(page_size=50))) == 100
            return False

        await wait_until(scanned, "a scan from the start returns every key")


async def test_scan_includes_an_added_node(cluster: RedisCluster, open_redis: Open) -> None:
    async with open_redis(cluster.url) as backend:
        kv = backend.kv
        keys = {f"{{tag}}{number}" for number in range(20)}
        await kv.set_many([Put(key, b"value") for key in keys])
        added = cluster.grow()
        migration = SlotMigration(cluster, SLOT, to=added)
        migration.begin()
        migration.migrate_keys(*(f"prism:{key}" for key in keys))
        migration.finish()

        async def scanned() -> bool:
            with suppress(ScanExpired):
                # A scan never returns some of the keys only.
                assert await _scan(kv, await kv.scan(page_size=50)) == keys
                return True
            return False

        await wait_until(scanned, "a scan from the start returns every key")
        assert added.ask("DBSIZE") == len(keys)


async def test_node_that_dies_fails_its_keys_and_serves_them_after_its_return(
    cluster: RedisCluster, open_redis: Open
) -> None:
    lost = next(node for node in cluster.nodes if _owns(node, SLOT))
    elsewhere = next(
        f"{number}" for number in range(100) if not _owns(lost, key_slot(b"prism:%d" % number))
    )
    async with open_redis(cluster.url) as backend:
        kv = backend.kv
        await kv.set("{tag}", b"value")
        await lost.kill()
        with pytest.raises(BackendUnavailable) as failure:
            await kv.set("{tag}", b"other")
        assert failure.value.outcome is Outcome.NOT_APPLIED
        outcomes = await kv.set_many([Put(elsewhere, b"1"), Put("{tag}", b"1")])
        assert isinstance(outcomes[1], BackendUnavailable)
        await lost.start()

        async def serves_again() -> bool:
            try:
                return await kv.get("{tag}") is not None
            except BackendUnavailable:
                return False

        await wait_until(serves_again, "the node serves again")
        await kv.set("{tag}", b"other")


async def _scan(kv: FullKeyValue, page: Page) -> set[str]:
    """Return the keys of this page and of the pages after it."""
    seen = set(page.keys)
    while page.next_token:
        page = await kv.scan(page_size=50, page_token=page.next_token)
        seen.update(page.keys)
    return seen
