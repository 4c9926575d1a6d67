"""Where the operations of a stream go to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from prism.adapters.grpc.servicers.operate.operation import Destination, Operation, Relayed

Tell: TypeAlias = Callable[[Operation, Any, BaseException | None], None]
"""Takes the reply, or why there is none: a CancelledError when it was given up."""

RelayHandler: TypeAlias = Callable[[Operation, Tell], Relayed | None]
"""Hands an operation on without a task; None: its kind's handler does it.

It raises what the operation fails with."""


class Destinations(Protocol):
    """Whom operations are handed to."""

    @property
    def relay(self) -> RelayHandler | None:
        """What operations can be relayed with that begin at once; None: none can."""
        ...

    def destination_of(self, name: str) -> Destination:
        """The one of the pattern that is named; empty: of the default, or there are none.

        Raises:
            PreconditionFailed: there is no such pattern.
        """
        ...
