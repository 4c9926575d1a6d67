"""Identifies the callers of gRPC: by token, by certificate, or by Unix socket."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractContextManager

from prism.adapters.certificates import proven_by
from prism.adapters.grpc.context import CallContext, peer_of_call
from prism.domain.access.caller import current_caller
from prism.domain.access.logins import NOTHING, Logins, Proven


class Authentication:
    """Makes the caller of each call the current one.

    Args:
        certificates: whether callers show certificates.
        socket: what is proven of every caller, where the server listens on a Unix socket, which
            only its own user can open.
    """

    def __init__(
        self, logins: Logins, *, certificates: bool = False, socket: Proven = NOTHING
    ) -> None:
        self._logins = logins
        self._certificates = certificates
        self._socket = socket
        self._by_token = {} if certificates or socket is not NOTHING else logins.by_token

    def identify(self, context: CallContext) -> Awaitable[None] | None:
        """Identify the caller; return what does so with time, or refuses it."""
        # Each unary call comes here.
        caller = self._by_token.get(context.authorization)
        if caller is None:
            proven = self._proven(context)
            caller = self._logins.caller(context.authorization, proven)
            if caller is None:
                return self._log_in(context, proven)
        current_caller.set(caller)
        return None

    def _proven(self, context: CallContext) -> Proven:
        """Return what the connection of a call proves."""
        if self._certificates and (certificate := context.certificate):
            return proven_by(certificate)
        return self._socket

    def connected(self) -> AbstractContextManager[None]:
        """Count a connection of the current caller; see `AccessControl.connected`."""
        return self._logins.control.connected()

    async def _log_in(self, context: CallContext, proven: Proven) -> None:
        peer = peer_of_call(context)
        current_caller.set(await self._logins.log_in(peer, context.authorization, proven))
