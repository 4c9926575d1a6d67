"""Capabilities of the driver, and which of them the servers allow."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from redis.exceptions import NoPermissionError

from prism.adapters.redis import operations
from prism.adapters.redis.errors import UnexpectedReplyError, is_about_one_key, translate
from prism.adapters.redis.executor import Executor, Server
from prism.adapters.redis.operations import ALL_SCRIPTS, Command, Reply
from prism.adapters.redis.watch import are_notifications_sufficient
from prism.ports import (
    Capability,
    Declaration,
    Limits,
    PreconditionFailed,
    Profile,
    Support,
    VersionKind,
)
from prism.version import VERSION

_log = logging.getLogger(__name__)

NAME = "redis"

CAPABILITIES: Mapping[Capability, Declaration] = {
    Capability.TTL: Declaration(
        granularity=timedelta(milliseconds=1), notes="Redis's own expiry, by the server's clock."
    ),
    Capability.COMPARE_AND_SET: Declaration(
        notes="A version is a digest of the value, so a value that changes and changes back "
        "has its old version again. A failover may lose an acknowledged write."
    ),
    Capability.BATCH: Declaration(
        notes="Pipelined; in a Cluster one pipeline to each server, in parallel."
    ),
    Capability.SCAN: Declaration(
        notes="SCAN: keys may repeat. A restart, a failover or moved slots expire the token."
    ),
    Capability.COUNTER: Declaration(),
    Capability.WATCH: Declaration(
        Support.EMULATED,
        notes="Keyspace notifications, if the server sends them. FLUSHDB and FLUSHALL are not "
        "reported. An expiry is reported when Redis removes the key. Not on a Cluster.",
        event_values=False,
        event_delay=None,
    ),
    Capability.TRANSACTIONS: Declaration(
        notes="A script on the server. On a Cluster, all keys of a transaction must be in one hash "
        "slot: give them a common part in braces, such as {order 7}. A failover may lose an "
        "acknowledged transaction, as a whole."
    ),
}

NO_NOTIFICATIONS = "set notify-keyspace-events to KEA in Redis, and restart Prism"
NOTIFICATIONS_UNKNOWN = (
    "allow its user the command CONFIG GET in Redis, by which Prism sees whether the server sends "
    "notifications, and restart Prism"
)
NO_WATCH_ON_CLUSTER = "the nodes of a Cluster do not report every change"

_MIN_VERSION = 7


def make_profile(*, max_value_bytes: int, no_watch: str = "") -> Profile:
    """Return the driver's profile.

    Args:
        max_value_bytes: limit from the settings.
        no_watch: why watch is not available and what to do; empty if it is available.
    """
    return Profile(
        driver=NAME,
        version=VERSION,
        version_kind=VersionKind.DIGEST,
        shared=True,
        capabilities={
            capability: declaration
            for capability, declaration in CAPABILITIES.items()
            if not no_watch or capability is not Capability.WATCH
        },
        limits=Limits(max_value_bytes=max_value_bytes),
        hints={Capability.WATCH: no_watch} if no_watch else {},
    )


class ServerFacts(NamedTuple):
    """Result of an inspection.

    Attributes:
        version: version of Redis; empty if the server does not tell.
        no_watch: why a server may not send every notification that a watch needs, as what to do
            about it; empty if all do.
    """

    version: str
    no_watch: str


async def inspect_servers(executor: Executor, backend: str, probe_key: bytes) -> ServerFacts:
    """Load the scripts into each server, check its version, and log a warning if it may evict.

    Args:
        probe_key: key to read, to see that the server knows the commands of a read.

    Raises:
        PreconditionFailed: a server is too old.
        PrismError: a server did not answer, or refused.
    """
    servers = await executor.servers()
    facts = [await _inspect(server, backend, probe_key) for server in servers]
    no_watch = next((each.no_watch for each in facts if each.no_watch), "")
    return ServerFacts(facts[0].version, no_watch)


async def _inspect(server: Server, backend: str, probe_key: bytes) -> ServerFacts:
    # Redis before 7.0 refuses INFO with two sections.
    fields = _info_fields(await _ask(server, ("INFO", "server"), backend))
    found = fields.get("redis_version", "")
    if found and int(found.partition(".")[0]) < _MIN_VERSION:
        raise _too_old(server, f"has version {found}")
    loads = [script.load_command for script in ALL_SCRIPTS]
    commands = [*loads, *operations.get(probe_key).commands]
    for reply in await server.send(commands, retryable=True):
        if isinstance(reply, UnexpectedReplyError):
            raise _too_old(server, f"answers with an error: {reply}")
        if isinstance(reply, Exception) and not is_about_one_key(reply):
            raise translate(reply, backend)
    fields = _info_fields(await _ask(server, ("INFO", "memory"), backend))
    flags = await _ask(server, ("CONFIG", "GET", "notify-keyspace-events"), backend)
    policy = fields.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        _log.warning(
            "Redis at %s may evict keys: its maxmemory-policy is %s, and maxmemory is %s bytes; "
            "with noeviction it refuses writes instead",
            server.name,
            policy,
            fields.get("maxmemory", "unknown"),
        )
    if flags is None:
        return ServerFacts(found, NOTIFICATIONS_UNKNOWN)
    enabled = flags[1].decode() if flags else ""
    return ServerFacts(found, "" if are_notifications_sufficient(enabled) else NO_NOTIFICATIONS)


async def _ask(server: Server, command: Command, backend: str) -> Reply:
    """Return the reply to a command that servers may lack or deny; None if this one does."""
    (reply,) = await server.send([command], retryable=False)
    if isinstance(reply, (UnexpectedReplyError, NoPermissionError)):
        return None
    if isinstance(reply, Exception):
        raise translate(reply, backend)
    return reply


def _too_old(server: Server, problem: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"Redis at {server.name} {problem}; Prism needs Redis {_MIN_VERSION}.0 or newer, "
        "with all its commands",
        reason="BACKEND_TOO_OLD",
    )


def _info_fields(info: Reply) -> Mapping[str, str]:
    """Return the fields of INFO; none if the server does not tell them."""
    if info is None:
        return {}
    return dict(re.findall(r"^(\w+):(.*?)\r?$", info.decode(), re.MULTILINE))
