"""A bucket on three servers keeps the contract, also when one of them is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import nats
import pytest
from nats.js import JetStreamContext

from prism.adapters.nats import DRIVER
from prism.ports import Event, FullKeyValue, HealthStatus, PrismError, WatchEnded
from prism.testing import OpenBackend
from prism.testing.levels import in_process
from prism.testing.suite import Basic, CompareAndSets, Counters, Scans, Ttl
from tests.integration.nats.conftest import Open
from tests.servers.nats_cluster import NatsCluster

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("nats-cluster")]

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[NatsCluster]:
    with NatsCluster() as cluster:
        yield cluster


@pytest.fixture
async def jetstream(cluster: NatsCluster) -> AsyncIterator[JetStreamContext]:
    async with await nats.connect([server.url for server in cluster.servers]) as client:
        yield client.jetstream()


class TestThreeReplicas(Basic, Ttl, CompareAndSets, Scans, Counters):
    """Callers see the same as with one server."""

    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(cluster: NatsCluster) -> OpenBackend:
        return in_process(DRIVER, {"url": cluster.url, "replicas": "3"})


async def wait_until_answers(kv: FullKeyValue) -> None:
    began = time.monotonic()
    while True:
        try:
            await kv.increment("tries")
        except PrismError:
            assert time.monotonic() - began < TIMEOUT_S
            await asyncio.sleep(0.02)
        else:
            return


async def scan_when_possible(kv: FullKeyValue, prefix: str) -> list[str]:
    """Scan until it succeeds: it needs the leader of the whole cluster, elected later."""
    began = time.monotonic()
    while True:
        try:
            return list((await kv.scan(prefix)).keys)
        except PrismError:
            assert time.monotonic() - began < TIMEOUT_S


async def _read_all(events: AsyncIterator[Event]) -> None:
    async for _ in events:
        pass


async def test_replicated_bucket_has_no_direct_gets(
    cluster: NatsCluster, open_nats: Open, jetstream: JetStreamContext
) -> None:
    async with open_nats(cluster.url, bucket="direct", replicas="3"):
        config = (await jetstream.stream_info("KV_direct")).config
    assert config.num_replicas == 3
    assert config.allow_direct is not True


async def test_losing_the_leader_loses_no_write(
    cluster: NatsCluster, open_nats: Open, jetstream: JetStreamContext
) -> None:
    async with open_nats(cluster.url, bucket="loss", replicas="3") as backend:
        await backend.kv.set("key", b"value")
        info = await jetstream.stream_info("KV_loss")
        assert info.cluster is not None
        assert info.cluster.leader is not None
        leader = cluster.named(info.cluster.leader)
        async with backend.kv.watch() as events:
            await leader.kill()
            await wait_until_answers(backend.kv)
            entry = await backend.kv.get("key")
            assert entry is not None
            assert entry.value == b"value"
            assert await scan_when_possible(backend.kv, "key") == ["key"]
            async with asyncio.timeout(TIMEOUT_S):
                with pytest.raises(WatchEnded):
                    await _read_all(events)
        assert (await backend.lifecycle.health()).status is HealthStatus.DEGRADED
        await leader.start()
        began = time.monotonic()
        while (await backend.lifecycle.health()).status is not HealthStatus.HEALTHY:
            assert time.monotonic() - began < TIMEOUT_S
            await asyncio.sleep(0.05)


async def test_reads_during_an_election_end_soon_after_it(
    cluster: NatsCluster, open_nats: Open, jetstream: JetStreamContext
) -> None:
    timeout_s = 20.0
    async with open_nats(
        cluster.url, bucket="election", replicas="3", timeout=f"{timeout_s:g}s"
    ) as backend:
        await backend.kv.set("key", b"value")
        info = await jetstream.stream_info("KV_election")
        assert info.cluster is not None
        assert info.cluster.leader is not None
        leader = cluster.named(info.cluster.leader)
        reader = next(server for server in cluster.servers if server is not leader)
        async with open_nats(
            reader.url, bucket="election", replicas="3", timeout=f"{timeout_s:g}s"
        ) as other:
            await leader.kill()
            reads = [asyncio.create_task(other.kv.get("key")) for _ in range(20)]
            await wait_until_answers(other.kv)
            async with asyncio.timeout(timeout_s / 2):
                entries = await asyncio.gather(*reads)
            assert all(entry is not None and entry.value == b"value" for entry in entries)
            await leader.start()
