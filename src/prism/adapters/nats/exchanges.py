"""All requests under way over one link, until each has its answer or its time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from prism.adapters.nats.exchange import Answer, Exchange
from prism.adapters.nats.failures import unanswered
from prism.ports import BackendTimeout, PrismError

OutcomeT = TypeVar("OutcomeT")

_NO_RESPONDERS = b"NATS/1.0 503"
_TIMER_ERROR_S = 0.001
"""By which a timer may come early."""


class Exchanges:
    """By the subjects that their answers come under.

    One timer serves them all: a timer for each would cost more than the rest of it.

    Args:
        timeout_s: of every one, so that they end in the order they began.
        when_due: called when the timer went off.
    """

    def __init__(self, address: str, timeout_s: float, when_due: Callable[[], None]) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._when_due = when_due
        self._open: dict[bytes, Exchange[Any]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def outcome(self, exchange: Exchange[OutcomeT], reply: str) -> OutcomeT:
        """What is answered to the request that was just sent; raises what it ended with."""
        loop = asyncio.get_running_loop()
        exchange.deadline = loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = loop.call_at(exchange.deadline, self._expire)
        key = reply.encode()
        self._open[key] = exchange
        try:
            outcome = await exchange.outcome
        finally:
            del self._open[key]
        if isinstance(outcome, PrismError):
            raise outcome
        return outcome

    def take(self, subject: bytes, headers: bytes, data: bytes) -> None:
        """An answer; to a request that was given up it is none."""
        exchange = self._open.get(subject)
        if exchange is None:
            return
        if headers.startswith(_NO_RESPONDERS):
            exchange.end(unanswered(self._address))
        else:
            exchange.take(Answer(headers, data))

    def end(self, because: Callable[[Exchange[Any]], PrismError | None]) -> None:
        """End those for which there is an error."""
        for exchange in self._open.values():
            if error := because(exchange):
                exchange.end(error)

    def close(self, because: Callable[[], PrismError]) -> None:
        """End all, each with an error of its own."""
        if self._timer is not None:
            self._timer.cancel()
        self.end(lambda _: because())

    def _expire(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time() + _TIMER_ERROR_S
        for exchange in self._open.values():
            if exchange.deadline > now:
                self._timer = loop.call_at(exchange.deadline, self._expire)
                break
            exchange.end(
                BackendTimeout(f"{self._address} gave no answer within {self._timeout_s:g} s")
            )
        self._when_due()
