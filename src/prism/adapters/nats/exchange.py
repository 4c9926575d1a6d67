"""Requests under way, and what was answered so far."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from prism.ports import Exhausted, PrismError

OutcomeT = TypeVar("OutcomeT")
MessageT = TypeVar("MessageT")


class Answer(NamedTuple):
    """A message that answers a request.

    Attributes:
        headers: as they came, with the line before them; empty: there are none.
    """

    headers: bytes
    data: bytes

    @property
    def status(self) -> bytes:
        """Three digits where the server speaks for itself, else empty."""
        return self.headers[9:12] if self.headers.startswith(b"NATS/1.0 ") else b""


class Exchange(Generic[OutcomeT]):
    """A request whose outcome somebody waits for.

    Attributes:
        deadline: by the clock of the loop, in seconds.
        outcome: an error is its result, and not its exception: one that nobody fetches,
            since the caller was cancelled, would be complained about.
    """

    __slots__ = ("deadline", "outcome", "subject")

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.deadline = 0.0
        self.outcome: asyncio.Future[OutcomeT | PrismError]
        self.outcome = asyncio.get_running_loop().create_future()

    def take(self, message: Any) -> None:
        """A message that belongs to it came."""
        raise NotImplementedError

    def end(self, outcome: OutcomeT | PrismError) -> None:
        """The first counts."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Single(Exchange[Answer]):
    """One answer."""

    __slots__ = ()

    def take(self, answer: Answer) -> None:
        """The first is all there is."""
        self.end(answer)


class Several(Exchange[list[MessageT]]):
    """Answers up to the last."""

    __slots__ = ("_is_last", "_messages")

    def __init__(self, subject: str, is_last: Callable[[MessageT], bool]) -> None:
        super().__init__(subject)
        self._is_last = is_last
        self._messages: list[MessageT] = []

    def take(self, message: MessageT) -> None:
        """Add what came."""
        self._messages.append(message)
        if self._is_last(message):
            self.end(self._messages)

    def overrun(self) -> None:
        """Some were dropped."""
        self.end(Exhausted("more came at once than could be taken in: ask for less"))
