"""Scan: pages of keys out of SCAN, and the page tokens that continue one."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple, Self

from prism.adapters.redis.errors import translate
from prism.adapters.redis.executor import Executor, OperationRunner, Server
from prism.adapters.redis.operations import Command, prefix_pattern
from prism.kit import clamp_page_size
from prism.ports import (
    Entry,
    Exhausted,
    InvalidArgument,
    Limits,
    Page,
    PreconditionFailed,
    PrismError,
    ScanExpired,
)

_MIN_COUNT, _MAX_COUNT = 10, 1000
"""Bounds on COUNT, which is about the number of keys that one SCAN examines."""

_MAX_SCANS_PER_PAGE = 50
"""Number of SCANs after which a page ends, even if it is empty."""

_DIGEST_BYTES = 8
_MAX_CURSOR_DIGITS = 20
_FLAGS_FIELD, _FIRST_SLOT_FIELD = 2, 8


class ScanCursor(NamedTuple):
    """Position of a scan in the keys of one server; its text is the page token.

    Attributes:
        server: name of the server; empty for the first one.
        run_id: process of the server, to which the position belongs; empty at the start
            of a server.
        slots: digest of the Cluster's slots; empty without a Cluster, or before the
            first SCAN.
        position: cursor of the next SCAN.
        returned: digests of the keys of this SCAN that an earlier page returned. SCAN may
            give more keys than a page can hold, and then runs again for the next page.
    """

    server: str = ""
    run_id: str = ""
    slots: str = ""
    position: int = 0
    returned: frozenset[bytes] = frozenset()

    def to_token(self) -> str:
        returned = base64.b64encode(b"".join(sorted(self.returned))).decode()
        return ",".join((self.server, self.run_id, self.slots, str(self.position), returned))

    @classmethod
    def from_token(cls, token: str) -> Self:
        """Return the cursor in a page token.

        Raises:
            InvalidArgument: the token is malformed.
        """
        try:
            server, run_id, slots, position, returned = token.rsplit(",", 4)
            raw = base64.b64decode(returned.encode("ascii"), validate=True)
        except (ValueError, binascii.Error):
            raise _malformed_token() from None
        # A position is an unsigned 64-bit number.
        if not (position.isascii() and position.isdigit()):
            raise _malformed_token()
        if len(position) > _MAX_CURSOR_DIGITS or int(position) >= 1 << 64:
            raise _malformed_token()
        if len(raw) % _DIGEST_BYTES:
            raise _malformed_token()
        digests = (raw[at : at + _DIGEST_BYTES] for at in range(0, len(raw), _DIGEST_BYTES))
        return cls(server, run_id, slots, int(position), frozenset(digests))

    def with_returned(self, keys: Iterable[bytes]) -> ScanCursor:
        """Return the same position with more keys marked as returned."""
        return self._replace(returned=self.returned | {_digest(key) for key in keys})

    def was_returned(self, key: bytes) -> bool:
        """Return whether an earlier page returned the key."""
        return bool(self.returned) and _digest(key) in self.returned


def _digest(key: bytes) -> bytes:
    return blake2b(key, digest_size=_DIGEST_BYTES).digest()


def _malformed_token() -> InvalidArgument:
    return InvalidArgument("the page token is malformed; begin without one")


class _ScanReply(NamedTuple):
    """Result of one SCAN.

    Attributes:
        cursor: cursor of this SCAN, with server, run_id and slots filled in.
        next_position: position of the next SCAN; 0 after the last one.
        keys: keys in Redis, which may repeat.
    """

    cursor: ScanCursor
    next_position: int
    keys: Sequence[bytes]


class Scanner:
    """Scans the servers of an executor, one after another.

    Args:
        key_prefix: prefix of every key of the driver.
        clustered: whether the servers are nodes of a Cluster.
    """

    def __init__(
        self, executor: Executor, runner: OperationRunner, *, key_prefix: bytes, clustered: bool
    ) -> None:
        self._executor = executor
        self._runner = runner
        self._key_prefix = key_prefix
        self._clustered = clustered

    async def page(
        self, prefix: str, *, page_size: int, page_token: str, values: bool, limits: Limits
    ) -> Page:
        cursor = ScanCursor.from_token(page_token) if page_token else ScanCursor()
        size = clamp_page_size(page_size, limits)
        redis_prefix = self._key_prefix + prefix.encode()
        # Less than the page size, because SCAN returns some more keys than COUNT.
        count = max(_MIN_COUNT, size * 3 // 4)
        byte_budget = limits.max_batch_bytes
        servers = await self._executor.servers()
        keys: list[str] = []
        entries: list[Entry] = []
        for _ in range(_MAX_SCANS_PER_PAGE):
            reply = await self._scan(servers, cursor, redis_prefix, min(count, _MAX_COUNT))
            found = [
                key
                for key in dict.fromkeys(reply.keys)
                if key.startswith(redis_prefix) and not cursor.was_returned(key)
            ]
            taken = found[: size - len(keys)]
            if values:
                fetched = await self._entries(taken, byte_budget, limits, at_least_one=not keys)
                taken = taken[: len(fetched)]
            for index, redis_key in enumerate(taken):
                key = self._key_of(redis_key)
                entry = fetched[index] if values else None
                if key is None or (values and entry is None):
                    continue
                keys.append(key)
                if entry is not None:
                    entries.append(entry)
                    byte_budget -= len(entry.value)
            is_full = len(taken) < len(found)
            following = (
                reply.cursor.with_returned(taken) if is_full else _next_cursor(reply, servers)
            )
            if following is None or is_full or len(keys) * 2 >= size:
                break
            cursor = following
            count *= 2
        token = "" if following is None else following.to_token()
        return Page(keys, entries if values else None, token)

    async def _scan(
        self, servers: Sequence[Server], cursor: ScanCursor, redis_prefix: bytes, count: int
    ) -> _ScanReply:
        """Run one SCAN; the same write asks whether the cursor is still valid."""
        server = _server_of(cursor, servers)
        scan: Command = (
            "SCAN", cursor.position, "MATCH", prefix_pattern(redis_prefix),
            "COUNT", count, "TYPE", "string",
        )  # fmt: skip
        commands: list[Command] = [("INFO", "server"), scan]
        if self._clustered:
            commands.insert(0, ("CLUSTER", "NODES"))
        replies = await server.send(commands, retryable=True)
        for reply in replies:
            if isinstance(reply, Exception):
                raise translate(reply, server.name)
        run_id = _run_id(replies[-2])
        slots = self._slots(replies[0], servers) if self._clustered else ""
        if (cursor.run_id and cursor.run_id != run_id) or (cursor.slots and cursor.slots != slots):
            raise ScanExpired(
                "Redis restarted, failed over, or moved slots since the last page: "
                "start the scan again"
            )
        next_position, keys = replies[-1]
        current = cursor._replace(server=server.name, run_id=run_id, slots=slots)
        return _ScanReply(current, int(next_position), keys)

    def _slots(self, nodes: bytes, servers: Sequence[Server]) -> str:
        try:
            return slots_digest(nodes, servers=len(servers))
        except ScanExpired:
            self._executor.invalidate_topology()
            raise

    async def _entries(
        self, keys: Sequence[bytes], byte_budget: int, limits: Limits, *, at_least_one: bool
    ) -> list[Entry | None]:
        """Return the entries of the first keys, as many as fit; None for a deleted key."""
        entries: list[Entry | None] = []
        for index, outcome in enumerate(
            await self._runner.get_many(
                keys, byte_budget=byte_budget, max_value_bytes=limits.max_value_bytes
            )
        ):
            entry = outcome
            if isinstance(entry, Exhausted):
                if entries or not at_least_one:
                    break
                entry = await self._runner.get(keys[index])
            if isinstance(entry, PreconditionFailed):
                # Another client replaced the string with another type.
                entry = None
            if isinstance(entry, PrismError):
                raise entry
            entries.append(entry)
        return entries

    def _key_of(self, redis_key: bytes) -> str | None:
        """Return the key without its prefix; None if it is empty or not UTF-8."""
        try:
            return redis_key[len(self._key_prefix) :].decode() or None
        except UnicodeDecodeError:
            return None


def slots_digest(cluster_nodes: bytes, *, servers: int) -> str:
    """Return a digest of the slots of each server.

    Args:
        cluster_nodes: reply to CLUSTER NODES from one of the scanned servers.
        servers: number of scanned servers.

    Raises:
        ScanExpired: a scan could miss or repeat keys, because slots are being moved or
            other servers have slots.
    """
    owners: list[bytes] = []
    includes_replier = False
    for line in cluster_nodes.splitlines():
        fields = line.split()
        slots = fields[_FIRST_SLOT_FIELD:]
        if any(slot.startswith(b"[") for slot in slots):
            raise ScanExpired("the cluster is moving slots: start the scan again afterwards")
        if slots:
            owners.append(b" ".join((fields[0], *slots)))
            includes_replier |= b"myself" in fields[_FLAGS_FIELD]
    if not includes_replier or len(owners) != servers:
        raise ScanExpired("the nodes of the cluster changed: start the scan again")
    return blake2b(b"\n".join(sorted(owners)), digest_size=8).hexdigest()


def _server_of(cursor: ScanCursor, servers: Sequence[Server]) -> Server:
    for server in servers:
        if cursor.server in ("", server.name):
            return server
    raise ScanExpired(f"Redis no longer has a server {cursor.server!r}: start the scan again")


def _next_cursor(reply: _ScanReply, servers: Sequence[Server]) -> ScanCursor | None:
    """Return the next position on this server, else on the next one; None at the end."""
    if reply.next_position:
        return reply.cursor._replace(position=reply.next_position, returned=frozenset())
    names = [server.name for server in servers]
    remaining = names[names.index(reply.cursor.server) + 1 :]
    return ScanCursor(remaining[0], slots=reply.cursor.slots) if remaining else None


def _run_id(info: bytes) -> str:
    """Return the identity of the server's process, out of INFO."""
    found = re.search(rb"run_id:([0-9a-f]+)", info)
    return found[1].decode() if found else ""
