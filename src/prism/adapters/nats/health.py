"""How the bucket fares, in one sentence and in text pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.connection import Connection
from prism.ports import Health, HealthStatus, PrismError

CLOSED = Health(
    HealthStatus.UNHEALTHY, "no bucket is open", {"backend": "nats", "connections": "0"}
)


async def health_of(connection: Connection[Bucket], address: str) -> Health:
    """Unhealthy without an answer, degraded while a replica is behind or away."""
    details = {"backend": f"nats at {address}"}
    try:
        bucket = connection.opened
        details["connections"] = "1"
        described = await bucket.describe()
    except PrismError as error:
        details.setdefault("connections", "0")
        details["last_error"] = connection.last_error or error.message
        return Health(HealthStatus.UNHEALTHY, error.message, details)
    details["bucket"] = bucket.name
    # Tombstones of the last minute are among them.
    details["keys"] = str(described["state"].get("num_subjects", 0))
    details["bytes"] = str(described["state"]["bytes"])
    details["clock_error_ms"] = f"{bucket.clock.error * 1000:.1f}"
    if connection.last_error:
        details["last_error"] = connection.last_error
    behind = [peer["name"] for peer in _replicas(described) if not peer.get("current")]
    if behind:
        return Health(
            HealthStatus.DEGRADED,
            f"the bucket {bucket.name!r} has replicas behind or away: {', '.join(behind)}",
            details,
        )
    return Health(HealthStatus.HEALTHY, f"the bucket {bucket.name!r} answers", details)


def _replicas(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (described.get("cluster") or {}).get("replicas") or []
