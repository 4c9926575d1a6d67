"""The driver: the ports, implemented on a bucket, and the profile that it declares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

from prism.adapters.nats import batch
from prism.adapters.nats.bucket import CLOCK_ERROR_S, Bucket
from prism.adapters.nats.byte_budget import ValueSizeEstimate
from prism.adapters.nats.connection import Connection, Reconnector
from prism.adapters.nats.encoding import KeyRecord, decode_version, encode_version
from prism.adapters.nats.expiry_marker import ExpiryMarker
from prism.adapters.nats.permissions import report_permissions
from prism.adapters.nats.scan import scan_page
from prism.adapters.nats.settings import NatsSettings
from prism.adapters.nats.watch import watch
from prism.kit import add_to_counter, closed, version_conflict
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Capability,
    Count,
    Declaration,
    DrainReport,
    Entry,
    Event,
    Health,
    HealthStatus,
    Lifetime,
    Limits,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Support,
    Version,
    VersionConflict,
    VersionKind,
)
from prism.version import VERSION

_CLOSED = closed("the bucket")

_PROBE_KEY = "\0"
"""Key that a health check reads, as callers do; what it finds does not matter."""


class Nats:
    """Driver for a key-value bucket of NATS JetStream.

    Every write except a plain `set` depends on the sequence of the key's last message. A key
    that has expired, but that the server has not removed yet, counts as absent.
    """

    def __init__(self) -> None:
        self._profile = profile_of()
        self._settings = NatsSettings()
        self._reconnector: Reconnector[Bucket] = _CLOSED
        self._expiry_marker: ExpiryMarker

    @property
    def profile(self) -> Profile:
        return self._profile

    async def get(self, key: str) -> Entry | None:
        bucket = self._reconnector.resource
        return (await bucket.read(key)).entry_at(bucket.clock.now_ms())

    async def exists(self, key: str) -> bool:
        bucket = self._reconnector.resource
        return (await bucket.read(key)).is_alive(bucket.clock.now_ms())

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await _put(self._reconnector.resource, key, value, ttl)

    async def delete(self, key: str) -> bool:
        bucket = self._reconnector.resource

        async def remove(record: KeyRecord) -> bool:
            if not record.is_alive(bucket.clock.now_ms()):
                return False
            await bucket.remove(key, expected=record.sequence)
            return True

        return await bucket.read_modify_write(key, remove)

    async def expire(self, key: str, ttl: timedelta) -> bool:
        bucket = self._reconnector.resource

        async def set_expiry(record: KeyRecord) -> bool:
            if not record.is_alive(bucket.clock.now_ms()):
                return False
            await bucket.change_expiry(key, record, ttl)
            return True

        return await bucket.read_modify_write(key, set_expiry)

    async def ttl(self, key: str) -> Lifetime | None:
        bucket = self._reconnector.resource
        record = await bucket.read(key)
        now_ms = bucket.clock.now_ms()
        if not record.is_alive(now_ms):
            return None
        if record.expires_at_ms is None:
            return Lifetime()
        return Lifetime(timedelta(milliseconds=record.expires_at_ms - now_ms))

    async def persist(self, key: str) -> Persisted:
        bucket = self._reconnector.resource

        async def remove_expiry(record: KeyRecord) -> Persisted:
            if not record.is_alive(bucket.clock.now_ms()):
                return Persisted.NO_KEY
            if record.expires_at_ms is None:
                return Persisted.NO_EXPIRY
            await bucket.change_expiry(key, record, None)
            return Persisted.EXPIRY_REMOVED

        return await bucket.read_modify_write(key, remove_expiry)

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        bucket = self._reconnector.resource
        if expected is not None:
            sequence = await _expected_sequence(bucket, key, expected)
            return await _put(bucket, key, value, ttl, expected=sequence)

        async def create(record: KeyRecord) -> Version | None:
            if record.is_alive(bucket.clock.now_ms()):
                return None
            return await _put(bucket, key, value, ttl, expected=record.sequence)

        try:
            return await _put(bucket, key, value, ttl, expected=0)
        except VersionConflict:
            # The last message may be a tombstone, or have just expired.
            version = await bucket.read_modify_write(key, create)
        if version is None:
            raise version_conflict(None)
        return version

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        bucket = self._reconnector.resource
        await bucket.remove(key, expected=await _expected_sequence(bucket, key, expected))

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        max_bytes = self._profile.limits.max_batch_bytes
        return await batch.get_many(self._reconnector.resource, keys, self.get, max_bytes)

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        bucket = self._reconnector.resource
        return await batch.for_each(puts, lambda put: put.key, lambda put: _put(bucket, *put))

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        return await batch.for_each(keys, str, self.delete)

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        return await scan_page(
            self._reconnector.resource,
            self._profile.limits,
            prefix=prefix,
            page_size=page_size,
            cursor=page_token,
            values=values,
        )

    async def increment(self, key: str, delta: int = 1) -> Count:
        bucket = self._reconnector.resource

        async def add(record: KeyRecord) -> Count:
            entry = record.entry_at(bucket.clock.now_ms())
            number = add_to_counter(entry.value if entry else None, delta)
            expires_at_ms = entry.expires_at_ms if entry else None
            sequence = await bucket.write(
                key, b"%d" % number, expires_at_ms=expires_at_ms, expected=record.sequence
            )
            return Count(number, encode_version(sequence, expires=expires_at_ms is not None))

        return await bucket.read_modify_write(key, add)

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        # The marker belongs to the bucket of the present connection, if there is one.
        bucket = self._reconnector.resource
        return watch(bucket, self._expiry_marker, prefix)

    async def initialize(self, settings: NatsSettings) -> None:
        value_size = ValueSizeEstimate()

        async def open_bucket(connection: Connection) -> Bucket:
            bucket = await Bucket.open(connection, settings, value_size)
            self._profile = profile_of(bucket)
            self._expiry_marker = ExpiryMarker(bucket)
            return bucket

        reconnector = Reconnector(settings, open_bucket)
        await reconnector.open()
        await report_permissions(reconnector.resource.connection, settings)
        self._settings = settings
        self._reconnector = reconnector

    async def reload(self, settings: NatsSettings) -> None:
        """Use the secrets in these settings for further connections."""
        self._reconnector.reload(settings)

    async def start(self) -> None:
        """Do nothing: the connection is open since `initialize`."""

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        reconnector, self._reconnector = self._reconnector, _CLOSED
        if reconnector is not _CLOSED:
            await reconnector.close()

    async def health(self) -> Health:
        """Return unhealthy without an answer, degraded while a replica is behind or away."""
        reconnector = self._reconnector
        if reconnector is _CLOSED:
            details = {"backend": "nats", "connections": "0"}
            return Health(HealthStatus.UNHEALTHY, "no bucket is open", details)
        details = {"backend": f"nats at {self._settings.addresses}", "connections": "0"}
        try:
            bucket = reconnector.resource
            details["connections"] = "1"
            info = await bucket.refresh()
            await bucket.read(_PROBE_KEY)
        except PrismError as error:
            details["last_error"] = reconnector.last_error or error.message
            return Health(HealthStatus.UNHEALTHY, error.message, details)
        details["bucket"] = bucket.name
        # Tombstones of the last minute are counted too.
        details["keys"] = str(info["state"].get("num_subjects", 0))
        details["bytes"] = str(info["state"]["bytes"])
        details["clock_error_ms"] = f"{bucket.clock.error_s * 1000:.1f}"
        if reconnector.last_error:
            details["last_error"] = reconnector.last_error
        replicas = (info.get("cluster") or {}).get("replicas") or []
        behind = [replica["name"] for replica in replicas if not replica.get("current")]
        if behind:
            return Health(
                HealthStatus.DEGRADED,
                f"replicas of the bucket {bucket.name!r} are behind or away: {', '.join(behind)}",
                details,
            )
        return Health(HealthStatus.HEALTHY, f"the bucket {bucket.name!r} answers", details)


async def _put(
    bucket: Bucket,
    key: str,
    value: bytes,
    ttl: timedelta | None,
    *,
    expected: int | None = None,
) -> Version:
    sequence = await bucket.write(key, value, ttl=ttl, expected=expected)
    return encode_version(sequence, expires=ttl is not None)


async def _expected_sequence(bucket: Bucket, key: str, expected: Version) -> int:
    """Return the sequence that a write must be conditional on.

    Raises:
        VersionConflict: the key has another version, or has expired; the server alone would not
            notice the latter until it removes the key.
    """
    sequence, expires = decode_version(expected)
    if not sequence:
        raise version_conflict(expected)
    if expires:
        record = await bucket.read(key)
        if record.version != expected or not record.is_alive(bucket.clock.now_ms()):
            raise version_conflict(expected)
    return sequence


NAME = "nats"

_TTL = Declaration(
    granularity=timedelta(milliseconds=1),
    clock_error=timedelta(seconds=CLOCK_ERROR_S),
    notes="By the server's clock. The server removes a key up to a second after its expiry; "
    "until then the driver hides the key, by its estimate of that clock.",
)

CAPABILITIES: Mapping[Capability, Declaration] = {
    Capability.TTL: _TTL,
    Capability.COMPARE_AND_SET: Declaration(
        notes="A key with a ttl is read first, to see that it has not just expired."
    ),
    Capability.BATCH: Declaration(
        Support.EMULATED, notes="One request for each item, all at once over one connection."
    ),
    Capability.SCAN: Declaration(
        notes="In the order of writing. With replicas, values may be slightly outdated."
    ),
    Capability.COUNTER: Declaration(
        Support.EMULATED, notes="Compare-and-set; each gateway changes a key once at a time."
    ),
    Capability.WATCH: Declaration(event_delay=timedelta(seconds=3)),
}


def profile_of(bucket: Bucket | None = None) -> Profile:
    """Return the profile, with the limit on values and the clock error of the open bucket."""
    limits = Limits()
    capabilities = dict(CAPABILITIES)
    if bucket is not None:
        limits = replace(
            limits, max_value_bytes=min(limits.max_value_bytes, bucket.max_value_bytes)
        )
        # A slow network makes the estimate of the clock less exact.
        error = max(timedelta(seconds=bucket.clock.error_s), _TTL.clock_error)
        capabilities[Capability.TTL] = replace(_TTL, clock_error=error)
    return Profile(NAME, VERSION, VersionKind.REVISION, capabilities, limits, shared=True)
