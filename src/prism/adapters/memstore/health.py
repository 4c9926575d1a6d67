"""How the store fares, in one sentence and in text pairs."""

from __future__ import annotations

from prism.adapters.memstore.settings import MemstoreSettings
from prism.adapters.memstore.store import Store
from prism.ports import Health, HealthStatus

DEGRADED_FROM = 0.9

CLOSED = Health(HealthStatus.UNHEALTHY, "the memstore is not open", {"backend": "memstore"})


def health_of(store: Store, settings: MemstoreSettings) -> Health:
    """Degraded from 90 % of a limit on: at the limit writes are refused.

    `keys` and `bytes` count what is held: an expired key until the sweep drops it,
    a fraction of a second later.
    """
    details = {
        "backend": "memstore",
        "keys": str(store.keys),
        "keys_with_ttl": str(store.expiring),
        "bytes": str(store.bytes),
        "expired": str(store.expired),
        "max_keys": str(settings.max_keys or "unlimited"),
        "max_bytes": str(settings.max_bytes or "unlimited"),
    }
    nearly = [
        f"{used} of {limit} {what} ({name})"
        for name, what, used, limit in (
            ("max_keys", "keys", store.keys, settings.max_keys),
            ("max_bytes", "bytes", store.bytes, settings.max_bytes),
        )
        if limit and used >= limit * DEGRADED_FROM
    ]
    if nearly:
        return Health(
            HealthStatus.DEGRADED,
            f"the memstore holds {' and '.join(nearly)}: at the limit it refuses writes",
            details,
        )
    return Health(HealthStatus.HEALTHY, f"the memstore holds {store.keys} keys", details)
