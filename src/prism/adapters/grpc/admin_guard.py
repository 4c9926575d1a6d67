"""Check of the admin token, which slows down a peer that guesses."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections import OrderedDict

from prism.adapters.grpc.context import CallContext
from prism.domain.token_bucket import TokenBucket
from prism.ports import AccessDenied, Exhausted, Unauthenticated

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_FORGIVEN_AFTER_S = 60.0
_MAX_WAITING = 2
_MAX_PEERS = 4096


class _Guesses:
    """Wrong tokens of one peer.

    Attributes:
        count: number of wrong tokens in a row.
        free_at: time of the loop before which no other token of the peer is compared.
        waiting: calls that wait for that time.
    """

    __slots__ = ("count", "free_at", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.free_at = 0.0
        self.waiting = 0


class AdminGuard:
    """Check that a caller is an administrator.

    After a wrong token, the next one of the same peer is compared only after a pause, which
    doubles with each wrong token up to two seconds. Few calls of a peer may wait, and further
    ones are refused without a comparison.

    Args:
        token: expected in the metadata `authorization: Bearer …`; None: no token is set.
        required: whether calls are refused when no token is set.
    """

    def __init__(self, token: str | None, *, required: bool) -> None:
        self.expect(token)
        self._required = required
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()
        self._log_lines = TokenBucket(per_second=0.2, burst=5)

    def expect(self, token: str | None) -> None:
        """Expect this token from now on; None: no token is set."""
        self._expected = f"Bearer {token}".encode() if token else None

    async def check(self, context: CallContext) -> None:
        """Return if the caller is an administrator.

        Raises:
            Unauthenticated: no token was sent.
            AccessDenied: the token is wrong, or the server has none.
            Exhausted: too many calls of the peer wait, after wrong tokens.
        """
        if self._expected is None:
            if self._required:
                raise AccessDenied(
                    "lifecycle calls are switched off: this server listens beyond loopback "
                    "and was started without --admin-token-file"
                )
            return
        shown = context.metadata("authorization")
        if shown is None:
            raise Unauthenticated(
                "lifecycle calls need the admin token: send it as 'authorization: Bearer …'"
            )
        peer = _peer_of(context.connection)
        if peer in self._guesses:
            await self._wait_for_turn(self._guesses[peer])
        if hmac.compare_digest(shown.encode(), self._expected):
            self._guesses.pop(peer, None)
            return
        self._note_wrong(peer)
        raise AccessDenied("the admin token is wrong")

    async def _wait_for_turn(self, guesses: _Guesses) -> None:
        loop = asyncio.get_running_loop()
        if guesses.free_at <= loop.time():
            return
        if guesses.waiting >= _MAX_WAITING:
            raise Exhausted("too many wrong admin tokens came from this address: try again later")
        guesses.waiting += 1
        try:
            # Another call may have been first, and wrong.
            while (left_s := guesses.free_at - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(left_s)
        finally:
            guesses.waiting -= 1

    def _note_wrong(self, peer: str) -> None:
        now = asyncio.get_running_loop().time()
        guesses = self._guesses.get(peer)
        if guesses is None:
            guesses = self._guesses[peer] = _Guesses()
            if len(self._guesses) > _MAX_PEERS:
                self._guesses.popitem(last=False)
        elif guesses.free_at + _FORGIVEN_AFTER_S < now:
            guesses.count = 0
        self._guesses.move_to_end(peer)
        guesses.count += 1
        # Bounded, since 2 ** count would overflow a float.
        doublings = min(guesses.count - 1, 10)
        guesses.free_at = now + min(_FIRST_PAUSE_S * 2**doublings, _LONGEST_PAUSE_S)
        if self._log_lines.take():
            fields = {"peer": peer, "wrong_tokens": guesses.count}
            log.warning("a wrong admin token came from %s", peer, extra=fields)


def _peer_of(connection: str) -> str:
    """Return the address of a connection without its port; of IPv6 the network of 64 bits."""
    if not connection:
        return "a local socket"
    host = connection.removeprefix("ipv4:").removeprefix("ipv6:").rpartition(":")[0]
    host = host.replace("%5B", "[").replace("%5D", "]").strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))
