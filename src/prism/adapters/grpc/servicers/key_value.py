"""KeyValueService, in front of the gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import NamedTuple

from prism.adapters.grpc.calls import CallObserver
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.grpc.servicers.heartbeats import heartbeat_interval, with_heartbeats
from prism.adapters.grpc.servicers.operate import (
    EncodedResponse,
    OperateCall,
    OperationKind,
    RelayedOutcomes,
    StreamLimits,
    kinds_of,
)
from prism.adapters.wire.keyvalue_messages import (
    capabilities_of,
    duration_of,
    timedelta_of,
    timestamp_of,
    ttl_of_milliseconds,
    watch_event,
)
from prism.adapters.wire.status import status_of
from prism.domain.access.guarded_gateway import GuardedGateway
from prism.domain.gateway import Gateway
from prism.ports import (
    Condition,
    Delete,
    Entry,
    InvalidArgument,
    Persisted,
    PreconditionFailed,
    Presence,
    PrismError,
    Put,
    Version,
    Write,
)
from prism.v1 import keyvalue_pb2 as pb

_STARTED = pb.WatchResponse(started=pb.WatchStarted())
_HEARTBEAT = pb.WatchResponse(heartbeat=pb.WatchHeartbeat())


class _LocalRoute(NamedTuple):
    """Route of all operations of a server without patterns.

    Attributes:
        ordered_by: None, since no driver promises to order operations that run concurrently.
    """

    name: str = ""
    ordered_by: None = None


_LOCAL_ROUTE = _LocalRoute()


class KeyValueServicer:
    """One method for each call of `proto/prism/v1/keyvalue.proto`, which describes them.

    Args:
        default_timeout: timeout of operations in a stream that come without one.
        max_message_bytes: maximum size of one message in a stream.
        log: log of operations in a stream that fail or are slow.
        observer: observer of operations in a stream.
    """

    def __init__(
        self,
        gateway: Gateway | GuardedGateway,
        *,
        default_timeout: timedelta = timedelta(seconds=30),
        max_message_bytes: int = 4 << 20,
        log: RequestLog | None = None,
        observer: CallObserver | None = None,
    ) -> None:
        self._gateway = gateway
        self._observer = observer
        self._kinds = kinds_of(self)
        self._limits = StreamLimits(
            default_timeout.total_seconds(), max_message_bytes, log or RequestLog()
        )

    @staticmethod
    def route_of(pattern: str) -> _LocalRoute:
        """Return the only route; raises PreconditionFailed if a pattern is named."""
        if pattern:
            raise PreconditionFailed(
                f"there is no pattern {pattern!r}: this server has no patterns",
                reason="NO_PATTERNS",
            )
        return _LOCAL_ROUTE

    @staticmethod
    def relay_to(downstream: object, outcomes: RelayedOutcomes) -> None:
        """Return nothing: every driver is called through the ports."""

    @property
    def kinds(self) -> Mapping[str, OperationKind]:
        """Kinds of operations that a stream can carry, with their counts."""
        return self._kinds

    async def get(self, request: pb.GetRequest, context: CallContext) -> pb.GetResponse:
        entry = await self._gateway.get(request.key)
        if entry is None:
            return pb.GetResponse()
        reply = pb.GetResponse()
        # Filled in place, because putting a message into another copies it.
        message = reply.entry
        message.value = entry.value
        message.version = entry.version
        if entry.expires_at_ms is not None:
            message.expire_time.CopyFrom(timestamp_of(entry.expires_at_ms))
        return reply

    async def set(self, request: pb.SetRequest, context: CallContext) -> pb.SetResponse:
        key, value = request.key, request.value
        ttl = timedelta_of(request.ttl) if request.HasField("ttl") else None
        conditional = request.HasField("if_version")
        if request.if_absent and conditional:
            raise InvalidArgument("if_absent and if_version exclude each other: give one")
        if request.if_absent or conditional:
            expected = Version(request.if_version) if conditional else None
            version = await self._gateway.compare_and_set(key, value, expected=expected, ttl=ttl)
        else:
            version = await self._gateway.set(key, value, ttl=ttl)
        return pb.SetResponse(version=version)

    async def delete(self, request: pb.DeleteRequest, context: CallContext) -> pb.DeleteResponse:
        if request.HasField("if_version"):
            expected = Version(request.if_version)
            await self._gateway.compare_and_delete(request.key, expected=expected)
            return pb.DeleteResponse(existed=True)
        return pb.DeleteResponse(existed=await self._gateway.delete(request.key))

    async def exists(self, request: pb.ExistsRequest, context: CallContext) -> pb.ExistsResponse:
        return pb.ExistsResponse(exists=await self._gateway.exists(request.key))

    async def expire(self, request: pb.ExpireRequest, context: CallContext) -> pb.ExpireResponse:
        # An unset ttl reads as zero, which the gateway refuses.
        existed = await self._gateway.expire(request.key, timedelta_of(request.ttl))
        return pb.ExpireResponse(existed=existed)

    async def persist(self, request: pb.PersistRequest, context: CallContext) -> pb.PersistResponse:
        found = await self._gateway.persist(request.key)
        return pb.PersistResponse(
            existed=found is not Persisted.NO_KEY, had_ttl=found is Persisted.EXPIRY_REMOVED
        )

    async def get_ttl(self, request: pb.GetTtlRequest, context: CallContext) -> pb.GetTtlResponse:
        lifetime = await self._gateway.ttl(request.key)
        if lifetime is None:
            return pb.GetTtlResponse(state=pb.TTL_STATE_ABSENT)
        if lifetime.remaining is None:
            return pb.GetTtlResponse(state=pb.TTL_STATE_PERSISTENT)
        return pb.GetTtlResponse(
            state=pb.TTL_STATE_EXPIRING, remaining=duration_of(lifetime.remaining)
        )

    async def batch_get(
        self, request: pb.BatchGetRequest, context: CallContext
    ) -> pb.BatchGetResponse:
        outcomes = await self._gateway.get_many(request.keys)
        entries = [outcome if isinstance(outcome, Entry) else None for outcome in outcomes]
        return pb.BatchGetResponse(
            found=[entry is not None for entry in entries],
            values=[b"" if entry is None else entry.value for entry in entries],
            versions=[0 if entry is None else entry.version for entry in entries],
            expire_time_ms=_expiry_column(entries),
            errors=_item_errors(outcomes, self._limits.log.redact),
        )

    async def batch_set(
        self, request: pb.BatchSetRequest, context: CallContext
    ) -> pb.BatchSetResponse:
        count = len(request.keys)
        if len(request.values) != count or len(request.ttl_ms) not in (0, count):
            raise InvalidArgument(
                f"the columns differ in length: {count} keys, {len(request.values)} values, "
                f"{len(request.ttl_ms)} ttl_ms; as many values as keys, and as many ttl_ms or none"
            )
        if request.ttl_ms:
            columns = zip(request.keys, request.values, request.ttl_ms, strict=True)
            puts = [Put(key, value, ttl_of_milliseconds(ttl)) for key, value, ttl in columns]
        else:
            puts = list(map(Put, request.keys, request.values))
        outcomes = await self._gateway.set_many(puts)
        return pb.BatchSetResponse(
            versions=[0 if isinstance(outcome, PrismError) else outcome for outcome in outcomes],
            errors=_item_errors(outcomes, self._limits.log.redact),
        )

    async def batch_delete(
        self, request: pb.BatchDeleteRequest, context: CallContext
    ) -> pb.BatchDeleteResponse:
        outcomes = await self._gateway.delete_many(request.keys)
        return pb.BatchDeleteResponse(
            existed=[outcome is True for outcome in outcomes],
            errors=_item_errors(outcomes, self._limits.log.redact),
        )

    async def scan(self, request: pb.ScanRequest, context: CallContext) -> pb.ScanResponse:
        page = await self._gateway.scan(
            request.prefix,
            page_size=request.page_size,
            page_token=request.page_token,
            values=request.include_values,
        )
        entries = page.entries or ()
        return pb.ScanResponse(
            keys=page.keys,
            values=[entry.value for entry in entries],
            versions=[entry.version for entry in entries],
            expire_time_ms=_expiry_column(entries),
            next_page_token=page.next_token,
        )

    async def increment(
        self, request: pb.IncrementRequest, context: CallContext
    ) -> pb.IncrementResponse:
        count = await self._gateway.increment(request.key, request.delta)
        return pb.IncrementResponse(value=count.value, version=count.version)

    async def apply(self, request: pb.ApplyRequest, context: CallContext) -> pb.ApplyResponse:
        conditions = [_condition(number, each) for number, each in enumerate(request.conditions, 1)]
        writes = [_write(number, each) for number, each in enumerate(request.writes, 1)]
        results = await self._gateway.apply(conditions, writes)
        reply = pb.ApplyResponse()
        for write, result in zip(writes, results, strict=True):
            is_put = isinstance(write, Put)
            reply.versions.append(result if is_put else 0)
            reply.existed.append(bool(result) and not is_put)
        return reply

    def operate(
        self, requests: AsyncIterator[pb.OperateRequest], context: CallContext
    ) -> AsyncIterator[EncodedResponse]:
        call = OperateCall(
            self._kinds, self._gateway.admission, context, self._limits, self._observer, self
        )
        return call.outcomes(requests)

    async def watch(
        self, requests: AsyncIterator[pb.WatchRequest], context: CallContext
    ) -> AsyncGenerator[pb.WatchResponse, None]:
        async for request in requests:
            interval = heartbeat_interval(request)
            async with self._gateway.watch(request.prefix) as events:
                yield _STARTED
                # Events that are ready go out without a turn of the loop in between.
                if interval is None:
                    async for event in events:
                        yield watch_event(event)
                else:
                    async with aclosing(with_heartbeats(events, interval)) as readings:
                        async for reading in readings:
                            yield _HEARTBEAT if reading is None else watch_event(reading)

    async def get_capabilities(
        self, request: pb.GetCapabilitiesRequest, context: CallContext
    ) -> pb.GetCapabilitiesResponse:
        return capabilities_of(self._gateway.describe())


def _condition(number: int, message: pb.Condition) -> Condition:
    by_version = message.HasField("version")
    if by_version is message.HasField("exists"):
        raise InvalidArgument(
            f"condition {number} has {'both' if by_version else 'neither'} of version and exists: "
            "give one"
        )
    if by_version:
        return Condition(message.key, Version(message.version))
    return Condition(message.key, Presence.PRESENT if message.exists else Presence.ABSENT)


def _write(number: int, message: pb.Write) -> Write:
    has_ttl = message.HasField("ttl")
    if not message.delete:
        return Put(message.key, message.value, timedelta_of(message.ttl) if has_ttl else None)
    if message.value or has_ttl:
        raise InvalidArgument(f"write {number} is a delete and has a value or a ttl: give one")
    return Delete(message.key)


def _expiry_column(entries: Sequence[Entry | None]) -> list[int]:
    column = [(entry and entry.expires_at_ms) or 0 for entry in entries]
    return column if any(column) else []


def _item_errors(outcomes: Sequence[object], redact: Callable[[str], str]) -> list[pb.ItemError]:
    return [
        pb.ItemError(index=index, status=status_of(outcome, redact))
        for index, outcome in enumerate(outcomes)
        if isinstance(outcome, PrismError)
    ]
