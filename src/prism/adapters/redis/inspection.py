"""What the servers are found to be when the driver opens, and how they fare later."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import NamedTuple

from prism.adapters.redis import scripts
from prism.adapters.redis.executor import Executor, Server
from prism.adapters.redis.failures import translate
from prism.adapters.redis.operations import Reply
from prism.adapters.redis.watching import are_sent
from prism.ports import Health, HealthStatus, PreconditionFailed

_log = logging.getLogger(__name__)

_LEAST_VERSION = 7

WATCH_HINT = "set notify-keyspace-events to KEA in Redis, and start Prism again"
NO_WATCH_ON_CLUSTER = "a Cluster does not report all that happens"


class Findings(NamedTuple):
    """What was found.

    Attributes:
        watch: the servers send what a watch reports.
    """

    version: str
    watch: bool


async def inspect(executor: Executor, backend: str) -> Findings:
    """Load the scripts, and look at each server; warn of what endangers the data.

    Raises:
        PreconditionFailed: a server is too old.
        PrismError: one cannot be asked.
    """
    findings = [await _inspect(server, backend) for server in await executor.servers()]
    return Findings(findings[0].version, all(each.watch for each in findings))


async def _inspect(server: Server, backend: str) -> Findings:
    loads = [script.load for script in scripts.EVERY]
    info, flags, *loaded = await server.send(
        [("INFO", "server", "memory"), ("CONFIG", "GET", "notify-keyspace-events"), *loads],
        repeatable=True,
    )
    for reply in loaded:
        if isinstance(reply, Exception):
            raise translate(reply, backend)
    facts = _facts(info)
    found = facts.get("redis_version", "")
    # A server that keeps its version to itself is taken to be new enough.
    if found and int(found.partition(".")[0]) < _LEAST_VERSION:
        raise PreconditionFailed(
            f"Redis at {server.name} is version {found}; Prism needs {_LEAST_VERSION} or newer",
            reason="BACKEND_TOO_OLD",
        )
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        _log.warning(
            "Redis at %s may evict keys: its maxmemory-policy is %s, and maxmemory is %s bytes; "
            "with noeviction it refuses writes instead",
            server.name,
            policy,
            facts.get("maxmemory", "unknown"),
        )
    watch = not isinstance(flags, Exception) and are_sent(flags[1].decode() if flags else "")
    return Findings(found, watch)


def _facts(info: Reply) -> Mapping[str, str]:
    """The lines of INFO, none where it may not be asked for."""
    if isinstance(info, Exception):
        return {}
    return dict(re.findall(r"^(\w+):(.*?)\r?$", info.decode(), re.MULTILINE))


async def health_of(executor: Executor, backend: str, details: Mapping[str, str]) -> Health:
    """Healthy when every server answers; `keys` are those of the whole database."""
    keys = 0
    try:
        for server in await executor.servers():
            count, ping = await server.send((("DBSIZE",), ("PING",)), repeatable=True)
            if isinstance(ping, Exception):
                raise ping
            keys += 0 if isinstance(count, Exception) else count
    except Exception as failure:
        message = translate(failure, backend).message
        return Health(HealthStatus.UNHEALTHY, message, {**details, "last_error": message})
    found = {**details, "keys": str(keys), "connections": str(executor.connections)}
    return Health(HealthStatus.HEALTHY, f"Redis at {backend} answers", found)
