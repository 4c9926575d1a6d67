"""Commands by which clients and tools look at the server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from prism.adapters.resp.command import Spec
from prism.adapters.resp.commands.connection import (
    REDIS_VERSION,
    may_observe,
    unknown_subcommand,
    wrong_number,
)
from prism.adapters.resp.errors import SYNTAX_ERROR, CommandError
from prism.adapters.resp.glob import MAX_PATTERN_BYTES, Glob
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import EMPTY_ARRAY, array, bulk, bulks, integer, simple
from prism.adapters.resp.session import Session
from prism.ports import Capability, NotServing

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def _time(session: Session, arguments: Arguments) -> bytes:
    microseconds = time.time_ns() // 1000
    return bulks([b"%d" % (microseconds // 1_000_000), b"%d" % (microseconds % 1_000_000)])


def _info(session: Session, arguments: Arguments) -> bytes:
    sections = _sections(session)
    if not may_observe(session):
        # What all callers do together.
        for name in ("clients", "memory", "stats", "keyspace"):
            del sections[name]
    wanted = {argument.decode("utf-8", "replace").lower() for argument in arguments[1:]}
    if not wanted or wanted & {"default", "all", "everything"}:
        wanted = set(sections)
    lines = []
    for name, fields in sections.items():
        if name in wanted:
            lines.append(f"# {name.capitalize()}")
            lines += [f"{key}:{value}" for key, value in fields.items()]
            lines.append("")
    return session.text("\r\n".join(lines).encode())


def _sections(session: Session) -> dict[str, dict[str, object]]:
    door = session.door
    uptime_s = int(time.monotonic() - door.started_at)
    # Pages in memory: https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
    used = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    return {
        "server": {
            "redis_version": REDIS_VERSION,
            "redis_mode": "standalone",
            "prism_version": door.options.version,
            "prism_driver": _driver_of(session),
            "os": os.uname().sysname,
            "process_id": os.getpid(),
            "tcp_port": door.port,
            "uptime_in_seconds": uptime_s,
            "uptime_in_days": uptime_s // 86_400,
        },
        "clients": {
            "connected_clients": len(door.sessions),
            "maxclients": door.max_connections,
            "blocked_clients": 0,
        },
        "memory": {
            "used_memory": used,
            "used_memory_rss": used,
            "maxmemory": 0,
            "maxmemory_policy": "noeviction",
        },
        "persistence": {"loading": int(not door.is_open), "rdb_bgsave_in_progress": 0},
        "stats": {
            "total_connections_received": door.accepted,
            "total_commands_processed": door.commands.processed,
            "rejected_connections": door.refused,
        },
        "replication": {"role": "master", "connected_slaves": 0},
        "cluster": {"cluster_enabled": 0},
        "keyspace": _keyspace(door.count_keys()),
    }


def _driver_of(session: Session) -> str:
    """Return the name of the driver; empty while the pattern of a proxy is down."""
    try:
        return session.gateway.profile.driver
    except NotServing:
        return ""


def _keyspace(keys: int | None) -> dict[str, object]:
    return {"db0": f"keys={keys},expires=0,avg_ttl=0"} if keys else {}


def _config(session: Session, arguments: Arguments) -> bytes:
    if arguments[1].upper() != b"GET":
        raise unknown_subcommand("CONFIG", arguments[1], [b"GET"])
    if len(arguments) < 3:
        raise CommandError("ERR wrong number of arguments for 'config|get' command")
    values = {
        b"appendonly": b"no",
        b"databases": b"%d" % (1 + max((each.index for each in session.databases), default=0)),
        b"maxclients": b"%d" % session.door.max_connections,
        b"maxmemory": b"0",
        b"maxmemory-policy": b"noeviction",
        b"notify-keyspace-events": _notified(session),
        b"proto-max-bulk-len": b"%d" % session.door.options.max_bytes,
        b"save": b"",
        b"timeout": b"0",
    }
    if sum(map(len, arguments[2:])) > MAX_PATTERN_BYTES:
        raise CommandError(f"ERR the names have more than {MAX_PATTERN_BYTES:,} bytes together")
    # Redis repeats a name as it was asked for, and names what a pattern matches.
    found = {name: values[name.lower()] for name in arguments[2:] if name.lower() in values}
    globs = [Glob(each.lower()) for each in arguments[2:] if each not in found]
    found |= {
        name: value for name, value in values.items() if any(glob.matches(name) for glob in globs)
    }
    return session.map([bulk(text) for pair in found.items() for text in pair])


def _notified(session: Session) -> bytes:
    """Return the events that channels report, as Redis's letters; empty: there are none."""
    try:
        watched = Capability.WATCH in session.gateway.profile.capabilities
    except NotServing:
        return b""
    return b"KEg$x" if watched else b""


def _command(session: Session, arguments: Arguments) -> bytes:
    specs = session.door.commands.specs
    if len(arguments) == 1:
        return array([_described(session, spec) for spec in specs])
    run = _SUBCOMMANDS.get(arguments[1].upper())
    if run is None:
        raise unknown_subcommand("COMMAND", arguments[1], _SUBCOMMANDS)
    return run(session, specs, arguments)


def _count(session: Session, specs: list[Spec], arguments: Arguments) -> bytes:
    if len(arguments) > 2:
        raise wrong_number("command|count")
    return integer(len(specs))


def _list(session: Session, specs: list[Spec], arguments: Arguments) -> bytes:
    if len(arguments) > 2:
        if len(arguments) != 5 or arguments[2].upper() != b"FILTERBY":
            raise CommandError(SYNTAX_ERROR)
        by, wanted = arguments[3].upper(), arguments[4]
        if by == b"PATTERN":
            glob = Glob(wanted.lower())
            specs = [spec for spec in specs if glob.matches(spec.name.encode())]
        elif by == b"ACLCAT":
            category = f"@{wanted.decode('utf-8', 'replace').lower()}"
            specs = [spec for spec in specs if category in _categories(spec)]
        elif by == b"MODULE":
            specs = []
        else:
            raise CommandError(SYNTAX_ERROR)
    return bulks(spec.name.encode() for spec in specs)


def _command_info(session: Session, specs: list[Spec], arguments: Arguments) -> bytes:
    if len(arguments) == 2:
        return array([_described(session, spec) for spec in specs])
    found = [session.door.commands.find(name) for name in arguments[2:]]
    return array(
        [
            session.null if command is None else _described(session, command.spec)
            for command in found
        ]
    )


def _docs(session: Session, specs: list[Spec], arguments: Arguments) -> bytes:
    if len(arguments) > 2:
        found = [session.door.commands.find(name) for name in arguments[2:]]
        specs = [command.spec for command in found if command is not None]
    replies = []
    for spec in specs:
        fields = [("summary", spec.summary), ("since", spec.since), ("group", spec.group)]
        document = [bulk(text.encode()) for field in fields for text in field]
        replies += [bulk(spec.name.encode()), session.map(document)]
    return session.map(replies)


def _get_keys(session: Session, specs: list[Spec], arguments: Arguments) -> bytes:
    if len(arguments) == 2:
        raise wrong_number("command|getkeys")
    command = session.door.commands.find(arguments[2])
    if command is None:
        raise CommandError("ERR Invalid command specified")
    if not command.least <= len(arguments) - 2 <= command.most:
        raise CommandError("ERR Invalid number of arguments specified for command")
    keys = command.keys_of(arguments[2:])
    if not keys:
        raise CommandError("ERR The command has no key arguments")
    return bulks(keys)


_SUBCOMMANDS: dict[bytes, Callable[[Session, list[Spec], Arguments], bytes]] = {
    b"COUNT": _count,
    b"DOCS": _docs,
    b"GETKEYS": _get_keys,
    b"INFO": _command_info,
    b"LIST": _list,
}


def _described(session: Session, spec: Spec) -> bytes:
    """Return the ten fields that COMMAND has of a command."""
    first, last, step = spec.keys
    return array(
        [
            bulk(spec.name.encode()),
            integer(spec.arity),
            session.set([simple(flag) for flag in spec.flags]),
            *(integer(number) for number in (first, last, step)),
            session.set([simple(category) for category in _categories(spec)]),
            # Hints, key specifications, and subcommands.
            *(session.set([]), session.set([]), EMPTY_ARRAY),
        ]
    )


_GROUPS = {"generic": "@keyspace", "transactions": "@transaction"}


def _categories(spec: Spec) -> list[str]:
    """Return the categories that the access rules of Redis name."""
    kind = ["@write"] if spec.writes else ["@read"] if "readonly" in spec.flags else []
    group = [] if spec.group == "server" else [_GROUPS.get(spec.group, f"@{spec.group}")]
    return [*kind, *group, "@fast" if "fast" in spec.flags else "@slow"]


_NO_KEYS = (0, 0, 0)


def _spec(
    name: str, arity: int, since: str, summary: str, answer: Callable[[Session, Arguments], bytes]
) -> Spec:
    return Spec(
        name=name,
        arity=arity,
        summary=summary,
        group="server",
        since=since,
        flags=("loading", "stale"),
        keys=_NO_KEYS,
        answer=answer,
    )


COMMANDS = (
    _spec("command", -1, "2.8.13", "Describes the commands that are served.", _command),
    _spec("config", -2, "2.0.0", "Returns what clients ask of the configuration.", _config),
    _spec("info", -1, "1.0.0", "Describes the server.", _info),
    _spec("time", 1, "2.6.0", "Returns the time of the server.", _time),
)
