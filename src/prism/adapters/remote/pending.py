"""One operation that a caller waits for."""

from __future__ import annotations

from typing import Any, Protocol

from prism.adapters.remote.methods import Method
from prism.ports import Outcome


class Waiter(Protocol):
    """Who is told an outcome, once; a future is one."""

    def done(self) -> bool:
        """Whether it was told, or does not want to be any more."""
        ...

    def set_result(self, reply: Any, /) -> None: ...

    def set_exception(self, error: Exception, /) -> None: ...


class Pending:
    """One operation, from its caller's question to its outcome.

    Attributes:
        head: what precedes the body in a message.
        body: the rest of what is sent.
        gives_up_at: by the loop's clock; None: somebody else bounds it.
        written: whether the server may have seen it.
    """

    __slots__ = ("body", "gives_up_at", "head", "id", "method", "waiter", "written")

    def __init__(
        self,
        identity: int,
        method: Method[Any],
        head: bytes,
        body: bytes,
        gives_up_at: float | None,
        waiter: Waiter,
    ) -> None:
        self.id = identity
        self.method = method
        self.head = head
        self.body = body
        self.gives_up_at = gives_up_at
        self.waiter = waiter
        self.written = False

    @property
    def outcome(self) -> Outcome:
        """What became of it, as far as can be told without an answer."""
        return Outcome.UNKNOWN if self.written else Outcome.NOT_APPLIED

    def fail(self, error: Exception) -> None:
        """Unless its caller has gone."""
        if not self.waiter.done():
            self.waiter.set_exception(error)
