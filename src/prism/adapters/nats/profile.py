"""Declarations of the driver: its capabilities, and its limits on an open bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from prism.adapters.nats.bucket import CLOCK_ERROR_S, Bucket
from prism.ports import Capability, Declaration, Limits, Profile, Support, VersionKind
from prism.version import VERSION

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
