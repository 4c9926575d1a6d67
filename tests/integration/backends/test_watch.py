"""`prism kv watch` in front of each backend, and what ends it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable

import pytest

from tests.integration.backends.conftest import Deploy, Deployment
from tests.integration.cli.conftest import CommandLine
from tests.servers.redis import RedisServer

TIMEOUT_S = 30


def begin(cli: CommandLine, *arguments: str) -> subprocess.Popen[bytes]:
    process = cli.begin("kv", "watch", *arguments)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"prism: watching ")
    return process


@pytest.mark.parametrize("driver", ["memstore", "redis", "nats", "sqlite"])
def test_changes_by_another_process_are_seen(driver: str, address_of: Callable[[str], str]) -> None:
    cli = CommandLine(address_of(driver))
    with begin(cli, "user/*", "--count", "4") as watch:
        for command in (
            ["set", "user/*/1", "ada", "--ttl", "1s"],
            ["set", "user/1", "not under the prefix"],
            ["incr", "user/*/n"],
            ["delete", "user/*/n"],
        ):
            assert cli("kv", *command).returncode == 0
        output, errors = watch.communicate(timeout=TIMEOUT_S)
    # The expiry comes when it comes.
    lines = output.splitlines()
    lines.remove(b"expire\tuser/*/1")
    assert lines == [b"put\tuser/*/1", b"put\tuser/*/n", b"delete\tuser/*/n"]
    assert (watch.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    ("driver", "line"),
    [
        ("memstore", b"put\tkey\tvalue\n"),
        ("redis", b"put\tkey\n"),
        ("nats", b"put\tkey\tvalue\n"),
        ("sqlite", b"put\tkey\tvalue\n"),
    ],
)
def test_a_value_is_shown_where_the_backend_reports_it(
    driver: str, line: bytes, address_of: Callable[[str], str]
) -> None:
    cli = CommandLine(address_of(driver))
    with begin(cli, "--values", "--count", "1") as watch:
        cli("kv", "set", "key", "value")
        assert watch.communicate(timeout=TIMEOUT_S) == (line, b"")


def test_what_another_client_of_redis_writes_is_seen(deploy: Deploy) -> None:
    redis = deploy("redis")
    with begin(redis.cli, "--count", "2") as watch:
        assert isinstance(redis.backend, RedisServer)
        redis.backend.ask("SET", "prism:key", "value")
        redis.backend.ask("RENAME", "prism:key", "elsewhere")
        output, _ = watch.communicate(timeout=TIMEOUT_S)
    assert output == b"put\tkey\ndelete\tkey\n"


def test_a_redis_that_sends_no_events_is_told_of(deploy: Deploy) -> None:
    redis = deploy("redis", settings={"notify-keyspace-events": ""})
    refused = redis.cli("kv", "watch")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"does not offer watch here: set notify-keyspace-events to KEA" in refused.stderr
    assert refused.stderr.count(b"\n") == 1
    status = redis.cli("lifecycle", "status")
    assert b"set notify-keyspace-events to KEA" in status.stdout


async def test_a_backend_that_dies_ends_it_with_the_reason_and_a_status_of_its_own(
    deployment: Deployment,
) -> None:
    with begin(deployment.cli) as watch:
        deployment.cli("kv", "set", "key", "value")
        await deployment.backend.kill()
        output, errors = await asyncio.to_thread(watch.communicate, timeout=TIMEOUT_S)
    assert output == b"put\tkey\n"
    assert watch.returncode == 5
    assert errors.startswith(b"prism: ")
    assert errors.count(b"\n") == 1
    assert b"missing" in errors or b"missed" in errors
    # Nothing has to be started again but the server, and the watch.
    await deployment.backend.start()
    with begin(deployment.cli, "--count", "1") as watch:
        assert deployment.cli("kv", "set", "key", "other").returncode == 0
        output, _ = await asyncio.to_thread(watch.communicate, timeout=TIMEOUT_S)
    assert output == b"put\tkey\n"


async def test_a_prism_that_dies_ends_it_too(deployment: Deployment) -> None:
    with begin(deployment.cli) as watch:
        deployment.prism.process.kill()
        _, errors = await asyncio.to_thread(watch.communicate, timeout=TIMEOUT_S)
    deployment.prism.process.wait()
    assert errors.count(b"\n") == 1
    assert watch.returncode == 5
