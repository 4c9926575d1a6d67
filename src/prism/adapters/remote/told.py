"""An answer that is told the moment it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

Tell: TypeAlias = Callable[[Any, BaseException | None], None]
"""Takes the reply, or why there is none: a CancelledError when it was given up."""


class Told:
    """As much of a future as an operation needs that nobody awaits.

    A future would tell of its answer through the loop, a step later, which costs more
    than to make it.
    """

    __slots__ = ("_done", "_tell")

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._done = False

    def done(self) -> bool:
        return self._done

    def set_result(self, reply: Any) -> None:
        self._done = True
        self._tell(reply, None)

    def set_exception(self, error: BaseException) -> None:
        self._done = True
        self._tell(None, error)

    def cancel(self) -> bool:
        """Give it up, if it is not answered; whether it was so."""
        if self._done:
            return False
        self.set_exception(asyncio.CancelledError())
        return True
