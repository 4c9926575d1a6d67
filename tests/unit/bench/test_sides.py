"""Servers and clients that are compared give correct answers and do the same work.

Their speed is measured by `make bench`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import nats
import pytest
from nats.aio.msg import Msg

from benchmarks import nats as nats_side
from benchmarks import observer, random_gets
from benchmarks import redis as redis_side
from benchmarks.callers import CLIENTS
from benchmarks.h2load import VALUE, VerifyingClient, verify
from benchmarks.processes import CannotRun, ServerCommand, run_module, serving
from benchmarks.rows import (
    BARE_ASGI,
    BARE_GRPC,
    MANY_GETS,
    MANY_SETS,
    OBSERVED,
    PRISM,
    PRISM_GRPCIO,
)
from benchmarks.sides import observed_server, observer_command
from benchmarks.stores import STORES
from prism.v1 import keyvalue_pb2 as pb
from tests.servers.nats import NatsServer
from tests.servers.process import TIMEOUT_S, free_port
from tests.servers.redis import RedisServer

CORE = min(os.sched_getaffinity(0))
SHORT_S = 0.05


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(PRISM, CORE) as started:
        yield started.address


@pytest.mark.parametrize("command", [PRISM_GRPCIO, BARE_GRPC, BARE_ASGI], ids=lambda c: c.name)
def test_a_server_passes_the_verification(command: ServerCommand) -> None:
    with serving(command, CORE) as started:
        expected = pb.GetResponse(entry=pb.Entry(value=VALUE, version=1))
        assert verify(started.address, MANY_GETS) == expected.ByteSize()
        assert verify(started.address, MANY_SETS) == pb.SetResponse(version=1).ByteSize()
        with VerifyingClient(started.address) as client:
            absent = client.call("Get", pb.GetRequest(key="absent"))
        assert not pb.GetResponse.FromString(absent).HasField("entry")


def test_a_server_that_does_not_start_is_reported_with_its_last_lines() -> None:
    broken = ServerCommand("broken", ("-c", "import sys; sys.exit('nothing here')"), "")
    failure = pytest.raises(CannotRun, match="broken ended before it served: nothing here")
    with failure, serving(broken, CORE):
        pass


def test_a_wrong_value_is_detected(address: str) -> None:
    with VerifyingClient(address) as client, pytest.raises(CannotRun):
        client.check("absent", VALUE)


@pytest.mark.parametrize("client", CLIENTS)
def test_grpc_clients_read_the_value(address: str, client: str) -> None:
    verify(address)
    assert run_module("benchmarks.callers", client, address, str(SHORT_S), core=CORE) > 0


def test_random_gets_read_the_value(address: str) -> None:
    with VerifyingClient(address) as client:
        client.fill([random_gets.key(number) for number in range(3000)])
    assert random_gets.main(address, 3000, SHORT_S) > 0


def test_random_gets_of_absent_keys_are_detected(address: str) -> None:
    with pytest.raises(SystemExit, match="a reply has 5 bytes"):
        random_gets.main(address, 1_000_000, SHORT_S)


@pytest.mark.parametrize("operation", ["get", "set"])
@pytest.mark.parametrize("store", STORES)
def test_a_store_returns_what_was_set(store: str, operation: str) -> None:
    assert run_module("benchmarks.stores", store, operation, str(SHORT_S), core=CORE) > 0


def test_spans_and_scrapes_of_an_observed_server_are_counted() -> None:
    port = str(free_port())
    with serving(observer_command(port), CORE) as started_observer:
        server = observed_server(started_observer.address, OBSERVED, port)
        tracing = replace(
            server,
            arguments=(*server.arguments, "--trace-ratio", "1"),
            environment=(*server.environment, ("OTEL_BSP_SCHEDULE_DELAY", "20")),
        )
        with serving(tracing, CORE) as started:
            verify(started.address)
            deadline_s = time.monotonic() + TIMEOUT_S
            while not all(counted := observer.counts(started_observer.address)):
                assert time.monotonic() < deadline_s, counted
                time.sleep(0.05)


_REDIS_COMMANDS = {"cmdstat_pexpiretime", "cmdstat_get", "cmdstat_evalsha", "cmdstat_set"}


@pytest.mark.parametrize("load", redis_side.LOADS)
@pytest.mark.parametrize("client", redis_side.CLIENTS)
def test_redis_clients_read_what_they_wrote(
    redis_server: RedisServer, client: str, load: str
) -> None:
    arguments = (client, load, redis_server.url, str(SHORT_S))
    assert run_module("benchmarks.redis", *arguments, core=CORE) > 0


async def test_both_redis_clients_send_the_same_commands(redis_server: RedisServer) -> None:
    sent: list[dict[str, int]] = []
    for client in redis_side.CLIENTS.values():
        async with client(redis_server.url) as calls:
            await calls.set("key")
            redis_server.ask("CONFIG", "RESETSTAT")
            await calls.get("key")
            await calls.set("key")
            with redis_server.client() as other:
                stats = other.info("commandstats")
        sent.append({name: stats[name]["calls"] for name in stats if name in _REDIS_COMMANDS})
    assert sent[0] == sent[1]
    assert sent[0]["cmdstat_pexpiretime"] == 2


_IGNORED_SUBJECTS = ("_INBOX.", "$JS.API.STREAM.INFO.")


@pytest.mark.parametrize("operation", ["get", "set"])
@pytest.mark.parametrize("client", nats_side.CLIENTS)
def test_nats_clients_read_what_they_wrote(
    nats_server: NatsServer, client: str, operation: str
) -> None:
    arguments = (client, operation, nats_server.url, str(SHORT_S))
    assert run_module("benchmarks.nats", *arguments, core=CORE) > 0


async def test_both_nats_clients_send_the_same_requests(nats_server: NatsServer) -> None:
    sent: list[list[str]] = []
    async with await nats.connect(nats_server.url) as listener:
        for client in nats_side.CLIENTS.values():
            async with client(nats_server.url) as calls:
                seen: list[str] = []

                async def note(message: Msg, seen: list[str] = seen) -> None:
                    seen.append(message.subject)

                subscription = await listener.subscribe(">", cb=note)
                # Twice: the first flush may overtake the subscription, which is written later.
                await listener.flush()
                await listener.flush()
                await calls.set("key")
                await calls.get("key")
                await listener.flush()
                await subscription.drain()  # type: ignore[no-untyped-call]
            # Only the driver asks for the bucket. The third subject is the copy for watches.
            sent.append([subject for subject in seen if not subject.startswith(_IGNORED_SUBJECTS)])
    assert sent[0] == sent[1]
    assert len(sent[0]) == 3
