"""`FullKeyValue` of a Prism server, over a channel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from prism.adapters.wire.keyvalue_messages import (
    condition_message,
    duration_of,
    milliseconds_of,
    milliseconds_since_epoch,
    profile_of,
    timedelta_of,
    write_message,
)
from prism.adapters.wire.methods import METHODS, Method, Reply, path_of
from prism.adapters.wire.status import error_of
from prism.ports import (
    Condition,
    Count,
    Entry,
    Event,
    InvalidArgument,
    Lifetime,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
    Write,
)
from prism.v1 import keyvalue_pb2 as pb

Request = TypeVar("Request", bound=Message)
Result = TypeVar("Result")

_GET: Method[pb.GetResponse] = METHODS["get"]
_SET: Method[pb.SetResponse] = METHODS["set"]
_DELETE: Method[pb.DeleteResponse] = METHODS["delete"]
_EXISTS: Method[pb.ExistsResponse] = METHODS["exists"]
_EXPIRE: Method[pb.ExpireResponse] = METHODS["expire"]
_GET_TTL: Method[pb.GetTtlResponse] = METHODS["get_ttl"]
_PERSIST: Method[pb.PersistResponse] = METHODS["persist"]
_BATCH_GET: Method[pb.BatchGetResponse] = METHODS["batch_get"]
_BATCH_SET: Method[pb.BatchSetResponse] = METHODS["batch_set"]
_BATCH_DELETE: Method[pb.BatchDeleteResponse] = METHODS["batch_delete"]
_SCAN: Method[pb.ScanResponse] = METHODS["scan"]
_INCREMENT: Method[pb.IncrementResponse] = METHODS["increment"]
_APPLY: Method[pb.ApplyResponse] = METHODS["apply"]

_INT32_MAX = (1 << 31) - 1


class Operations(Protocol):
    """Carrier of the operations: a channel, or a wrapper around one."""

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply: ...

    async def operate(self, method: Method[Reply], request: Message) -> Reply: ...

    def watch(
        self, request: pb.WatchRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]: ...


class KeyValueClient:
    """Key-value operations of a Prism server; the ports describe each method.

    The server validates and knows its capabilities; its errors are raised here as there.
    """

    def __init__(self, channel: Operations) -> None:
        self._channel = channel

    async def fetch_profile(self) -> Profile:
        """Return the profile of the server's driver."""
        return profile_of(
            await self._channel.unary(
                path_of("GetCapabilities"), pb.GetCapabilitiesRequest(), pb.GetCapabilitiesResponse
            )
        )

    async def get(self, key: str) -> Entry | None:
        request = _message(pb.GetRequest, key=key)
        reply = await self._channel.operate(_GET, request)
        if not reply.HasField("entry"):
            return None
        entry = reply.entry
        expires = entry.HasField("expire_time")
        return Entry(
            entry.value,
            Version(entry.version),
            milliseconds_since_epoch(entry.expire_time) if expires else None,
        )

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self._set(
            lambda: pb.SetRequest(
                key=key,
                value=value or _empty_value(value),
                ttl=None if ttl is None else duration_of(ttl),
            )
        )

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        return await self._set(
            lambda: pb.SetRequest(
                key=key,
                value=value or _empty_value(value),
                ttl=None if ttl is None else duration_of(ttl),
                if_absent=expected is None,
                if_version=expected,
            )
        )

    async def _set(self, make: Callable[[], pb.SetRequest]) -> Version:
        reply = await self._channel.operate(_SET, _message(make))
        return Version(reply.version)

    async def delete(self, key: str) -> bool:
        request = _message(pb.DeleteRequest, key=key)
        return (await self._channel.operate(_DELETE, request)).existed

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        request = _message(pb.DeleteRequest, key=key, if_version=expected)
        await self._channel.operate(_DELETE, request)

    async def exists(self, key: str) -> bool:
        request = _message(pb.ExistsRequest, key=key)
        return (await self._channel.operate(_EXISTS, request)).exists

    async def expire(self, key: str, ttl: timedelta) -> bool:
        request = _message(lambda: pb.ExpireRequest(key=key, ttl=duration_of(ttl)))
        return (await self._channel.operate(_EXPIRE, request)).existed

    async def ttl(self, key: str) -> Lifetime | None:
        request = _message(pb.GetTtlRequest, key=key)
        reply = await self._channel.operate(_GET_TTL, request)
        if reply.state == pb.TTL_STATE_ABSENT:
            return None
        expiring = reply.state == pb.TTL_STATE_EXPIRING
        return Lifetime(timedelta_of(reply.remaining) if expiring else None)

    async def persist(self, key: str) -> Persisted:
        request = _message(pb.PersistRequest, key=key)
        reply = await self._channel.operate(_PERSIST, request)
        if not reply.existed:
            return Persisted.NO_KEY
        return Persisted.EXPIRY_REMOVED if reply.had_ttl else Persisted.NO_EXPIRY

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        request = pb.BatchGetRequest()
        bad = _fill(keys, lambda key: request.keys.append(key))
        reply = await self._channel.operate(_BATCH_GET, request)
        expiry: Sequence[int] = reply.expire_time_ms or [0] * len(reply.found)
        columns = zip(reply.found, reply.values, reply.versions, expiry, strict=True)
        outcomes: list[Entry | PrismError | None] = [
            Entry(value, Version(version), expires or None) if found else None
            for found, value, version, expires in columns
        ]
        return _complete(outcomes, reply.errors, bad)

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        request = pb.BatchSetRequest()

        def append(put: Put) -> None:
            request.keys.append(put.key)
            request.values.append(put.value)
            request.ttl_ms.append(milliseconds_of(put.ttl))

        bad = _fill(puts, append)
        if not any(request.ttl_ms):
            del request.ttl_ms[:]
        reply = await self._channel.operate(_BATCH_SET, request)
        outcomes: list[Version | PrismError] = [Version(version) for version in reply.versions]
        return _complete(outcomes, reply.errors, bad)

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        request = pb.BatchDeleteRequest()
        bad = _fill(keys, lambda key: request.keys.append(key))
        reply = await self._channel.operate(_BATCH_DELETE, request)
        return _complete(list(reply.existed), reply.errors, bad)

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        request = _message(
            lambda: pb.ScanRequest(
                prefix=prefix,
                page_size=min(page_size, _INT32_MAX),
                page_token=page_token,
                include_values=values,
            )
        )
        reply = await self._channel.operate(_SCAN, request)
        entries: list[Entry] | None = None
        if values:
            expiry: Sequence[int] = reply.expire_time_ms or [0] * len(reply.keys)
            columns = zip(reply.values, reply.versions, expiry, strict=True)
            entries = [
                Entry(value, Version(version), expires or None)
                for value, version, expires in columns
            ]
        return Page(list(reply.keys), entries, reply.next_page_token)

    async def increment(self, key: str, delta: int = 1) -> Count:
        request = _message(pb.IncrementRequest, key=key, delta=delta)
        reply = await self._channel.operate(_INCREMENT, request)
        return Count(reply.value, Version(reply.version))

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        request = _message(
            lambda: pb.ApplyRequest(
                conditions=map(condition_message, conditions), writes=map(write_message, writes)
            )
        )
        reply = await self._channel.operate(_APPLY, request)
        columns = zip(writes, reply.versions, reply.existed, strict=True)
        return [
            Version(version) if isinstance(write, Put) else existed
            for write, version, existed in columns
        ]

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        async with self._channel.watch(_message(pb.WatchRequest, prefix=prefix)) as events:
            yield events


def _message(make: Callable[..., Request], **fields: object) -> Request:
    """Make a request.

    Raises:
        InvalidArgument: a field cannot hold its value.
        TypeError: a value has the wrong type.
    """
    try:
        return make(**fields)
    except TypeError as error:
        raise TypeError(
            f"{error}: keys are str, values bytes, counters int, and times timedelta"
        ) from None
    except (UnicodeError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"the request cannot be encoded: {error}") from None


def _fill(items: Sequence[Result], append: Callable[[Result], None]) -> dict[int, PrismError]:
    """Append each item; return the errors of those that the message cannot hold, by index."""
    bad: dict[int, PrismError] = {}
    for index, item in enumerate(items):
        try:
            append(item)
        except (UnicodeError, ValueError) as error:
            bad[index] = InvalidArgument(f"the request cannot be encoded: {error}")
    return bad


def _complete(
    outcomes: list[Result | PrismError],
    errors: Sequence[pb.ItemError],
    bad: dict[int, PrismError],
) -> list[Result | PrismError]:
    """Put the errors of the server, and those of items that were not sent, in their places."""
    for error in errors:
        outcomes[error.index] = error_of(error.status)
    for index, unsent in sorted(bad.items()):
        outcomes.insert(index, unsent)
    return outcomes


def _empty_value(value: object) -> bytes:
    """Return a value that is false, which must be empty bytes.

    Raises:
        TypeError: it is something else. A message would take None for a value that is not set.
    """
    if value != b"":
        raise TypeError(f"the value is {value!r}: give bytes, or delete the key")
    return b""
