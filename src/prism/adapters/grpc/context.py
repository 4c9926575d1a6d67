"""Context of a call, as a servicer sees it."""

from __future__ import annotations

from typing import Protocol

from prism.domain.addresses import peer_of


class CallContext(Protocol):
    """One call, on any transport."""

    @property
    def connection(self) -> str:
        """Name of the caller's connection; empty: unknown to the transport."""
        ...

    @property
    def pattern(self) -> str:
        """Name of the proxy's pattern that the call asks for; empty: none."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """Seconds until the caller's deadline; None: the caller set none."""
        ...

    def metadata(self, name: str) -> str | None:
        """Return the first value of a metadata key; None: there is none."""
        ...

    @property
    def authorization(self) -> str | bytes | None:
        """The metadata `authorization` as the transport has it; None: there is none."""
        ...

    @property
    def certificate(self) -> str:
        """Certificate of the caller that the transport has verified, in PEM; empty: none."""
        ...


def peer_of_call(context: CallContext) -> str:
    """Return what identifies the peer of a call: its address without the port."""
    connection = context.connection
    if not connection:
        return "a local socket"
    host = connection.removeprefix("ipv4:").removeprefix("ipv6:").rpartition(":")[0]
    return peer_of(host.replace("%5B", "[").replace("%5D", "]").strip("[]"))
