"""A request under way, and what was answered so far."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nats.aio.msg import Msg

from prism.ports import Exhausted, PrismError

IsLast = Callable[[Msg], bool]


def _any(_message: Msg) -> bool:
    return True


class Exchange:
    """Waits for the answers up to the last, which is the first unless told otherwise."""

    __slots__ = ("answers", "is_last", "subject", "whole")

    def __init__(self, subject: str, is_last: IsLast = _any) -> None:
        self.subject = subject
        self.is_last = is_last
        self.answers: list[Msg] = []
        self.whole: asyncio.Future[list[Msg]] = asyncio.get_running_loop().create_future()

    def take(self, message: Msg) -> None:
        self.answers.append(message)
        if self.is_last(message) and not self.whole.done():
            self.whole.set_result(self.answers)

    def fail(self, error: PrismError) -> None:
        if not self.whole.done():
            self.whole.set_exception(error)

    def forget(self) -> None:
        """Nobody waits for it any more, nor for why it failed."""
        if not self.whole.cancel() and not self.whole.cancelled():
            self.whole.exception()

    def overrun(self) -> None:
        self.fail(Exhausted("more came at once than could be taken in: ask for less"))
