"""Compares what the user may do at the servers with what the driver needs, as in docs/redis.md.

A script asks, because any user that the driver can work with may run one. The commands by which
administrators look at users tell more than such a user should see, and are therefore denied.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from prism.adapters.redis.executor import Executor, Server
from prism.adapters.redis.operations import Command, Script, prefix_pattern

_log = logging.getLogger(__name__)

# ARGV: commands, each after the number of its parts. The answers are 1 for allowed, 0 for denied,
# and -1 for a command that the server does not have, such as CLIENT SETINFO on Redis 7.0. Asking
# runs nothing, and leaves no entry in the server's log of denied commands.
_SCRIPT = Script(
    """\
if not redis.acl_check_cmd then return {} end
local answers, at = {}, 1
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  local is_known, may = pcall(redis.acl_check_cmd, unpack(ARGV, at + 1, last))
  answers[#answers + 1] = is_known and (may and 1 or 0) or -1
  at = last + 1
end
return answers
"""
)

_DANGEROUS: Sequence[Command] = (
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("SWAPDB", 0, 1),
    ("CONFIG", "SET", "maxmemory", 0),
    ("ACL", "SETUSER", "prism"),
    ("REPLICAOF", "NO", "ONE"),
    ("DEBUG", "SLEEP", 0),
    ("SHUTDOWN",),
)
"""Commands that lose keys, take over the server, or stop it; the driver sends none of them."""

_SUBCOMMANDS = frozenset({"CONFIG", "ACL", "CLUSTER", "SCRIPT", "CLIENT"})


class Place(NamedTuple):
    """Where the driver keeps its keys.

    Attributes:
        key_prefix: prefix of every key of the driver; may be empty.
        probe_key: key with this prefix that no caller can have.
        db: number of the database; 0 in a Cluster.
        clustered: whether the servers are nodes of a Cluster.
        watches: whether the driver offers watch.
    """

    key_prefix: bytes
    probe_key: bytes
    db: int
    clustered: bool
    watches: bool


class Findings(NamedTuple):
    """Difference between what a user may do and what the driver needs.

    Attributes:
        missing: names of commands that are denied, or the keys, if no command may use them.
        dangerous: names of commands that are allowed and should not be.
        other_keys: whether keys without the prefix are allowed.
    """

    missing: tuple[str, ...]
    dangerous: tuple[str, ...]
    other_keys: bool


async def report_permissions(
    executor: Executor, place: Place, login: tuple[str | None, str | None]
) -> None:
    """Log what the user lacks, or may do beyond what the driver needs; nothing if neither.

    A server that cannot tell is left out: permissions decide about no start.

    Args:
        login: user name and password of the driver. Without both, its user is the one of
            everybody, as is normal on a machine for development, and may do everything.
    """
    username, password = login
    level = logging.INFO if username is None and password is None else logging.WARNING
    servers_by_findings: dict[Findings, list[str]] = {}
    for server in await executor.servers():
        findings = await _ask(server, place)
        if findings is not None:
            servers_by_findings.setdefault(findings, []).append(server.name)
    for findings, names in servers_by_findings.items():
        user = f"the user {username or 'default'!r} of Redis at {', '.join(names)}"
        _report(findings, place, user, level)


async def _ask(server: Server, place: Place) -> Findings | None:
    keyed, other = _keyed(place.probe_key), _not_keyed(place)
    outside: list[Command] = [("GET", b"\xff probe")] if place.key_prefix else []
    asked = [*keyed, *other, *_DANGEROUS, *outside]
    arguments = [part for command in asked for part in (len(command), *command)]
    replies = await server.send(
        [_SCRIPT.load_command, _SCRIPT.call_with((), *arguments)], retryable=True
    )
    answers = replies[1]
    if not isinstance(answers, list) or len(answers) != len(asked):
        _log.debug("Redis at %s does not tell what its user may do: %r", server.name, answers)
        return None
    answer_to = dict(zip(asked, answers, strict=True))
    allowed = {command for command, answer in answer_to.items() if answer == 1}
    missing = [_name(command) for command in (*keyed, *other) if answer_to[command] == 0]
    if allowed.isdisjoint(keyed):
        missing[: len(keyed)] = [f"keys with the prefix {place.key_prefix.decode()!r}"]
    return Findings(
        missing=tuple(missing),
        dangerous=tuple(_name(command) for command in _DANGEROUS if command in allowed),
        other_keys=not allowed.isdisjoint(outside),
    )


def _keyed(key: bytes) -> list[Command]:
    """Return the commands on keys that the driver needs."""
    names = ("GET", "DEL", "STRLEN", "TYPE", "EXISTS", "PTTL", "PEXPIRETIME", "PERSIST")
    with_values: list[Command] = [("SET", key, ""), ("PEXPIRE", key, 1), ("INCRBY", key, 1)]
    return [*((name, key) for name in names), *with_values]


def _not_keyed(place: Place) -> list[Command]:
    """Return the other commands that the driver needs, except those that begin every start."""
    commands: list[Command] = [("SCAN", 0), ("DBSIZE",), ("CLIENT", "SETINFO", "LIB-NAME", "")]
    if place.clustered:
        return [*commands, ("CLUSTER", "SLOTS"), ("CLUSTER", "NODES"), ("ASKING",)]
    if place.db:
        commands.append(("SELECT", place.db))
    if place.watches:
        channels = b"__keyspace@%d__:%s" % (place.db, place.key_prefix)
        commands += [("PSUBSCRIBE", prefix_pattern(channels + b"prefix")), ("PING",)]
    return commands


def _name(command: Command) -> str:
    words = command[:2] if command[0] in _SUBCOMMANDS else command[:1]
    return " ".join(map(str, words))


def _report(findings: Findings, place: Place, user: str, level: int) -> None:
    """Log findings about a user; `level` is that of permissions beyond the needed ones."""
    if findings.missing:
        _log.warning(
            "%s lacks permissions that Prism needs: %s; see Permissions in docs/redis.md",
            user,
            ", ".join(findings.missing),
        )
    excess = []
    if findings.dangerous:
        excess.append(f"run {', '.join(findings.dangerous)}")
    if findings.other_keys:
        excess.append(f"use keys without the prefix {place.key_prefix.decode()!r}")
    if excess:
        _log.log(
            level,
            "%s may do more than Prism needs: %s; see Permissions in docs/redis.md",
            user,
            ", and ".join(excess),
        )
