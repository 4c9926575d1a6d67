"""What the driver says of itself and of the server it found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import version

from prism.ports import Capability, Declaration, Limits, Profile, Support, VersionKind

NAME = "redis"
VERSION = version("prism")

CAPABILITIES: Mapping[Capability, Declaration] = {
    Capability.TTL: Declaration(
        granularity=timedelta(milliseconds=1), notes="Redis's own expiry, by the server's clock."
    ),
    Capability.COMPARE_AND_SET: Declaration(
        notes="A version is a digest of the value: A, B and A again match. A failover may lose "
        "an acknowledged write, and with it the race that it won."
    ),
    Capability.BATCH: Declaration(
        notes="Pipelined; in a Cluster one pipeline per server, at once."
    ),
    Capability.SCAN: Declaration(
        notes="SCAN: keys may repeat. A restart, a failover or moved slots expire the token."
    ),
    Capability.COUNTER: Declaration(),
    Capability.WATCH: Declaration(
        Support.EMULATED,
        notes="Keyspace notifications, where the server is told to send them. FLUSHDB and "
        "FLUSHALL are not reported. An expiry is reported when Redis gets to remove the key. "
        "Not on a Cluster.",
        event_values=False,
        event_delay=None,
    ),
}


def profile_of(*, max_value_bytes: int, no_watch: str = "") -> Profile:
    """The capabilities that the server allows, and the limit on values as it is set.

    Args:
        no_watch: why there is no watch, and what to do about it; empty: there is one.
    """
    return Profile(
        driver=NAME,
        version=VERSION,
        version_kind=VersionKind.DIGEST,
        capabilities={
            capability: declaration
            for capability, declaration in CAPABILITIES.items()
            if not no_watch or capability is not Capability.WATCH
        },
        limits=Limits(max_value_bytes=max_value_bytes),
        hints={Capability.WATCH: no_watch} if no_watch else {},
    )
