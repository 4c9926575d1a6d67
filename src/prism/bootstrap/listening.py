"""What is known of a server once it listens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server listens.

    Attributes:
        metrics_address: None: nowhere.
    """

    grpc_addresses: tuple[str, ...]
    metrics_address: str | None
