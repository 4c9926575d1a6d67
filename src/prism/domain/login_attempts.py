"""Failed logins of each peer, which slow down the next ones."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from prism.domain.token_bucket import TokenBucket
from prism.ports import Exhausted

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_FORGIVEN_AFTER_S = 60.0
_MAX_WAITING = 2
_MAX_PEERS = 4096


class _Failures:
    """Failed logins of one peer.

    Attributes:
        count: number of failures in a row.
        free_at: time of the loop before which no other login of the peer is answered.
        waiting: calls that wait for that time.
    """

    __slots__ = ("count", "free_at", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.free_at = 0.0
        self.waiting = 0


class LoginAttempts:
    """Slows down a peer whose logins fail: pauses double with each failure, up to two seconds.

    Few logins of a peer may wait, and further ones are refused at once.

    Args:
        what: what is wrong in a failed login, such as "admin token".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._log_lines = TokenBucket(per_second=0.2, burst=5)

    async def wait_for_turn(self, peer: str) -> None:
        """Wait until the pause after the peer's last failure is over.

        Raises:
            Exhausted: too many logins of the peer wait.
        """
        failures = self._failures.get(peer)
        loop = asyncio.get_running_loop()
        if failures is None or failures.free_at <= loop.time():
            return
        if failures.waiting >= _MAX_WAITING:
            raise Exhausted(
                f"too many wrong {self._what}s came from this address: try again later",
                reason="TOO_MANY_LOGINS",
            )
        failures.waiting += 1
        try:
            # Another login may have been first, and wrong.
            while (left_s := failures.free_at - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(left_s)
        finally:
            failures.waiting -= 1

    def succeeded(self, peer: str) -> None:
        """Forget the failures of a peer."""
        self._failures.pop(peer, None)

    def failed(self, peer: str) -> None:
        """Count a failure, and log it within a limit."""
        now = asyncio.get_running_loop().time()
        failures = self._failures.get(peer)
        if failures is None:
            failures = self._failures[peer] = _Failures()
            if len(self._failures) > _MAX_PEERS:
                self._failures.popitem(last=False)
        elif failures.free_at + _FORGIVEN_AFTER_S < now:
            failures.count = 0
        self._failures.move_to_end(peer)
        failures.count += 1
        # Bounded, since 2 ** count would overflow a float.
        doublings = min(failures.count - 1, 10)
        failures.free_at = now + min(_FIRST_PAUSE_S * 2**doublings, _LONGEST_PAUSE_S)
        if self._log_lines.take():
            log.warning(
                "a wrong %s came from %s",
                self._what,
                peer,
                extra={"peer": peer, "wrong_tokens": failures.count},
            )
