"""Replies that are gathered into one."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from prism.adapters.resp.replies import array
from prism.adapters.resp.session import Session
from prism.domain.connection_budget import SMALL_REPLY_BYTES
from prism.ports import Exhausted, Outcome


class Gathering:
    """Replies of several keys or commands, which count as unread while they are gathered.

    A short command can ask for the same large value thousands of times. So this counts the bytes
    before they are copied into the reply, and refuses what does not fit.

    Args:
        outcome: what a refusal says of the writes before it; None: there are none.
    """

    def __init__(self, session: Session, outcome: Outcome | None = None) -> None:
        self._outcome = outcome
        self._replies: list[bytes] = []
        self._unread = session.door.unread
        self._name = session.name
        self._uncounted = 0
        self._counted: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for size in self._counted:
            self._unread.release(self._name, size)

    def append(self, reply: bytes) -> None:
        """Add a reply.

        Raises:
            Exhausted: the replies are too large together, with those that others have not read.
        """
        self._uncounted += len(reply)
        if self._uncounted > SMALL_REPLY_BYTES:
            if self._unread.refusal_of(self._name, self._uncounted) is not None:
                raise Exhausted(
                    "the reply is too large, with the replies that are not read yet: ask for "
                    "fewer keys at a time",
                    outcome=self._outcome,
                )
            self._unread.add(self._name, self._uncounted)
            self._counted.append(self._uncounted)
            self._uncounted = 0
        self._replies.append(reply)

    def reply(self) -> bytes:
        """Return the array of the replies."""
        return array(self._replies)
