"""Users of Redis: the ones in docs/redis.md suffice, and others are reported at the start."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.redis import DRIVER
from prism.ports import Capability, VersionConflict
from prism.testing import Backend, OpenBackend
from prism.testing.levels import in_process
from prism.testing.suite.every_operation import EveryOperation
from prism.testing.suite.operations import SAMPLES
from tests.integration.redis.conftest import Open
from tests.servers.redis import RedisServer
from tests.servers.redis_topologies import RedisCluster, RedisSentinel

MANUAL = Path(__file__).parents[3] / "docs" / "redis.md"
SINGLE, WATCHES, CLUSTER, SENTINEL = (
    rules.split() for rules in re.findall(r"ACL SETUSER (.*?)\n\n", MANUAL.read_text(), re.DOTALL)
)
LOGIN = {"username": "prism", "password": "secret"}
LOGGER = "prism.adapters.redis.permissions"


def create_user(server: RedisServer, *rules: list[str]) -> None:
    # As the manual says, Redis 7.0 does not have it.
    has_setinfo = not server.ask("INFO", "server")["redis_version"].startswith("7.0.")
    for each in rules:
        known = [rule for rule in each if has_setinfo or rule != "+client|setinfo"]
        server.ask("ACL", "SETUSER", *known)


def denied(server: RedisServer) -> list[bytes]:
    """Return what the server has denied since it started, as its log names it."""
    return [entry[b"object"] for entry in server.ask("ACL", "LOG")]


async def call_every_operation(backend: Backend) -> None:
    for sample in SAMPLES:
        if sample.is_declared_by(backend.profile):
            # The samples are written for any key, also one that is absent.
            with suppress(VersionConflict):
                await sample.call(backend.kv, sample.name)
    assert (await backend.lifecycle.health()).status == "healthy"


@asynccontextmanager
async def reported(caplog: pytest.LogCaptureFixture, expected: list[str]) -> AsyncIterator[None]:
    """Check what was logged about the user, as level and text, up to `; see`."""
    caplog.clear()
    with caplog.at_level(logging.INFO, LOGGER):
        yield
    found = [
        f"{record.levelname} {record.message.partition('; see')[0]}"
        for record in caplog.records
        if record.name == LOGGER
    ]
    assert [re.sub(r"127\.0\.0\.1:\d+", "HOST", text) for text in found] == expected


@pytest.mark.xdist_group("redis-user")
class TestAcceptanceSuiteAsTheUserOfTheManual(EveryOperation):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> Iterator[OpenBackend]:
        with RedisServer() as server:
            create_user(server, SINGLE, WATCHES)
            yield in_process(DRIVER, {"url": server.url, **LOGIN}, backend_server=server)


async def test_user_of_the_manual_may_do_every_operation_and_nothing_is_denied(
    open_redis: Open, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    create_user(own_server, SINGLE, WATCHES)
    url = own_server.url.removesuffix("0") + "3"
    async with reported(caplog, []), open_redis(url, **LOGIN) as backend:
        assert Capability.WATCH in backend.profile.capabilities
        await call_every_operation(backend)
    assert denied(own_server) == []


async def test_user_of_the_manual_without_watches_may_do_all_the_rest(
    open_redis: Open, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    create_user(own_server, SINGLE)
    async with reported(caplog, []), open_redis(own_server.url, **LOGIN) as backend:
        assert Capability.WATCH not in backend.profile.capabilities
        await call_every_operation(backend)
    assert denied(own_server) == [b"config|get"]


async def test_user_of_the_manual_suffices_in_a_cluster(
    open_redis: Open, redis_cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    for node in redis_cluster.nodes:
        create_user(node, SINGLE, CLUSTER)
    async with reported(caplog, []), open_redis(redis_cluster.url, **LOGIN) as backend:
        await call_every_operation(backend)
    assert {name for node in redis_cluster.nodes for name in denied(node)} <= {b"config|get"}


async def test_users_of_the_manual_suffice_with_sentinels(
    open_redis: Open, redis_sentinel: RedisSentinel, caplog: pytest.LogCaptureFixture
) -> None:
    for server in redis_sentinel.servers:
        create_user(server, SINGLE, WATCHES)
    for sentinel in redis_sentinel.sentinels:
        create_user(sentinel, SENTINEL)
    login = {f"sentinel_{name}": value for name, value in LOGIN.items()} | LOGIN
    async with reported(caplog, []), open_redis(redis_sentinel.url, **login) as backend:
        assert Capability.WATCH in backend.profile.capabilities
        await call_every_operation(backend)
    everything = [*redis_sentinel.servers, *redis_sentinel.sentinels]
    assert [denied(server) for server in everything] == [[]] * len(everything)


DANGEROUS = "FLUSHALL, FLUSHDB, SWAPDB, CONFIG SET, ACL SETUSER, REPLICAOF, DEBUG, SHUTDOWN"


@pytest.mark.parametrize(
    ("rules", "reports"),
    [
        ("-incrby", ["lacks permissions that Prism needs: INCRBY"]),
        ("resetchannels", ["lacks permissions that Prism needs: PSUBSCRIBE"]),
        ("resetkeys", ["lacks permissions that Prism needs: keys with the prefix 'prism:'"]),
        ("resetkeys %R~prism:*", [
            "lacks permissions that Prism needs: DEL, PERSIST, SET, PEXPIRE, INCRBY",
        ]),
        ("+flushall +config|set", ["may do more than Prism needs: run FLUSHALL, CONFIG SET"]),
        ("~*", ["may do more than Prism needs: use keys without the prefix 'prism:'"]),
        ("-persist +@dangerous", [
            "lacks permissions that Prism needs: PERSIST",
            f"may do more than Prism needs: run {DANGEROUS}",
        ]),
    ],
)  # fmt: skip
async def test_what_a_user_lacks_or_has_too_much_is_reported_and_prevents_no_start(
    open_redis: Open,
    own_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    rules: str,
    reports: list[str],
) -> None:
    create_user(own_server, SINGLE, WATCHES, ["prism", *rules.split()])
    expected = [f"WARNING the user 'prism' of Redis at HOST {each}" for each in reports]
    async with reported(caplog, expected), open_redis(own_server.url, **LOGIN):
        pass


async def test_user_of_everybody_is_reported_at_level_info_and_with_a_password_as_a_warning(
    open_redis: Open, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    report = (
        f"the user 'default' of Redis at HOST may do more than Prism needs: run {DANGEROUS}, "
        "and use keys without the prefix 'prism:'"
    )
    async with reported(caplog, [f"INFO {report}"]), open_redis(own_server.url):
        pass
    own_server.ask("CONFIG", "SET", "requirepass", "word")
    async with (
        reported(caplog, [f"WARNING {report}"]),
        open_redis(own_server.url, password="word"),
    ):
        pass


async def test_findings_at_several_nodes_are_one_line(
    open_redis: Open, redis_cluster: RedisCluster, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"username": "narrow", "password": "secret"}
    for node in redis_cluster.nodes:
        create_user(node, ["narrow", *SINGLE[1:]], ["narrow", *CLUSTER[1:], "-asking"])
    async with reported(
        caplog,
        ["WARNING the user 'narrow' of Redis at HOST, HOST, HOST lacks permissions that Prism "
         "needs: ASKING"],
    ), open_redis(redis_cluster.url, **settings):  # fmt: skip
        pass
