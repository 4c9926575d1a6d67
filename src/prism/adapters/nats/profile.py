"""What the driver says of itself and of the bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version

from prism.adapters.nats.bucket import CLOCK_ERROR_S, Bucket
from prism.ports import Capability, Declaration, Limits, Profile, Support, VersionKind

NAME = "nats"
VERSION = version("prism")

_TTL = Declaration(
    granularity=timedelta(milliseconds=1),
    clock_error=timedelta(seconds=CLOCK_ERROR_S),
    notes="By the server's clock. The server removes a key up to a second after its expiry; "
    "until then the driver judges, by a reading of that clock.",
)

CAPABILITIES: Mapping[Capability, Declaration] = {
    Capability.TTL: _TTL,
    Capability.COMPARE_AND_SET: Declaration(
        notes="A key with a ttl is read first, to see that it has not just expired."
    ),
    Capability.BATCH: Declaration(
        Support.EMULATED, notes="Requests of their own, all at once over one connection."
    ),
    Capability.SCAN: Declaration(
        notes="In the order of writing. With replicas, values may be a moment old."
    ),
    Capability.COUNTER: Declaration(
        Support.EMULATED, notes="Compare-and-set, one at a time for each key and gateway."
    ),
    Capability.WATCH: Declaration(event_delay=timedelta(seconds=3)),
}


def profile_of(bucket: Bucket | None = None) -> Profile:
    """The limit on values and the bound on the clock are as the server permits."""
    limits = Limits()
    capabilities = dict(CAPABILITIES)
    if bucket is not None:
        limits = replace(
            limits, max_value_bytes=min(limits.max_value_bytes, bucket.max_value_bytes)
        )
        # On a slow network the clock cannot be read as well.
        error = max(timedelta(seconds=bucket.clock.error), _TTL.clock_error)
        capabilities[Capability.TTL] = replace(_TTL, clock_error=error)
    return Profile(NAME, VERSION, VersionKind.REVISION, capabilities, limits)
