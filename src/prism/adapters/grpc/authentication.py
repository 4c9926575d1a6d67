"""Identifies the callers of gRPC: by token, by certificate, or by Unix socket."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractContextManager

from prism.adapters.certificates import names_of
from prism.adapters.grpc.context import CallContext, peer_of_call
from prism.domain.access.logins import Logins


class Authentication:
    """Makes the caller of each call the current one.

    Args:
        certificates: whether callers show certificates.
        socket_names: names of every caller, where the server listens on a Unix socket, which
            only its own user can open; empty: it listens on a port.
    """

    def __init__(
        self, logins: Logins, *, certificates: bool = False, socket_names: tuple[str, ...] = ()
    ) -> None:
        self._logins = logins
        self._certificates = certificates
        self._socket_names = socket_names

    def __call__(self, context: CallContext) -> Awaitable[None] | None:
        """Identify the caller; return an awaitable that refuses it if its token is not valid."""
        names = self._socket_names
        if self._certificates and (certificate := context.certificate):
            names = names_of(certificate)
        if self._logins.identify(context.metadata("authorization"), names):
            return None
        return self._logins.refuse(peer_of_call(context))

    def connected(self) -> AbstractContextManager[None]:
        """Count a connection of the current caller; see `AccessControl.connected`."""
        return self._logins.control.connected()
