"""Pages of keys, out of SCAN."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from prism.adapters.redis.executor import Executor, Server
from prism.adapters.redis.failures import translate
from prism.adapters.redis.places import Place
from prism.adapters.redis.runner import Runner
from prism.adapters.redis.scripts import Command
from prism.adapters.redis.topology import topology_of
from prism.ports import (
    Entry,
    Exhausted,
    Limits,
    Page,
    PreconditionFailed,
    PrismError,
    ScanExpired,
)

DEFAULT_PAGE_SIZE = 100

_LEAST_COUNT, _MOST_COUNT = 10, 1000
"""Of SCAN: how many keys the server looks at before it answers, about."""

_MOST_ROUNDS = 50
"""After so many without a key a page ends empty, to let its caller breathe."""

_SPECIAL = re.compile(rb"[*?\[\]\\^-]")


class _Step(NamedTuple):
    """What one SCAN brought.

    Attributes:
        here: the place it began at, as it is now known.
        cursor: where the next one begins; 0: nowhere.
    """

    here: Place
    cursor: int
    names: Sequence[bytes]


class Scanner:
    """The scan of an executor's servers, one after another.

    Args:
        key_prefix: what every key of ours begins with.
        clustered: whether the servers have something to say about a topology.
    """

    def __init__(
        self, executor: Executor, runner: Runner, *, key_prefix: bytes, clustered: bool
    ) -> None:
        self._executor = executor
        self._runner = runner
        self._key_prefix = key_prefix
        self._clustered = clustered

    async def page(
        self, prefix: str, *, page_size: int, page_token: str, values: bool, limits: Limits
    ) -> Page:
        place = Place.of_token(page_token) if page_token else Place()
        size = min(page_size or DEFAULT_PAGE_SIZE, limits.max_page_size)
        begins = self._key_prefix + prefix.encode()
        # Fewer than fit, since SCAN brings some more than it is asked for.
        count = max(_LEAST_COUNT, size * 3 // 4)
        room = limits.max_batch_bytes
        servers = await self._executor.servers()
        keys: list[str] = []
        entries: list[Entry] = []
        for _ in range(_MOST_ROUNDS):
            step = await self._step(servers, place, begins, min(count, _MOST_COUNT))
            found = [
                name
                for name in dict.fromkeys(step.names)
                if name.startswith(begins) and not place.has_seen(name)
            ]
            taken = found[: size - len(keys)]
            if values:
                fetched = await self._entries(taken, room, limits, force=not keys)
                taken = taken[: len(fetched)]
            for index, name in enumerate(taken):
                key = self._key_of(name)
                entry = fetched[index] if values else None
                if key is None or (values and entry is None):
                    continue
                keys.append(key)
                if entry is not None:
                    entries.append(entry)
                    room -= len(entry.value)
            following = (
                step.here.having_seen(taken) if len(taken) < len(found) else _after(step, servers)
            )
            if following is None or len(taken) < len(found) or len(keys) * 2 >= size:
                break
            place = following
            count *= 2
        token = "" if following is None else following.token()
        return Page(keys, entries if values else None, token)

    async def _step(
        self, servers: Sequence[Server], place: Place, begins: bytes, count: int
    ) -> _Step:
        """Scan on, in the same write as the question whether the cursor still holds."""
        server = _server_at(place, servers)
        pattern = _SPECIAL.sub(rb"\\\g<0>", begins) + b"*"
        scan: Command = (
            "SCAN", place.cursor, "MATCH", pattern, "COUNT", count, "TYPE", "string"
        )  # fmt: skip
        asked: list[Command] = [("INFO", "server"), scan]
        if self._clustered:
            asked.insert(0, ("CLUSTER", "NODES"))
        replies = await server.send(asked, repeatable=True)
        for reply in replies:
            if isinstance(reply, Exception):
                raise translate(reply, server.name)
        run = _run_of(replies[-2])
        topology = self._topology(replies[0], servers) if self._clustered else ""
        if (place.run and place.run != run) or (place.topology and place.topology != topology):
            raise ScanExpired(
                "Redis was restarted, failed over, or changed which server has what: "
                "begin the scan again"
            )
        cursor, names = replies[-1]
        here = place._replace(server=server.name, run=run, topology=topology)
        return _Step(here, int(cursor), names)

    def _topology(self, nodes: bytes, servers: Sequence[Server]) -> str:
        """Which server has which slots, when these servers have them all."""
        try:
            return topology_of(nodes, servers=len(servers))
        except ScanExpired:
            self._executor.suspect()
            raise

    async def _entries(
        self, names: Sequence[bytes], room: int, limits: Limits, *, force: bool
    ) -> list[Entry | None]:
        """As many as there is room for; None for what is gone by now."""
        entries: list[Entry | None] = []
        for index, outcome in enumerate(
            await self._runner.get_many(names, room=room, largest=limits.max_value_bytes)
        ):
            found = outcome
            if isinstance(found, Exhausted):
                if entries or not force:
                    break
                found = await self._runner.get(names[index])
            if isinstance(found, PreconditionFailed):
                # No string any more.
                found = None
            if isinstance(found, PrismError):
                raise found
            entries.append(found)
        return entries

    def _key_of(self, name: bytes) -> str | None:
        """None for a name that is no key: not text, or nothing after the prefix."""
        try:
            return name[len(self._key_prefix) :].decode() or None
        except UnicodeDecodeError:
            return None


def _server_at(place: Place, servers: Sequence[Server]) -> Server:
    for server in servers:
        if place.server in ("", server.name):
            return server
    raise ScanExpired(f"Redis has no server {place.server!r} any more: begin the scan again")


def _after(step: _Step, servers: Sequence[Server]) -> Place | None:
    """On this server, on the next one, or the end."""
    if step.cursor:
        return step.here._replace(cursor=step.cursor, seen=frozenset())
    names = [server.name for server in servers]
    further = names[names.index(step.here.server) + 1 :]
    return Place(further[0], topology=step.here.topology) if further else None


def _run_of(info: bytes) -> str:
    """The identity of the server's process."""
    found = re.search(rb"run_id:([0-9a-f]+)", info)
    return found[1].decode() if found else ""
