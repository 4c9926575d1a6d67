"""Commands that leave in one piece, and the replies to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import hiredis

from prism.adapters.redis.operations import Reply
from prism.adapters.redis.scripts import Command

# Its stub asks for a tuple of one.
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)


def pack(commands: Sequence[Command]) -> bytes:
    """The commands as Redis reads them."""
    return b"".join(map(_pack, commands))


class Exchange:
    """Waits for as many replies as there are commands.

    Attributes:
        packed: the commands, until they are sent.
        size: of that in bytes.
        count: of the commands.
        outcome: all replies; a failure is one too. It is done early when nobody waits
            for them any more.
        deadline: by the clock of the loop.
    """

    __slots__ = ("count", "deadline", "outcome", "packed", "replies", "size")

    def __init__(
        self, packed: bytes, count: int, outcome: asyncio.Future[list[Reply]], deadline: float
    ) -> None:
        self.packed = packed
        self.size = len(packed)
        self.count = count
        self.outcome = outcome
        self.deadline = deadline
        self.replies: list[Reply] = []

    def fail(self, failure: Exception) -> None:
        """Make it the reply to each command that has none, unless nobody waits."""
        if not self.outcome.done():
            missing = self.count - len(self.replies)
            self.outcome.set_result(self.replies + [failure] * missing)
