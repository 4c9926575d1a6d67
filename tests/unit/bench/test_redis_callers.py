"""That the clients of Redis which are compared do the same, and answer as they should."""

from __future__ import annotations

import os
from typing import Any

import pytest

from benchmarks.processes import run_module
from benchmarks.redis_callers import CLIENTS, LOADS
from tests.servers.redis import RedisServer

CORE = min(os.sched_getaffinity(0))
A_MOMENT_S = 0.05


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("client", CLIENTS)
def test_callers_of_redis_are_answered(redis_server: RedisServer, client: str, load: str) -> None:
    arguments = (client, load, redis_server.url, str(A_MOMENT_S))
    assert run_module("benchmarks.redis_callers", *arguments, core=CORE) > 0


async def test_both_clients_send_the_same_commands(redis_server: RedisServer) -> None:
    told: list[Any] = []
    for client in CLIENTS.values():
        async with client(redis_server.url) as calls:
            await calls.set("key")
            redis_server.ask("CONFIG", "RESETSTAT")
            await calls.get("key")
            await calls.set("key")
            with redis_server.client() as other:
                stats = other.info("commandstats")
        told.append({name: stats[name]["calls"] for name in stats if name in _OF_A_CALL})
    assert told[0] == told[1]
    assert told[0]["cmdstat_pexpiretime"] == 2


_OF_A_CALL = {"cmdstat_pexpiretime", "cmdstat_get", "cmdstat_evalsha", "cmdstat_set"}
